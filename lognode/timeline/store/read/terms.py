"""The terms of a query in SQL: one for each filter, and the index that can serve it.

Owns what is known of the indexes. Knows neither cursors nor pages. Invariant: a term's condition holds for the same
spans, whether it leads or checks.
"""

import sqlite3
from typing import Final, NamedTuple

from lognode.core.limits import FILTER_KINDS_MAX
from lognode.core.span import EXECUTED
from lognode.timeline.agreement.merges import MERGE
from lognode.timeline.query import PREFIX, Order, Query
from lognode.timeline.record import CONTRACT, FLOW, ORIGIN, POSITION_MASK, SUBJECT, TAG, WORKFLOW, row_of
from lognode.timeline.store.read.search import match_expression
from lognode.timeline.store.read.voids import IS_VALID, has_voids

Values = tuple[object, ...]


class Index(NamedTuple):
    """A way into the spans: a FROM clause, its condition, where it has hlc and row, the order that it yields."""

    source: str
    where: str
    hlc: str
    row: str
    yields: Order | None


class Lead(NamedTuple):
    """An index and what to bind for its condition; of several branches SQLite merges the candidates."""

    via: Index
    branches: tuple[Values, ...]


class Term(NamedTuple):
    """One filter: a condition on the span s and, where an index serves it, the lead that it can be instead."""

    check: str
    values: Values
    lead: Lead | None = None


_KIND: Final = "s.kind = (SELECT kind FROM kinds WHERE tenant = ? AND name = ?)"
# The kind is looked up once, not per candidate.
_NO_MERGE: Final = "s.kind <> coalesce((SELECT kind FROM kinds WHERE tenant = ? AND name = ?), -1)"
_ACTOR: Final = "s.actor = (SELECT actor FROM actors WHERE tenant = ? AND logline = ?)"
_LABEL: Final = (
    "EXISTS (SELECT 1 FROM labels l"
    " WHERE l.tenant = ? AND l.field = ? AND l.value = ? AND l.hlc = s.hlc AND l.row = s.row)"
)
# Read once, not per candidate: each look into FTS5 costs as much as reading hundreds of its matches.
_TEXT: Final = "s.row IN (SELECT rowid FROM search WHERE search MATCH ? AND rowid BETWEEN ? AND ?)"

_BY_ROW: Final = Index("spans s NOT INDEXED", "s.tenant = ?", "s.hlc", "s.row", "arrival")
_BY_TIME: Final = Index("spans s INDEXED BY spans_by_time", "s.tenant = ?", "s.hlc", "s.row", "timeline")
_BY_KIND: Final = Index("spans s INDEXED BY spans_by_kind", _KIND, "s.hlc", "s.row", "timeline")
_BY_ACTOR: Final = Index("spans s INDEXED BY spans_by_actor", _ACTOR, "s.hlc", "s.row", "timeline")
# The first condition on status is that of the partial index, which a bound value cannot show to hold.
_BY_STATUS: Final = Index(
    "spans s INDEXED BY spans_by_status",
    "s.tenant = ? AND s.status <> 0 AND s.status = ?", "s.hlc", "s.row", "timeline",
)  # fmt: skip
_BY_CAUSE: Final = Index(
    "spans s INDEXED BY spans_by_cause", "s.tenant = ? AND s.caused_by = ?", "s.hlc", "s.row", "arrival"
)
_BY_LABEL: Final = Index("labels l", "l.tenant = ? AND l.field = ? AND l.value = ?", "l.hlc", "l.row", "timeline")
_BY_TEXT: Final = Index("search", "search MATCH ?", "s.hlc", "search.rowid", "arrival")


def walk(number: int, order: Order) -> Lead:
    """The tenant's whole timeline, in its order."""
    return Lead(_BY_TIME if order == "timeline" else _BY_ROW, ((number,),))


def terms_of(conn: sqlite3.Connection, number: int, query: Query) -> list[Term]:
    """A query's filters, but for its time range; of two that count alike, the first leads.

    What is void is left out where the tenant has anything void.
    """
    found = []
    labels = [
        (ORIGIN, query.origin), (FLOW, query.flow_id), (WORKFLOW, query.workflow_id), (CONTRACT, query.contract_id),
        (SUBJECT, query.subject), *[(TAG, tag) for tag in query.tags],
    ]  # fmt: skip
    for field, value in labels:
        if value is not None:
            found.append(_term(_LABEL, (number, field, value), _BY_LABEL))
    if query.caused_by is not None:
        found.append(Term("s.caused_by = ?", (query.caused_by,), Lead(_BY_CAUSE, ((number, query.caused_by),))))
    if query.text is not None:
        words, rows = match_expression(query.text), (row_of(number, 1), row_of(number, POSITION_MASK))
        found.append(Term(_TEXT, (words, *rows), Lead(_BY_TEXT, ((words,),))))
    if query.actor is not None:
        found.append(_term(_ACTOR, (number, query.actor), _BY_ACTOR))
    if query.kinds:
        found.append(_kind_term(conn, number, query))
    if query.status is not None:
        lead = None if query.status == EXECUTED else Lead(_BY_STATUS, ((number, query.status),))
        found.append(Term("s.status = ?", (query.status,), lead))
    if query.visibility is not None:
        found.append(Term("s.visibility = ?", (query.visibility,)))
    if not query.merges:
        found.append(Term(_NO_MERGE, (number, MERGE)))
    if query.known is not None:
        sizes = "".join([" WHEN ? THEN ?"] * len(query.known))
        check = f"s.seq < CASE s.feed{sizes} ELSE 0 END" if query.known else "0"
        found.append(Term(check, tuple([value for place in query.known for value in place])))
    if has_voids(conn, number):
        found.append(Term(IS_VALID, ()))
    return found


def _term(check: str, values: Values, index: Index) -> Term:
    return Term(check, values, Lead(index, (values,)))


def _kind_term(conn: sqlite3.Connection, number: int, query: Query) -> Term:
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
        return Term(check, tuple(values))
    return Term(check, tuple(values), Lead(_BY_KIND, tuple((number, name) for (name,) in names)))
