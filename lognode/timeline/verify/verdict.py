"""Decides which side of a contradiction is wrong, once a feed was read.

A tile or a signed root that the spans do not hash to says that something is wrong among at most 256 entries,
not what. So they are tried: the one bit that, flipped back, hashes to what was signed is named. Knows no SQL;
entries are loaded by a callable.
"""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from lognode.core.clock import HLC_MAX
from lognode.core.ids import FeedId, TenantId
from lognode.core.span import VISIBILITIES, leaf_hash, stub_entry
from lognode.core.span import Entry as Depths
from lognode.timeline.proof.tree import (
    HASH_BYTES,
    TILE_LEVELS,
    TILE_WIDTH,
    inclusion_proof,
    perfect_rows,
    verify_inclusion,
)
from lognode.timeline.verify.entries import entry_place
from lognode.timeline.verify.feed import FeedWalk
from lognode.timeline.verify.finding import Report

SEARCHES_MAX: Final = 64  # a search takes up to a tenth of a second; wholesale damage needs no bit named


class Entry(NamedTuple):
    """What the leaf of an entry is made of, and the row of its span or what stands for that."""

    row: int
    seq: int
    hlc: int
    visibility: int
    header: bytes


class Verdict:
    """Reports what the walk of one feed left open."""

    def __init__(self, walk: FeedWalk, tenant: TenantId, report: Report, load: Callable[[range], list[Entry]]) -> None:
        self.doubtful: set[int] = set()  # rows of spans whose stub or header is wrong
        self._walk = walk
        self._tenant = tenant
        self._report = report
        self._load = load
        self._searches = 0
        # Entries of which one is not as it was signed -> its place, or None when only its row is suspected.
        self._wrong: dict[range, str | None] = {}

    def judge(self) -> None:
        """Report every suspect, every node of a tile that differs, and a root that was not met."""
        walk = self._walk
        unnamed: list[range] = []
        for (level, node), signed in walk.bad_nodes.items():
            block = range(node * TILE_WIDTH, (node + 1) * TILE_WIDTH)
            is_open = level == 1 and block.stop > walk.agreed and len(signed) == HASH_BYTES
            if is_open and not self._name_culprit(block, (), TILE_WIDTH, signed):
                unnamed.append(block)
        if walk.refuted and not self._wrong:
            border, root = walk.refuted
            tail = range(border.size - border.size % TILE_WIDTH, border.size)
            above = [node for node in border.nodes[TILE_LEVELS:] if node is not None]
            if not self._name_culprit(tail, above, border.size, root):
                self._wrong.update(dict.fromkeys(unnamed))
                blocks = unnamed or [range(walk.agreed, border.size)]
                place = f"spans feed {walk.ref.number} seq {blocks[0].start} to {blocks[-1].stop - 1}"
                self._add("span.wrong", place, f"they do not hash to the signed root of size {border.size}")
        for size in walk.outvoted:
            place = f"checkpoints feed {walk.ref.number} size {size}"
            self._add("checkpoint.wrong", place, "signed over another tree than a larger one that is right")
        self._report_nodes()
        self._report_suspects()

    def _name_culprit(self, block: range, above: Sequence[bytes], size: int, root: bytes) -> bool:
        """Report what keeps the entries of `block`, the last ones of a tree of `size`, from hashing to `root`."""
        suspects = {s.row: s.if_wrong for s in self._walk.suspects if s.seq in block and s.if_wrong}
        entries = self._load(block) if self._searches < SEARCHES_MAX else []
        self._searches += 1
        if [entry.seq for entry in entries] == list(block):
            found = find_flip(self._walk.ref.feed_id, entries, suspects.keys(), above, size, root)
            if found:
                row, column, detail = found
                self.doubtful.add(row)
                place = f"{entry_place(self._walk.ref.number, row)} {column}"
                self._wrong[block] = place
                self._add("span.wrong" if row >= 0 else "inert.wrong", place, detail)
                return True
        for blame in suspects.values():
            self._wrong[block] = None
            self._add(*blame)
        return bool(suspects)

    def _report_suspects(self) -> None:
        for suspect in self._walk.suspects:
            # Of an order that an entry breaks, the entry before may be the cause, in the block before.
            about = {suspect.seq} if suspect.if_wrong else {suspect.seq, suspect.seq - 1}
            places = [place for block, place in self._wrong.items() if not about.isdisjoint(block)]
            is_other = None not in places and suspect.if_wrong is not None and suspect.if_wrong[1] not in places
            if is_other or not places:
                self._add(*suspect.if_right)

    def _report_nodes(self) -> None:
        """Report tiles whose nodes differ, but for those that differ because an entry below them does."""
        for level, node in self._walk.bad_nodes:
            start, stop = node << TILE_LEVELS * level, (node + 1) << TILE_LEVELS * level
            if not any(start <= block.start < stop for block in self._wrong):
                place = f"tiles feed {self._walk.ref.number} level {level} tile {node // TILE_WIDTH}"
                self._add("tile.wrong", place, f"hash {node % TILE_WIDTH} is not that of entries {start} to {stop - 1}")

    def _add(self, code: str, place: str, detail: str) -> None:
        self._report.add(code, self._tenant, place, detail)


