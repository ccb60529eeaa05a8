"""The record: entry, header and body of a span, and the ids that follow from them.

A span has three depths: the stub (hlc, visibility, header hash), the header and the body. The entry is what
the feed's tree hashes. Knows no SQL, no keys and no JSON. Invariant: one header, one body and one entry have
exactly one encoding each.
Source: docs/protocol.md, Record.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Final, NamedTuple

from cbor2 import dumps

from lognode.core.codec import decode_array
from lognode.core.errors import CallerError
from lognode.core.ids import (
    FEED_ID_BYTES,
    IDEM_BYTES,
    NONCE_BYTES,
    SPAN_ID_BYTES,
    FeedId,
    LogLine,
    SpanId,
    is_logline,
)
from lognode.core.limits import BODY_BYTES_MAX, FORMAT_VERSION, HEADER_BYTES_MAX, KIND_BYTES_MAX

VISIBILITIES: Final = ("private", "organization", "public")
PRIVATE, ORGANIZATION, PUBLIC = range(3)
STATUSES: Final = ("executed", "simulated")
EXECUTED, SIMULATED = range(2)

ENTRY_BYTES: Final = FEED_ID_BYTES + 8 + 8 + 1 + 32
_HASH_BYTES: Final = 32
_PLACE: Final = Struct(">QQB")  # seq, hlc, visibility
SIGNATURE_BYTES: Final = 64
CONTROL_PREFIXES: Final = frozenset({"feed", "tenant", "member", "invite", "identity", "quorum"})
RESERVED_PREFIXES: Final = CONTROL_PREFIXES | {"timeline", "span", "rule", "conflict", "lease", "task"}
_BODY_HEAD, _NULL, _NO_ITEMS, _NO_BYTES = b"\x8d", dumps(None), dumps([]), dumps(b"")
_KIND: Final = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*")


class Header(NamedTuple):
    """What every holder of a span may see of it: what, who, why, and the hash of the rest."""

    version: int
    kind: str
    actor: LogLine | None
    status: int
    caused_by: SpanId | None
    body_sha256: bytes
    body_len: int


class Body(NamedTuple):
    """The content. `data`, `metadata` and `annotations` hold CBOR as their author encoded it; b"" is absent."""

    nonce: bytes
    title: str | None
    data: bytes
    tags: list[str]
    subject: str | None
    contract_id: str | None
    workflow_id: str | None
    flow_id: str | None
    related: list[SpanId]
    metadata: bytes
    annotations: bytes
    actor_signature: bytes | None
    idem: bytes | None


@lru_cache(maxsize=1024)
def is_kind(kind: str) -> bool:
    """Whether `kind` is well formed: lower-case words joined by dots, at most 64 bytes."""
    return len(kind) <= KIND_BYTES_MAX and _KIND.fullmatch(kind) is not None


@lru_cache(maxsize=1024)
def is_reserved(kind: str) -> bool:
    """Whether only nodes may write this kind."""
    return kind.partition(".")[0] in RESERVED_PREFIXES


def is_control(kind: str) -> bool:
    """Whether this is a control span: membership depends on it, and its body is never erased."""
    return kind.partition(".")[0] in CONTROL_PREFIXES


# What the encoders take: the fields of a Header or Body, which the writer need not build to encode them.
HeaderFields = tuple[int, str, LogLine | None, int, SpanId | None, bytes, int]
BodyFields = tuple[
    bytes, str | None, bytes, Sequence[str], str | None, str | None, str | None, str | None, Sequence[SpanId], bytes,
    bytes, bytes | None, bytes | None,
]  # fmt: skip


def encode_header(header: HeaderFields) -> bytes:
    """Deterministic CBOR of the header.

    Headers of one kind begin alike, and most have neither actor nor cause: that part is encoded once. Every span
    that is written passes here and below, where a call for the whole array would take twice the time.
    """
    version, kind, actor, status, caused_by, body_sha256, body_len = header
    if actor is None and caused_by is None and version == FORMAT_VERSION:
        return _plain_head(kind, status) + body_sha256 + dumps(body_len)
    return dumps(header)


@lru_cache(maxsize=1024)
def _plain_head(kind: str, status: int) -> bytes:
    """A header without actor and cause, up to the bytes of its body's hash."""
    return dumps([FORMAT_VERSION, kind, None, status, None, bytes(32), 0])[:-33]


