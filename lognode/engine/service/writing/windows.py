"""What windows of rules count, of all tenants: rows of the writing connection, and strands of keys asked for lately.

Owns how far each window has looked through the timeline. All but `fill` and `forget_commits` runs in the database's
thread. Invariants: what is answered is what a look at all spans would find; a history of any length is read in slices,
of which no turn of the writer holds more than one; what a commit is to add counts only once that is committed.
"""

import sqlite3
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import NamedTuple

from lognode.core.clock import hlc_from_ms, hlc_ms
from lognode.core.errors import NodeFault
from lognode.core.limits import (
    BUSY_RETRY_S,
    WINDOW_KEPT_SAMPLES,
    WINDOW_MEASURED_MAX,
    WINDOW_SLICE_SPANS,
    WINDOW_TABLES_MAX,
    WINDOW_TURN_SPANS,
)
from lognode.engine.ruling.strands import Strand, looked_at_max, measured
from lognode.rules.document import Window, matches_kind
from lognode.rules.evaluation.samples import Sample
from lognode.timeline.record import Record, TenantRef
from lognode.timeline.store.database import Store
from lognode.timeline.store.rules.windows import (
    Entry,
    Measured,
    Place,
    WindowTable,
    arrivals,
    find_time,
    load_kinds,
    past_spans,
)
from lognode.timeline.store.write import newest_position

NOT_READY = "rule.not_ready"
Measure = Callable[[Window, Record], Entry | None]


class Span(NamedTuple):
    """The first span of a commit that is judged: where it is to stand, and when; before it, all positions are taken."""

    feed: int
    seq: int
    hlc: int
    position: int


class Held:
    """One window of a tenant, and how far it is filled."""

    def __init__(self, conn: sqlite3.Connection, number: int, window: Window, floor_ms: int, newest: int) -> None:
        self.table = WindowTable(conn, number)
        self.window = window
        self.floor_ms = floor_ms  # what is not later is not all there
        self.place: Place | None = Place(0, hlc_from_ms(max(0, floor_ms)))  # of the look through what was there
        self.end = newest  # of what is looked at by arrival, behind that
        self.strands: dict[bytes, Strand] = {}  # by key, of those asked for lately
        self.older: dict[bytes, Strand] = {}  # of those asked for before these
        self.swept = b""  # keys up to here have lost what is too old
        self.behind_ms: int | None = None  # after which whoever follows the writer asked last
        self.turn = 0  # the last in which it was asked for
        # What the commit that is judged adds: time, place in the commit, and value, by key.
        self.added: defaultdict[bytes, list[tuple[int, int, Measured]]] = defaultdict(list)
        self.sampled = 0  # how many of its spans are looked at for that

    def sweep(self, now_ms: int) -> None:
        """Forget some of what is so old that nobody who keeps up asks for it; whoever does has it read again."""
        over_ms = self.window.over_ms
        until_ms = now_ms - 2 * over_ms if self.behind_ms is None else min(now_ms - over_ms, self.behind_ms) - over_ms
        if until_ms > self.floor_ms:
            self.floor_ms = until_ms
            rows = 2 + 2 * sum(map(len, self.added.values()))
            self.swept = self.table.drop_old(self.swept, rows, until_ms)

    def forget_strands(self) -> None:
        """Have what is asked for next be read from the table."""
        self.strands.clear()
        self.older.clear()


class Line:
    """The windows of a tenant, and what the gate may count in them."""

    def __init__(self) -> None:
        self.held: OrderedDict[bytes, Held] = OrderedDict()
        self.named: dict[int, int] = {}
        self.source: Mapping[int, int] = self.named  # what this was taken from, and goes on with
        self.feed = 0
        self.program: object = None
        self.span: Span | None = None  # of the commit that is judged, or was
        self.spans = self.counted = 0  # of that commit, and those of them that no window has to look at again
        self.asked: Collection[bytes] = ()  # the windows that it asked for, which have counted these


class Room:
    """How many spans may still be put into windows in one turn."""

    def __init__(self, spans: int | None = None) -> None:
        self.spans = WINDOW_TURN_SPANS if spans is None else spans


