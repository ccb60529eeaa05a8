"""What the author of a span could know of other feeds when it wrote it. From docs/protocol.md, Causal order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.independent.protocol.tree import root_of

CLAIMS_MAX = 16
LATER_MS = 600_000
Place = tuple[bytes, int]
Past = dict[bytes, int]


@dataclass(frozen=True)
class Claim:
    """At `seq` of its own feed, at `hlc`: so many entries of another feed, whose tree had this root."""

    seq: int
    hlc: int
    feed: bytes
    size: int
    root: bytes


@dataclass
class Counted:
    """The entries of a feed that are held and count."""

    node: bytes
    leaves: list[bytes]
    hlcs: list[int]
    claims: list[Claim] = field(default_factory=list)


class Order:
    def __init__(self, feeds: Mapping[bytes, Counted]) -> None:
        self.feeds = feeds

    def past(self, place: Place) -> Past:
        past, larger = Past(), {place[0]: place[1] + 1}
        while larger:
            feed, size = larger.popitem()
            past[feed] = size
            for other, known in self._known(feed, size):
                if known > max(past.get(other, 0), larger.get(other, 0)):
                    larger[other] = known
        return past

    def _known(self, feed: bytes, size: int) -> Iterable[Place]:
        mine = self.feeds[feed]
        claims = [claim for claim in mine.claims if claim.seq < min(size, len(mine.leaves)) and claim.feed != feed]
        for other in {claim.feed for claim in claims} & self.feeds.keys():
            newest = sorted((claim for claim in claims if claim.feed == other), key=lambda claim: claim.seq)
            yield other, max(self._holding(claim, mine, self.feeds[other]) for claim in newest[-CLAIMS_MAX:])

    def _holding(self, claim: Claim, mine: Counted, other: Counted) -> int:
        """How many entries of the other feed a claim puts into the past."""
        count = len(other.leaves)
        if claim.size <= count:
            return claim.size if root_of(other.leaves[: claim.size]) == claim.root else 0
        is_late = (max(other.hlcs, default=0) >> 16) - (claim.hlc >> 16) > LATER_MS
        return 0 if mine.node != other.node and is_late else count

    def relation(self, one: Place, other: Place) -> str:
        if one == other:
            return "equal"
        if one[0] == other[0]:
            return "before" if one[1] < other[1] else "after"
        if holds(self.past(other), one):
            return "before"
        return "after" if holds(self.past(one), other) else "concurrent"


def holds(past: Past, place: Place) -> bool:
    return past.get(place[0], 0) > place[1]
