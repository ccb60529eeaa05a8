"""What a simulated machine holds of its tenant, as the protocol asks for it."""

import sqlite3
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from lognode.core.ids import FeedId
from lognode.core.span import Foretold, Range
from lognode.protocol.summary import View
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.read.ranges import read_clock, read_foretold, read_range


class DiskHoldings:
    """The holdings of one tenant on a disk."""

    def __init__(self, conn: sqlite3.Connection, tenant: TenantRef) -> None:
        self._conn = conn
        self._tenant = tenant

    def view(self) -> View:
        """Clock, and control spans beyond it."""
        sql = "SELECT feed_id, seq FROM foretold WHERE tenant = ? ORDER BY feed_id, seq"
        rows = self._conn.execute(sql, (self._tenant.number,)).fetchall()
        ahead = {FeedId(feed): [seq for _, seq in group] for feed, group in groupby(rows, itemgetter(0))}
        return View(read_clock(self._conn, self._tenant), ahead)

    def range(self, feed: FeedId, start: int, *, spans_max: int, bytes_max: int) -> Range | None:
        """The entries from `start` to a kept checkpoint; None where nothing is held from there on."""
        sql = "SELECT feed, tenant, feed_id, node_key, log_key, own FROM feeds WHERE tenant = ? AND feed_id = ?"
        row = self._conn.execute(sql, (self._tenant.number, feed)).fetchone()
        return read_range(self._conn, FeedRef(*row), start, spans_max=spans_max, bytes_max=bytes_max) if row else None

    def foretold(self, feed: FeedId, start: int, *, spans_max: int) -> Sequence[Foretold]:
        """The control spans from entry `start` on by seq, at most `spans_max`."""
        return read_foretold(self._conn, self._tenant, feed, start, spans_max=spans_max)
