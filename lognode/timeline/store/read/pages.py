"""Pages of a timeline: from a Query and a cursor to one SQL statement, and its rows in order.

One term of the query leads: its index yields candidates, the other terms check them. Where several indexes
could lead, each is counted up to LEAD_ROWS_MAX and the smallest does. What a node knew is read feed by feed, unless an
index has fewer, and no more than so many spans for one page. Knows no JSON and writes nothing.
Invariant: a walk by cursors gives every span that matches exactly once, also where spans share one hlc; the row
range in every statement keeps it inside its tenant.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import lru_cache, partial
from heapq import merge
from itertools import islice, takewhile
from operator import gt, lt
from typing import Any, Final, NamedTuple

import msgspec

from lognode.core.clock import HLC_MAX, hlc_from_ms
from lognode.core.errors import CallerError
from lognode.core.limits import KNOWN_SPANS_MAX, LEAD_ROWS_MAX, PAGE_BYTES_MAX, PAGE_STEP_SPANS_MAX, TAIL_ROWS_MAX
from lognode.timeline.query import Cursor, Order, Query, end_cursor, page_ends, place_of
from lognode.timeline.record import POSITION_MASK, RECORD_COLUMNS, FeedRef, Record, TenantRef, fitting, row_of
from lognode.timeline.store.read.search import matches, search_position
from lognode.timeline.store.read.terms import Index, Lead, Term, Values, terms_of, walk

_NO_LIMIT: Final = -1
_BODY: Final = Record._fields.index("body")


class Found(NamedTuple):
    """Records, no less than what their bodies weigh, and the hlc or row behind which nothing was looked at, if any."""

    records: list[Record]
    weight: int
    reached: int | None = None


Sizes = tuple[tuple[int, int], ...]  # feeds by number, and how many entries of each
Bounds = tuple[int, int, int, int]  # lowest and highest hlc, lowest and highest row, both included


class Page(NamedTuple):
    """Records in the order asked for. `older` is None when there is nothing older.

    `newer` is where to go on upwards, also later on: the new end of a timeline is never final. `is_cut` when a
    bound of the page ended it, not the timeline; one that looks at so many spans may end a page without any.
    """

    records: list[Record]
    older: Cursor | None
    newer: Cursor
    is_cut: bool


class _Statement(NamedTuple):
    """SQL, and what is bound in it beside bounds and limit."""

    sql: str
    branches: tuple[Values, ...]
    check_values: Values
    descending: bool
    known: Order | None = None  # of a statement for a feed up to some size: its branches are merged in this order
    check: str | None = None  # then: which of a list of rows pass
    text: str | None = None  # and the words that these are to hold


# Record._make without its Python frame: a quarter of its time less, for every record of every page.
_record: Final[Callable[[tuple[Any, ...]], Record]] = partial(tuple.__new__, Record)

_BODIES: Final = "LEFT JOIN bodies b ON b.row = s.row"
_LISTED: Final = "json_each(?) found CROSS JOIN spans s ON s.row = found.value"
_IN_FEED: Final = (
    "SELECT s.seq, s.hlc, s.row FROM spans s INDEXED BY spans_by_place WHERE s.feed = ? AND s.seq >= ? AND s.seq < ?"
)
_FROM: Final = f"{_IN_FEED} ORDER BY s.seq LIMIT 1"


def select_page(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feeds: Mapping[int, FeedRef],
    query: Query,
    *,
    before: Cursor | None = None,
    after: Cursor | None = None,
) -> Page:
    """The `query.limit` matches nearest below `before` or above `after`; without them, the first of the sort.

    Fewer, but one at least, where their bodies are larger than PAGE_BYTES_MAX.
    Raises CallerError "cursor.invalid" (a cursor of the other order), "search.off" or "filter.invalid".
    """
    assert before is None or after is None
    cursor = before or after
    if cursor and cursor.order != query.order:
        raise CallerError("cursor.invalid", f"it counts in {cursor.order} order, the query in {query.order} order")
    if query.text:
        search_position(conn, tenant.number)
    descending = before is not None or (after is None and query.descending)
    bounds = _bounds(tenant.number, query)
    if cursor and query.order == "arrival":
        bounds = _beyond(bounds, row_of(tenant.number, cursor.number), descending=descending)
    statement = _plan(conn, tenant.number, query, bounds, descending=descending)
    if query.order == "timeline":
        found, weight, reached = _in_timeline(conn, statement, feeds, bounds, query.limit + 1, cursor)
    else:
        found, weight, reached = _fetch(conn, statement, bounds, query.limit + 1)
    records = found[: query.limit if weight <= PAGE_BYTES_MAX else min(query.limit, fitting(found, PAGE_BYTES_MAX))]
    is_cut = len(records) < len(found)
    older, newer = page_ends(records, feeds, query, cursor, descending=descending, is_cut=is_cut)
    if reached is not None and not is_cut:
        end, is_cut = end_cursor(query.order, reached, descending=descending), True
        older, newer = (end, newer if records or cursor else end) if descending else (older, end)
    if descending != query.descending:
        records.reverse()
    return Page(records, older, newer, is_cut)


def select_new(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    query: Query,
    after_position: int,
    limit: int,
    bytes_max: int = PAGE_BYTES_MAX,
) -> tuple[list[Record], int]:
    """Matches that arrived after a position, in arrival order, and the position up to which all were looked at.

    At most `limit` and about `bytes_max` of them, of TAIL_ROWS_MAX spans: below the newest there is more to come.
    Raises CallerError "search.off" or "filter.invalid".
    """
    number = tenant.number
    if query.text:
        search_position(conn, number)
    low, high, _, end = _bounds(number, query)
    start = row_of(number, after_position + 1)
    (newest,) = conn.execute("SELECT max(row) FROM spans WHERE row BETWEEN ? AND ?", (start, end)).fetchone()
    if newest is None:
        return [], after_position
    stop = min(newest, start + TAIL_ROWS_MAX - 1)
    # The index may lag behind the newest spans, so a tail matches their texts itself.
    terms = terms_of(conn, number, msgspec.structs.replace(query, text=None, order="arrival"))
    statement = _led_by(walk(number, "arrival"), terms, "arrival", descending=False)
    records, weight, _ = _fetch(conn, statement, (low, high, start, stop), limit, bytes_max)
    is_cut = len(records) == limit or weight > bytes_max
    scanned_to = records[-1].position if is_cut else stop & POSITION_MASK
    if query.text and records:
        found = matches(conn, [record.body for record in records], query.text)
        records = [record for number, record in enumerate(records) if number in found]
    return records, scanned_to


def _bounds(number: int, query: Query) -> Bounds:
    """The query's time range, and all rows of the tenant."""
    low = 0 if query.since_ms is None else hlc_from_ms(query.since_ms)
    high = HLC_MAX if query.until_ms is None else hlc_from_ms(query.until_ms) - 1
    return low, high, row_of(number, 1), row_of(number, POSITION_MASK)


