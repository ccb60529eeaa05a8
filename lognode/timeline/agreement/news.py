"""What came from others that no merge of this node names yet, and which of it a merge may name.

Pure. Invariant: a merge names a tree of a feed only if its author signed that tree, all of it counts, and nothing in it
lies ahead of time; what it leaves out now waits.
Source: docs/protocol.md, Merges.
"""

from typing import NamedTuple

from lognode.core.clock import hlc_ms
from lognode.core.limits import CLOCK_AHEAD_MS_MAX, MERGE_RETRY_S


class Fresh(NamedTuple):
    """A tree of another node's feed, behind the newest of its entries that is no merge.

    `hlc` is the newest time in it, `note` the checkpoint of it. Nothing is tried before `not_before_ms`, Unix time.
    """

    size: int
    root: bytes
    hlc: int
    note: bytes
    not_before_ms: int = 0

    def is_sound(self, now_ms: int, size_max: int | None) -> bool:
        """Whether all of it may be named; `size_max` is where the feed was cut, None where it was not."""
        return hlc_ms(self.hlc) <= now_ms + CLOCK_AHEAD_MS_MAX and (size_max is None or self.size <= size_max)

    def waiting(self, now_ms: int) -> "Fresh":
        """The same, to be looked at again when time may have caught up."""
        caught_up_ms = max(now_ms, hlc_ms(self.hlc) - CLOCK_AHEAD_MS_MAX)
        return self._replace(not_before_ms=min(caught_up_ms, now_ms + MERGE_RETRY_S * 1000))
