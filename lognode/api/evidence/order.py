"""GET .../spans/{id}/relation/{other}: which of two spans its author knew when it wrote the other."""

import sqlite3
from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType
from quart import Response
from quart_trio.wrappers import TrioResponse

from lognode.api.app import ApiApp, Docs, current
from lognode.api.federation.requests import JSON_MEDIA, node_name, refuse_parameters
from lognode.core.access import Action
from lognode.core.clock import hlc_ms, time_text
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId, b32encode, parse_span_id
from lognode.timeline.record import FeedRef, Record, TenantRef, feed_of, header_of, id_of
from lognode.timeline.store.agreement.pasts import compare_spans
from lognode.timeline.store.read.lookup import find_span_or_copy
from lognode.timeline.store.read.voids import void_reason

_encode = msgspec.json.Encoder().encode


class PlaceJson(msgspec.Struct, frozen=True):
    """A span, and where it stands; without effect, and so outside every order, it says why it is `void`."""

    id: str
    kind: str
    at: str
    node: str
    feed: str
    seq: int
    void: str | UnsetType = UNSET


class RelationJson(msgspec.Struct, frozen=True):
    """How `span` stands to `other`: `before` where the author of `other` knew it; null where one of them is void.

    `lacking` are feeds of which authors knew more than this node holds: while there are any, `concurrent` may turn out
    to be `before` or `after`.
    """

    relation: Literal["equal", "before", "after", "concurrent"] | None
    span: PlaceJson
    other: PlaceJson
    lacking: list[str]


def register(app: ApiApp) -> None:
    """Add the route."""
    app.register_route(
        "/v1/tenants/<tenant>/spans/<span_id>/relation/<other>",
        show_relation,
        action=Action.SPAN_READ,
        docs=Docs(answers={200: {JSON_MEDIA: RelationJson}}),
    )


async def show_relation(span_id: str, other: str) -> Response:
    """Show how one span stands to another in causal order.

    Where a span is not here and a copy of it is, the copy stands for it.
    """
    refuse_parameters()
    caller, wanted = current(), (parse_span_id(span_id), parse_span_id(other))
    store = caller.services.store
    return TrioResponse(await store.read(_relation, caller.tenant, store.feeds, *wanted), content_type=JSON_MEDIA)


def _relation(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], one: SpanId, other: SpanId
) -> bytes:
    first, second = _find(conn, tenant, feeds, one), _find(conn, tenant, feeds, other)
    places = _place(conn, tenant, feeds, first), _place(conn, tenant, feeds, second)
    if any(place.void for place in places):
        return _encode(RelationJson(None, *places, lacking=[]))
    relation, lacking = compare_spans(conn, tenant, feeds, first, second)
    return _encode(RelationJson(relation, *places, lacking=[b32encode(feed) for feed in lacking]))


def _find(conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], wanted: SpanId) -> Record:
    record = find_span_or_copy(conn, tenant, feeds, wanted)
    if record is None:
        raise CallerError("span.unknown", b32encode(wanted))
    return record


def _place(conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], record: Record) -> PlaceJson:
    feed = feed_of(record, feeds)
    return PlaceJson(
        b32encode(id_of(record, feed.feed_id)),
        header_of(record).kind,
        time_text(hlc_ms(record.hlc)),
        node_name(feed.node_key),
        b32encode(feed.feed_id),
        record.seq,
        void_reason(conn, tenant, record) or UNSET,
    )
