"""Drafts: spans before the writer gave them place, time and hash, as JSON or as signed CBOR.

Owns what a caller may say and its checks, and what a copy says of its original. Knows no keys and no tenants'
rules. Invariant: a Draft that exists can be written; whatever is wrong with it was said here.
Source: docs/protocol.md, Drafts and Origin.
"""

import re
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

import cbor2
import msgspec
from msgspec import UNSET, UnsetType

from lognode.core.clock import HLC_MAX, hlc_ms, time_text
from lognode.core.codec import (
    check_copyable,
    check_json_parts,
    check_keys,
    check_value,
    decode_array,
    decode_value,
    encode_value,
    parse_json,
)
from lognode.core.errors import CallerError
from lognode.core.ids import (
    IDEM_BYTES,
    SPAN_ID_BYTES,
    LogLine,
    LogLineKind,
    SpanId,
    TenantId,
    is_logline,
    parse_feed_id,
    parse_logline,
    parse_span_id,
    parse_tenant_id,
)
from lognode.core.limits import (
    BODY_BYTES_MAX,
    DRAFT_LINE_BYTES_MAX,
    IDEMPOTENCY_KEY_BYTES_MAX,
    ORIGIN_BYTES_MAX,
    ORIGIN_VIA_MAX,
    RELATED_MAX,
    RUN_NAME_BYTES_MAX,
    SIZE_MAX,
    TAGS_MAX,
    TEXT_BYTES_MAX,
)
from lognode.core.span import EXECUTED, ORGANIZATION, SIGNATURE_BYTES, STATUSES, VISIBILITIES, is_kind

_SIGNED_FIELDS: Final = 14
_BODY_OVERHEAD_BYTES: Final = 256  # nonce, signature, idempotency key and array heads of a body
_ORIGIN_BYTES: Final = 384  # of annotations that hold an origin without `via`
Way = Literal["import", "bundle", "replay", "restore"]  # how a copy was taken; no caller takes one by restoring


class Origin(
    msgspec.Struct,
    frozen=True,
    gc=False,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={"way": "as"},
):
    """The span that another one is a copy of, in the texts of the API: the one that was recorded first.

    `at` is when, `actor_signed` whether its actor signed it; `as` says how this copy was taken. `via` are the ids
    of the copies between the two, the oldest first: whoever looks for one of them finds this copy as well. `run` is
    the name of the run that made a replay, "" where it is not said.
    """

    id: str
    at: str
    tenant: str
    node: str
    feed: str
    seq: int
    actor_signed: bool
    way: Way
    via: tuple[str, ...] = ()
    run: Annotated[str, msgspec.Meta(min_length=1)] = ""

    @property
    def spans(self) -> tuple[str, ...]:
        """The ids of all spans that this copy stands for."""
        return (self.id, *self.via)

    def passed_on(self, copy: str, way: Way, run: str = "") -> "Origin":
        """The origin of a copy of the copy with the id `copy`; of more than ORIGIN_VIA_MAX the oldest are dropped."""
        return msgspec.structs.replace(self, way=way, via=(*self.via, copy)[-ORIGIN_VIA_MAX:], run=run)


class Draft(msgspec.Struct, frozen=True, gc=False):
    """One action to record. Values are CBOR bytes (b"" is absent); `tags` are sorted, without duplicates.

    `annotations` are what this node says besides; of copies that it restores, all that stands there, origin included.
    """

    kind: str
    title: str | None = None
    data: bytes = b""
    tags: tuple[str, ...] = ()
    subject: str | None = None
    contract_id: str | None = None
    workflow_id: str | None = None
    flow_id: str | None = None
    related: tuple[SpanId, ...] = ()
    metadata: bytes = b""
    visibility: int = ORGANIZATION
    status: int = EXECUTED
    caused_by: SpanId | None = None
    actor: LogLine | None = None
    actor_signature: bytes | None = None
    idem: bytes | None = None
    origin: Origin | None = None
    annotations: bytes = b""

    def content_bytes(self) -> int:
        """About how many bytes of memory and disk this draft takes, rather more than less; for bounds."""
        size = len(self.data) + len(self.metadata) + len(self.annotations) + _BODY_OVERHEAD_BYTES
        if self.title is not None:
            size += 4 * len(self.title)
        if self.tags or self.related:
            size += 4 * sum(map(len, self.tags)) + 8 * len(self.tags) + 32 * len(self.related)
        for text in (self.subject, self.contract_id, self.workflow_id, self.flow_id):
            if text is not None:
                size += 4 * len(text)
        if self.origin is not None:
            size += _ORIGIN_BYTES + 48 * len(self.origin.via)
        return size


