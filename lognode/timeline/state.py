"""Where the feeds of a node stand, and what one commit adds to them.

Plain values that plans are made from and that the store reads and writes. Knows neither SQL nor keys.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

from lognode.core.codec import encode
from lognode.core.ids import LogLine
from lognode.core.limits import MILESTONE_BYTES, MILESTONE_SPANS
from lognode.timeline.proof.tree import Border
from lognode.timeline.record import FeedRef, Record, TenantRef

# Why a feed ends by an entry in the table of endings, as the feed.open after it says.
RESTORED: Final = "restore"
FETCHED: Final = "fetched"  # back from others: a copy of this node wrote it, which may go on
DOUBT: Final = "doubt"  # whether a copy of this node went on there; lifted when the other members know of nothing
CONTINUITY: Final = "continuity"  # this node may be, or is, a copy from another time
CLONED: Final = "cloned"  # another copy of this node wrote there while this one ran
ENDING_REASONS: Final = (RESTORED, FETCHED, DOUBT, CONTINUITY, CLONED)

# Tables whose rows follow from no span: the last column of each is the seal of the others.
SEALED_TABLES: Final = ("tasks", "schedules", "task_pauses", "rule_cursors", "held", "subscriptions", "parked")
_SEAL_BYTES: Final = 16


class Verdicts(NamedTuple):
    """What a tenant's control spans make void, as they are all known: these rows replace those before."""

    tenant: int
    cuts: list[tuple[int, int, str]]  # feed, size, reason
    voids: list[tuple[int, str]]  # row, reason
    bounds: list[tuple[bytes, int]]  # feed id, size: how much of a feed nodes have in common, where not all


class WritePlan(NamedTuple):
    """The rows of one transaction. `rows`: table -> its values, flat. Tiles replace older ones."""

    rows: dict[str, list[Any]]
    tiles: list[tuple[int, int, int, bytes]]  # feed, level, tile, hashes
    checkpoints: list[tuple[int, int, bytes]]  # feed, size, note
    dropped: list[tuple[int, int]]  # feed and size of checkpoints that the new ones replace
    arrived: Sequence[tuple[int, bytes, int]] = ()  # tenant, feed id, size: nothing before it is foretold
    verdicts: Sequence[Verdicts] = ()
    subjects: Sequence[tuple[int, str]] = ()  # tenant and subject of what its shared spans are about

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of the spans that it adds."""
        return self.rows.get("bodies", [])[1::2]

    @property
    def is_empty(self) -> bool:
        """Whether it changes nothing."""
        return not self.checkpoints and not any(self.rows.values())

    def add(self, rows: Mapping[str, Sequence[Any]]) -> None:
        """Have it write these rows too."""
        for table, values in rows.items():
            self.rows.setdefault(table, []).extend(values)


def joined(writes: Sequence[WritePlan]) -> WritePlan:
    """One transaction for several plans about different tenants."""
    rows: dict[str, list[Any]] = {}
    for write in writes:
        for table, values in write.rows.items():
            rows.setdefault(table, []).extend(values)
    return WritePlan(
        rows,
        [row for write in writes for row in write.tiles],
        [row for write in writes for row in write.checkpoints],
        [row for write in writes for row in write.dropped],
        [row for write in writes for row in write.arrived],
        [row for write in writes for row in write.verdicts],
        [row for write in writes for row in write.subjects],
    )


def sealed(table: str, values: Sequence[Any]) -> list[Any]:
    """A row of one of SEALED_TABLES: its values, and their seal behind them."""
    return [*values, seal_of(table, values)]


def seal_of(table: str, values: Sequence[Any]) -> bytes:
    """The seal of a row, by which damage is found, not malice; text may be given as its UTF-8."""
    said = [value.encode() if isinstance(value, str) else value for value in values]
    return sha256(b"lognode row v1" + encode([table.encode(), *said])).digest()[:_SEAL_BYTES]


class FeedState(NamedTuple):
    """Where a feed stands: its tree's border, and the partly filled tile of each level.

    `hlc` is the newest time in it, -1 before the first. `milestone` is the size of the newest checkpoint that is kept
    for good, 0 before the first; the one at the end is not among them until a later one comes. `weight` is the bytes of
    headers and bodies since.
    """

    feed: FeedRef
    border: Border
    tiles: dict[int, tuple[int, bytes]]  # level -> (tile, hashes)
    hlc: int = -1
    milestone: int = 0
    weight: int = 0

    def extended(self, border: Border, tiles: dict[int, tuple[int, bytes]], hlc: int, weight: int) -> "FeedState":
        """The feed with entries up to `hlc` that weigh `weight` bytes, and a checkpoint behind them.

        From every size the next kept checkpoint is near: the one at the end so far is kept as a milestone where the
        newest milestone would be too far from the new end.
        """
        size, total = self.border.size, self.weight + weight
        is_far = border.size - self.milestone > MILESTONE_SPANS or total > MILESTONE_BYTES
        if is_far and size > self.milestone:
            return FeedState(self.feed, border, tiles, hlc, size, weight)
        return FeedState(self.feed, border, tiles, hlc, self.milestone, total)

    def dropped(self, later: "FeedState") -> list[tuple[int, int]]:
        """Feed and size of the checkpoint at this end, where the one at a later end replaces it."""
        size = self.border.size
        return [] if size in (0, later.milestone) else [(self.feed.number, size)]


class Held(NamedTuple):
    """A span that is stored, and the size of a checkpoint that covers it."""

    record: Record
    checkpoint_size: int


class TenantState(NamedTuple):
    """Where a tenant stands on this node; `head` is the open feed, None before the first write.

    `hlc` is the newest time that the node's next span must follow: that of the open feed, or of what came from others
    and was not ahead of its time. `ending` is why nothing may follow there, as a feed.open says it;
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
