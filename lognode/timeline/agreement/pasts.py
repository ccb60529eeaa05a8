"""Causal pasts: what the author of a span knew when it wrote it.

Pure. A span's past is its feed up to it, and what the merges there and the feed's opening say of other feeds, and so
on from these. Must not know where rows are. Invariants: a past is a function of what is held; the past of a span holds
the past of every span in it.
Source: docs/protocol.md, Causal order.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Literal, NamedTuple, Protocol

from lognode.core.ids import FeedId
from lognode.core.limits import CLAIMS_TRIED_MAX

Relation = Literal["equal", "before", "after", "concurrent"]
Past = Mapping[FeedId, int]  # feed -> how many of its entries, from the first on


class Place(NamedTuple):
    """Where a span stands."""

    feed: FeedId
    seq: int


class Claim(NamedTuple):
    """What a feed says of another one: so many entries of it were known, whose tree had this root."""

    other: FeedId
    size: int
    root: bytes


class Knowledge(Protocol):
    """What is held, at one moment."""

    def others(self, feed: FeedId) -> Iterable[FeedId]:
        """The feeds of which a feed says something, at whichever entry."""

    def claims(self, feed: FeedId, size: int, other: FeedId) -> Iterable[Claim]:
        """What the first `size` entries of a feed say of another, the newest first; CLAIMS_TRIED_MAX are enough."""

    def counted(self, feed: FeedId) -> int:
        """How many entries of a feed are held and count; the rest is void, or the tail of a fork."""

    def root(self, feed: FeedId, size: int) -> bytes:
        """The root of the first `size` entries of a feed, of which so many count."""


def past_of(places: Iterable[Place], knowledge: Knowledge) -> dict[FeedId, int]:
    """What whoever wrote the spans at these places knew then, with these spans themselves."""
    known: dict[FeedId, int] = {}
    for feed, seq in places:
        known[feed] = max(known.get(feed, 0), seq + 1)
    waiting = deque(known)
    while waiting:
        feed = waiting.popleft()
        size = min(known[feed], knowledge.counted(feed))
        for other in knowledge.others(feed):
            if other == feed:
                continue  # what a feed says of itself is no news, and may reach beyond the entry that says it
            reached = _reach(knowledge, feed, size, other, known.get(other, 0))
            if reached > known.get(other, 0):
                known[other] = reached
                if other not in waiting:
                    waiting.append(other)
    return known


def _reach(knowledge: Knowledge, feed: FeedId, size: int, other: FeedId, known: int) -> int:
    """How much of another feed the first `size` entries of a feed say was known; `known` where that is no more.

    A claim whose root is not that of the tree here is false. One beyond what counts stands for what counts, until more
    comes. The largest of the newest holds, so that the answer does not depend on which feed was looked at first.
    """
    counted = knowledge.counted(other)
    for claim in islice(knowledge.claims(feed, size, other), CLAIMS_TRIED_MAX):
        # What is beyond the end here cannot be looked at. Of a fork the other branch may be meant, which begins alike.
        if claim.size > counted:
            return max(counted, known)
        if counted <= known:
            return known
        if claim.size > known and claim.root == knowledge.root(other, claim.size):
            known = claim.size
    return known


def relation(one: Place, other: Place, one_past: Past, other_past: Past) -> Relation:
    """How the first of two spans stands to the second; of one feed the earlier one is before."""
    if one == other:
        return "equal"
    if one.feed == other.feed:
        return "before" if one.seq < other.seq else "after"
    if other_past.get(one.feed, 0) > one.seq:
        return "before"
    return "after" if one_past.get(other.feed, 0) > other.seq else "concurrent"
