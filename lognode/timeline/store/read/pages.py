"""Pages of a timeline: from a Query and a cursor to one SQL statement, and its rows in order.

One term of the query leads: its index yields candidates, the other terms check them. Where several indexes
could lead, each is counted up to LEAD_ROWS_MAX and the smallest does. Knows no JSON and writes nothing.
Invariant: a walk by cursors gives every span that matches exactly once, also where spans share one hlc; the row
range in every statement keeps it inside its tenant.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import lru_cache, partial
from operator import gt, lt
from typing import Any, Final, NamedTuple

import msgspec

from lognode.core.clock import HLC_MAX, hlc_from_ms
from lognode.core.errors import CallerError
from lognode.core.limits import FILTER_KINDS_MAX, LEAD_ROWS_MAX, PAGE_BYTES_MAX, PAGE_STEP_SPANS_MAX, TAIL_ROWS_MAX
from lognode.core.span import EXECUTED
from lognode.timeline.query import PREFIX, Cursor, Order, Query, page_ends, place_of
from lognode.timeline.record import (
    CONTRACT,
    FLOW,
    ORIGIN,
    POSITION_MASK,
    RECORD_COLUMNS,
    SUBJECT,
    TAG,
    WORKFLOW,
    FeedRef,
    Record,
    TenantRef,
    fitting,
    row_of,
)
from lognode.timeline.store.read.search import match_expression, matches, search_position

_NO_LIMIT: Final = -1
_BODY: Final = Record._fields.index("body")

Values = tuple[object, ...]
Found = tuple[list["Record"], int]  # records, and no less than what their bodies weigh
Bounds = tuple[int, int, int, int]  # lowest and highest hlc, lowest and highest row, both included


class Page(NamedTuple):
    """Records in the order asked for. `older` is None when there is nothing older.

    `newer` is where to go on upwards, also later on: the new end of a timeline is never final. `is_cut` when a
    bound of the page ended it, not the timeline.
    """

    records: list[Record]
    older: Cursor | None
    newer: Cursor
    is_cut: bool


class _Index(NamedTuple):
    """A way into the spans: a FROM clause, its condition, where it has hlc and row, the order that it yields."""

    source: str
    where: str
    hlc: str
    row: str
    yields: Order | None


class _Lead(NamedTuple):
    """An index and what to bind for its condition; of several branches SQLite merges the candidates."""

    via: _Index
    branches: tuple[Values, ...]


class _Term(NamedTuple):
    """One filter: a condition on the span s and, where an index serves it, the lead that it can be instead."""

    check: str
    values: Values
    lead: _Lead | None = None


class _Statement(NamedTuple):
    """SQL, and what is bound in it beside bounds and limit."""

    sql: str
    branches: tuple[Values, ...]
    check_values: Values
    descending: bool


# Record._make without its Python frame: a quarter of its time less, for every record of every page.
_record: Final[Callable[[tuple[Any, ...]], Record]] = partial(tuple.__new__, Record)

_BODIES: Final = "LEFT JOIN bodies b ON b.row = s.row"
_KIND: Final = "s.kind = (SELECT kind FROM kinds WHERE tenant = ? AND name = ?)"
_ACTOR: Final = "s.actor = (SELECT actor FROM actors WHERE tenant = ? AND logline = ?)"
_LABEL: Final = (
    "EXISTS (SELECT 1 FROM labels l"
    " WHERE l.tenant = ? AND l.field = ? AND l.value = ? AND l.hlc = s.hlc AND l.row = s.row)"
)
# Read once, not per candidate: each look into FTS5 costs as much as reading hundreds of its matches.
_TEXT: Final = "s.row IN (SELECT rowid FROM search WHERE search MATCH ? AND rowid BETWEEN ? AND ?)"

_BY_ROW: Final = _Index("spans s NOT INDEXED", "s.tenant = ?", "s.hlc", "s.row", "arrival")
_BY_TIME: Final = _Index("spans s INDEXED BY spans_by_time", "s.tenant = ?", "s.hlc", "s.row", "timeline")
_BY_KIND: Final = _Index("spans s INDEXED BY spans_by_kind", _KIND, "s.hlc", "s.row", "timeline")
_BY_ACTOR: Final = _Index("spans s INDEXED BY spans_by_actor", _ACTOR, "s.hlc", "s.row", "timeline")
# The first condition on status is that of the partial index, which a bound value cannot show to hold.
_BY_STATUS: Final = _Index(
    "spans s INDEXED BY spans_by_status",
    "s.tenant = ? AND s.status <> 0 AND s.status = ?", "s.hlc", "s.row", "timeline",
)  # fmt: skip
_BY_CAUSE: Final = _Index(
    "spans s INDEXED BY spans_by_cause", "s.tenant = ? AND s.caused_by = ?", "s.hlc", "s.row", "arrival"
)
_BY_LABEL: Final = _Index("labels l", "l.tenant = ? AND l.field = ? AND l.value = ?", "l.hlc", "l.row", "timeline")
_BY_TEXT: Final = _Index("search", "search MATCH ?", "s.hlc", "search.rowid", "arrival")


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
        found, weight = _in_timeline(conn, statement, feeds, bounds, query.limit + 1, cursor)
    else:
        found, weight = _fetch(conn, statement, bounds, query.limit + 1)
    records = found[: query.limit if weight <= PAGE_BYTES_MAX else min(query.limit, fitting(found, PAGE_BYTES_MAX))]
    is_cut = len(records) < len(found)
    older, newer = page_ends(records, feeds, query, cursor, descending=descending, is_cut=is_cut)
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
    terms = _terms(conn, number, msgspec.structs.replace(query, text=None, order="arrival"))
    statement = _led_by(_walk(number, "arrival"), terms, "arrival", descending=False)
    records, weight = _fetch(conn, statement, (low, high, start, stop), limit, bytes_max)
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
            edge, edge_weight = tied(at)
            edge = sorted((r for r in edge if beyond(key(r), cursor.key)), key=key, reverse=statement.descending)
        low, high = (low, min(high, at - 1)) if statement.descending else (max(low, at + 1), high)
    records, weight = _fetch(conn, statement, (low, high, first, last), wanted)
    if len(feeds) == 1:
        return edge + records, edge_weight + weight  # nothing can be tied
    hlcs = [record.hlc for record in records]
    if not all(map(gt if statement.descending else lt, hlcs, hlcs[1:])):
        # A bound may have cut the last tie group anywhere.
        end, tied_weight = tied(hlcs[-1])
        records = [record for record in records if record.hlc != hlcs[-1]] + end
        records.sort(key=key, reverse=statement.descending)
    return edge + records, edge_weight + weight + tied_weight


def _fetch(
    conn: sqlite3.Connection, statement: _Statement, bounds: Bounds, limit: int, bytes_max: int = PAGE_BYTES_MAX
) -> Found:
    """The first `limit` records by its order; fewer where they weigh more than `bytes_max` without the last of them.

    SQLite reads a body only with its row, and steps grow: little beyond the bound is in anybody's memory.
    """
    if not statement.branches:
        return [], 0
    values: list[object] = []
    for branch in statement.branches:
        values += branch + bounds + statement.check_values
    values.append(limit)
    rows: list[tuple[Any, ...]] = []
    weight = 0
    with closing(conn.execute(statement.sql, values)) as found:
        while step := found.fetchmany(min(len(rows) or 1, PAGE_STEP_SPANS_MAX)):
            rows += step
            weight += sum([len(row[_BODY] or b"") for row in step])
            if weight > bytes_max and len(rows) > 1 and limit != _NO_LIMIT:
                break
    return list(map(_record, rows)), weight


def _plan(conn: sqlite3.Connection, number: int, query: Query, bounds: Bounds, *, descending: bool) -> _Statement:
    """The statement for a query, led by the index with the fewest candidates.

    An index that yields another order than the query's has its candidates sorted, so it leads only with few.
    """
    terms = _terms(conn, number, query)
    leads = [term.lead for term in terms if term.lead]
    if len(leads) == 1 and leads[0].via.yields == query.order:
        return _led_by(leads[0], terms, query.order, descending=descending)
    fewest, best = LEAD_ROWS_MAX + 1, _walk(number, query.order)
    for lead in leads:
        count = _count(conn, lead, bounds)
        if count < fewest and (count < LEAD_ROWS_MAX or lead.via.yields == query.order):
            fewest, best = count, lead
    return _led_by(best, terms, query.order, descending=descending)


def _led_by(lead: _Lead, terms: list[_Term], order: Order, *, descending: bool) -> _Statement:
    checks = [term for term in terms if term.lead is not lead]
    sql = _page_sql(lead.via, len(lead.branches), tuple([term.check for term in checks]), order, descending=descending)
    return _Statement(sql, lead.branches, tuple([value for term in checks for value in term.values]), descending)


def _count(conn: sqlite3.Connection, lead: _Lead, bounds: Bounds) -> int:
    """How many candidates an index has, counted no further than LEAD_ROWS_MAX."""
    if not lead.branches:
        return 0
    values = [value for branch in lead.branches for value in branch + bounds]
    found: tuple[int] = conn.execute(_count_sql(lead.via, len(lead.branches)), [*values, LEAD_ROWS_MAX]).fetchone()
    return found[0]


@lru_cache(maxsize=256)
def _page_sql(index: _Index, branches: int, checks: tuple[str, ...], order: Order, *, descending: bool) -> str:
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
def _count_sql(index: _Index, branches: int) -> str:
    return f"SELECT count(*) FROM ({_rows_sql(index, branches, ())} LIMIT ?)"


def _rows_sql(index: _Index, branches: int, checks: tuple[str, ...]) -> str:
    source = _source(index, needs_span=bool(checks))
    branch = f"SELECT {index.hlc} AS hlc, {index.row} AS row FROM {source} WHERE {_where(index, checks)}"
    return " UNION ALL ".join([branch] * branches)


def _source(index: _Index, *, needs_span: bool) -> str:
    if index.row != "s.row" and (needs_span or index.hlc == "s.hlc"):
        return f"{index.source} CROSS JOIN spans s ON s.row = {index.row}"
    return index.source


def _where(index: _Index, checks: tuple[str, ...]) -> str:
    """Binds the values of a branch, four bounds, the values of the checks."""
    return " AND ".join((index.where, f"{index.hlc} BETWEEN ? AND ?", f"{index.row} BETWEEN ? AND ?", *checks))


def _walk(number: int, order: Order) -> _Lead:
    """The tenant's whole timeline, in its order."""
    return _Lead(_BY_TIME if order == "timeline" else _BY_ROW, ((number,),))


