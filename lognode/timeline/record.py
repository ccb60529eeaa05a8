"""One stored span as it lies in the database, and its JSON form.

A Record is undecoded: reading a page costs no parsing. Ids are derived here, on demand. Knows no SQL
beyond the list of columns that make a Record.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from lognode.core.clock import hlc_ms
from lognode.core.codec import decode_value
from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, LogLine, LogLineKind, SpanId, TenantId, b32encode, format_logline, logline
from lognode.core.limits import TENANT_SHIFT_BITS
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
from lognode.timeline.control import control_json

# Fields of the labels table.
TAG, SUBJECT, CONTRACT, WORKFLOW, FLOW = range(5)
POSITION_MASK: Final = (1 << TENANT_SHIFT_BITS) - 1
RECORD_COLUMNS: Final = f"s.row & {POSITION_MASK}, s.feed, s.seq, s.hlc, s.visibility, s.header, b.body"


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


def labels_of(said: Draft | Body) -> list[tuple[int, str]]:
    """What a span is found by: field and value of its rows in the labels table."""
    found = [(TAG, tag) for tag in said.tags]
    named = (said.subject, said.contract_id, said.workflow_id, said.flow_id)
    return found + [(field, value) for field, value in enumerate(named, start=SUBJECT) if value]


def row_of(tenant: int, position: int) -> int:
    """The row that holds a tenant's span at `position`."""
    return tenant << TENANT_SHIFT_BITS | position


def entry_of(record: Record, feed_id: FeedId) -> bytes:
    """The entry bytes of a stored span."""
    return entry_bytes(feed_id, record.seq, record.hlc, record.visibility, record.header)


def leaf_of(record: Record, feed_id: FeedId) -> bytes:
    """The leaf hash of a stored span."""
    return leaf_hash(entry_of(record, feed_id))


def id_of(record: Record, feed_id: FeedId) -> SpanId:
    """The id of a stored span."""
    return span_id(record.hlc, leaf_of(record, feed_id))


def time_text(unix_ms: int) -> str:
    """RFC 3339 with milliseconds, UTC; times beyond year 9999 as the number of milliseconds."""
    try:
        return f"{_second_text(unix_ms // 1000)}.{unix_ms % 1000:03d}Z"
    except (ValueError, OverflowError, OSError):
        return str(unix_ms)


# One page shows few seconds, feeds and nodes many times.
@lru_cache(maxsize=1024)
def _second_text(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=1024)
def _names(feed: FeedRef) -> tuple[str, str]:
    """The texts of a feed's node and of its id."""
    return format_logline(LogLine(logline(LogLineKind.NODE, feed.node_key))), b32encode(feed.feed_id)


def span_json(record: Record, feed: FeedRef) -> dict[str, Any]:
    """A span as the API shows it: every field of header and body, and where it stands.

    Where the body is missing or malformed, "body" says so instead of the body's fields.
    """
    header = decode_header(record.header)
    leaf = leaf_of(record, feed.feed_id)
    shown: dict[str, Any] = {
        "id": b32encode(span_id(record.hlc, leaf)),
        "kind": header.kind,
        "at": time_text(hlc_ms(record.hlc)),
        "actor": format_logline(header.actor) if header.actor else None,
        "status": STATUSES[header.status],
        "visibility": VISIBILITIES[record.visibility],
        "caused_by": b32encode(header.caused_by) if header.caused_by else None,
    }
    shown.update(_body_json(record.body, header))
    node, feed_text = _names(feed)
    shown.update(
        node=node,
        feed=feed_text,
        seq=record.seq,
        position=record.position,
        leaf=leaf.hex(),
    )
    return shown


def _body_json(raw: bytes | None, header: Header) -> dict[str, Any]:
    if raw is None:
        return {"body": "missing"}
    try:
        body = decode_body(raw)
        return {
            "actor_signed": header.actor is not None and body.actor_signature is not None,
            "title": body.title,
            "data": control_json(header.kind, body.data) if is_control(header.kind) else decode_value(body.data),
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
