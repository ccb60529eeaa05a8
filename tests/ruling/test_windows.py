"""Windows of rules over stored spans: what they come to is what a look at all spans finds."""

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.clock import hlc_ms
from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.core.errors import NodeFault
from lognode.core.ids import LogLine
from lognode.core.limits import SIZE_MAX
from lognode.core.span import ORGANIZATION, PRIVATE
from lognode.engine.ruling import strands
from lognode.engine.ruling.strands import looked_at_max, measured
from lognode.engine.service.ruling.past import CommitPast, Ground, Past, measure
from lognode.engine.service.writing import windows as filling
from lognode.engine.service.writing.windows import Room, Span, Windows
from lognode.rules.document import Path, Window
from lognode.rules.evaluation.facts import Facts, Writer
from lognode.rules.evaluation.samples import Sample, extract
from lognode.timeline.record import row_of
from lognode.timeline.store.rules.windows import load_kinds
from lognode.timeline.store.write import load_feeds, newest_position
from tests.engine.receivers import Receiver
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen

BY, OF, AT = (Path(("data", name)) for name in ("by", "of", "at"))
OVER_MS = 1000
WINDOWS = {
    "count": Window("n", OVER_MS, BY, ("login",), "count", AT),
    "sum": Window("n", OVER_MS, BY, ("login",), "sum", AT, OF),
    "distinct": Window("n", OVER_MS, BY, ("login", "rule.*"), "distinct", AT, OF),
    "committed": Window("n", OVER_MS, BY, ("login",), "count"),
}
PROGRAM = object()


class Node:
    """A node with an open feed of its own and another's, of which it names what it is told to."""

    def __init__(self) -> None:
        founder = Founder()
        self.node = Receiver(founder.tenant)
        self.conn, self.tenant = self.node.conn, self.node.tenant
        self.pens = [Pen(founder.keys, founder.tenant, [], number=number) for number in (1, 2)]
        self.feeds = [pen.store(self.conn, self.tenant.number) for pen in self.pens]
        self.feed_refs = {feed.number: feed for feed in load_feeds(self.conn)}
        store: Any = None
        self.windows = Windows(store, partial(measure, self.feed_refs))
        self.author = Writer(LogLine(b"\x01" + bytes(32)), "root")
        self.named = {self.feeds[0].number: SIZE_MAX, self.feeds[1].number: 0}
        self.held: list[tuple[int, int, Facts]] = []  # feed, seq and facts of all that is stored and shared

    def facts(self, draft: Draft, hlc: int) -> Facts:
        return Facts.of_draft(draft, self.author, hlc=hlc)

    def store(self, of: int, draft: Draft, hlc: int | None = None) -> None:
        """Have a span be stored in our feed (0) or the other one (1)."""
        pen, feed = self.pens[of], self.feeds[of]
        pen.write(draft.kind, draft.data, visibility=draft.visibility, hlc=hlc)
        row = row_of(self.tenant.number, newest_position(self.conn, self.tenant.number) + 1)
        pen._store_span(self.conn, feed, len(pen.entries) - 1, pen.entries[-1], row)
        if draft.visibility != PRIVATE:
            self.held.append((feed.number, len(pen.entries) - 1, self.facts(draft, pen.entries[-1].hlc)))

    def look(self, window: Window, sample: Sample, also: list[Facts]) -> Any:
        """What a window comes to by a look at everything."""
        counted = [facts for feed, seq, facts in self.held if seq < self.named.get(feed, 0)]
        found = [one for facts in (*counted, *also) if (one := extract(window, facts)) and one.key == sample.key]
        return measured(window, sample, [one.value for one in found if 0 <= sample.at_ms - one.at_ms < OVER_MS])

    def ground(self, hlc: int) -> Ground:
        return Ground(self.conn, self.tenant, self.feed_refs, load_kinds(self.conn, self.tenant), self.named, hlc)

    def name(self, size: int) -> list[int]:
        """Have so much of the other's feed be named, at least; the feeds of which that is more."""
        other = self.feeds[1].number
        if size <= self.named[other]:
            return []
        self.named[other] = size
        return [other]

    def begin(self, grown: list[int], program: object = PROGRAM) -> CommitPast:
        """The past of a commit."""
        hlc = self.pens[0].next_hlc
        span = Span(
            self.feeds[0].number, len(self.pens[0].entries), hlc, newest_position(self.conn, self.tenant.number)
        )
        in_force = (program, list(WINDOWS.values()))
        line = self.windows.begin(self.conn, self.tenant, span, self.named, grown, in_force)
        return CommitPast(self.ground(hlc), self.windows, Room(), line)


