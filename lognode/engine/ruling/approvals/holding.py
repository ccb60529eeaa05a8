"""Drafts that wait for approval: how they are kept and told of, and what they are once enough have approved.

Pure. Invariants: what is written in the end is what was shown to those who approved it; a draft that waits has a key of
its own, so that whoever sends it twice has it wait once.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from lognode.core.codec import decode_array, decode_value, encode
from lognode.core.draft import (
    Draft,
    annotations_of,
    parse_cbor_draft,
    parse_json_draft,
    read_origin,
    signed_array,
)
from lognode.core.errors import CallerError
from lognode.core.ids import IDEM_BYTES, SpanId, b32encode, format_logline
from lognode.core.limits import HELD_JSON_BYTES_MAX, TRACE_TEXT_CHARS_MAX
from lognode.core.span import STATUSES, VISIBILITIES
from lognode.rules.document import RequireApproval
from lognode.rules.evaluation.decision import Decision, Effect
from lognode.rules.records import FIRED, Fired, Held, Outcome, fired_data, parse_fired
from lognode.timeline.agreement.rules.annotations import rules_in, with_rules
from lognode.timeline.state import sealed

HELD_TAG: Final = "approval"  # of firings that tell of a draft that waits
_APPROVAL: Final = "approval"  # in what rules note beside a draft
_SIGNED_FIELDS: Final = 14


class Hold(NamedTuple):
    """Why a draft waits, and how long."""

    effect: Effect
    of: int
    expires_ms: int

    @property
    def role(self) -> str:
        """The role that approves."""
        assert isinstance(self.effect.deed, RequireApproval)
        return self.effect.deed.role


class Approval(NamedTuple):
    """By what a draft may be written that waited: the firing that told of it, and those who approved."""

    of: str
    by: tuple[str, ...]
    roles: tuple[str, ...]


def hold_of(decision: Decision, now_ms: int) -> Hold:
    """The demand of a decision that nobody has met: the one for most approvals, until the first of all deadlines."""
    demands = [effect for effect in decision.effects if isinstance(effect.deed, RequireApproval)]
    deeds = [effect.deed for effect in demands if isinstance(effect.deed, RequireApproval)]
    of = max(deed.of for deed in deeds)
    effect = next(effect for effect, deed in zip(demands, deeds, strict=True) if deed.of == of)
    return Hold(effect, of, now_ms + min(deed.within_ms for deed in deeds))


def shown(draft: Draft) -> str:
    """The JSON of a draft, as it was or might have been sent. Raises CallerError("draft.too_large")."""
    said: dict[str, Any] = {
        "kind": draft.kind,
        "title": draft.title,
        "data": decode_value(draft.data) if draft.data else None,
        "tags": list(draft.tags) or None,
        "subject": draft.subject,
        "contract_id": draft.contract_id,
        "workflow_id": draft.workflow_id,
        "flow_id": draft.flow_id,
        "related": [b32encode(span) for span in draft.related] or None,
        "metadata": decode_value(draft.metadata) if draft.metadata else None,
        "visibility": VISIBILITIES[draft.visibility],
        "status": STATUSES[draft.status],
        "caused_by": None if draft.caused_by is None else b32encode(draft.caused_by),
        "actor": None if draft.actor is None else format_logline(draft.actor),
        "origin": None if draft.origin is None else msgspec.to_builtins(draft.origin),
    }
    text = msgspec.json.encode({name: value for name, value in said.items() if value is not None})
    if len(text) > HELD_JSON_BYTES_MAX:
        detail = f"{len(text)} bytes of JSON; of what waits for approval everything is shown, {HELD_JSON_BYTES_MAX}"
        raise CallerError("draft.too_large", f"{detail} at most")
    return text.decode()


def held_of(draft: Draft, hold: Hold) -> Held:
    """What a firing tells of a draft that waits. Raises CallerError draft.too_large or draft.invalid."""
    deed = hold.effect.deed
    assert isinstance(deed, RequireApproval)
    where = (hold.effect.set, hold.effect.rule, hold.role, hold.of)
    held = Held(*where, hold.expires_ms, str(deed.text)[:TRACE_TEXT_CHARS_MAX], shown(draft), content_of(draft))
    if not is_as_shown(held):
        raise CallerError("draft.invalid", "it cannot wait for approval: shown as JSON, it would be another")
    return held


def is_as_shown(held: Held) -> bool:
    """Whether the JSON that is shown of a draft is that of what its node says that it will write."""
    try:
        draft, _ = parse_json_draft(held.draft.encode())
    except (CallerError, UnicodeEncodeError):
        return False
    return content_of(draft) == held.signed


def content_of(draft: Draft) -> str:
    """By what two drafts are told apart."""
    return sha256(signed_array(draft)).hexdigest()


def held_key(idem: bytes) -> bytes:
    """The key under which it is told that a draft with this key waits."""
    return sha256(b"lognode held v1" + idem).digest()[:IDEM_BYTES]


def is_of(held: bytes, draft: Draft) -> bool:
    """Whether a firing, by its data, tells that this draft waits, not another with the same key."""
    told = parse_fired(held).held
    return told is not None and told.signed == content_of(draft)


def held_row(tenant: int, draft: Draft, hold: Hold, now_ms: int) -> Callable[[SpanId], list[Any]]:
    """The row of a draft that waits, once its firing has an id."""

    def row(span: SpanId) -> list[Any]:
        where = (hold.effect.set, hold.effect.rule, hold.role, hold.of)
        return sealed("held", (tenant, span, encode_held(draft), *where, now_ms, hold.expires_ms, "waiting", None))

    return row


def encode_held(draft: Draft) -> bytes:
    """All of a draft, as a row keeps it."""
    annotations = draft.annotations or annotations_of(draft.origin)
    fields = decode_array(signed_array(draft), _SIGNED_FIELDS)
    return encode([encode([*fields, draft.actor_signature, None]), draft.idem, annotations])


def decode_held(raw: bytes) -> Draft:
    """The draft of a row. Raises CallerError for what is none."""
    fields: list[Any] = decode_array(raw, 3)
    said, idem, annotations = fields
    if said.__class__ is not bytes or annotations.__class__ is not bytes:
        raise CallerError("cbor.malformed", "a draft that waits is two byte strings and a key")
    draft, _ = parse_cbor_draft(said)
    return msgspec.structs.replace(draft, idem=idem, annotations=annotations, origin=read_origin(annotations))


def approved(draft: Draft, firing: SpanId, by: Sequence[SpanId], role: str) -> Draft:
    """The draft to write once enough have approved, with who did; without a key of its own it gets one."""
    said = {"of": b32encode(firing), "by": [b32encode(span) for span in by], "roles": [role] * len(by)}
    idem = draft.idem or sha256(b"lognode approved v1" + firing).digest()[:IDEM_BYTES]
    return msgspec.structs.replace(draft, annotations=with_rules(draft.annotations, {_APPROVAL: said}), idem=idem)


def approval_in(annotations: bytes) -> Approval | None:
    """What stands in annotations about who approved; None where nothing of this form does."""
    said = rules_in(annotations).get(_APPROVAL) if annotations else None
    if not isinstance(said, Mapping) or not isinstance(said.get("of"), str):
        return None
    by, roles = said.get("by"), said.get("roles")
    if not isinstance(by, list) or not isinstance(roles, list) or len(by) != len(roles):
        return None
    return Approval(said["of"], tuple(map(str, by)), tuple(map(str, roles)))


def ending(firing: SpanId, outcome: Outcome, visibility: int, by: Sequence[str], about: SpanId | None = None) -> Draft:
    """The span that tells what became of a draft that waited."""
    written = None if about is None else b32encode(about)
    fired = Fired(
        sets={},
        on="draft",
        verdict="allow" if outcome == "written" else "reject",
        rules=(),
        span=written,
        outcome=outcome,
        by=tuple(by),
    )
    idem = sha256(b"lognode held end v1" + firing).digest()[:IDEM_BYTES]
    return Draft(FIRED, f"Approval: {outcome}", fired_data(fired), visibility=visibility, caused_by=firing, idem=idem)
