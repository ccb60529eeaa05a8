"""How far another node is known to hold the feeds of a tenant, so that it is told what it lacks and nothing else.

What a peer sent, took or was given is noted before anybody is told of it, so that news never goes back to where it
came from. Knows no sockets. Invariants: too little known costs a range sent twice, never one left out: what is wrongly
taken for known is found by the next comparison of summaries; a peer that claims to hold more feeds than there are
costs no more memory for that.
"""

from collections.abc import Iterable

from lognode.core.clock import Clock
from lognode.core.ids import FeedId
from lognode.core.limits import KNOWN_FEEDS_MAX
from lognode.core.span import Range
from lognode.protocol.messages import RangeWant


class Known:
    """What one peer holds of one tenant."""

    def __init__(self) -> None:
        self._base = Clock()
        self._sizes: dict[FeedId, int] = {}  # beyond the base

    def rebase(self, clock: Clock) -> None:
        """Take it to hold all of `clock`, since a comparison that begins now makes it so."""
        self._sizes = {feed: size for feed, size in self._sizes.items() if size > clock.size(feed)}
        self._base = clock

    def note(self, feed: FeedId, size: int) -> None:
        """It holds so much of a feed. Beyond KNOWN_FEEDS_MAX feeds, what was noted since the base is forgotten."""
        if size > self.size(feed):
            if len(self._sizes) >= KNOWN_FEEDS_MAX and feed not in self._sizes:
                self._sizes.clear()
            self._sizes[feed] = size

    def note_ranges(self, ranges: Iterable[Range]) -> None:
        """It holds these ranges, and what is before them."""
        for part in ranges:
            self.note(part.feed, part.stop)

    def size(self, feed: FeedId) -> int:
        """How much it holds of a feed, at least."""
        return max(self._base.size(feed), self._sizes.get(feed, 0))

    def lacking(self, ours: Clock) -> list[RangeWant]:
        """Where ranges begin that we hold and it may lack, those of the fewest spans first."""
        found = [(size - known, feed, known) for feed, (size, _) in ours.items() if size > (known := self.size(feed))]
        return [RangeWant(feed, start) for _, feed, start in sorted(found)]
