"""Hybrid logical clocks and vector clocks.

An HLC is one uint64 below 2^63: 48 bits of Unix milliseconds, 16 bits of counter. A vector clock maps
feeds to (size, root). Knows no wall clock. Invariant: `tick` always gives more than it was given.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from lognode.core.ids import FeedId
from lognode.core.limits import CLOCK_AHEAD_MS_MAX

COUNTER_BITS: Final = 16
HLC_MAX: Final = 2**63 - 1

Head = tuple[int, bytes]  # (size, root)


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


def state_hash(clock: Clock) -> bytes:
    """SHA-256 over the sorted (feed id, size as 8 bytes, root): equal on nodes that hold equal spans."""
    digest = sha256()
    for feed in sorted(clock):
        size, root = clock[feed]
        digest.update(feed + size.to_bytes(8, "big") + root)
    return digest.digest()
