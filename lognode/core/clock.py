"""Hybrid logical clocks and vector clocks.

An HLC is one uint64 below 2^63: 48 bits of Unix milliseconds, 16 bits of counter. A vector clock maps
feeds to (size, root). Knows no wall clock. Invariant: `tick` always gives more than it was given.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Final, Literal

from lognode.core.ids import FeedId
from lognode.core.limits import CLOCK_AHEAD_MS_MAX

COUNTER_BITS: Final = 16
HLC_MAX: Final = 2**63 - 1

Head = tuple[int, bytes]  # (size, root)
Order = Literal["equal", "before", "after", "concurrent", "forked"]


def hlc_from_ms(unix_ms: int) -> int:
    """The first HLC of a millisecond."""
    return unix_ms << COUNTER_BITS


def hlc_ms(hlc: int) -> int:
    """The Unix milliseconds of an HLC."""
    return hlc >> COUNTER_BITS


def time_text(unix_ms: int) -> str:
    """RFC 3339 with milliseconds, UTC; times beyond year 9999 as the number of milliseconds."""
    try:
        return f"{_second_text(unix_ms // 1000)}.{unix_ms % 1000:03d}Z"
    except (ValueError, OverflowError, OSError):
        return str(unix_ms)


# One page shows few seconds many times.
@lru_cache(maxsize=1024)
def _second_text(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def tick(last: int, now_ms: int) -> int:
    """The next HLC after `last`: now when the wall clock has moved on, else one more than `last`."""
    now = now_ms << COUNTER_BITS
    return now if now > last else last + 1


def is_ahead(hlc: int, now_ms: int) -> bool:
    """Whether `hlc` lies further ahead of now than a working clock can be."""
    return hlc_ms(hlc) > now_ms + CLOCK_AHEAD_MS_MAX


class Clock(Mapping[FeedId, Head]):
    """A vector clock: feed -> (count of contiguous spans held, root of their tree); absent is 0."""

    __slots__ = ("_heads",)

    def __init__(self, heads: Mapping[FeedId, Head] = MappingProxyType({})) -> None:
        self._heads = {feed: head for feed, head in heads.items() if head[0] > 0}

    def __getitem__(self, feed: FeedId) -> Head:
        return self._heads[feed]

    def __iter__(self) -> Iterator[FeedId]:
        return iter(self._heads)

    def __len__(self) -> int:
        return len(self._heads)

    def size(self, feed: FeedId) -> int:
        """Spans held of `feed`."""
        return self._heads.get(feed, (0, b""))[0]


def compare(ours: Clock, theirs: Clock) -> Order:
    """How `ours` relates to `theirs`. One size with two roots is a fork, whatever else differs."""
    behind = ahead = False
    for feed in ours.keys() | theirs.keys():
        our_size, their_size = ours.size(feed), theirs.size(feed)
        if our_size == their_size and ours[feed][1] != theirs[feed][1]:
            return "forked"
        behind |= our_size < their_size
        ahead |= our_size > their_size
    if behind and ahead:
        return "concurrent"
    return "before" if behind else "after" if ahead else "equal"


def merge(ours: Clock, theirs: Clock) -> Clock:
    """The least clock that covers both. Not for forked clocks: of one size it keeps the smaller root."""
    return Clock(
        {
            feed: max((clock[feed] for clock in (ours, theirs) if feed in clock), key=lambda h: (h[0], _inverse(h[1])))
            for feed in ours.keys() | theirs.keys()
        }
    )


def state_hash(clock: Clock) -> bytes:
    """SHA-256 over the sorted (feed id, size as 8 bytes, root): equal on nodes that hold equal spans."""
    digest = sha256()
    for feed in sorted(clock):
        size, root = clock[feed]
        digest.update(feed + size.to_bytes(8, "big") + root)
    return digest.digest()


def _inverse(root: bytes) -> bytes:
    return bytes(255 - byte for byte in root)
