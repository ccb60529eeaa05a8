"""Spans by id, what led to them and what followed."""

import pytest

from lognode.core.draft import Origin
from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import SpanId, b32encode, format_logline
from lognode.timeline.record import FeedRef, Record, id_of
from lognode.timeline.store.read import lookup, pages
from lognode.timeline.store.read.lookup import (
    Walk,
    causes,
    effects,
    find_copy,
    find_span,
    find_span_or_copy,
    records_at,
)
from lognode.timeline.store.read.voids import void_reason
from tests.timeline.rows import BOB, KEYS, Row, Rows

UNKNOWN = SpanId(bytes(24))
ELSEWHERE = [SpanId(bytes(23) + bytes([n])) for n in range(1, 6)]


class Timeline(Rows):
    """One tenant with two feeds, beside another tenant."""

    def __init__(self) -> None:
        super().__init__()
        self.other, self.tenant = self.add_tenant(), self.add_tenant()
        self.feed, self.second = self.add_feed(self.tenant), self.add_feed(self.tenant, BOB)
        self.hlc = 0

    def follow(self, cause: Row | None = None) -> Row:
        self.hlc += 1
        return self.add(self.feed, self.hlc, caused_by=cause.id if cause else None)

    def copy(
        self, span: SpanId, *via: SpanId, caused_by: SpanId | None = None, into: FeedRef | None = None, hlc: int = 0
    ) -> Row:
        """A copy of a span that was recorded elsewhere."""
        self.hlc = hlc or self.hlc + 1
        tenant, feed, node = b32encode(bytes(20)), b32encode(bytes(16)), format_logline(KEYS.logline)
        origin = Origin(
            b32encode(span), "1970-01-01T00:00:00.000Z", tenant, node, feed, 0, actor_signed=False, way="import",
            via=tuple(map(b32encode, via)),
        )  # fmt: skip
        return self.add(into or self.feed, self.hlc, caused_by=caused_by, origin=origin)

    def causes(self, span: SpanId, limit: int = 10) -> Walk:
        return causes(self.conn, self.tenant, self.feeds, span, limit)

    def effects(self, span: SpanId, limit: int = 10) -> Walk:
        return effects(self.conn, self.tenant, self.feeds, span, limit)

    def shown(self, walk: Walk) -> list[tuple[int, int]]:
        return [(depth, record.position) for depth, record in walk.steps]

    def id_of(self, record: Record) -> SpanId:
        return id_of(record, self.feeds[record.feed].feed_id)


def test_a_span_is_found_by_its_id_among_others_of_its_time() -> None:
    timeline = Timeline()
    rows = [timeline.add(feed, 7) for feed in (timeline.feed, timeline.second)]
    for row in rows:
        record = find_span(timeline.conn, timeline.tenant, timeline.feeds, row.id)
        assert record is not None
        assert (record.position, timeline.id_of(record)) == (row.position, row.id)


def test_an_id_is_not_found_when_a_byte_differs_or_the_tenant_does() -> None:
    timeline = Timeline()
    row = timeline.follow()
    timeline.sign(timeline.tenant)
    for place in range(24):
        wrong = SpanId(bytes(byte ^ (place == at) for at, byte in enumerate(row.id)))
        assert find_span(timeline.conn, timeline.tenant, timeline.feeds, wrong) is None
    assert find_span(timeline.conn, timeline.other, timeline.feeds, row.id) is None
    assert find_span(timeline.conn, timeline.tenant, timeline.feeds, SpanId(b"\xff" * 24)) is None


@pytest.mark.parametrize("change", [{"visibility": 2}, {"seq": -1}, {"header": b"\x87"}, {"feed": 99}])
def test_a_damaged_row_is_told_from_an_id_that_nobody_knows(change: dict[str, object]) -> None:
    timeline = Timeline()
    row = timeline.follow()
    timeline.sign(timeline.tenant)
    ((column, value),) = change.items()
    timeline.conn.execute("DROP TRIGGER spans_are_never_changed")
    timeline.conn.execute(f"UPDATE spans SET {column} = ?", (value,))
    with pytest.raises(NodeFault) as caught:
        find_span(timeline.conn, timeline.tenant, timeline.feeds, row.id)
    assert caught.value.code == "database.damaged"


def test_records_come_by_position() -> None:
    timeline = Timeline()
    for _ in range(5):
        timeline.follow()
    timeline.add(timeline.add_feed(timeline.other), 1)
    assert [record.position for record in records_at(timeline.conn, timeline.tenant, 2, 5)] == [2, 3, 4]
    assert [record.position for record in records_at(timeline.conn, timeline.tenant, 0, 2**40 - 1)] == [1, 2, 3, 4, 5]


