"""Each filter is served by its index, and an order is sorted only where few spans are left."""

import pytest

from lognode.core.clock import hlc_from_ms
from lognode.core.ids import LogLineKind, SpanId, TenantId, logline
from lognode.timeline.query import Query
from lognode.timeline.record import RECORD_COLUMNS, Record, TenantRef
from lognode.timeline.store.read.pages import select_page
from lognode.timeline.store.read.search import index_next, search_enable
from tests.timeline.rows import Rows

ACTOR = logline(LogLineKind.PERSON, bytes(32))
CAUSE = SpanId(bytes(24))
HALF_MS = 1 << 15


@pytest.fixture(scope="module")
def many() -> Rows:
    """More spans than any index may have sorted; the rare ones are few enough."""
    rows = Rows()
    rows.add_tenant()
    feed = rows.add_feed(rows.add_tenant())
    search_enable(rows.conn, 1)
    rows.conn.execute("BEGIN")
    for number in range(1, 2501):
        rare = "rare" if number % 500 == 0 else None
        rows.add(
            feed, number * HALF_MS, rare or "note", subject=rare, tags=["all"], actor=ACTOR, title=rare,
            status=int(bool(rare)), caused_by=CAUSE if rare else None, flow_id=rare, contract_id=rare, workflow_id=rare,
        )  # fmt: skip
    index_next(rows.conn, 1, 2500)
    rows.conn.execute("COMMIT")
    return rows


def found(rows: Rows, query: Query, tenant: int = 1) -> list[Record]:
    return select_page(rows.conn, TenantRef(tenant, TenantId(bytes(20)), None), rows.feeds, query).records


def plan_of(rows: Rows, query: Query, *, whole: bool = False) -> str:
    """How SQLite runs the statement that reads a page's records."""
    statements: list[str] = []
    rows.conn.set_trace_callback(statements.append)
    records = found(rows, query)
    rows.conn.set_trace_callback(None)
    assert len(records) in (5, query.limit)
    # What checks a candidate comes after the index that found it.
    (statement,) = [text for text in statements if text.startswith(f"SELECT {RECORD_COLUMNS}")]
    steps = "; ".join(row[3] for row in rows.conn.execute(f"EXPLAIN QUERY PLAN {statement}"))
    return steps if whole else steps.partition("CORRELATED")[0]


IN_ORDER = [
    (Query(), "USING INDEX spans_by_time (tenant=? AND hlc>? AND hlc<?)"),
    (Query(merges=False), "USING INDEX spans_by_time (tenant=? AND hlc>? AND hlc<?)"),
    (Query(kinds=("note",)), "USING INDEX spans_by_kind (kind=? AND hlc>? AND hlc<?)"),
    (Query(kinds=("note", "rare")), "USING COVERING INDEX spans_by_kind (kind=? AND hlc>? AND hlc<?)"),
    (
        Query(actor=ACTOR, subject="rare"),
        "l USING PRIMARY KEY (tenant=? AND field=? AND value=? AND hlc>? AND hlc<?)",
    ),
    (Query(kinds=("rare",), tags=("all",)), "USING INDEX spans_by_kind (kind=? AND hlc>? AND hlc<?)"),
    (Query(actor=ACTOR), "USING INDEX spans_by_actor (actor=? AND hlc>? AND hlc<?)"),
    (Query(status=1), "USING INDEX spans_by_status (tenant=? AND status=? AND hlc>? AND hlc<?)"),
    (Query(tags=("all",)), "l USING PRIMARY KEY (tenant=? AND field=? AND value=? AND hlc>? AND hlc<?)"),
    (Query(flow_id="rare"), "l USING PRIMARY KEY (tenant=? AND field=? AND value=? AND hlc>? AND hlc<?)"),
    (Query(contract_id="rare"), "l USING PRIMARY KEY (tenant=? AND field=? AND value=? AND hlc>? AND hlc<?)"),
    (Query(workflow_id="rare"), "l USING PRIMARY KEY (tenant=? AND field=? AND value=? AND hlc>? AND hlc<?)"),
    (Query(order="arrival"), "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    (Query(order="arrival", kinds=("note",)), "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    (Query(order="arrival", caused_by=CAUSE), "USING INDEX spans_by_cause (tenant=? AND caused_by=?"),
    (Query(order="arrival", text="rare"), "search VIRTUAL TABLE INDEX"),
]


@pytest.mark.parametrize(("query", "index"), IN_ORDER)
def test_an_index_that_yields_the_order_asked_for_is_never_sorted(many: Rows, query: Query, index: str) -> None:
    plan = plan_of(many, query)
    assert index in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize(("query", "index"), IN_ORDER)
def test_what_is_void_is_left_out_by_two_keys_for_a_candidate_and_no_other_index(
    many: Rows, query: Query, index: str
) -> None:
    (feed,) = many.feeds.values()
    many.cut(feed, 2500)  # nothing lies beyond it
    try:
        plan = plan_of(many, query, whole=True)
    finally:
        many.conn.execute("DELETE FROM cuts")
    assert index.replace("COVERING ", "") in plan  # the conditions on place need the span
    assert "TEMP B-TREE" not in plan
    assert "SEARCH c USING INTEGER PRIMARY KEY (rowid=?)" in plan
    assert "SEARCH v USING INTEGER PRIMARY KEY (rowid=?)" in plan


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (Query(caused_by=CAUSE), "spans_by_cause"),
        (Query(text="rare"), "search VIRTUAL TABLE INDEX"),
        (Query(order="arrival", kinds=("rare",)), "spans_by_kind"),
        (Query(order="arrival", kinds=("rare", "none.*")), "spans_by_kind"),
        (Query(order="arrival", subject="rare"), "SEARCH l USING PRIMARY KEY"),
        (Query(order="arrival", status=1), "spans_by_status"),
    ],
)
def test_few_candidates_of_another_order_are_sorted(many: Rows, query: Query, index: str) -> None:
    plan = plan_of(many, query)
    assert index in plan
    assert "TEMP B-TREE FOR ORDER BY" in plan


def test_a_time_range_is_a_range_of_hlcs(many: Rows) -> None:
    query = Query(since_ms=10, until_ms=12)
    assert [record.hlc for record in found(many, query)] == [
        hlc_from_ms(11) + HALF_MS, hlc_from_ms(11), hlc_from_ms(10) + HALF_MS, hlc_from_ms(10)
    ]  # fmt: skip


def test_no_kind_actor_or_label_of_another_tenant_is_found(many: Rows) -> None:
    for query in (
        Query(),
        Query(kinds=("note",)),
        Query(actor=ACTOR),
        Query(tags=("all",)),
        Query(order="arrival"),
    ):
        assert found(many, query, tenant=0) == []
