"""What a feed said before its newest span, which does not stand: found among all, and without reading all."""

from functools import partial
from itertools import count, pairwise
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.ids import SpanId
from lognode.core.span import ORGANIZATION, PRIVATE
from lognode.timeline.agreement.subjects import REVERT
from lognode.timeline.store.agreement import subjects
from tests.agreement.test_registers import registers
from tests.engine.receivers import Receiver
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen

WORK_STEPS = 10


def held(founder: Founder, *pens: Pen) -> Receiver:
    node = Receiver(founder.tenant)
    for pen in (founder, *pens):
        size = len(pen.entries)
        for start, stop in pairwise([*range(0, size, 1000), size]):
            assert node.codes(pen.range(start, stop)) == [stop]
    return node


def story(case: str, many: int) -> tuple[Receiver, set[SpanId]]:
    """A node, and what of subject "tap" stands in the end; `many` spans are in the way."""
    founder = Founder()
    member = founder.member(2)
    stands = set()
    if case == "a feed's only span is taken back, and others go on for long":
        wrong = member.write(subject="tap")
        for _ in range(many):
            stands = {founder.write(subject="tap")}
        founder.write(REVERT, subject="tap", caused_by=wrong)
    elif case == "a feed goes on for long about other things":
        stands = {member.write(subject="tap")}
        for number in range(many):
            member.write(subject=f"other {number % 9}")
        member.write(REVERT, subject="tap", caused_by=member.write(subject="tap"))
    elif case == "both go on for long, in between each other, and the feed says it just before":
        for _ in range(many // 2):
            founder.write(subject="tap")
            member.write()
        stands = {founder.write(subject="tap"), member.write(subject="tap")}
        member.write(REVERT, subject="tap", caused_by=member.write(subject="tap"))
    else:
        stands = {member.write(subject="tap")}
        size = len(member.entries)
        for _ in range(many):
            member.write(subject="tap")
        founder.remove(member.keys, (member, size))
    return held(founder, member), stands


CASES = (
    "a feed's only span is taken back, and others go on for long",
    "a feed goes on for long about other things",
    "both go on for long, in between each other, and the feed says it just before",
    "a feed is cut far back",
)


def cost_of(node: Receiver, stands: set[SpanId]) -> int:
    """How much SQLite does for one read, which finds what stands."""
    work, registered = count(), registers(node)
    node.conn.set_progress_handler(partial(_goes_on, work), WORK_STEPS)
    state = registered.read("tap")
    node.conn.set_progress_handler(None, 0)
    assert {head.means.id for head in state.fold.heads} == stands
    return next(work)


def _goes_on(work: "count[int]") -> bool:
    return next(work) < 0


@pytest.mark.parametrize("case", CASES)
def test_a_look_back_costs_no_more_where_much_is_in_the_way(case: str) -> None:
    few, many = [cost_of(*story(case, spans)) for spans in (400, 4_000)]
    assert many < few + 300


Deed = tuple[int, bool, bool, bool]
DEEDS = st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.booleans(), st.booleans()), max_size=30)


@settings(max_examples=150, deadline=None)
@given(deeds=DEEDS, cut=st.none() | st.integers(2, 20), step=st.integers(1, 5), step_max=st.integers(1, 8))
def test_the_newest_that_stands_of_each_feed_is_found_whatever_the_steps(
    deeds: list[Deed], cut: int | None, step: int, step_max: int
) -> None:
    founder = Founder()
    pens = (founder, founder.member(2))
    stands: tuple[list[tuple[int, SpanId]], ...] = ([], [])
    wrong: list[SpanId] = []
    for number, is_about, is_wrong, is_private in deeds:
        visibility = PRIVATE if is_private else ORGANIZATION
        seq = len(pens[number].entries)
        span = pens[number].write(subject="tap" if is_about else "other", visibility=visibility)
        if is_about and not is_private:
            if is_wrong:
                wrong.append(span)
            else:
                stands[number].append((seq, span))
    for span in wrong:
        founder.write(REVERT, subject="tap", caused_by=span)
    size = len(pens[1].entries)
    if cut is not None and cut <= size:
        size = cut
        founder.remove(pens[1].keys, (pens[1], cut))
    node = held(*pens)
    with mock.patch.multiple(subjects, HISTORY_STEP_ROWS=step, HISTORY_STEP_ROWS_MAX=max(step, step_max)):
        state = registers(node).read("tap")
    counted = (stands[0], [(seq, span) for seq, span in stands[1] if seq < size])
    assert {head.means.id for head in state.fold.heads} == {spans[-1][1] for spans in counted if spans}