def test_causes_go_back_step_by_step_to_the_first() -> None:
    timeline = Timeline()
    first = timeline.follow()
    second = timeline.follow(first)
    timeline.follow(first)
    last = timeline.follow(second)
    walk = causes(timeline.conn, timeline.tenant, timeline.feeds, last.id, 10)
    assert timeline.shown(walk) == [(1, 2), (2, 1)]
    assert (walk.missing, walk.truncated) == ([], False)


def test_a_cause_that_is_not_held_is_named() -> None:
    timeline = Timeline()
    middle = timeline.add(timeline.feed, 10, caused_by=UNKNOWN)
    last = timeline.add(timeline.feed, 11, caused_by=middle.id)
    walk = causes(timeline.conn, timeline.tenant, timeline.feeds, last.id, 10)
    assert (timeline.shown(walk), walk.missing, walk.truncated) == ([(1, 1)], [UNKNOWN], False)


def test_walks_end_at_their_limit_and_say_so() -> None:
    timeline = Timeline()
    rows = [timeline.follow()]
    for _ in range(5):
        rows.append(timeline.follow(rows[-1]))
    for limit in range(1, 7):
        back = causes(timeline.conn, timeline.tenant, timeline.feeds, rows[-1].id, limit)
        on = effects(timeline.conn, timeline.tenant, timeline.feeds, rows[0].id, limit)
        assert timeline.shown(back) == [(depth, 6 - depth) for depth in range(1, 6)][:limit]
        assert timeline.shown(on) == [(depth, 1 + depth) for depth in range(1, 6)][:limit]
        assert back.truncated == on.truncated == (limit < 5)


def test_effects_come_breadth_first_and_siblings_by_time() -> None:
    timeline = Timeline()
    root = timeline.follow()
    late = timeline.add(timeline.feed, 50, caused_by=root.id)
    early = timeline.add(timeline.second, 40, caused_by=root.id)
    timeline.add(timeline.second, 45, caused_by=late.id)
    timeline.add(timeline.second, 60, caused_by=early.id)
    walk = effects(timeline.conn, timeline.tenant, timeline.feeds, root.id, 10)
    assert timeline.shown(walk) == [(1, 3), (1, 2), (2, 5), (2, 4)]
    assert (walk.missing, walk.truncated) == ([], False)


def test_more_siblings_than_the_limit_are_cut_at_it() -> None:
    timeline = Timeline()
    root = timeline.follow()
    for _ in range(5):
        timeline.follow(root)
    walk = effects(timeline.conn, timeline.tenant, timeline.feeds, root.id, 4)
    assert (timeline.shown(walk), walk.truncated) == ([(1, 2), (1, 3), (1, 4), (1, 5)], True)


@pytest.mark.parametrize(("size", "fitting"), [(400, 2), (1000, 1)])
def test_walks_of_large_bodies_end_early_and_say_so(monkeypatch: pytest.MonkeyPatch, size: int, fitting: int) -> None:
    for module in (lookup, pages):
        monkeypatch.setattr(module, "PAGE_BYTES_MAX", 1000)
    timeline = Timeline()
    row = first = timeline.follow()
    for hlc in range(10, 15):
        row = timeline.add(timeline.feed, hlc, caused_by=row.id, title="x" * size)
    timeline.add(timeline.feed, 15, caused_by=first.id, title="x" * size)
    back = causes(timeline.conn, timeline.tenant, timeline.feeds, row.id, 10)
    on = effects(timeline.conn, timeline.tenant, timeline.feeds, first.id, 10)
    assert timeline.shown(back) == [(1, 5), (2, 4)][:fitting]
    assert timeline.shown(on) == [(1, 2), (1, 7)][:fitting]
    assert back.truncated
    assert on.truncated


def test_effects_of_a_span_that_is_not_held_are_found_and_it_is_missing() -> None:
    timeline = Timeline()
    timeline.add(timeline.feed, 10, caused_by=UNKNOWN)
    walk = effects(timeline.conn, timeline.tenant, timeline.feeds, UNKNOWN, 10)
    assert (timeline.shown(walk), walk.missing) == ([(1, 1)], [UNKNOWN])


def test_a_span_that_nobody_names_is_unknown() -> None:
    timeline = Timeline()
    row = timeline.follow()
    for walk in (causes, effects):
        assert walk(timeline.conn, timeline.tenant, timeline.feeds, row.id, 10) == Walk([], [], truncated=False)
        with pytest.raises(CallerError) as caught:
            walk(timeline.conn, timeline.tenant, timeline.feeds, UNKNOWN, 10)
        assert caught.value.code == "span.unknown"


def test_an_id_leads_to_the_first_copy_where_the_span_is_not_here() -> None:
    timeline = Timeline()
    copies = [timeline.copy(span) for span in (ELSEWHERE[0], ELSEWHERE[0], ELSEWHERE[1])]
    timeline.copy(copies[0].id)  # as a replay is: the original is here as well
    for span, position in ((ELSEWHERE[0], 1), (ELSEWHERE[1], 3), (copies[0].id, 1), (copies[1].id, 2)):
        found = find_span_or_copy(timeline.conn, timeline.tenant, timeline.feeds, span)
        assert found is not None
        assert found.position == position
    for tenant, span in ((timeline.tenant, ELSEWHERE[2]), (timeline.other, ELSEWHERE[0])):
        assert find_copy(timeline.conn, tenant, span) is None
        assert find_span_or_copy(timeline.conn, tenant, timeline.feeds, span) is None


