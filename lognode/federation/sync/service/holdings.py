"""What this node holds of its tenants, as other nodes ask for it.

Reads in one snapshot each, in a reader's thread. Decides nothing: what may leave is for `timeline.store.read.ranges`,
who may have it for `answers`. Invariant: whatever members ask, a reader is left for this node's own users, and each
tenant has one at most.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TypeVar, TypeVarTuple

import trio

from lognode.core.ids import FeedId
from lognode.core.limits import READERS
from lognode.core.span import Foretold, Range
from lognode.engine.service.agreement.forking import weigh_range
from lognode.federation.sync.known import Known
from lognode.protocol.messages import Answer, ControlsWanted, Expand, Hello, Pull
from lognode.protocol.serve import Parcel, Presence, Room, answer, collect_ranges
from lognode.protocol.steps import Give, Weigh, Weighed, give
from lognode.protocol.summary import Summary, View
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store
from lognode.timeline.store.read.ranges import (
    find_feed,
    read_bounds,
    read_clock,
    read_ended,
    read_foretold,
    read_other_ranges,
    read_range,
)

Readable = Hello | Expand | ControlsWanted | Pull
T = TypeVar("T")
Args = TypeVarTuple("Args")


class HeldSpans:
    """The spans of a node's tenants."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turns: defaultdict[int, trio.Lock] = defaultdict(trio.Lock)  # by tenant
        self._readers = trio.Semaphore(READERS - 1)

    async def view(self, tenant: TenantRef) -> View:
        """What is held of a tenant."""
        return await self._read(_view, tenant)

    async def summary(self, tenant: TenantRef) -> bytes:
        """The summary of what is held of a tenant."""
        return Summary(await self.view(tenant)).value

    async def answer(self, tenant: TenantRef, request: Readable, presence: Presence) -> Answer:
        """The answer to a request of a member that only reads."""
        return await self._read(_answer, tenant, request, presence)

    async def give(self, tenant: TenantRef, step: Give) -> Parcel:
        """What a run of ours is to give."""
        return await self._read(_give, tenant, step)

    async def weigh(self, tenant: TenantRef, step: Weigh) -> Weighed:
        """How a range of another node compares with what is held."""
        found = await self._store.read(weigh_range, tenant, step.found)
        return Weighed(found.verdict, found.seq)

    async def lacking(self, tenant: TenantRef, known: Known) -> Sequence[Range]:
        """A batch of ranges beyond what is known to be held elsewhere; none when there is nothing."""
        return await self._read(_lacking, tenant, known)

    async def _read(
        self, fn: Callable[[sqlite3.Connection, TenantRef, *Args], T], tenant: TenantRef, *args: *Args
    ) -> T:
        async with self._turns[tenant.number], self._readers:
            return await self._store.read(fn, tenant, *args)


class Snapshot:
    """The holdings of one tenant in one snapshot."""

    def __init__(self, conn: sqlite3.Connection, tenant: TenantRef) -> None:
        self._conn = conn
        self._tenant = tenant

    def view(self) -> View:
        """Clock, and control spans beyond it."""
        clock = read_clock(self._conn, self._tenant)
        sql = "SELECT feed_id, seq FROM foretold WHERE tenant = ? ORDER BY feed_id, seq"
        rows = self._conn.execute(sql, (self._tenant.number,))
        ahead = {FeedId(feed): [seq for _, seq in group] for feed, group in groupby(rows, itemgetter(0))}
        bounds = read_bounds(self._conn, self._tenant)
        beyond = {
            feed: [seq for seq in seqs if clock.size(feed) <= seq < bounds.get(feed, seq + 1)]
            for feed, seqs in ahead.items()
        }
        return View(clock, beyond, bounds, read_ended(self._conn, self._tenant))

    def range(self, feed: FeedId, start: int, *, spans_max: int, bytes_max: int) -> Range | None:
        """The entries from `start` to a kept checkpoint; None where nothing is held from there on."""
        held = find_feed(self._conn, self._tenant, feed)
        return None if held is None else read_range(self._conn, held, start, spans_max=spans_max, bytes_max=bytes_max)

    def others(self, feed: FeedId, start: int) -> Iterable[Range]:
        """The histories of a feed that part at `start` from the one held."""
        held = find_feed(self._conn, self._tenant, feed)
        return () if held is None else read_other_ranges(self._conn, held, start)

    def foretold(self, feed: FeedId, start: int, *, spans_max: int) -> Sequence[Foretold]:
        """The control spans from entry `start` on by seq, at most `spans_max`."""
        return read_foretold(self._conn, self._tenant, feed, start, spans_max=spans_max)


def _view(conn: sqlite3.Connection, tenant: TenantRef) -> View:
    return Snapshot(conn, tenant).view()


def _answer(conn: sqlite3.Connection, tenant: TenantRef, request: Readable, presence: Presence) -> Answer:
    return answer(request, Snapshot(conn, tenant), presence)


def _give(conn: sqlite3.Connection, tenant: TenantRef, step: Give) -> Parcel:
    return give(step, Snapshot(conn, tenant))


def _lacking(conn: sqlite3.Connection, tenant: TenantRef, known: Known) -> Sequence[Range]:
    wants = known.lacking(read_clock(conn, tenant))
    return collect_ranges(Snapshot(conn, tenant), wants, Room()) if wants else ()
