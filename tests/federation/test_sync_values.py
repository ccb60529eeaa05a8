"""What sync knows of peers, as values: what they hold, when they are tried, and whether there are two of them."""

from hypothesis import given
from hypothesis import strategies as st

from lognode.core.clock import Clock
from lognode.core.ids import FeedId
from lognode.core.limits import CLONE_SHOWN_S, KNOWN_FEEDS_MAX, LINK_RETRY_S_MAX, LINK_RETRY_S_MIN
from lognode.federation.sync.instances import Instances
from lognode.federation.sync.known import Known
from lognode.federation.sync.pace import Pace, backoff_s
from lognode.protocol.messages import RangeWant

FEEDS = [FeedId(bytes([number]) * 16) for number in range(4)]
PEER = bytes(32)


def clock(*sizes: int) -> Clock:
    return Clock({feed: (size, bytes(32)) for feed, size in zip(FEEDS, sizes, strict=False)})


def test_a_peer_lacks_what_it_is_not_known_to_hold() -> None:
    known = Known()
    known.rebase(clock(5, 5))
    known.note(FEEDS[1], 8)
    known.note(FEEDS[1], 7)

    assert known.lacking(clock(5, 9, 2)) == [RangeWant(FEEDS[1], 8), RangeWant(FEEDS[2], 0)]
    assert known.lacking(clock(5, 8)) == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9))), st.lists(st.integers(0, 9), min_size=4, max_size=4))
def test_what_is_known_never_shrinks(notes: list[tuple[int, int]], sizes: list[int]) -> None:
    known = Known()
    for feed, size in notes:
        known.note(FEEDS[feed], size)
    before = [known.size(feed) for feed in FEEDS]
    known.rebase(clock(*sizes))

    assert [known.size(feed) for feed in FEEDS] == [max(pair) for pair in zip(before, sizes, strict=True)]
    lacking = known.lacking(clock(*(size + 1 for size in before)))
    assert {want.feed: want.start for want in lacking} == {
        feed: known.size(feed) for feed, size in zip(FEEDS, before, strict=True) if known.size(feed) <= size
    }


def test_a_peer_that_names_feeds_without_end_costs_bounded_memory() -> None:
    """Each request may name a thousand feeds, which nobody has: to note them all would fill the memory in minutes."""
    known = Known()
    known.rebase(clock(5))
    for number in range(3 * KNOWN_FEEDS_MAX):
        known.note(FeedId(number.to_bytes(16)), 2**63 - 1)
    known.note(FEEDS[0], 8)

    assert len(known._sizes) <= KNOWN_FEEDS_MAX
    assert known.lacking(clock(9)) == [RangeWant(FEEDS[0], 8)]


def test_the_longest_feed_keeps_no_other_waiting() -> None:
    known = Known()

    assert [want.feed for want in known.lacking(clock(9, 1, 5))] == [FEEDS[1], FEEDS[2], FEEDS[0]]


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_back_off_grows_to_its_bound_and_never_beyond(failures: int, chance: float) -> None:
    wait_s = backoff_s(failures, chance)

    assert LINK_RETRY_S_MIN / 2 <= wait_s <= LINK_RETRY_S_MAX
    assert wait_s <= backoff_s(failures + 1, chance)


def test_of_many_who_wait_for_a_peer_one_tries() -> None:
    pace = Pace()
    pace.failed(now_s=100, chance=0)
    assert not pace.claim(100, chance=0)

    at = pace.retry_at
    assert [pace.claim(at, chance=0) for _ in range(3)] == [True, False, False]
    pace.succeeded()
    assert [pace.claim(at, chance=0) for _ in range(3)] == [True, True, True]


def test_who_is_asked_for_is_tried_at_once() -> None:
    pace = Pace()
    for _ in range(9):
        pace.failed(now_s=100, chance=0)
    pace.hasten()

    assert pace.claim(100, chance=0)
    assert not pace.claim(100, chance=0)


def test_places_that_are_told_again_and_again_hasten_to_one_try_a_second() -> None:
    """They may be those of somebody who has nothing to do with it."""
    pace = Pace()
    tries = []
    for hundredth in range(500):
        now_s = 100 + hundredth / 100
        pace.hasten(pause_s=1)
        if pace.claim(now_s, chance=0):
            tries.append(now_s)
            for _ in range(9):
                pace.failed(now_s, chance=0)

    assert tries == [100, 101, 102, 103, 104]


def test_a_restart_is_no_copy_and_two_that_take_turns_are() -> None:
    instances = Instances()
    assert not any(instances.hear(PEER, name, 0) for name in (b"one", b"one", b"two", b"three"))
    assert not instances.is_cloned(PEER, 0)

    assert instances.hear(PEER, b"two", 10)
    assert instances.is_cloned(PEER, 10)
    assert not instances.is_cloned(PEER, 10 + CLONE_SHOWN_S)
    assert not instances.hear(bytes(31) + b"1", b"two", 10)