class JsonDraft(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A draft as JSON."""

    kind: str
    title: str | UnsetType | None = UNSET
    data: Any = UNSET
    tags: list[str] | UnsetType = UNSET
    subject: str | UnsetType | None = UNSET
    contract_id: str | UnsetType | None = UNSET
    workflow_id: str | UnsetType | None = UNSET
    flow_id: str | UnsetType | None = UNSET
    related: list[str] | UnsetType = UNSET
    metadata: Any = UNSET
    visibility: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    caused_by: str | UnsetType | None = UNSET
    actor: str | UnsetType | None = UNSET
    idempotency_key: str | UnsetType | None = UNSET
    origin: Origin | UnsetType | None = UNSET


ORIGIN_FIELDS: Final = tuple(field.encode_name for field in msgspec.structs.fields(Origin))
_decode = msgspec.json.Decoder(JsonDraft).decode
_TEXTS: Final = ("title", "subject", "contract_id", "workflow_id", "flow_id")


def parse_json_draft(line: bytes) -> tuple[Draft, str | None]:
    """The draft of one JSON object, and the idempotency key that it brings.

    Raises CallerError: json.*, draft.invalid (place: the field), draft.too_large, kind.invalid, id.malformed.
    """
    if len(line) > DRAFT_LINE_BYTES_MAX:
        raise CallerError("draft.too_large", f"{len(line)} bytes of JSON, at most {DRAFT_LINE_BYTES_MAX}")
    check_json_parts(line)
    try:
        given = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        parse_json(line)  # says what is wrong with the text, if the text is wrong
        raise CallerError("draft.invalid", str(error), place=_place_in(str(error))) from None
    # Every field but kind, data and metadata, which _value counts: how many keys the text should hold.
    keys = 14 - (
        (given.title is UNSET) + (given.tags is UNSET) + (given.subject is UNSET) + (given.contract_id is UNSET)
        + (given.workflow_id is UNSET) + (given.flow_id is UNSET) + (given.related is UNSET)
        + (given.visibility is UNSET) + (given.status is UNSET) + (given.caused_by is UNSET)
        + (given.actor is UNSET) + (given.idempotency_key is UNSET) + (given.origin is UNSET)
    )  # fmt: skip
    origin = given.origin or None
    if origin is not None:
        if origin.way == "restore":
            raise CallerError("draft.invalid", "only a node restores what it wrote itself", place="origin.as")
        keys += len(ORIGIN_FIELDS) - (not origin.via) - (not origin.run)
    data, data_keys = _value(given.data, "data")
    metadata, metadata_keys = _value(given.metadata, "metadata")
    check_keys(line, keys + data_keys + metadata_keys)
    draft = Draft(
        given.kind, given.title or None, data, tuple(sorted(set(given.tags))) if given.tags else (),
        given.subject or None, given.contract_id or None, given.workflow_id or None, given.flow_id or None,
        tuple(map(parse_span_id, given.related)) if given.related else (), metadata,
        ORGANIZATION if given.visibility is UNSET else _index(VISIBILITIES, given.visibility, "visibility"),
        EXECUTED if given.status is UNSET else _index(STATUSES, given.status, "status"),
        parse_span_id(given.caused_by) if given.caused_by else None,
        parse_logline(given.actor) if given.actor else None, origin=origin,
    )  # fmt: skip
    _check(draft)
    return draft, given.idempotency_key or None


def _place_in(message: str) -> str | None:
    """The field that a message of the JSON decoder is about, if it says so."""
    found = re.search(r"`\$\.([^`]+)`$", message)
    return found[1] if found else None


def _value(value: object, field: str) -> tuple[bytes, int]:
    """CBOR of a JSON value (b"" when it is absent or null), and how many keys its text holds with its own."""
    if value is UNSET:
        return b"", 0
    try:
        keys = 1 + check_value(value)
        return b"" if value is None else encode_value(value), keys
    except CallerError as error:
        raise CallerError(error.code, error.detail, place=field) from None


def _index(names: tuple[str, ...], name: str, field: str) -> int:
    try:
        return names.index(name)
    except ValueError:
        raise CallerError("draft.invalid", f"{name!r:.80} is none of {', '.join(names)}", place=field) from None


def _check(draft: Draft) -> None:
    """Refuse what no span may hold, however it was encoded."""
    if not is_kind(draft.kind):
        raise CallerError("kind.invalid", f"{draft.kind!r:.100}", place="kind")
    texts = (draft.title, draft.subject, draft.contract_id, draft.workflow_id, draft.flow_id)
    for field, text in zip(_TEXTS, texts, strict=True):
        if text is not None:
            _check_text(text, field)
    if draft.tags:
        if len(draft.tags) > TAGS_MAX:
            raise CallerError("draft.invalid", f"{len(draft.tags)} tags, at most {TAGS_MAX}", place="tags")
        for tag in draft.tags:
            if not tag:
                raise CallerError("draft.invalid", "an empty tag", place="tags")
            _check_text(tag, "tags")
    if len(draft.related) > RELATED_MAX:
        raise CallerError("draft.invalid", f"{len(draft.related)} spans, at most {RELATED_MAX}", place="related")
    if draft.origin is not None:
        _check_origin(draft.origin)
    size = draft.content_bytes()
    size_max = BODY_BYTES_MAX - (ORIGIN_BYTES_MAX if draft.origin is None else 0)
    if size * 4 > BODY_BYTES_MAX:
        room = size_max - _exact_bytes(draft)
        if room < 0:
            raise CallerError("draft.too_large", f"about {size} bytes, at most {size_max}")
        check_copyable((draft.data, draft.metadata), (texts, draft.tags), room)


def _check_text(text: str, field: str) -> None:
    if len(text) * 4 <= TEXT_BYTES_MAX:  # no character takes more than four bytes
        return
    size = len(text.encode())
    if size > TEXT_BYTES_MAX:
        raise CallerError("draft.invalid", f"{size} bytes, at most {TEXT_BYTES_MAX}", place=field)


def _exact_bytes(draft: Draft) -> int:
    """An upper bound of the body's size, a few bytes above it."""
    return len(signed_array(draft)) + len(annotations_of(draft.origin)) + _BODY_OVERHEAD_BYTES


def annotations_of(origin: Origin | None) -> bytes:
    """What the node that takes a draft writes into `annotations`: CBOR of where it is from, b"" when it is no copy."""
    return b"" if origin is None else cbor2.dumps({"origin": msgspec.to_builtins(origin)})


def read_origin(annotations: bytes) -> Origin | None:
    """The origin that the annotations of a body hold; None where there is none, as origin_in reads it."""
    if not annotations:
        return None
    try:
        return origin_in(decode_value(annotations))
    except CallerError:
        return None


def origin_in(annotations: object) -> Origin | None:
    """The origin in annotations as the API shows them; None where there is none of this form.

    Members that are not known are passed over: a newer lognode may have more to say.
    """
    said = annotations.get("origin") if isinstance(annotations, dict) else None
    if not isinstance(said, dict):
        return None
    try:
        origin = msgspec.convert({name: said[name] for name in ORIGIN_FIELDS if name in said}, Origin)
        _check_origin(origin)
    except (CallerError, msgspec.ValidationError):
        return None
    return origin


def _check_origin(origin: Origin) -> None:
    """Refuse an origin that no span can be. Raises CallerError("draft.invalid"); place is its member."""
    place = "id"
    try:
        hlc = int.from_bytes(parse_span_id(origin.id)[:8], "big")
        for place, read in (("tenant", parse_tenant_id), ("feed", parse_feed_id), ("node", _parse_node)):
            read(getattr(origin, place))
        place = "via"
        for span in origin.via:
            parse_span_id(span)
    except CallerError as error:
        raise CallerError("draft.invalid", error.detail, place=f"origin.{place}") from None
    for name, holds, wanted in (
        ("id", hlc <= HLC_MAX, "a span id begins with a time below 2^63"),
        ("at", origin.at == time_text(hlc_ms(hlc)), f"the id says {time_text(hlc_ms(hlc))}"),
        ("seq", 0 <= origin.seq <= SIZE_MAX, "it counts from 0"),
        ("via", len(origin.via) <= ORIGIN_VIA_MAX, f"at most {ORIGIN_VIA_MAX} spans"),
        ("via", len(set(origin.spans)) == len(origin.spans), "a span stands twice"),
        ("run", not origin.run or origin.way == "replay", "only a replay is of a run"),
        ("run", len(origin.run.encode()) <= RUN_NAME_BYTES_MAX, f"at most {RUN_NAME_BYTES_MAX} bytes"),
    ):
        if not holds:
            raise CallerError("draft.invalid", wanted, place=f"origin.{name}")


def _parse_node(text: str) -> None:
    if parse_logline(text)[0] != LogLineKind.NODE:
        raise CallerError("id.malformed", f"{text!r} is no node")


def parse_cbor_draft(raw: bytes) -> tuple[Draft, str | None]:
    """The draft of a deterministic CBOR array [14 signed fields, actor_signature, idempotency key or null].

    Raises CallerError cbor.malformed, json.*, draft.*, kind.invalid.
    """
    if len(raw) > DRAFT_LINE_BYTES_MAX:
        raise CallerError("draft.too_large", f"{len(raw)} bytes of CBOR, at most {DRAFT_LINE_BYTES_MAX}")
    array: list[Any] = decode_array(raw, _SIGNED_FIELDS + 2)
    actor, status, kind, title, data, tags, subject, contract, workflow, flow, related, metadata = array[:12]
    visibility, caused_by, signature, key = array[12:]
    texts = (title, subject, contract, workflow, flow, key)
    _require(kind.__class__ is str, "kind")
    _require(all(text is None or (text.__class__ is str and text) for text in texts), "texts are text or null")
    _require(data.__class__ is bytes and metadata.__class__ is bytes, "data and metadata are byte strings")
    _require(tags.__class__ is list and all(tag.__class__ is str for tag in tags), "tags")
    _require(sorted(set(tags)) == tags, "tags are not sorted text without duplicates")
    _require(related.__class__ is list and all(_is_span_id(item) for item in related), "related")
    _require(caused_by is None or _is_span_id(caused_by), "caused_by")
    _require(actor is None or (actor.__class__ is bytes and is_logline(actor)), "actor")
    _require(signature is None or (signature.__class__ is bytes and len(signature) == SIGNATURE_BYTES), "signature")
    _require(signature is None or actor is not None, "a signature without an actor")
    _require(status.__class__ is int and 0 <= status < len(STATUSES), "status")
    _require(visibility.__class__ is int and 0 <= visibility < len(VISIBILITIES), "visibility")
    decode_value(data)
    decode_value(metadata)
    draft = Draft(
        kind, title, data, tuple(tags), subject, contract, workflow, flow, tuple(related), metadata, visibility, status,
        caused_by, actor, signature,
    )  # fmt: skip
    _check(draft)
    return draft, key


def _is_span_id(value: object) -> bool:
    return value.__class__ is bytes and len(value) == SPAN_ID_BYTES


def _require(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not holds:
        raise CallerError("draft.invalid", what)


def signed_array(draft: Draft) -> bytes:
    """CBOR of the fields that an actor signs, and by which two uses of an idempotency key are compared."""
    return cbor2.dumps(
        [
            draft.actor, draft.status, draft.kind, draft.title, draft.data, list(draft.tags), draft.subject,
            draft.contract_id, draft.workflow_id, draft.flow_id, list(draft.related), draft.metadata, draft.visibility,
            draft.caused_by,
        ]
    )  # fmt: skip


def signing_message(tenant: TenantId, draft: Draft) -> bytes:
    """The bytes under an actor's Ed25519 signature."""
    return b"lognode draft v1" + tenant + signed_array(draft)


def idem_key(tenant: TenantId, principal: bytes, key: str) -> bytes:
    """The 16 bytes by which a span remembers its idempotency key.

    Raises CallerError("idempotency.invalid") for an empty or over-long key.
    """
    raw = key.encode()
    if not 0 < len(raw) <= IDEMPOTENCY_KEY_BYTES_MAX:
        raise CallerError("idempotency.invalid", f"{len(raw)} bytes, 1 to {IDEMPOTENCY_KEY_BYTES_MAX}")
    return sha256(tenant + principal + raw).digest()[:IDEM_BYTES]
