"""Which span knew of which. From docs/protocol.md, Causal order."""

from collections.abc import Callable
from dataclasses import dataclass, field

CLAIMS_MAX = 16


@dataclass(frozen=True)
class Claim:
    """At its entry `seq` a feed claims of another: so many entries, whose tree has this root."""

    seq: int
    other: bytes
    size: int
    root: bytes


@dataclass
class Knowledge:
    """What is held: claims by feed, how much of each feed counts, and the roots of that.

    `is_later` says whether what counts of the last feed goes on to long after an entry of the first.
    """

    claims: dict[bytes, list[Claim]]
    counted: dict[bytes, int]
    root: Callable[[bytes, int], bytes]
    is_later: Callable[[bytes, int, bytes], bool]
    pasts: dict[tuple[bytes, int], dict[bytes, int]] = field(default_factory=dict)

    def past(self, feed: bytes, seq: int) -> dict[bytes, int]:
        if (feed, seq) not in self.pasts:
            self.pasts[feed, seq] = self._past(feed, seq)
        return self.pasts[feed, seq]

    def _past(self, feed: bytes, seq: int) -> dict[bytes, int]:
        past, grew = {feed: seq + 1}, True
        while grew:
            before = dict(past)
            for one, size in before.items():
                for other in {claim.other for claim in self.claims.get(one, [])} - {one}:
                    past[other] = max(past.get(other, 0), self._reached(one, size, other))
            grew = past != before
        return {one: size for one, size in past.items() if size}

    def _reached(self, feed: bytes, size: int, other: bytes) -> int:
        size, counted = min(size, self.counted.get(feed, 0)), self.counted.get(other, 0)
        said = [claim for claim in self.claims[feed] if claim.other == other and claim.seq < size]
        newest = sorted(said, key=lambda claim: claim.seq)[-CLAIMS_MAX:]
        true = [
            claim
            for claim in newest
            if (claim.size <= counted and claim.root == self.root(other, claim.size))
            or (claim.size > counted and not self.is_later(feed, claim.seq, other))
        ]
        return max((min(claim.size, counted) for claim in true), default=0)

    def knows(self, one: tuple[bytes, int], other: tuple[bytes, int]) -> bool:
        """Whether the first span is in the past of the other."""
        return self.past(*other).get(one[0], 0) > one[1]

    def relation(self, one: tuple[bytes, int], other: tuple[bytes, int]) -> str:
        if one == other:
            return "equal"
        if one[0] == other[0]:
            return "before" if one[1] < other[1] else "after"
        if self.knows(one, other):
            return "before"
        return "after" if self.knows(other, one) else "concurrent"