def encode_body(body: BodyFields) -> bytes:
    """Deterministic CBOR of the body, piece by piece: most are null or empty, and those cost nothing so."""
    (
        nonce, title, data, tags, subject, contract_id, workflow_id, flow_id, related, metadata, annotations,
        actor_signature, idem,
    ) = body  # fmt: skip
    is_unnamed = subject is None and contract_id is None and workflow_id is None and flow_id is None
    return b"".join(
        (
            _BODY_HEAD,
            dumps(nonce),
            _NULL if title is None else dumps(title),
            dumps(data),
            dumps(tags) if tags else _NO_ITEMS,
            4 * _NULL if is_unnamed else dumps([subject, contract_id, workflow_id, flow_id])[1:],
            dumps(related) if related else _NO_ITEMS,
            dumps(metadata) if metadata else _NO_BYTES,
            dumps(annotations) if annotations else _NO_BYTES,
            _NULL if actor_signature is None else dumps(actor_signature),
            _NULL if idem is None else dumps(idem),
        )
    )


def decode_header(data: bytes) -> Header:
    """The header that `data` encodes. Raises CallerError("header.malformed")."""
    if len(data) > HEADER_BYTES_MAX:
        raise CallerError("header.malformed", f"{len(data)} bytes, at most {HEADER_BYTES_MAX}")
    try:
        header = Header(*decode_array(data, len(Header._fields)))  # type: ignore[arg-type]
    except CallerError as error:
        raise CallerError("header.malformed", error.detail) from None
    fault = _header_fault(header)
    if fault:
        raise CallerError("header.malformed", fault)
    return header


def _header_fault(header: Header) -> str | None:
    version, kind, actor, status, caused_by, body_sha256, body_len = header
    if version.__class__ is not int or version != FORMAT_VERSION:
        return f"version {version!r:.40}"
    if kind.__class__ is not str or not is_kind(kind):
        return f"kind {kind!r:.80}"
    if actor is not None and not (actor.__class__ is bytes and is_logline(actor)):
        return "actor is no LogLine ID"
    if status.__class__ is not int or not 0 <= status < len(STATUSES):
        return f"status {status!r:.40}"
    if caused_by is not None and not _is_bytes(caused_by, SPAN_ID_BYTES):
        return "caused_by is no span id"
    if not _is_bytes(body_sha256, 32):
        return "body hash"
    if body_len.__class__ is not int or not 0 <= body_len <= BODY_BYTES_MAX:
        return f"body length {body_len!r:.40}"
    return None


def decode_body(data: bytes) -> Body:
    """The body that `data` encodes; its three values stay undecoded. Raises CallerError("body.malformed")."""
    if len(data) > BODY_BYTES_MAX:
        raise CallerError("body.malformed", f"{len(data)} bytes, at most {BODY_BYTES_MAX}")
    try:
        body = Body(*decode_array(data, len(Body._fields)))  # type: ignore[arg-type]
    except CallerError as error:
        raise CallerError("body.malformed", error.detail) from None
    fault = _body_fault(body)
    if fault:
        raise CallerError("body.malformed", fault)
    return body