def _beyond(bounds: Bounds, row: int, *, descending: bool) -> Bounds:
    low, high, first, last = bounds
    return (low, high, first, row - 1) if descending else (low, high, row + 1, last)


def _in_timeline(
    conn: sqlite3.Connection,
    statement: _Statement,
    feeds: Mapping[int, FeedRef],
    bounds: Bounds,
    wanted: int,
    cursor: Cursor | None,
) -> Found:
    """The first `wanted` records beyond the cursor, or as many as make a page heavy, by hlc and then by leaf hash.

    Only spans of different feeds share an hlc, so a tie group is no longer than there are feeds, and is read whole.
    """
    low, high, first, last = bounds
    edge: list[Record] = []
    edge_weight = tied_weight = 0

    def key(record: Record) -> bytes:
        return place_of(record, feeds, "timeline").key

    def tied(hlc: int) -> Found:
        return _fetch(conn, statement, (hlc, hlc, first, last), _NO_LIMIT)

    if cursor:
        at = cursor.number
        beyond = lt if statement.descending else gt
        if low <= at <= high:
            edge, edge_weight, _ = tied(at)
            edge = sorted((r for r in edge if beyond(key(r), cursor.key)), key=key, reverse=statement.descending)
        low, high = (low, min(high, at - 1)) if statement.descending else (max(low, at + 1), high)
    records, weight, reached = _fetch(conn, statement, (low, high, first, last), wanted)
    if len(feeds) == 1:
        return Found(edge + records, edge_weight + weight, reached)  # nothing can be tied
    hlcs = [record.hlc for record in records]
    if not all(map(gt if statement.descending else lt, hlcs, hlcs[1:])):
        # A bound may have cut the last tie group anywhere.
        end, tied_weight, _ = tied(hlcs[-1])
        records = [record for record in records if record.hlc != hlcs[-1]] + end
        records.sort(key=key, reverse=statement.descending)
    return Found(edge + records, edge_weight + weight + tied_weight, reached)


