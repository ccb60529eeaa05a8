"""Every walk by cursors gives exactly what a plain filter over all spans gives, and by the right index."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lognode.core.clock import hlc_from_ms
from lognode.core.errors import CallerError
from lognode.core.limits import FILTER_KINDS_MAX, PAGE_BYTES_MAX
from lognode.timeline.query import ORDERS, Order, Query, arrival_cursor, timeline_cursor
from lognode.timeline.store.read import pages
from lognode.timeline.store.read.pages import select_new
from lognode.timeline.store.read.search import search_enable
from tests.timeline.walks import Timeline, down, matching, positions, queries, timelines, up


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(st.data())
def test_walks_in_both_directions_give_the_brute_force_answer_each_span_once(data: st.DataObject) -> None:
    timeline = data.draw(timelines())
    query = data.draw(queries(timeline))
    expected = [row.position for row in matching(timeline.valid(), query)]
    falling = expected if query.descending else expected[::-1]
    with pytest.MonkeyPatch.context() as patch:
        # Small timelines, so that each index is at times one that has too many candidates to be sorted.
        patch.setattr(pages, "LEAD_ROWS_MAX", data.draw(st.sampled_from([1, 4, 1024])))
        first = timeline.page(query)
        assert positions(first.records) == expected[: query.limit]
        chunks = list(down(timeline, query))
        assert [position for chunk in chunks for position in chunk] == falling
        assert all(len(chunk) == query.limit for chunk in chunks[:-1])
        assert [position for chunk in up(timeline, query) for position in chunk] == falling[::-1]


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(st.data())
def test_pages_that_end_early_by_their_bytes_still_give_each_span_once(data: st.DataObject) -> None:
    timeline = data.draw(timelines())
    query = data.draw(queries(timeline))
    rising = [row.position for row in matching(timeline.valid(), msgspec.structs.replace(query, descending=False))]
    bytes_max = data.draw(st.integers(0, 400))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "LEAD_ROWS_MAX", data.draw(st.sampled_from([1, 1024])))
        patch.setattr(pages, "PAGE_BYTES_MAX", bytes_max)
        patch.setattr(pages, "PAGE_STEP_SPANS_MAX", data.draw(st.integers(1, 4)))
        assert [position for chunk in down(timeline, query) for position in chunk] == rising[::-1]
        assert [position for chunk in up(timeline, query) for position in chunk] == rising
        for cursor in (None, timeline.page(query).newer):
            page = timeline.page(query) if cursor is None else timeline.page(query, before=cursor)
            assert len(page.records) == 1 or sum(record.weight for record in page.records) <= bytes_max
            assert not page.is_cut or page.records


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(st.data())
def test_one_can_turn_round_on_every_page(data: st.DataObject) -> None:
    timeline = data.draw(timelines())
    query = data.draw(queries(timeline))
    rising = [row.position for row in matching(timeline.valid(), msgspec.structs.replace(query, descending=False))]
    query = msgspec.structs.replace(query, descending=False)
    page = timeline.page(query)
    low, high = 0, len(page.records)
    for upward in data.draw(st.lists(st.booleans(), max_size=12)):
        if upward:
            page = timeline.page(query, after=page.newer)
            low, high = high, min(high + query.limit, len(rising))
        elif page.older:
            page = timeline.page(query, before=page.older)
            low, high = max(0, low - query.limit), low
        assert positions(page.records) == rising[low:high]
        assert page.older or low == 0


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(st.data())
def test_the_place_of_any_span_serves_any_filter(data: st.DataObject) -> None:
    timeline = data.draw(timelines().filter(lambda timeline: timeline.rows[1]))
    query = data.draw(queries(timeline))
    at = data.draw(st.sampled_from(timeline.rows[1]))
    by_time = query.order == "timeline"
    cursor = timeline_cursor(at.hlc, at.leaf) if by_time else arrival_cursor(at.position)
    rising = matching(timeline.valid(), msgspec.structs.replace(query, descending=False))
    keys = [((row.hlc, row.leaf) if by_time else (row.position, b""), row.position) for row in rising]
    place = (at.hlc, at.leaf) if by_time else (at.position, b"")
    below = [position for key, position in keys if key < place][-query.limit :]
    above = [position for key, position in keys if key > place][: query.limit]
    turn = -1 if query.descending else 1
    assert positions(timeline.page(query, before=cursor).records) == below[::turn]
    assert positions(timeline.page(query, after=cursor).records) == above[::turn]


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(st.data())
def test_a_live_tail_gives_every_match_once_whatever_it_asks_at_a_time(data: st.DataObject) -> None:
    timeline = data.draw(timelines())
    query = data.draw(queries(timeline))
    rows = timeline.rows[1]
    expected = sorted(row.position for row in matching(timeline.valid(), query))
    start = data.draw(st.integers(0, len(rows)))
    position, found = start, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "TAIL_ROWS_MAX", data.draw(st.integers(1, 10)))
        patch.setattr(pages, "PAGE_BYTES_MAX", data.draw(st.sampled_from([100, 1 << 20])))
        patch.setattr(pages, "PAGE_STEP_SPANS_MAX", data.draw(st.integers(1, 4)))
        while position < len(rows):
            limit = data.draw(st.integers(1, 4))
            records, scanned_to = select_new(timeline.conn, timeline.tenant, query, position, limit)
            assert position < scanned_to <= len(rows)
            assert len(records) <= limit
            found += positions(records)
            position = scanned_to
        assert select_new(timeline.conn, timeline.tenant, query, position, 1) == ([], position)
    assert found == [position for position in expected if position > start]


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(st.data())
def test_a_walk_while_cuts_change_gives_what_is_never_void_once_and_what_is_always_void_never(
    data: st.DataObject,
) -> None:
    timeline = data.draw(timelines())
    query = data.draw(queries(timeline))
    query = msgspec.structs.replace(query, descending=data.draw(st.booleans()))
    page = timeline.page(query)
    found = positions(page.records)
    meanings = [{row.position for row in matching(timeline.valid(), query)}]
    while page.older if query.descending else page.records:
        timeline.make_void(data.draw)
        meanings.append({row.position for row in matching(timeline.valid(), query)})
        page = timeline.page(
            query, **({"before": page.older} if page.older and query.descending else {"after": page.newer})
        )
        found += positions(page.records)
    assert len(found) == len(set(found))
    assert set.intersection(*meanings) <= set(found) <= set.union(*meanings)


def tied() -> tuple[Timeline, list[int]]:
    """Twelve feeds with one hlc, between two spans of other times; positions in timeline order."""
    timeline = Timeline()
    feeds = [timeline.add_feed(timeline.tenant) for _ in range(12)]
    timeline.add(feeds[0], 100)
    for feed in feeds:
        timeline.add(feed, 200)
    timeline.add(feeds[5], 300)
    rows = sorted(timeline.rows[1], key=lambda row: (row.hlc, row.leaf))
    return timeline, [row.position for row in rows]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 11, 12, 13, 14])
def test_spans_of_one_hlc_stand_by_leaf_hash_on_every_page_size(limit: int) -> None:
    timeline, expected = tied()
    query = Query(limit=limit)
    assert [position for chunk in down(timeline, query) for position in chunk] == expected[::-1]
    assert [position for chunk in up(timeline, query) for position in chunk] == expected


def test_a_span_that_arrives_late_is_found_above_a_cursor_below_it() -> None:
    timeline = Timeline()
    feeds = [timeline.add_feed(timeline.tenant) for _ in range(2)]
    first = timeline.add(feeds[0], 100)
    timeline.add(feeds[0], 300)
    page = timeline.page(Query(descending=False, limit=1))
    late = timeline.add(feeds[1], 200)
    assert positions(timeline.page(Query(descending=False), after=page.newer).records) == [late.position, 2]
    assert page.newer == timeline_cursor(first.hlc, first.leaf)


def test_the_newest_end_of_an_empty_page_is_a_place_to_go_on_from() -> None:
    timeline = Timeline()
    empty = {order: timeline.page(Query(order=order)) for order in ORDERS}
    timeline.add(timeline.add_feed(timeline.tenant), 0)
    for order in ORDERS:
        assert empty[order].older is None
        assert positions(timeline.page(Query(order=order), after=empty[order].newer).records) == [1]


def test_a_cursor_outside_the_time_range_stands_before_or_behind_all_of_it() -> None:
    timeline = Timeline()
    feeds = [timeline.add_feed(timeline.tenant) for _ in range(2)]
    rows = [timeline.add(feed, hlc_from_ms(ms)) for ms in range(1, 8) for feed in feeds]
    rows.sort(key=lambda row: (row.hlc, row.leaf))
    query = Query(since_ms=3, until_ms=6, descending=False)
    first, last = timeline_cursor(rows[0].hlc, rows[0].leaf), timeline_cursor(rows[-1].hlc, rows[-1].leaf)
    inside = [row.position for row in rows[4:10]]
    assert positions(timeline.page(query, after=first).records) == inside
    assert positions(timeline.page(query, before=last).records) == inside
    assert timeline.page(query, after=last).records == timeline.page(query, before=first).records == []


def test_an_empty_page_leads_back_to_the_span_at_its_cursor() -> None:
    timeline = Timeline()
    row = timeline.add(timeline.add_feed(timeline.tenant), 5)
    for cursor in (timeline_cursor(row.hlc, row.leaf), arrival_cursor(row.position)):
        query = Query(order=cursor.order)
        bottom, top = timeline.page(query, before=cursor), timeline.page(query, after=cursor)
        assert (bottom.records, bottom.older, top.records, top.newer) == ([], None, [], cursor)
        assert top.older is not None
        assert positions(timeline.page(query, after=bottom.newer).records) == [1]
        assert positions(timeline.page(query, before=top.older).records) == [1]


def test_a_cursor_of_the_other_order_is_refused() -> None:
    timeline, _ = tied()
    with pytest.raises(CallerError) as caught:
        timeline.page(Query(), before=arrival_cursor(3))
    assert caught.value.code == "cursor.invalid"


def test_more_kinds_below_a_prefix_than_one_statement_merges_are_found_all_the_same() -> None:
    timeline = Timeline()
    feed = timeline.add_feed(timeline.tenant)
    for number in range(FILTER_KINDS_MAX + 10):
        timeline.add(feed, 2 * number + 1, f"many.k{number}")
        timeline.add(feed, 2 * number + 2, f"few.k{number % 3}")
    found = timeline.page(Query(kinds=("many.*",), limit=1000)).records
    assert positions(found) == list(range(2 * FILTER_KINDS_MAX + 19, 0, -2))


def test_a_tail_sees_texts_before_they_are_indexed() -> None:
    timeline = Timeline()
    search_enable(timeline.conn, timeline.tenant.number)
    feed = timeline.add_feed(timeline.tenant)
    timeline.add(feed, 1, title="Red sky")
    timeline.add(feed, 2, title="red sea", has_body=False)
    timeline.add(feed, 3, data=["the red one"])
    query = Query(text="red")
    records, scanned_to = select_new(timeline.conn, timeline.tenant, query, 0, 10)
    assert (positions(records), scanned_to) == ([1, 3], 3)
    assert timeline.page(query).records == []


def test_text_is_refused_for_a_tenant_without_search() -> None:
    timeline, _ = tied()
    query = Query(text="red")
    with pytest.raises(CallerError) as page:
        timeline.page(query)
    with pytest.raises(CallerError) as tail:
        select_new(timeline.conn, timeline.tenant, query, 0, 1)
    assert page.value.code == tail.value.code == "search.off"


def test_a_body_that_is_not_held_leaves_its_span_in_the_page() -> None:
    timeline = Timeline()
    timeline.add(timeline.add_feed(timeline.tenant), 1, has_body=False)
    (record,) = timeline.page(Query()).records
    assert record.body is None


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("title", ["x" * 700_000, "x" * (PAGE_BYTES_MAX + 1)])
def test_a_page_of_large_bodies_ends_early_but_never_empty(order: Order, title: str) -> None:
    timeline = Timeline()
    feed = timeline.add_feed(timeline.tenant)
    for number in range(1, 9):
        timeline.add(feed, number, title=title)
    fitting = max(1, PAGE_BYTES_MAX // len(title))
    query = Query(order=order)
    assert [len(chunk) for chunk in down(timeline, query)][:-1] == [fitting] * ((8 - 1) // fitting)
    assert [position for chunk in down(timeline, query) for position in chunk] == list(range(8, 0, -1))
    assert [position for chunk in up(timeline, query) for position in chunk] == list(range(1, 9))


def test_a_page_leaves_no_statement_open() -> None:
    timeline = Timeline()
    feed = timeline.add_feed(timeline.tenant)
    for number in range(1, 9):
        timeline.add(feed, number, title="x" * PAGE_BYTES_MAX)
    page = timeline.page(Query())
    timeline.conn.execute("VACUUM")  # refused while a statement is open
    assert positions(page.records) == [8]
