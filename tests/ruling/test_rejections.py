"""Rejections that repeat are told once a minute, and all are counted."""

from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.codec import encode
from lognode.core.ids import LogLine
from lognode.core.limits import FIRED_BYTES_MAX, REJECTIONS_BYTES_MAX, REJECTIONS_GATHERED_MAX
from lognode.engine.ruling.rejections import MINUTE_MS, Rejecting, Rejections
from lognode.rules.records import Fired, FiredRule

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


def weight(rejections: Rejections) -> int:
    return sum(len(encode(msgspec.to_builtins(one.newest))) for one in rejections._gathered.values())


def large(size: int) -> Fired:
    rules = tuple(FiredRule("set", f"{place}", "fired", inputs={"data.x": "a" * size}) for place in range(8))
    return Fired({"set": "00" * 16}, "draft", "reject", rules)


def test_whoever_has_much_told_costs_bounded_memory_too() -> None:
    """Of what is too much it is known which rule rejected, and how often."""
    rejections, count = Rejections(), 4 * REJECTIONS_BYTES_MAX // FIRED_BYTES_MAX
    told = 0
    for number in range(count):
        by = Rejecting(0, "set", f"{number % 8}", LogLine(bytes([1]) + number.to_bytes(32, "big")))
        for size in (7_000, 7_500):
            told += rejections.tell(by, 0, large(size)) is not None
    assert weight(rejections) <= REJECTIONS_BYTES_MAX + FIRED_BYTES_MAX
    found = rejections.take(MINUTE_MS)
    assert sum(one.count for _, one in found) + told == 2 * count
    bare = [(by, one) for by, one in found if one.cut]
    assert bare
    assert all([rule.rule for rule in one.rules] == [by.rule] for by, one in bare)
    # What was told makes room again.
    rejections.tell(BY[0], MINUTE_MS, large(7_000))
    rejections.tell(BY[0], MINUTE_MS, large(7_000))
    ((_, again),) = rejections.take(2 * MINUTE_MS)
    assert not again.cut


def test_one_firing_that_is_larger_than_any_span_of_it_is_not_kept_whole() -> None:
    rejections, by = Rejections(), Rejecting(0, "set", "3", None)
    assert rejections.tell(by, 0, large(1_000_000)) is not None
    assert weight(rejections) < 1000
