"""Rejections that repeat are told once a minute, and all are counted."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lognode.core.ids import LogLine
from lognode.core.limits import REJECTIONS_GATHERED_MAX
from lognode.engine.ruling.rejections import MINUTE_MS, Rejecting, Rejections
from lognode.rules.records import Fired

BY = [Rejecting(tenant, "set", rule, None) for tenant in (0, 1) for rule in ("a", "b")]
ASKED = st.lists(st.tuples(st.integers(0, 90_000), st.none() | st.sampled_from(BY)), max_size=40)


def fired() -> Fired:
    return Fired({}, "draft", "reject", ())


@given(ASKED)
def test_all_rejections_are_told_in_the_end_and_at_most_twice_a_minute(
    asked: list[tuple[int, Rejecting | None]],
) -> None:
    rejections, now_ms = Rejections(), 0
    rejected, told = Counter[int](), Counter[int]()
    tellings = Counter[tuple[Rejecting, int]]()
    for later_ms, by in asked:
        now_ms += later_ms
        for whose, one in rejections.take(now_ms):
            told[whose.tenant] += one.count
        if by is not None:
            rejected[by.tenant] += 1
            if now := rejections.tell(by, now_ms, fired()):
                told[by.tenant] += now.count
                tellings[by, now_ms // MINUTE_MS] += 1
    for whose, one in rejections.take(now_ms + MINUTE_MS):
        told[whose.tenant] += one.count
    assert told == rejected
    assert all(count == 1 for count in tellings.values())
    assert not rejections.are_waiting


def test_whoever_sends_under_ever_new_names_costs_bounded_memory() -> None:
    rejections = Rejections()
    told = sum(
        rejections.tell(Rejecting(0, "set", "rule", LogLine(bytes([1]) + number.to_bytes(32, "big"))), 0, fired())
        is not None
        for number in range(REJECTIONS_GATHERED_MAX + 100)
    )
    assert told <= REJECTIONS_GATHERED_MAX + 1
    assert sum(one.count for _, one in rejections.take(MINUTE_MS)) + told == REJECTIONS_GATHERED_MAX + 100