def login(by: int, at: int, of: int, *, is_shared: bool = True, kind: str = "login") -> Draft:
    value: Any = (of, of + 0.5, str(of))[of % 3]
    visibility = ORGANIZATION if is_shared else PRIVATE
    return Draft(kind, data=encode({"by": by, "at": at * 100, "of": value}), visibility=visibility)


LOGINS = st.builds(
    login,
    st.sampled_from([0, 0, 0, 1]),
    st.integers(0, 14),
    st.integers(0, 6),
    is_shared=st.sampled_from([True, True, True, False]),
    kind=st.sampled_from(["login", "login", "login", "login", "other", "rule.fired"]),
)
# What others wrote and how much of that is named; or a commit of ours, whether it is written, and how many firings it
# brings besides.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.lists(LOGINS, min_size=1, max_size=4), st.integers(0, 8)),
        st.tuples(
            st.lists(LOGINS, min_size=1, max_size=5), st.sampled_from([True, True, True, False]), st.integers(0, 2)
        ),
    ),
    min_size=2,
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(WINDOWS)), STEPS, st.integers(1, 40))
def test_what_a_commit_is_told_is_what_a_look_at_all_spans_finds(measure: str, steps: list[Any], kept: int) -> None:
    node, window, grown = Node(), WINDOWS[measure], list[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filling, "WINDOW_KEPT_SAMPLES", kept)
        for step in steps:
            if len(step) == 2:
                for draft in step[0]:
                    node.store(1, draft)
                grown += node.name(step[1])
                continue
            drafts, is_written, firings = step
            past, also = node.begin(grown), list[Facts]()
            grown = []
            hlc = node.pens[0].next_hlc
            for place, draft in enumerate(drafts):
                facts = node.facts(draft, hlc + place)
                sample = extract(window, facts)
                if sample and place != 2:
                    assert past.window(window, sample) == node.look(window, sample, also)
                past.note(facts, (window,))
                also += [facts] if draft.visibility != PRIVATE else []
            past.finish(len(drafts) + firings)
            for draft in [*drafts, *[login(0, 1, 1, kind="rule.fired")] * firings] if is_written else ():
                node.store(0, draft)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(WINDOWS)), st.lists(st.tuples(st.booleans(), LOGINS), max_size=25), st.integers(0, 30))
def test_what_a_stored_span_is_told_is_what_a_look_at_all_spans_finds(
    measure: str, spans: list[tuple[bool, Draft]], size: int
) -> None:
    node, window = Node(), WINDOWS[measure]
    for place, (is_own, draft) in enumerate(spans):
        node.store(0 if is_own else 1, draft)
        node.named = {node.feeds[0].number: place, node.feeds[1].number: size}
        facts = node.facts(draft, node.pens[0].next_hlc)
        if sample := extract(window, facts):
            past = Past(node.ground(facts.time_ms), node.windows, Room())
            assert past.window(window, sample) == node.look(window, sample, [])


def test_what_another_wrote_counts_from_when_it_is_named() -> None:
    node, window = Node(), WINDOWS["count"]
    node.store(0, login(1, 5, 1))
    sample = extract(window, node.held[0][2])
    assert sample is not None
    assert node.begin([]).window(window, sample) == 1
    for _ in range(3):
        node.store(1, login(1, 5, 1))
    assert node.begin([]).window(window, sample) == 1
    assert node.begin(node.name(3)).window(window, sample) == 3
    node.store(1, login(1, 5, 1))
    assert node.begin(node.name(6)).window(window, sample) == 5


