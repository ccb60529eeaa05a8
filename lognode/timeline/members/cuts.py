"""Where feeds end for good: who says so, and which of it is settled already.

Plain values that rulings take and give. Knows no rules.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lognode.core.ids import FeedId
from lognode.timeline.members.history import Act

Rank = tuple[int, int]  # depth of whoever acts, then 0 for what keys do to their own node: lower ranks count first


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