def find_flip(
    feed: FeedId,
    entries: Sequence[Entry],
    suspects: AbstractSet[int],
    above: Sequence[bytes],
    size: int,
    root: bytes,
) -> tuple[int, str, str] | None:
    """Row, column and bit of the one change that makes `entries` hash to `root`; None when none does.

    The entries are the last ones of a tree of `size`, to whose proofs `above` is added. Headers are tried for
    the rows `suspects` alone, since a damaged header contradicts its body or its columns.
    """
    rows = perfect_rows([_leaf(feed, entry) for entry in entries])
    # Suspects first: the bit is nearly always theirs.
    for at, entry in sorted(enumerate(entries), key=lambda item: item[1].row not in suspects):
        proof = [*inclusion_proof(at, len(entries), lambda level, index: rows[level][index]), *above]
        index = size - len(entries) + at
        low = entries[at - 1].hlc if at else -1
        high = entries[at + 1].hlc if at + 1 < len(entries) else HLC_MAX + 1
        # Of what is withheld nothing but the tree shows that the hash in place of its header is wrong.
        with_header = entry.row in suspects or len(entry.header) == HASH_BYTES
        for column, bit, changed in _changes(entry, range(low + 1, high), with_header=with_header):
            if verify_inclusion(_leaf(feed, changed), index, size, proof, root):
                return entry.row, column, f"its bit {bit} is not the one that was signed"
    return None


def _leaf(feed: FeedId, entry: Entry) -> bytes:
    depths = Depths(entry.hlc, entry.visibility, entry.header, None)
    return leaf_hash(stub_entry(feed, entry.seq, entry.hlc, entry.visibility, depths.header_sha256))


def _changes(entry: Entry, between: range, *, with_header: bool) -> Iterator[tuple[str, int, Entry]]:
    """Every entry that differs in one bit: column, bit (0 is the lowest; of a header, of its last byte), entry.

    Its hlc stays between those of its neighbours, as it was when it was signed.
    """
    for bit in range(HLC_MAX.bit_length()):
        if entry.hlc ^ 1 << bit in between:
            yield "hlc", bit, entry._replace(hlc=entry.hlc ^ 1 << bit)
    for bit in range(8):
        if entry.visibility ^ 1 << bit < len(VISIBILITIES) or entry.row < 0:
            yield "visibility", bit, entry._replace(visibility=entry.visibility ^ 1 << bit)
    if with_header:
        number = int.from_bytes(entry.header, "big")
        for bit in range(8 * len(entry.header)):
            yield "header", bit, entry._replace(header=(number ^ 1 << bit).to_bytes(len(entry.header), "big"))