def test_of_copies_at_one_time_the_first_is_the_same_in_any_order_of_arrival() -> None:
    found = set()
    for is_turned in (False, True):
        timeline = Timeline()
        feeds = [timeline.feed, timeline.second]
        copies = [timeline.copy(ELSEWHERE[0], into=feed, hlc=7) for feed in (feeds[::-1] if is_turned else feeds)]
        first = find_copy(timeline.conn, timeline.tenant, ELSEWHERE[0])
        assert first is not None
        assert timeline.id_of(first) == min(copy.id for copy in copies)
        found.add(timeline.id_of(first))
    assert len(found) == 1


def test_a_copy_of_a_copy_is_found_by_every_id_on_its_way() -> None:
    timeline = Timeline()
    timeline.copy(ELSEWHERE[0], ELSEWHERE[1], ELSEWHERE[2])
    for span in ELSEWHERE[:3]:
        assert find_copy(timeline.conn, timeline.tenant, span) is not None


def test_walks_lead_over_copies_whose_causes_keep_their_old_ids() -> None:
    timeline = Timeline()
    first = timeline.copy(ELSEWHERE[0])
    second = timeline.copy(ELSEWHERE[1], caused_by=ELSEWHERE[0])
    third = timeline.copy(ELSEWHERE[2], caused_by=ELSEWHERE[1])
    new = timeline.add(timeline.feed, 10, caused_by=second.id)
    assert timeline.shown(timeline.causes(third.id)) == [(1, 2), (2, 1)]
    assert timeline.causes(ELSEWHERE[2]) == timeline.causes(third.id)
    assert timeline.shown(timeline.causes(new.id)) == [(1, 2), (2, 1)]
    for start in (first.id, ELSEWHERE[0]):
        walk = timeline.effects(start)
        assert timeline.shown(walk) == [(1, 2), (2, 4), (2, 3)]
        assert (walk.missing, walk.truncated) == ([], False)


def test_the_effects_of_a_span_are_those_of_no_replay_of_it() -> None:
    timeline = Timeline()
    span = timeline.follow()
    effect = timeline.follow(span)
    replay = timeline.copy(span.id)
    timeline.copy(effect.id, caused_by=span.id)
    timeline.follow(replay)
    assert timeline.shown(timeline.effects(span.id)) == [(1, 2), (1, 4)]
    assert timeline.shown(timeline.effects(replay.id)) == [(1, 5)]


def test_of_two_copies_the_first_has_the_effects() -> None:
    timeline = Timeline()
    first, second = timeline.copy(ELSEWHERE[0]), timeline.copy(ELSEWHERE[0])
    timeline.copy(ELSEWHERE[1], caused_by=ELSEWHERE[0])
    assert timeline.shown(timeline.effects(first.id)) == [(1, 3)]
    assert timeline.shown(timeline.effects(second.id)) == []


def test_a_walk_ends_where_origins_make_a_circle() -> None:
    timeline = Timeline()
    one = timeline.copy(ELSEWHERE[0], caused_by=ELSEWHERE[1])
    timeline.copy(ELSEWHERE[1], caused_by=ELSEWHERE[0])
    itself = timeline.copy(ELSEWHERE[2], caused_by=ELSEWHERE[2])
    assert timeline.shown(timeline.causes(one.id)) == [(1, 2)]
    assert timeline.shown(timeline.effects(one.id)) == [(1, 2)]
    assert timeline.causes(itself.id) == timeline.effects(itself.id) == Walk([], [], truncated=False)


def test_what_is_void_is_found_by_its_id_with_the_reason_and_has_no_place_among_effects() -> None:
    timeline = Timeline()
    first = timeline.follow()
    beyond = timeline.add(timeline.second, 5, caused_by=first.id)
    voided = timeline.follow(first)
    last = timeline.follow(beyond)
    timeline.cut(timeline.second, 0, "member.removed")
    timeline.void(timeline.tenant, voided, "control.unauthorised")
    found = {}
    for row in (first, beyond, voided, last):
        record = find_span(timeline.conn, timeline.tenant, timeline.feeds, row.id)
        assert record is not None
        found[row.position] = void_reason(timeline.conn, timeline.tenant, record)
    assert found == {1: None, 2: "member.removed", 3: "control.unauthorised", 4: None}
    assert timeline.shown(timeline.effects(first.id)) == []
    assert timeline.shown(timeline.causes(last.id)) == [(1, 2), (2, 1)]