def _terms(conn: sqlite3.Connection, number: int, query: Query) -> list[_Term]:
    """A query's filters, but for its time range; of two that count alike, the first leads."""
    terms = []
    labels = [
        (ORIGIN, query.origin), (FLOW, query.flow_id), (WORKFLOW, query.workflow_id), (CONTRACT, query.contract_id),
        (SUBJECT, query.subject), *[(TAG, tag) for tag in query.tags],
    ]  # fmt: skip
    for field, value in labels:
        if value is not None:
            terms.append(_term(_LABEL, (number, field, value), _BY_LABEL))
    if query.caused_by is not None:
        terms.append(_Term("s.caused_by = ?", (query.caused_by,), _Lead(_BY_CAUSE, ((number, query.caused_by),))))
    if query.text is not None:
        words, rows = match_expression(query.text), (row_of(number, 1), row_of(number, POSITION_MASK))
        terms.append(_Term(_TEXT, (words, *rows), _Lead(_BY_TEXT, ((words,),))))
    if query.actor is not None:
        terms.append(_term(_ACTOR, (number, query.actor), _BY_ACTOR))
    if query.kinds:
        terms.append(_kind_term(conn, number, query))
    if query.status is not None:
        lead = None if query.status == EXECUTED else _Lead(_BY_STATUS, ((number, query.status),))
        terms.append(_Term("s.status = ?", (query.status,), lead))
    if query.visibility is not None:
        terms.append(_Term("s.visibility = ?", (query.visibility,)))
    return terms


