"""Where the spans of a stream stand, remembered as runs of positions, and their receipts told from them.

A stream of a million spans is a handful of runs, since its spans mostly arrive next to each other. Invariant:
receipts come out as they went in, in memory that does not grow with the stream.
"""

import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from lognode.api.app import Caller
from lognode.api.spans.wire import receipt_json
from lognode.core.errors import CallerError
from lognode.core.limits import RECEIPTS_READ_MAX, RUNS_MAX
from lognode.core.span import span_id
from lognode.engine.receipt import Receipt
from lognode.timeline.record import FeedRef, TenantRef, feed_of, leaf_of
from lognode.timeline.store.read.lookup import records_at

_encoder: Final = msgspec.json.Encoder()


@dataclass(slots=True)
class _Run:
    start: int
    stop: int
    checkpoint_size: int
    duplicate: bool
    held: bool


class Runs:
    """The places of a stream's spans, in its order."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def add(self, receipts: Sequence[Receipt]) -> None:
        """Note some more."""
        run = self._runs[-1] if self._runs else None
        for receipt in receipts:
            if (
                run is not None
                and receipt.position == run.stop
                and receipt.checkpoint_size == run.checkpoint_size
                and receipt.duplicate == run.duplicate
                and receipt.held == run.held
            ):
                run.stop += 1
                continue
            start, size = receipt.position, receipt.checkpoint_size
            run = _Run(start, start + 1, size, receipt.duplicate, receipt.held)
            self._runs.append(run)

    def check_room(self) -> None:
        """Raise CallerError("request.too_large") when the spans are too scattered to note more of them."""
        if len(self._runs) > RUNS_MAX:
            raise CallerError(
                "request.too_large", "these duplicates lie too scattered for receipts=all; send fewer lines at once"
            )

    async def lines(self, caller: Caller) -> AsyncIterator[bytes]:
        """All receipts as lines of JSON, some at a time."""
        store, tenant = caller.services.store, caller.tenant
        for run in self._runs:
            for start in range(run.start, run.stop, RECEIPTS_READ_MAX):
                stop = min(run.stop, start + RECEIPTS_READ_MAX)
                yield await store.read(_receipt_lines, tenant, store.feeds, start, stop, run)


def _receipt_lines(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], start: int, stop: int, run: _Run
) -> bytes:
    receipts = []
    for record in records_at(conn, tenant, start, stop):
        feed = feed_of(record, feeds).feed_id
        leaf = leaf_of(record, feed)
        span = span_id(record.hlc, leaf)
        receipts.append(
            receipt_json(
                Receipt(span, feed, record.seq, record.position, leaf, run.checkpoint_size, run.duplicate, run.held)
            )
        )
    return _encoder.encode_lines(receipts)