class Windows:
    """The windows of all tenants of a node."""

    def __init__(self, store: Store, measure: Measure) -> None:
        self._store = store
        self._measure = measure
        self._conn: sqlite3.Connection | None = None
        self._lines: dict[int, Line] = {}
        self._kept = 0  # what all strands weigh that were asked for lately
        self._numbers = count(1)
        self._turn = 0

    async def fill(self, tenant: TenantRef) -> None:
        """Fill all windows of a tenant that were asked for and are not full. Raises NodeFault("database.damaged")."""
        while await self._store.write(self._fill_slice, tenant):
            pass

    def _fill_slice(self, conn: sqlite3.Connection, tenant: TenantRef) -> bool:
        """Take in some spans; whether there are more."""
        line, room, kinds = self._line(conn, tenant), Room(WINDOW_SLICE_SPANS), load_kinds(conn, tenant)
        return not all(self._take_in(conn, tenant, line, held, kinds, room) for held in line.held.values())

    def begin(
        self,
        conn: sqlite3.Connection,
        tenant: TenantRef,
        span: Span,
        named: Mapping[int, int],
        grown: Iterable[int],
        in_force: tuple[object, Sequence[Window]],
    ) -> Line:
        """The windows for a commit that begins with this span, once they are told what is named by now.

        `grown` are feeds of which more is named than was before. Windows that a program in force does not name any
        more are forgotten once it is another one.
        """
        line = self._line(conn, tenant)
        self._turn += 1
        if line.feed != span.feed:
            if line.feed:
                self._drop(line, list(line.held))
            line.feed, line.named, line.source = span.feed, dict(named), named
        if line.source is not named:
            # It was found anew, and may be less than was to be named with a commit that did not take place.
            line.source, grown = named, named
            if any(size > named.get(feed, 0) for feed, size in line.named.items()):
                line.named = dict(named)
                for held in line.held.values():
                    held.forget_strands()
        for feed in grown:
            start, stop = line.named.get(feed, 0), named[feed]
            for held in line.held.values() if start < stop else ():
                for key, at_ms, value in held.table.of_feed(feed, start, stop):
                    self.push(held, key, at_ms, value)
            line.named[feed] = stop
        program, windows = in_force
        if line.program is not program:
            line.program = program
            wanted = {window.digest for window in windows}
            self._drop(line, [digest for digest in line.held if digest not in wanted])
        line.span, line.spans, line.counted, line.asked = span, 0, 0, ()
        return line

    def forget_commits(self) -> None:
        """Take note that no commit takes place any more that was begun, whatever stands in its place by now."""
        for line in list(self._lines.values()):
            line.spans = 0

    def _drop(self, line: Line, digests: Iterable[bytes]) -> None:
        for digest in digests:
            line.held.pop(digest).table.drop()

    def _line(self, conn: sqlite3.Connection, tenant: TenantRef) -> Line:
        """The windows of a tenant, in which the commit before counts, if it took place."""
        if conn is not self._conn:
            # The tables are gone with the connection that they belonged to.
            self._conn, self._kept = conn, 0
            self._lines.clear()
        line = self._lines.setdefault(tenant.number, Line())
        if line.span is not None:
            span, line.span = line.span, None
            if line.spans and find_time(conn, span.feed, span.seq) == span.hlc:
                self._keep(conn, line, span)
            else:
                for held in line.held.values():
                    held.forget_strands()
            for held in line.held.values():
                held.added.clear()
        return line

    def _keep(self, conn: sqlite3.Connection, line: Line, span: Span) -> None:
        with _transaction(conn):
            for digest, held in line.held.items():
                if digest not in line.asked or held.end != span.position or held.place is not None:
                    continue  # it looks at the commit when it is asked for next
                held.table.add(
                    [
                        (key, at_ms, span.feed, span.seq + place, value, False)
                        for key, samples in held.added.items()
                        for at_ms, place, value in samples
                    ]
                )
                # What stands behind the drafts is looked at like what others wrote.
                held.end += line.counted
                if held.window.at is None:
                    held.sweep(hlc_ms(span.hlc))

    def find(
        self,
        conn: sqlite3.Connection,
        tenant: TenantRef,
        line: Line | None,
        window: Window,
        after_ms: int,
        kinds: Mapping[str, int],
        room: Room,
    ) -> Held:
        """A window that holds all that is stored and later than that.

        Raises NodeFault "rule.not_ready" where there is not room for so many spans, or "database.damaged".
        """
        is_behind = line is None
        line = line or self._line(conn, tenant)
        # What counts by its own time may be of any time, and asked for again by any.
        floor_ms = after_ms if window.at is None else -1
        held = line.held.get(window.digest)
        if held is not None and held.floor_ms > floor_ms:
            line.held.pop(window.digest).table.drop()
            held = None
        if held is None:
            self._make_room()
            newest = newest_position(conn, tenant.number)
            held = Held(conn, next(self._numbers), window, floor_ms, newest)
            line.held[window.digest] = held
        line.held.move_to_end(window.digest)
        if not self._take_in(conn, tenant, line, held, kinds, room):
            raise NodeFault(NOT_READY, f"the window {window.name} is being filled", retry_after_s=BUSY_RETRY_S)
        held.turn = self._turn
        held.behind_ms = after_ms if is_behind else held.behind_ms
        return held

    def _make_room(self) -> None:
        if sum(len(line.held) for line in self._lines.values()) >= WINDOW_TABLES_MAX:
            line = max(self._lines.values(), key=lambda line: len(line.held))
            oldest = next(iter(line.held))
            if line.held[oldest].turn != self._turn:
                line.held.pop(oldest).table.drop()

    def _take_in(
        self,
        conn: sqlite3.Connection,
        tenant: TenantRef,
        line: Line,
        held: Held,
        kinds: Mapping[str, int],
        room: Room,
    ) -> bool:
        """Have a window count what is stored, as far as there is room; whether it has counted all."""
        window = held.window
        numbers = sorted(number for name, number in kinds.items() if matches_kind(window.kinds, name))
        while held.place is not None and room.spans > 0:
            hlc, most = hlc_from_ms(max(0, held.floor_ms)), min(room.spans, WINDOW_SLICE_SPANS)
            records, place = past_spans(conn, tenant, numbers, held.place, hlc, held.end, most)
            room.spans -= len(records) if place is None else most
            self._add(conn, line, held, records)
            held.place = place
        newest = newest_position(conn, tenant.number)
        while held.place is None and held.end < newest and room.spans > 0:
            stop = min(newest, held.end + min(room.spans, WINDOW_SLICE_SPANS))
            room.spans -= stop - held.end
            self._add(conn, line, held, arrivals(conn, tenant, numbers, held.end, stop))
            held.end = stop
        return held.place is None and held.end >= newest

    def _add(self, conn: sqlite3.Connection, line: Line, held: Held, records: Iterable[Record]) -> None:
        rows = [
            (entry.key, entry.at_ms, record.feed, record.seq, entry.value, record.feed != line.feed)
            for record in records
            if (entry := self._measure(held.window, record))
        ]
        with _transaction(conn):
            held.table.add(rows)
        for key, at_ms, feed, seq, value, _ in rows:
            if seq < line.named.get(feed, 0):
                self.push(held, key, at_ms, value)

    def push(self, held: Held, key: bytes, at_ms: int, value: Measured) -> None:
        """Have the strand of a key count one more, if there is one."""
        strand = held.strands.get(key)
        if strand is not None:
            self._kept += strand.add(at_ms, value)
        elif held.older and (strand := held.older.get(key)) is not None:
            strand.add(at_ms, value)

    def measured(self, line: Line, held: Held, sample: Sample) -> int | float:
        """What a window comes to for the gate, as rules.evaluation.context.Context says. Raises Unclear."""
        after_ms = sample.at_ms - held.window.over_ms
        strand = held.strands.get(sample.key)
        if strand is None or strand.floor_ms > after_ms:
            strand = self._found(line, held, sample.key, after_ms)
        if strand is None:
            return measured(held.window, sample, self._looked_up(line, held, sample, after_ms))
        if strand.weight > 2 * WINDOW_MEASURED_MAX:
            self._kept -= strand.cut(after_ms)
        return strand.measured(sample)

    def _found(self, line: Line, held: Held, key: bytes, after_ms: int) -> Strand | None:
        """The strand of a key that was not asked for lately; None where it would be too large."""
        strand = held.older.pop(key, None)
        if strand is None or strand.floor_ms > after_ms:
            found = held.table.later(key, after_ms, line.named, WINDOW_MEASURED_MAX)
            if found is None:
                return None
            strand = Strand(held.window, after_ms, found)
            for at_ms, _, value in held.added.get(key, ()):
                strand.add(at_ms, value)
        if self._kept > WINDOW_KEPT_SAMPLES:
            self._kept = 0
            for one in [one for line in self._lines.values() for one in line.held.values()]:
                one.strands, one.older = {}, one.strands
        self._kept += strand.weight
        held.strands[key] = strand
        return strand

    def _looked_up(self, line: Line, held: Held, sample: Sample, after_ms: int) -> list[Measured]:
        added = [value for at_ms, _, value in held.added.get(sample.key, ()) if after_ms < at_ms <= sample.at_ms]
        most = max(0, looked_at_max(held.window) - len(added))
        return added + held.table.within(sample.key, after_ms, sample.at_ms, line.named, most)


@contextmanager
def _transaction(conn: sqlite3.Connection) -> Iterator[None]:
    """All of it, or nothing."""
    conn.execute("BEGIN")
    try:
        yield
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