def _term(check: str, values: Values, index: _Index) -> _Term:
    return _Term(check, values, _Lead(index, (values,)))


def _kind_term(conn: sqlite3.Connection, number: int, query: Query) -> _Term:
    """The filter by kinds. In timeline order each kind is a branch of its own, and SQLite merges their indexes."""
    kinds = query.kinds
    if len(kinds) == 1 and not kinds[0].endswith(PREFIX):
        return _term(_KIND, (number, kinds[0]), _BY_KIND)
    conditions: list[str] = []
    values: list[object] = [number]
    for kind in kinds:
        if kind.endswith(PREFIX):
            # Below "order." and before "order/", its next text: what begins with "order.".
            conditions.append("name >= ? AND name < ?")
            values += [kind[:-1], kind[:-2] + chr(ord(".") + 1)]
        else:
            conditions.append("name = ?")
            values.append(kind)
    among = f"FROM kinds WHERE tenant = ? AND ({' OR '.join(conditions)})"
    check = f"s.kind IN (SELECT kind {among})"
    if query.order == "arrival":
        return _term(check, tuple(values), _BY_KIND._replace(where=check, yields=None))
    names = conn.execute(f"SELECT name {among} LIMIT ?", [*values, FILTER_KINDS_MAX + 1]).fetchall()
    if len(names) > FILTER_KINDS_MAX:
        return _Term(check, tuple(values))
    return _Term(check, tuple(values), _Lead(_BY_KIND, tuple((number, name) for (name,) in names)))
