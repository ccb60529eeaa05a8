"""One feed while its history is walked: the tree of what was read, and what the tree has yet to decide.

Knows no SQL. Invariant: memory does not grow with the feed: a border, one open tile a level, and bounded lists
of what was found.
"""

from collections.abc import Iterator
from typing import NamedTuple

from lognode.timeline.proof.tree import EMPTY, HASH_BYTES, TILE_LEVELS, TILE_WIDTH, Border, grow, root_of
from lognode.timeline.record import FeedRef
from lognode.timeline.verify.finding import FINDINGS_MAX

Blame = tuple[str, str, str]  # code, place and detail of a finding


class Suspect(NamedTuple):
    """A contradiction at an entry: what to report if its leaf is the signed one, and what if it is not."""

    seq: int
    row: int
    if_right: Blame
    if_wrong: Blame | None


class Tile(NamedTuple):
    """The hashes of a tile as the spans give them."""

    level: int
    number: int
    hashes: list[bytes]


class FeedWalk:
    """Grows a feed's tree from its leaves and compares it with stored tiles and signed roots."""

    def __init__(self, ref: FeedRef) -> None:
        self.ref = ref
        self.size = 0  # entries read; the tree may lag behind by `leaves`
        self.hlc = -1  # of the newest entry read
        self.is_bound = False  # its feed.open was read and proves the feed's row
        self.leaves: list[bytes] = []
        self.border: Border = EMPTY
        self.signed = 0  # the largest size that a signed root was compared at
        self.agreed = 0  # the largest signed size whose root the tree had
        self.refuted: tuple[Border, bytes] | None = None  # the first one after that whose root it had not, and the root
        self.outvoted: list[int] = []  # signed sizes whose root the tree had not, though it had that of a larger one
        self.bad_nodes: dict[tuple[int, int], bytes] = {}  # (tile level, node) -> what a tile says other than the tree
        self.suspects: list[Suspect] = []
        self._tiles: dict[int, list[bytes]] = {}  # tile level -> hashes of the newest tile

    def suspect(self, suspect: Suspect) -> None:
        """Keep a contradiction until the tree is known."""
        if len(self.suspects) < FINDINGS_MAX:
            self.suspects.append(suspect)

    def add(self, leaf: bytes) -> None:
        """Take the leaf hash of the next entry."""
        self.leaves.append(leaf)
        self.size += 1

    def skip(self, count: int) -> None:
        """Go on behind lost entries, so that the tiles behind them can still be checked."""
        self.leaves += [bytes(HASH_BYTES)] * count
        self.size += count

    def grow(self, stop: int) -> list[Tile]:
        """The tiles that are full once the tree has grown to `stop` entries."""
        before = self.border.size
        count = stop - before
        self.border, nodes = grow(self.border, self.leaves[:count])
        del self.leaves[:count]
        full: list[Tile] = []
        for tree_level, hashes in nodes.items():
            level = tree_level // TILE_LEVELS
            for place, node in enumerate(hashes, start=before >> tree_level):
                held = self._tiles.setdefault(level, [])
                held.append(node)
                if len(held) == TILE_WIDTH:
                    full.append(Tile(level, place // TILE_WIDTH, held))
                    self._tiles[level] = []
        return full

    def open_tiles(self) -> Iterator[Tile]:
        """The newest tile of each level that has one which is not full."""
        for level, hashes in self._tiles.items():
            if hashes:
                yield Tile(level, (self.border.size >> TILE_LEVELS * level) // TILE_WIDTH, hashes)

    def has_tile(self, level: int, number: int) -> bool:
        """Whether a tree of this size has such a tile."""
        return level >= 1 and 0 <= number * TILE_WIDTH < self.border.size >> min(TILE_LEVELS * level, 64)

    def compare_tile(self, tile: Tile, stored: bytes) -> None:
        """Keep which nodes a stored tile has other than the tree."""
        for at, node in enumerate(tile.hashes):
            found = stored[HASH_BYTES * at : HASH_BYTES * (at + 1)]
            if found != node and len(self.bad_nodes) < FINDINGS_MAX:
                self.bad_nodes[tile.level, tile.number * TILE_WIDTH + at] = found

    def meet_root(self, root: bytes) -> None:
        """Compare the tree as it stands with a signed root of its size."""
        self.signed = self.border.size
        if root_of(self.border) == root:
            self.agreed = self.border.size
            if self.refuted and len(self.outvoted) < FINDINGS_MAX:
                self.outvoted.append(self.refuted[0].size)
            self.refuted = None
        elif self.refuted is None:
            self.refuted = (self.border, root)
