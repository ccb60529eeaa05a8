"""Where the feeds of a node stand, and what one commit adds to them.

Plain values that plans are made from and that the store reads and writes. Knows neither SQL nor keys.
"""

from typing import Any, Final, NamedTuple

from lognode.core.ids import LogLine
from lognode.timeline.proof.tree import Border
from lognode.timeline.record import FeedRef, Record, TenantRef

# Why a feed ends by an entry in the table of endings, as the feed.open after it says.
RESTORED: Final = "restore"
ENDING_REASONS: Final = (RESTORED,)


class WritePlan(NamedTuple):
    """The rows of one transaction. `rows`: table -> its values, flat. Tiles and checkpoints replace older ones."""

    rows: dict[str, list[Any]]
    tiles: list[tuple[int, int, int, bytes]]  # feed, level, tile, hashes
    checkpoints: list[tuple[int, int, bytes]]  # feed, size, note

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of the spans that it adds."""
        return self.rows["bodies"][1::2]


class FeedState(NamedTuple):
    """Where an own feed stands: its tree's border, and the partly filled tile of each level."""

    feed: FeedRef
    border: Border
    tiles: dict[int, tuple[int, bytes]]  # level -> (tile, hashes)


class Held(NamedTuple):
    """A span that is stored, and the size of a checkpoint that covers it."""

    record: Record
    checkpoint_size: int


class TenantState(NamedTuple):
    """Where a tenant stands on this node; `head` is the open feed, None before the first write.

    `hlc` is that of the newest span in the open feed. `ending` is why nothing may follow there, as a feed.open says it;
    None where the feed goes on.
    """

    tenant: TenantRef
    position: int
    hlc: int
    head: FeedState | None
    ending: str | None
    kinds: dict[str, int]
    actors: dict[LogLine, int]


class Numbers(NamedTuple):
    """The next free local numbers."""

    tenant: int
    feed: int
    kind: int
    actor: int
