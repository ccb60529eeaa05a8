"""One stored span as it lies in the database, and its JSON form.

A Record is undecoded: reading a page costs no parsing. Ids are derived here, on demand. Knows no SQL
beyond the list of columns that make a Record. Invariant: what is wrong with stored bytes is this node's
fault, said with the position, never the caller's.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import accumulate, takewhile
from typing import Any, Final, NamedTuple

from lognode.core.clock import hlc_ms, time_text
from lognode.core.codec import decode_value
from lognode.core.draft import Draft, Origin, read_origin, signing_message
from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import FeedId, LogLine, LogLineKind, SpanId, TenantId, b32encode, format_logline, logline
from lognode.core.limits import TAGS_MAX, TENANT_SHIFT_BITS, TEXT_BYTES_MAX
from lognode.core.span import (
    STATUSES,
    VISIBILITIES,
    Body,
    Header,
    decode_body,
    decode_header,
    entry_bytes,
    is_control,
    leaf_hash,
    span_id,
)
from lognode.identity.keys import verify_signature
from lognode.timeline.agreement.merges import MERGE, merge_json
from lognode.timeline.agreement.rules.annotations import rule_tags
from lognode.timeline.agreement.rules.publications import PUBLISHING, publication_json
from lognode.timeline.control.shown import control_json

# Fields of the labels table.
TAG, SUBJECT, CONTRACT, WORKFLOW, FLOW, ORIGIN = range(6)
POSITION_MASK: Final = (1 << TENANT_SHIFT_BITS) - 1
_STUB: Final = f"s.row & {POSITION_MASK}, s.feed, s.seq, s.hlc, s.visibility, s.header"
RECORD_COLUMNS: Final = f"{_STUB}, b.body"
STUB_COLUMNS: Final = f"{_STUB}, NULL"  # where nobody asks for the body


# What damage runs into: a flipped bit may also make SQLite give a value of another type.
_WRONG: Final = (AttributeError, CallerError, OverflowError, TypeError)


class TenantRef(NamedTuple):
    """A tenant of this node."""

    number: int
    tenant_id: TenantId
    alias: str | None


class FeedRef(NamedTuple):
    """A feed that this node holds; `own` when this node writes it."""

    number: int
    tenant: int
    feed_id: FeedId
    node_key: bytes
    log_key: bytes
    own: bool


class Record(NamedTuple):
    """A span's row and body as stored; `feed` is the local number, `body` is None where it is not held."""

    position: int
    feed: int
    seq: int
    hlc: int
    visibility: int
    header: bytes
    body: bytes | None

    @property
    def weight(self) -> int:
        """Bytes of the body, 0 where it is not held."""
        return len(self.body) if self.body else 0


def fitting(records: Sequence[Record], bytes_max: int) -> int:
    """How many of the first records weigh at most `bytes_max`; one at least."""
    weights = accumulate(record.weight for record in records)
    return max(1, sum(1 for _ in takewhile(lambda weight: weight <= bytes_max, weights)))


def labels_of(said: Draft | Body) -> list[tuple[int, str]]:
    """What a span is found by: field and value of its rows in the labels table.

    No draft has more or longer ones, but another node's span may: it would cost many times what it weighs.
    """
    tags = said.tags[:TAGS_MAX]
    if said.annotations:
        tags = list(dict.fromkeys([*tags, *rule_tags(said.annotations)]))
    found = [(TAG, tag) for tag in tags if len(tag) <= TEXT_BYTES_MAX]
    named = (said.subject, said.contract_id, said.workflow_id, said.flow_id)
    found += [
        (field, value) for field, value in enumerate(named, start=SUBJECT) if value and len(value) <= TEXT_BYTES_MAX
    ]
    origin = said.origin if isinstance(said, Draft) else read_origin(said.annotations)
    if origin is not None:
        found += [(ORIGIN, span) for span in origin.spans]
    return found


def row_of(tenant: int, position: int) -> int:
    """The row that holds a tenant's span at `position`."""
    return tenant << TENANT_SHIFT_BITS | position


def feed_of(record: Record, feeds: Mapping[int, FeedRef]) -> FeedRef:
    """The feed of a stored span. Raises NodeFault("database.damaged") where there is none."""
    feed = feeds.get(record.feed)
    if feed is None:
        raise _damaged(record, f"no feed has the number {record.feed}")
    return feed


def header_of(record: Record) -> Header:
    """The header of a stored span. Raises NodeFault("database.damaged")."""
    try:
        return decode_header(record.header)
    except _WRONG as error:
        raise _damaged(record, f"header: {error}") from error


