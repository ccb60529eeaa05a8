"""One live tail: what arrives in a tenant, filtered, from a place on.

A commit wakes a tail; the tail reads the store from its own place, at its reader's pace. Invariants: a tail
that goes on from the cursor of any arrival misses nothing and repeats nothing; it holds no more than one
small batch, however slowly it is read.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import trio

from lognode.api.app import Caller
from lognode.core.errors import CallerError
from lognode.core.limits import TAIL_BATCH_BYTES_MAX, TAIL_BATCH_STEPS_MAX, TAIL_STEP_SPANS_MAX
from lognode.federation.sync.service.notices import Listener
from lognode.timeline.query import Lineage, Query, arrival_cursor, encode_cursor, lineage_of, parse_query
from lognode.timeline.record import FeedRef, TenantRef, feed_of, span_json
from lognode.timeline.store.read.lookup import find_place, records_at
from lognode.timeline.store.read.pages import select_new

NOT_KNOWN: Final = frozenset({"known_by", "at"})
NOT_LIVE: Final = frozenset({"before", "limit", "order", "sort"})

_encode = msgspec.json.Encoder().encode


class Arrival(NamedTuple):
    """A span as JSON, and its position."""

    position: int
    span: bytes


class Tail:
    """What arrives beyond a place. `position` is the place up to which everything was looked at."""

    def __init__(self, caller: Caller, query: Query, position: int) -> None:
        self._services = caller.services
        self._tenant = caller.tenant
        self._query = query
        self.position = position
        self._lineage = self._find_lineage()

    def cursor(self, position: int) -> str:
        """The text by which a client goes on behind `position`."""
        return encode_cursor(arrival_cursor(position), self._lineage)

    async def read(self) -> list[Arrival]:
        """The next arrivals that match; none where nothing of what was looked at does. Moves `position`."""
        store = self._services.store
        arrivals, self.position = await store.read(_read_batch, self._tenant, store.feeds, self._query, self.position)
        self._lineage = self._find_lineage()
        return arrivals

    async def wait(self, ended: trio.Event, listener: Listener) -> None:
        """Return once there is something beyond `position` or for `listener`, or `ended` is set."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_after, nursery.cancel_scope, ended.wait)
            nursery.start_soon(_cancel_after, nursery.cancel_scope, listener.wait)
            await self._services.heads.wait_beyond(self._tenant.number, self.position)
            nursery.cancel_scope.cancel()

    def _find_lineage(self) -> Lineage:
        return lineage_of(self._services.node_public, self._tenant, self._services.store.feeds)


async def open_tail(caller: Caller, params: Mapping[str, Sequence[str]], *, after: str | None = None) -> Tail:
    """The tail that URL parameters ask for; `after`, where given, goes before the one among them.

    Raises CallerError "filter.invalid", "cursor.invalid" or "cursor.foreign".
    """
    for name in NOT_KNOWN.intersection(params):
        raise CallerError("filter.invalid", "what a node knew then does not grow; no tail is needed", place=name)
    for name in NOT_LIVE.intersection(params):
        raise CallerError("filter.invalid", "a live tail has arrival order and no end", place=name)
    wanted = parse_query(params)
    cursor = after or wanted.after
    services, tenant = caller.services, caller.tenant
    newest = services.heads.position(tenant.number)
    if cursor is None:
        return Tail(caller, wanted.query, newest)
    lineage = lineage_of(services.node_public, tenant, services.store.feeds)
    place = await services.store.read(find_place, lineage, cursor)
    if place.order != "arrival":
        raise CallerError("cursor.invalid", "a live tail goes on from a cursor of arrival order")
    position = place.number
    # A page may show a commit before it was announced here; a place beyond all is of a timeline that was lost.
    if position > newest and not await services.store.read(records_at, tenant, position, position + 1):
        raise CallerError("cursor.invalid", "it lies beyond the end of this timeline, which may be an older copy")
    return Tail(caller, wanted.query, position)


def _read_batch(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], query: Query, position: int
) -> tuple[list[Arrival], int]:
    arrivals: list[Arrival] = []
    size = 0
    for _ in range(TAIL_BATCH_STEPS_MAX):
        records, scanned_to = select_new(conn, tenant, query, position, TAIL_STEP_SPANS_MAX, TAIL_BATCH_BYTES_MAX)
        for record in records:
            span = _encode(span_json(record, feed_of(record, feeds), tenant.tenant_id))
            arrivals.append(Arrival(record.position, span))
            size += len(span)
        is_at_end = scanned_to == position
        position = scanned_to
        if is_at_end or size > TAIL_BATCH_BYTES_MAX:
            break
    return arrivals, position


async def _cancel_after(scope: trio.CancelScope, wait: Callable[[], Awaitable[None]]) -> None:
    await wait()
    scope.cancel()