def _fetch(
    conn: sqlite3.Connection, statement: _Statement, bounds: Bounds, limit: int, bytes_max: int = PAGE_BYTES_MAX
) -> Found:
    """The first `limit` records by its order; fewer where they weigh more than `bytes_max` without the last of them.

    SQLite reads a body only with its row, and steps grow: little beyond the bound is in anybody's memory.
    """
    if not statement.branches:
        return Found([], 0)
    rows: list[tuple[Any, ...]] = []
    weight = 0
    found, reached = _candidates(conn, statement, bounds, limit)
    with closing(found):
        while step := found.fetchmany(min(len(rows) or 1, PAGE_STEP_SPANS_MAX)):
            rows += step
            weight += sum([len(row[_BODY] or b"") for row in step])
            if weight > bytes_max and len(rows) > 1 and limit != _NO_LIMIT:
                break
    return Found(list(map(_record, rows)), weight, reached)


def _candidates(
    conn: sqlite3.Connection, statement: _Statement, bounds: Bounds, limit: int
) -> tuple[sqlite3.Cursor, int | None]:
    """The first `limit` rows of a statement, still to be read; and behind what nothing was looked at, if anything."""
    if statement.known is not None:
        found, reached = _known_rows(conn, statement, bounds, limit)
        return conn.execute(f"SELECT {RECORD_COLUMNS} FROM {_LISTED} {_BODIES}", (json.dumps(found),)), reached
    values: list[object] = []
    for branch in statement.branches:
        values += branch + bounds + statement.check_values
    return conn.execute(statement.sql, [*values, limit]), None


def _known_rows(
    conn: sqlite3.Connection, statement: _Statement, bounds: Bounds, limit: int
) -> tuple[list[int], int | None]:
    """The rows of the first `limit` spans of several feeds that pass; how far it looked, where that was enough."""
    ways = [_walk_feed(conn, statement, branch, bounds) for branch in statement.branches]
    walked = merge(*ways, reverse=statement.descending)
    passed: list[int] = []
    looked = 0
    while ahead := list(islice(walked, max(looked, PAGE_STEP_SPANS_MAX))):
        looked += len(ahead)
        is_over = looked >= KNOWN_SPANS_MAX
        if is_over:  # with what is tied with the last of them
            ahead += takewhile(lambda place: place[0] == ahead[-1][0], walked)  # noqa: B023 - it is called at once
        passed += _passing(conn, statement, [row for _, row in ahead])
        if len(passed) >= limit != _NO_LIMIT:
            return passed[:limit], None
        if is_over and limit != _NO_LIMIT:
            return passed, ahead[-1][0]
    return passed, None


def _passing(conn: sqlite3.Connection, statement: _Statement, rows: list[int]) -> list[int]:
    """Those of these rows that pass the checks of a statement, and hold its words."""
    if statement.check:
        passed = {row for (row,) in conn.execute(statement.check, (json.dumps(rows), *statement.check_values))}
        rows = [row for row in rows if row in passed]
    if not statement.text:
        return rows
    found: list[int] = []
    for at in range(0, len(rows), PAGE_STEP_SPANS_MAX):
        step = rows[at : at + PAGE_STEP_SPANS_MAX]
        bodies = [conn.execute("SELECT body FROM bodies WHERE row = ?", (row,)).fetchone() for row in step]
        holding = matches(conn, [body and body[0] for body in bodies], statement.text)
        found += [row for number, row in enumerate(step) if number in holding]
    return found


def _walk_feed(
    conn: sqlite3.Connection, statement: _Statement, branch: Values, bounds: Bounds
) -> Iterator[tuple[int, int]]:
    """Place in the order and row of the spans in a feed's beginning, in steps that grow."""
    (feed, size), (low, high, first, last) = branch, bounds
    assert isinstance(feed, int)
    assert isinstance(size, int)
    # The later a span stands in its feed, the later it is in both orders.
    start = _first_seq(conn, feed, size, lambda hlc, row: hlc >= low and row >= first)
    stop = _first_seq(conn, feed, size, lambda hlc, row: hlc > high or row > last)
    step = PAGE_STEP_SPANS_MAX
    while start < stop:
        found = conn.execute(statement.sql, (feed, start, stop, step)).fetchall()
        for _, hlc, row in found:
            yield (hlc if statement.known == "timeline" else row), row
        if len(found) < step:
            return
        reached = found[-1][0]
        start, stop = (start, reached) if statement.descending else (reached + 1, stop)
        step *= 2


def _first_seq(conn: sqlite3.Connection, feed: int, size: int, is_reached: Callable[[int, int], bool]) -> int:
    """Where the first span of a feed stands whose hlc and row reach something; `size` if none before that does.

    As many looks as `size` has bits.
    """
    start, stop = 0, size
    while start < stop:
        middle = (start + stop) // 2
        found = conn.execute(_FROM, (feed, middle, stop)).fetchone()
        if found is None or is_reached(found[1], found[2]):
            stop = middle
        else:
            start = found[0] + 1
    return start


