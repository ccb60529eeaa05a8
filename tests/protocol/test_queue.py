"""What a run wants next is told ahead as it comes to be."""

from hypothesis import given
from hypothesis import strategies as st

from lognode.core.ids import FeedId
from lognode.core.span import Entry, Range
from lognode.protocol.queue import Queue

FEEDS = [FeedId(bytes([number]) * 16) for number in range(4)]


def part(feed: int, start: int, count: int) -> Range:
    return Range(FEEDS[feed], start, (Entry(1, 1, bytes(40), b""),) * count, b"")


@given(
    st.dictionaries(st.integers(0, 3), st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12))),
    st.integers(1, 4),
)
def test_what_is_wanted_once_all_is_taken_is_foretold(
    spans: dict[int, tuple[int, int]], counts: list[tuple[int, int]], feeds_max: int
) -> None:
    queue = Queue({FEEDS[feed]: (at, at + more) for feed, (at, more) in spans.items()})
    at = {want.feed: want.start for want in queue.next(4)}
    ranges = []
    for feed, count in counts:
        if FEEDS[feed] in at:
            ranges.append(part(feed, at[FEEDS[feed]], count))
            at[FEEDS[feed]] += count
    ahead = queue.ahead(ranges, feeds_max)
    for found in ranges:
        queue.advance(found.feed, found.stop)

    assert ahead == queue.next(feeds_max)
