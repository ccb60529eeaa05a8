"""The RFC 6962 Merkle tree: growing it in batches, proving from it, checking such proofs.

Owns node hashing and the shape of trees. Must not know what a leaf commits to, nor where hashes
are kept: proofs ask a callable for the hash of a perfect subtree. Invariant: a border of `size`
holds one hash for each set bit of `size` and determines the root, so a log can grow for ever from
at most 63 hashes.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

TILE_LEVELS = 8
TILE_WIDTH = 1 << TILE_LEVELS
HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()

# (level, index) -> hash of the perfect subtree over the leaves [index << level, (index + 1) << level).
NodeSource = Callable[[int, int], bytes]


class Border(NamedTuple):
    """The right border of a tree: per level the perfect subtree that has no sibling yet, or None."""

    size: int
    nodes: tuple[bytes | None, ...]


class Growth(NamedTuple):
    """What a batch of leaves made of a tree: the new border, and what its tiles gained.

    `nodes` maps the levels 8, 16, 24... to the perfect nodes completed there, in order; a level
    that gained none is absent. The first one at level l has the index `old size >> l`.
    """

    border: Border
    nodes: dict[int, list[bytes]]


EMPTY = Border(0, ())


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def grow(border: Border, leaves: Sequence[bytes]) -> Growth:
    """The tree after `leaves` (32-byte leaf hashes), level by level."""
    alone: list[bytes | None] = []
    tiles: dict[int, list[bytes]] = {}
    row = list(leaves)
    while row:
        level = len(alone)
        if level and level % TILE_LEVELS == 0:
            tiles[level] = row
        waiting = border.nodes[level] if level < len(border.nodes) else None
        if waiting is not None:
            row = [waiting, *row]
        alone.append(row[-1] if len(row) % 2 else None)
        row = _parents(row)
    # A level that gained nothing leaves all above it as they were.
    nodes = (*alone, *border.nodes[len(alone) :])
    return Growth(Border(border.size + len(leaves), nodes), tiles)


def root_of(border: Border) -> bytes:
    """The root hash of the tree that ends in `border`."""
    root: bytes | None = None
    for node in border.nodes:
        if node is not None:
            root = node if root is None else node_hash(node, root)
    return EMPTY_ROOT if root is None else root


def border_at(size: int, node: NodeSource) -> Border:
    """The border that a tree had when it held `size` leaves."""
    levels = range(size.bit_length())
    return Border(size, tuple([node(at, (size >> at) - 1) if size >> at & 1 else None for at in levels]))


def perfect_rows(hashes: Sequence[bytes]) -> list[list[bytes]]:
    """The perfect nodes above neighbouring hashes: row 0 is `hashes`, row n has half of row n - 1.

    The first hash must be a left child at every level that is asked for, as a tile's first is.
    """
    rows = [list(hashes)]
    while len(rows[-1]) > 1:
        rows.append(_parents(rows[-1]))
    return rows


def inclusion_proof(index: int, size: int, node: NodeSource) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size`, the leaf's sibling first.

    Source: RFC 6962, section 2.1.1.
    """
    assert 0 <= index < size
    start, stop = 0, size
    path = []
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append(_range_hash(middle, stop, node))
            stop = middle
        else:
            path.append(_range_hash(start, middle, node))
            start = middle
    return path[::-1]


def consistency_proof(first: int, second: int, node: NodeSource) -> list[bytes]:
    """What shows that the tree of `second` extends the tree of `first`, deepest hash first.

    Empty when the sizes are equal and when `first` is 0. Source: RFC 6962, section 2.1.2.
    """
    assert 0 <= first <= second
    if first == 0:
        return []
    start, stop = 0, second
    path = []
    while stop != first:
        middle = start + _split(stop - start)
        if first <= middle:
            path.append(_range_hash(middle, stop, node))
            stop = middle
        else:
            path.append(_range_hash(start, middle, node))
            start = middle
    # The whole first tree is left out: whoever checks the proof holds its root.
    if start:
        path.append(_range_hash(start, stop, node))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` leads from the leaf hash at `index` to the root of the tree of `size`.

    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        return False
    place, last = index, size - 1
    found = leaf
    for step in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(step, found)
            place, last = _without_left_spine(place, last)
        else:
            found = node_hash(found, step)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `second` begins with the tree of `first`.

    Any tree extends the empty one, so `first` = 0 needs its right root and no proof.
    Source: RFC 9162, section 2.1.4.2.
    """
    if not 0 <= first <= second or not _are_hashes(first_root, second_root, *proof):
        return False
    if first == 0:
        return not proof and first_root == EMPTY_ROOT and (second > 0 or second_root == EMPTY_ROOT)
    if first == second:
        return not proof and first_root == second_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(step, old), node_hash(step, new)
            place, last = _without_left_spine(place, last)
        else:
            new = node_hash(new, step)
        place, last = place >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


def _parents(row: list[bytes]) -> list[bytes]:
    # The hottest line of an append: one pass per level, and node_hash inlined, halves its cost.
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=False)]


def _split(count: int) -> int:
    """The largest power of two below `count`: where RFC 6962 divides a range of leaves."""
    return 1 << (count - 1).bit_length() - 1


def _range_hash(start: int, stop: int, node: NodeSource) -> bytes:
    """The RFC 6962 hash of the leaves [start, stop), a range that occurs as a subtree."""
    count = stop - start
    level = count.bit_length() - 1
    left = node(level, start >> level)
    if count == 1 << level:
        return left
    return node_hash(left, _range_hash(start + (1 << level), stop, node))


def _without_left_spine(place: int, last: int) -> tuple[int, int]:
    """Both numbers shifted past the levels where the node at `place` has no right sibling."""
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