def _body_fault(body: Body) -> str | None:
    if not _is_bytes(body.nonce, NONCE_BYTES):
        return "nonce"
    for name in ("title", "subject", "contract_id", "workflow_id", "flow_id"):
        value = getattr(body, name)
        if value is not None and value.__class__ is not str:
            return name
    for name in ("data", "metadata", "annotations"):
        if getattr(body, name).__class__ is not bytes:
            return name
    tags = body.tags
    if tags.__class__ is not list or any(tag.__class__ is not str for tag in tags) or sorted(set(tags)) != tags:
        return "tags are not sorted text without duplicates"
    if body.related.__class__ is not list or not all(_is_bytes(item, SPAN_ID_BYTES) for item in body.related):
        return "related"
    if body.actor_signature is not None and not _is_bytes(body.actor_signature, SIGNATURE_BYTES):
        return "actor_signature"
    if body.idem is not None and not _is_bytes(body.idem, IDEM_BYTES):
        return "idem"
    return None


def _is_bytes(value: object, size: int) -> bool:
    return value.__class__ is bytes and len(value) == size


def entry_bytes(feed: FeedId, seq: int, hlc: int, visibility: int, header: bytes) -> bytes:
    """The 65 bytes that the feed's tree hashes as leaf `seq`. `header` is its encoding."""
    return stub_entry(feed, seq, hlc, visibility, sha256(header).digest())


def stub_entry(feed: FeedId, seq: int, hlc: int, visibility: int, header_sha256: bytes) -> bytes:
    """The same bytes of a span of which no more than the stub is at hand."""
    return b"".join(
        (feed, seq.to_bytes(8, "big"), hlc.to_bytes(8, "big"), visibility.to_bytes(1, "big"), header_sha256)
    )


def leaf_hash(entry: bytes) -> bytes:
    """RFC 6962 leaf hash."""
    return sha256(b"\x00" + entry).digest()


def span_id(hlc: int, leaf: bytes) -> SpanId:
    """hlc (8 bytes) || first 16 bytes of the leaf hash: sorts by time and proves its content."""
    return SpanId(hlc.to_bytes(8, "big") + leaf[:16])


def span_hlc(span: SpanId) -> int:
    """The HLC of the span with this id."""
    return int.from_bytes(span[:8], "big")


class Entry(NamedTuple):
    """An entry as it travels between nodes: a span at the depth that its receiver may have.

    `header` is its encoding, or its 32-byte hash where it is withheld; no header is so short.
    """

    hlc: int
    visibility: int
    header: bytes
    body: bytes | None

    @property
    def is_withheld(self) -> bool:
        """Whether no more than the stub is here."""
        return len(self.header) == _HASH_BYTES

    @property
    def header_sha256(self) -> bytes:
        """The hash that the feed's tree commits to."""
        return self.header if self.is_withheld else sha256(self.header).digest()

    @property
    def weight(self) -> int:
        """Bytes of header and body."""
        return len(self.header) + (len(self.body) if self.body else 0)


def leaf_hashes(feed: FeedId, start: int, entries: Sequence[Entry]) -> list[bytes]:
    """The leaf hashes of entries from `start` on.

    Raises struct.error for one that is none. Every entry between nodes passes here twice, so formulas are written out.
    """
    prefix = b"\x00" + feed
    return [
        sha256(
            prefix
            + _PLACE.pack(seq, hlc, visibility)
            + (header if len(header) == _HASH_BYTES else sha256(header).digest())
        ).digest()
        for seq, (hlc, visibility, header, _) in enumerate(entries, start)
    ]


class Range(NamedTuple):
    """The entries [start, start + len(entries)) of a feed, and the checkpoint at their end, which proves them."""

    feed: FeedId
    start: int
    entries: Sequence[Entry]
    note: bytes

    @property
    def stop(self) -> int:
        """The size of the feed's tree with these entries."""
        return self.start + len(self.entries)


class Foretold(NamedTuple):
    """A control span ahead of the range that holds it: entry `seq` of a feed, proven against a checkpoint."""

    feed: FeedId
    seq: int
    entry: Entry
    note: bytes
    path: Sequence[bytes]  # of RFC 6962, the leaf's sibling first