def test_a_long_history_is_refused_in_the_writers_turn_and_filled_slice_by_slice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filling, "WINDOW_SLICE_SPANS", 10)
    node, window = Node(), WINDOWS["count"]
    for _ in range(101):
        node.store(0, login(1, 5, 1))
    sample = Sample(extract(window, node.held[0][2]).key, 1000)  # type: ignore[union-attr]

    def ask() -> Any:
        past = node.begin([])
        past._room.spans = 30
        return past.window(window, sample)

    with pytest.raises(NodeFault) as refused:
        ask()
    assert refused.value.code == "rule.not_ready"
    slices = 1
    while node.windows._fill_slice(node.conn, node.tenant):
        slices += 1
    assert slices == 8  # of 10 each; 30 were taken in before
    assert ask() == 101


def test_what_is_older_than_a_window_of_commit_times_reaches_is_not_read_at_all() -> None:
    node, window = Node(), WINDOWS["committed"]
    for _ in range(50):
        node.store(0, login(1, 5, 1))
    node.pens[0].write("other", hlc=node.pens[0].next_hlc + (2 * OVER_MS << 16))
    node.store(0, login(1, 5, 1))
    past = node.begin([])
    past._room.spans = 10
    sample = Sample(extract(window, node.held[0][2]).key, hlc_ms(node.pens[0].next_hlc))  # type: ignore[union-attr]
    assert past.window(window, sample) == 1


def test_rows_go_with_the_rules_that_ask_for_them_and_with_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    node, window = Node(), WINDOWS["committed"]

    def commit(program: object = PROGRAM) -> None:
        past = node.begin([], program)
        draft = login(1, 5, 1)
        facts = node.facts(draft, node.pens[0].next_hlc)
        sample = extract(window, facts)
        assert sample is not None
        assert past.window(window, sample) == node.look(window, sample, [])
        past.note(facts, (window,))
        past.finish(1)
        node.store(0, draft)

    def rows() -> list[int]:
        names = node.conn.execute("SELECT name FROM temp.sqlite_schema WHERE type = 'table'").fetchall()
        return [node.conn.execute(f"SELECT count(*) FROM temp.{name}").fetchone()[0] for (name,) in names]

    for _ in range(20):
        commit()
    node.pens[0].write("other", hlc=node.pens[0].next_hlc + (3 * OVER_MS << 16))
    commit()
    commit()
    assert rows() == [1]
    monkeypatch.setattr(f"{__name__}.WINDOWS", {})
    node.begin([], object())
    assert rows() == []


def test_tables_that_were_asked_for_longest_ago_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "WINDOW_TABLES_MAX", 3)
    node = Node()
    node.store(0, login(1, 5, 1))
    for over_ms in (1000, 2000, 3000, 4000, 5000, 1000):
        window = Window("n", over_ms, BY, ("login",), "count", AT)
        sample = Sample(extract(window, node.held[0][2]).key, 1000)  # type: ignore[union-attr]
        past = node.begin([])
        assert past.window(window, sample) == int(over_ms > 500)
        (tables,) = node.conn.execute("SELECT count(*) FROM temp.sqlite_schema WHERE type = 'table'").fetchone()
        assert tables <= 3


def test_what_is_not_named_does_not_make_a_window_hold_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strands, "WINDOW_MEASURED_MAX", 20)
    monkeypatch.setattr(filling, "WINDOW_MEASURED_MAX", 20)
    node, window = Node(), WINDOWS["sum"]
    node.store(0, login(1, 4, 3))
    for _ in range(30):
        node.store(1, login(1, 5, 3))
    sample = extract(window, node.facts(login(1, 6, 3), node.pens[0].next_hlc))
    assert sample is not None
    for past in (node.begin([]), Past(node.ground(0), node.windows, Room())):
        assert past.window(window, sample) == 3
    assert looked_at_max(window) == 21