def entry_of(record: Record, feed_id: FeedId) -> bytes:
    """The entry bytes of a stored span. Raises NodeFault("database.damaged")."""
    try:
        return entry_bytes(feed_id, record.seq, record.hlc, record.visibility, record.header)
    except _WRONG as error:
        raise _damaged(record, f"entry: {error}") from error


def leaf_of(record: Record, feed_id: FeedId) -> bytes:
    """The leaf hash of a stored span. Raises NodeFault("database.damaged")."""
    return leaf_hash(entry_of(record, feed_id))


def id_of(record: Record, feed_id: FeedId) -> SpanId:
    """The id of a stored span. Raises NodeFault("database.damaged")."""
    return span_id(record.hlc, leaf_of(record, feed_id))


# One page shows few feeds and nodes many times.
@lru_cache(maxsize=1024)
def _names(feed: FeedRef) -> tuple[str, str]:
    """The texts of a feed's node and of its id."""
    return format_logline(LogLine(logline(LogLineKind.NODE, feed.node_key))), b32encode(feed.feed_id)


def span_json(record: Record, feed: FeedRef, tenant_id: TenantId) -> dict[str, Any]:
    """A span as the API shows it: every field of header and body, and where it stands.

    An actor's signature counts as one where this node let it in; in feeds of other nodes it is checked here.
    Where the body is missing or malformed, "body" says so instead of the body's fields. Raises
    NodeFault("database.damaged"), also for a body that is not the one its header names.
    """
    leaf = leaf_of(record, feed.feed_id)
    header = header_of(record)
    if record.visibility >= len(VISIBILITIES):
        raise _damaged(record, f"visibility {record.visibility}")
    shown: dict[str, Any] = {
        "id": b32encode(span_id(record.hlc, leaf)),
        "kind": header.kind,
        "at": time_text(hlc_ms(record.hlc)),
        "actor": format_logline(header.actor) if header.actor else None,
        "status": STATUSES[header.status],
        "visibility": VISIBILITIES[record.visibility],
        "caused_by": b32encode(header.caused_by) if header.caused_by else None,
    }
    shown.update(_body_json(body_of(record, header), header))
    if not feed.own and shown.get("actor_signed"):
        assert record.body is not None
        shown["actor_signed"] = is_signed(tenant_id, header, decode_body(record.body), record.visibility)
    node, feed_text = _names(feed)
    shown.update(
        node=node,
        feed=feed_text,
        seq=record.seq,
        position=record.position,
        leaf=leaf.hex(),
    )
    return shown


def _damaged(record: Record, detail: str) -> NodeFault:
    return NodeFault("database.damaged", detail, place=f"position {record.position}")


def body_of(record: Record, header: Header) -> bytes | None:
    """The encoded body that the header names, None where it is not held. Raises NodeFault("database.damaged")."""
    if record.body is not None and (
        record.body.__class__ is not bytes or sha256(record.body).digest() != header.body_sha256
    ):
        raise _damaged(record, "the body is not the one that the header names")
    return record.body


def is_signed(tenant_id: TenantId, header: Header, body: Body, visibility: int) -> bool:
    """Whether the body holds the signature of the header's actor over what it signed as a draft."""
    if header.actor is None or body.actor_signature is None:
        return False
    draft = Draft(
        header.kind, body.title, body.data, tuple(body.tags), body.subject, body.contract_id, body.workflow_id,
        body.flow_id, tuple(body.related), body.metadata, visibility, header.status, header.caused_by, header.actor,
    )  # fmt: skip
    return verify_signature(header.actor[1:], signing_message(tenant_id, draft), body.actor_signature)


def origin_of(record: Record) -> Origin | None:
    """The span that this one is a copy of; None where it is none, or its body is not held or malformed.

    Raises NodeFault("database.damaged").
    """
    raw = body_of(record, header_of(record))
    try:
        return read_origin(decode_body(raw).annotations) if raw else None
    except CallerError:
        return None


def _body_json(raw: bytes | None, header: Header) -> dict[str, Any]:
    if raw is None:
        return {"body": "missing"}
    try:
        body = decode_body(raw)
        return {
            "actor_signed": header.actor is not None and body.actor_signature is not None,
            "title": body.title,
            "data": _data_json(header.kind, body.data),
            "tags": body.tags,
            "subject": body.subject,
            "contract_id": body.contract_id,
            "workflow_id": body.workflow_id,
            "flow_id": body.flow_id,
            "related": [b32encode(item) for item in body.related],
            "metadata": decode_value(body.metadata),
            "annotations": decode_value(body.annotations),
        }
    except CallerError as error:
        return {"body": "malformed", "body_fault": error.detail}


def _data_json(kind: str, data: bytes) -> object:
    if is_control(kind):
        return control_json(kind, data)
    if kind in PUBLISHING:
        return publication_json(kind, data)
    return merge_json(data) if kind == MERGE else decode_value(data)