def _plan(conn: sqlite3.Connection, number: int, query: Query, bounds: Bounds, *, descending: bool) -> _Statement:
    """The statement for a query, led by the index with the fewest candidates.

    An index that yields another order than the query's has its candidates sorted, so it leads only with few.
    """
    terms = terms_of(conn, number, query)
    leads = [term.lead for term in terms if term.lead]
    if len(leads) == 1 and leads[0].via.yields == query.order and query.known is None:
        return _led_by(leads[0], terms, query.order, descending=descending)
    fewest, best = LEAD_ROWS_MAX + 1, walk(number, query.order)
    for lead in leads:
        count = _count(conn, lead, bounds)
        if count < fewest and (count < LEAD_ROWS_MAX or lead.via.yields == query.order):
            fewest, best = count, lead
    is_searched = query.text is not None and best.via.row != "search.rowid"
    if query.known is not None and (fewest >= LEAD_ROWS_MAX or is_searched):
        # A search is made once for a whole statement, and of many spans; so their texts are matched themselves.
        checks = terms_of(conn, number, msgspec.structs.replace(query, known=None, text=None))
        return _of_feeds(query, query.known, checks, descending=descending)
    return _led_by(best, terms, query.order, descending=descending)


def _led_by(lead: Lead, terms: list[Term], order: Order, *, descending: bool) -> _Statement:
    checks = [term for term in terms if term.lead is not lead]
    sql = _page_sql(lead.via, len(lead.branches), tuple([term.check for term in checks]), order, descending=descending)
    return _Statement(sql, lead.branches, tuple([value for term in checks for value in term.values]), descending)


def _of_feeds(query: Query, known: Sizes, checks: list[Term], *, descending: bool) -> _Statement:
    """A statement for one feed up to some size, to be asked of each of these; checks and text come after."""
    sql = f"{_IN_FEED} ORDER BY s.seq {'DESC' if descending else 'ASC'} LIMIT ?"
    where = "".join([f" AND {term.check}" for term in checks])
    check = f"SELECT s.row FROM {_LISTED} WHERE 1{where}" if checks else None
    values = tuple([value for term in checks for value in term.values])
    return _Statement(sql, known, values, descending, query.order, check, query.text)


def _count(conn: sqlite3.Connection, lead: Lead, bounds: Bounds) -> int:
    """How many candidates an index has, counted no further than LEAD_ROWS_MAX."""
    if not lead.branches:
        return 0
    values = [value for branch in lead.branches for value in branch + bounds]
    found: tuple[int] = conn.execute(_count_sql(lead.via, len(lead.branches)), [*values, LEAD_ROWS_MAX]).fetchone()
    return found[0]


@lru_cache(maxsize=256)
def _page_sql(index: Index, branches: int, checks: tuple[str, ...], order: Order, *, descending: bool) -> str:
    """Records, straight from an index that yields their order; else first the rows of those few, and then they.

    CROSS JOIN keeps the order of what stands left of it.
    """
    way = f"{'DESC' if descending else 'ASC'} LIMIT ?"
    if index.yields == order and branches == 1:
        key = index.hlc if order == "timeline" else index.row
        source = _source(index, needs_span=True)
        where = _where(index, checks)
        return f"SELECT {RECORD_COLUMNS} FROM {source} {_BODIES} WHERE {where} ORDER BY {key} {way}"
    rows = f"{_rows_sql(index, branches, checks)} ORDER BY {'hlc' if order == 'timeline' else 'row'} {way}"
    return f"SELECT {RECORD_COLUMNS} FROM ({rows}) found CROSS JOIN spans s ON s.row = found.row {_BODIES}"


@lru_cache(maxsize=256)
def _count_sql(index: Index, branches: int) -> str:
    return f"SELECT count(*) FROM ({_rows_sql(index, branches, ())} LIMIT ?)"


def _rows_sql(index: Index, branches: int, checks: tuple[str, ...]) -> str:
    source = _source(index, needs_span=bool(checks))
    branch = f"SELECT {index.hlc} AS hlc, {index.row} AS row FROM {source} WHERE {_where(index, checks)}"
    return " UNION ALL ".join([branch] * branches)


def _source(index: Index, *, needs_span: bool) -> str:
    if index.row != "s.row" and (needs_span or index.hlc == "s.hlc"):
        return f"{index.source} CROSS JOIN spans s ON s.row = {index.row}"
    return index.source


def _where(index: Index, checks: tuple[str, ...]) -> str:
    """Binds the values of a branch, four bounds, the values of the checks."""
    return " AND ".join((index.where, f"{index.hlc} BETWEEN ? AND ?", f"{index.row} BETWEEN ? AND ?", *checks))
