"""Subjects read from a node's rows, against the law that arrival changes nothing, and what private spans do."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.codec import encode
from lognode.core.ids import FeedId, SpanId
from lognode.core.span import ORGANIZATION, PRIVATE, SIMULATED, Range
from lognode.timeline.agreement.subjects import RESOLVE, REVERT
from lognode.timeline.store.agreement.rebuilding import rebuild_subjects
from lognode.timeline.store.agreement.settling import settled_hlc
from lognode.timeline.store.agreement.subjects import Registers, State
from lognode.timeline.store.write import load_feeds
from tests.engine.receivers import Receiver, keys_of
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen

SUBJECTS = ("tap 1", "tap 2", "täp/3")


def alone(feed: FeedId, seq: int) -> Mapping[FeedId, int]:
    """The clock of nodes that know nothing of each other."""
    return {feed: seq + 1}


def registers(node: Receiver) -> Registers:
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    return Registers(node.conn, node.tenant, feeds, node.book.members.policies, alone)


def said(state: State) -> tuple[set[SpanId], SpanId | None]:
    fold = state.fold
    return {head.means.id for head in fold.heads}, fold.value.means.id if fold.value else None


class Told:
    """A tenant of a founder and two members, and what was said in it."""

    def __init__(self) -> None:
        self.founder = Founder()
        self.a, self.b = self.founder.member(2), self.founder.member(3)

    @property
    def pens(self) -> list[Pen]:
        return [self.founder, self.a, self.b]

    def node(self) -> Receiver:
        """A node that holds all of it."""
        node = Receiver(self.founder.tenant)
        assert node.codes(*[pen.range() for pen in self.pens]) == [len(pen.entries) for pen in self.pens]
        return node

    def read(self, subject: str = "tap 1") -> tuple[set[SpanId], SpanId | None]:
        return said(registers(self.node()).read(subject))


def a_value(pen: Pen, subject: str = "tap 1", **said: Any) -> SpanId:
    return pen.write("tap.set", encode({"open": True}), subject=subject, **said)


def test_the_newest_of_a_feed_holds_and_of_two_feeds_the_greater_id() -> None:
    told = Told()
    a_value(told.a)
    one, other = a_value(told.a), a_value(told.b)
    assert told.read() == ({one, other}, max(one, other))
    assert told.read("tap 2") == (set(), None)


def test_what_is_taken_back_gives_way_to_what_the_feed_said_before() -> None:
    told = Told()
    first, second = a_value(told.a), a_value(told.a)
    revert = told.b.write(REVERT, caused_by=second, subject="tap 1")
    assert told.read() == ({first}, first)
    again = told.a.write(REVERT, caused_by=revert, subject="tap 1")
    assert told.read() == ({second}, second)
    told.b.write(REVERT, caused_by=again, subject="tap 1")
    assert told.read() == ({first}, first)


def test_a_revert_about_another_subject_or_only_tried_out_takes_nothing_back() -> None:
    told = Told()
    span = a_value(told.a)
    told.b.write(REVERT, caused_by=span)
    told.b.write(REVERT, caused_by=span, subject="tap 2")
    told.b.write(REVERT, caused_by=span, subject="tap 1", status=SIMULATED)
    a_value(told.b, status=SIMULATED)
    told.a.write("timeline.note", subject="tap 1")
    assert told.read() == ({span}, span)


def test_a_cut_makes_what_was_said_before_it_hold_and_silences_reverts_behind_it() -> None:
    told = Told()
    first = a_value(told.a)
    size = len(told.a.entries)
    a_value(told.a)
    kept = a_value(told.b)
    told.a.write(REVERT, caused_by=kept, subject="tap 1")
    told.founder.remove(told.a.keys, (told.a, size))
    assert told.read() == ({first, kept}, max(first, kept))


def test_a_resolution_stands_for_what_it_chose_while_that_stands() -> None:
    told = Told()
    one, other = a_value(told.a), a_value(told.b)
    resolution = told.a.write(RESOLVE, encode({"chosen": "", "over": []}), caused_by=other, subject="tap 1")
    assert told.read() == ({other}, other)  # a's own candidate is the resolution now
    told.founder.write(REVERT, caused_by=other, subject="tap 1")
    assert told.read() == ({one}, one)
    told.founder.write(REVERT, caused_by=resolution, subject="tap 1")
    assert told.read() == ({one}, one)


def test_a_resolution_of_what_is_not_here_or_about_something_else_does_not_stand() -> None:
    told = Told()
    one, elsewhere = a_value(told.a), a_value(told.b, "tap 2")
    for chosen in (elsewhere, SpanId(bytes(24)), None, told.a.opening):
        told.a.write(RESOLVE, caused_by=chosen, subject="tap 1")
    assert told.read() == ({one}, one)


def test_a_long_subject_is_none_and_any_other_text_is_one() -> None:
    told = Told()
    for subject in ("x" * 4096, "ö\n/ ", "x" * 4097, ""):
        a_value(told.a, subject)
    reads = [told.read(subject)[1] is not None for subject in ("x" * 4096, "ö\n/ ", "x" * 4097, "")]
    assert reads == [True, True, False, False]


Deed = tuple[int, str, int, int]
WHAT = ("say", "say", "revert", "resolve", "cut")
DEEDS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(WHAT), st.integers(0, 2), st.integers(0, 9)), min_size=3, max_size=16
)


def play(deeds: Sequence[Deed]) -> Told:
    told = Told()
    spans: list[SpanId] = []
    cut = None
    for who, what, about, number in deeds:
        pen, subject = told.pens[who], SUBJECTS[about]
        target = spans[number % len(spans)] if spans else None
        if what == "say":
            spans.append(a_value(pen, subject, visibility=PRIVATE if number == 9 else ORGANIZATION))
        elif what == "cut" and cut is None and number < len(told.b.entries):
            cut = max(1, number)
        elif what in ("revert", "resolve"):
            kind = REVERT if what == "revert" else RESOLVE
            spans.append(pen.write(kind, caused_by=target, subject=subject))
    if cut is not None:
        told.founder.remove(told.b.keys, (told.b, cut))
    return told


@settings(max_examples=40, deadline=None)
@given(DEEDS, st.data())
def test_any_parts_in_any_order_leave_the_same_state(deeds: list[Deed], data: st.DataObject) -> None:
    told = play(deeds)
    whole = told.node()
    expected = [said(registers(whole).read(subject)) for subject in SUBJECTS]

    parts: list[Range] = []
    for pen in told.pens:
        size = len(pen.entries)
        ends = sorted({0, size, *data.draw(st.lists(st.integers(min(2, size), size), max_size=3))})
        parts += [pen.range(start, stop) for start, stop in pairwise(ends)]
    parts = data.draw(st.permutations(parts))
    node, together = Receiver(told.founder.tenant), data.draw(st.booleans())
    for _ in range(2 * len(parts)):
        for batch in [parts] if together else [[part] for part in parts]:
            node.take(*batch)
        if node.clock() == whole.clock():
            break

    assert [said(registers(node).read(subject)) for subject in SUBJECTS] == expected
    assert node.dump() == whole.dump()
    before = node.dump()
    rebuild_subjects(node.conn)
    assert node.dump() == before


def test_settled_is_what_lies_behind_what_every_writer_has_written() -> None:
    told = Told()
    node = told.node()
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    lowest = min(pen.entries[-1].hlc for pen in told.pens)
    assert settled_hlc(node.conn, node.tenant, feeds, node.book.members) == lowest
    newcomer = keys_of(9)
    admission = told.founder.admit(newcomer)
    told.founder.write(hlc=lowest + 1000)
    for pen in (told.a, told.b):
        pen.write(hlc=lowest + 1000)
    node = told.node()
    assert settled_hlc(node.conn, node.tenant, feeds, node.book.members) == int.from_bytes(admission[:8], "big")
