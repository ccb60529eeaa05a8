"""Feeds of a run that are behind on one side, while their ranges are moved.

Invariant: each turn moves a feed or takes one out, so turns end.
"""

from collections.abc import Container, Mapping, Sequence
from itertools import islice

from lognode.core.ids import FeedId
from lognode.core.span import Range
from tests.protocol.frozen_v1.messages import RangeWant


class Queue:
    """Feeds with the size that one side has, and the size that it is to reach."""

    def __init__(self, spans: Mapping[FeedId, tuple[int, int]]) -> None:
        self._spans = dict(spans)
        self._postponed: dict[FeedId, tuple[int, int]] = {}
        self._has_moved = False  # since a feed was postponed
        self._moved: set[FeedId] = set()  # in this turn

    def __contains__(self, feed: FeedId) -> bool:
        return feed in self._spans

    def next(self, feeds_max: int) -> tuple[RangeWant, ...]:
        """A turn: what is wanted next. Postponed feeds come again once others have moved."""
        self._moved.clear()
        if not self._spans and self._has_moved:
            self._spans, self._postponed, self._has_moved = self._postponed, {}, False
        return tuple([RangeWant(feed, at) for feed, (at, _) in islice(self._spans.items(), feeds_max)])

    def ahead(self, ranges: Sequence[Range], feeds_max: int) -> tuple[RangeWant, ...]:
        """What `next` gives once these ranges are taken, if they are."""
        taken = {part.feed: part.stop for part in ranges}
        left = ((feed, max(at, taken.get(feed, at)), stop) for feed, (at, stop) in self._spans.items())
        return tuple(islice((RangeWant(feed, at) for feed, at, stop in left if at < stop), feeds_max))

    def advance(self, feed: FeedId, size: int) -> int:
        """By how many entries a feed is further, now that it has this size."""
        if feed not in self._spans:
            return 0
        at, stop = self._spans[feed]
        gained = min(size, stop) - at
        if gained <= 0:
            return 0
        self._has_moved = True
        self._moved.add(feed)
        if size < stop:
            self._spans[feed] = (size, stop)
        else:
            del self._spans[feed]
        return gained

    def remove(self, feed: FeedId) -> None:
        """Ask no more for a feed."""
        self._spans.pop(feed, None)

    def postpone(self, feed: FeedId) -> None:
        """Ask for a feed again when others have moved."""
        self._postponed[feed] = self._spans.pop(feed)

    def unmoved(self, wants: Sequence[RangeWant], answered: Container[FeedId]) -> list[FeedId]:
        """The feeds that this turn should have moved: those before the last that was answered, or all if none was."""
        feeds = [want.feed for want in wants]
        last = max([at for at, feed in enumerate(feeds) if feed in answered], default=len(feeds) - 1)
        return [feed for feed in feeds[: last + 1] if feed in self._spans and feed not in self._moved]

    @property
    def postponed(self) -> Sequence[FeedId]:
        """The feeds that still wait for others."""
        return list(self._postponed)
