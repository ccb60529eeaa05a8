"""Clocks: hybrid logical and vector."""

from hypothesis import given
from hypothesis import strategies as st

from lognode.core.clock import Clock, hlc_from_ms, hlc_ms, is_ahead, state_hash, tick
from lognode.core.ids import FeedId

TIMES = st.integers(0, 2**47 - 1)
HEADS = st.tuples(st.integers(0, 4), st.sampled_from([b"\x01" * 32, b"\x02" * 32]))
CLOCKS = st.dictionaries(st.sampled_from([FeedId(bytes([n]) * 16) for n in range(4)]), HEADS).map(Clock)


@given(st.integers(0, 2**62), TIMES)
def test_a_tick_always_rises(last: int, now_ms: int) -> None:
    assert tick(last, now_ms) > last


@given(TIMES)
def test_a_tick_follows_a_wall_clock_that_moved_on(now_ms: int) -> None:
    assert hlc_ms(tick(hlc_from_ms(now_ms), now_ms + 1)) == now_ms + 1


def test_ten_minutes_are_the_bound_of_a_working_clock() -> None:
    assert not is_ahead(hlc_from_ms(600_000), 0)
    assert is_ahead(hlc_from_ms(600_001), 0)


@given(CLOCKS, CLOCKS)
def test_equal_clocks_are_those_of_equal_state(one: Clock, other: Clock) -> None:
    assert (dict(one) == dict(other)) == (state_hash(one) == state_hash(other))


def test_a_feed_of_size_zero_is_a_feed_not_held() -> None:
    assert len(Clock({FeedId(b"\x01" * 16): (0, b"")})) == 0
