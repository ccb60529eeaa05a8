"""Where feeds end for good: who says so, and which of it is settled already.

Plain values that rulings take and give. Knows no rules.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from lognode.core.ids import FeedId
from lognode.timeline.members.history import Act

Rank = tuple[int, int]  # depth of whoever acts, then its turn among acts of one depth: lower ranks count first
# What a recovery key says comes before what the node's own key does to the node: a thief has that. What ends more comes
# before what ends less, and all of it before what is done to others.
RECOVERY_TURN: Final = 0
OWN_TURNS: Final[Mapping[str, int]] = {"member.remove": 1, "member.level": 2, "identity.rotate": 3}
OTHERS_TURN: Final = 4


class Cut(NamedTuple):
    """How many entries of a feed count, and why no more."""

    size: int
    reason: str


class Cutter(NamedTuple):
    """What ends the feeds of one key: the acts as a bit set, and the sizes; feeds that have none end at 0."""

    acts: int
    target: bytes
    sizes: Mapping[FeedId, int]
    own: tuple[FeedId, int] | None  # the place of the act, where that is in a feed of the target
    rank: Rank
    reason: str


class Adoption(NamedTuple):
    """What lets more of a feed count."""

    act: Act
    feed: FeedId
    size: int
    rank: Rank


class Counted(NamedTuple):
    """What a ruling takes as settled. `barred` acts lose against others that they know nothing of."""

    cutters: Mapping[int, Cutter]  # by index of the act
    adoptions: Mapping[int, Adoption]
    decisions: Sequence[Cutter]  # of electorates
    barred: Mapping[int, str]
