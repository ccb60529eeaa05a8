"""Trees of RFC 6962 over leaf hashes: roots, proofs and tiles, as docs/protocol.md, Tree, describes them."""

from collections.abc import Sequence

from tests.independent.protocol.cbor import Refused, need
from tests.independent.protocol.fields import sha256

EMPTY_ROOT = sha256()
TILE_LEVELS = 8


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00", entry)


def inner(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01", left, right)


def split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def root_of(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return EMPTY_ROOT
    level = list(leaves)
    while len(level) > 1:
        paired = [inner(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = [*paired, *level[len(level) - len(level) % 2 :]]
    return level[0]


def inclusion_of(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1, the leaf's sibling first."""
    if len(leaves) == 1:
        return []
    middle = split(len(leaves))
    if index < middle:
        return [*inclusion_of(index, leaves[:middle]), root_of(leaves[middle:])]
    return [*inclusion_of(index - middle, leaves[middle:]), root_of(leaves[:middle])]


def consistency_of(first: int, leaves: Sequence[bytes], *, is_whole: bool = True) -> list[bytes]:
    """RFC 6962 section 2.1.2."""
    if first in (0, len(leaves)):
        return [] if is_whole or not first else [root_of(leaves)]
    middle = split(len(leaves))
    if first <= middle:
        return [*consistency_of(first, leaves[:middle], is_whole=is_whole), root_of(leaves[middle:])]
    return [*consistency_of(first - middle, leaves[middle:], is_whole=False), root_of(leaves[:middle])]


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """RFC 9162 section 2.1.3.2."""
    need(0 <= index < size, "the index is not below the size")
    node, last, found = index, size - 1, leaf
    for step in proof:
        need(last, "a hash too many")
        if node & 1 or node == last:
            found = inner(step, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = inner(found, step)
        node, last = node >> 1, last >> 1
    need(last == 0 and found == root, "the hashes do not lead to the root")


def left_of(index: int, size: int, proof: Sequence[bytes]) -> list[bytes]:
    """The hashes of an inclusion proof that stand to the left."""
    node, last, left = index, size - 1, []
    for step in proof:
        if node & 1 or node == last:
            left.append(step)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    return left


def check_consistency(first: int, second: int, roots: tuple[bytes, bytes], proof: Sequence[bytes]) -> None:
    """RFC 9162 section 2.1.4.2; from size 0 and between equal sizes the proof is empty."""
    need(0 <= first <= second, "a larger tree before a smaller one")
    if first == second:
        need(roots[0] == roots[1] and not proof, "two roots of one size, or a proof for nothing")
        return
    if not first:
        need(roots[0] == EMPTY_ROOT and not proof, "not the empty tree, or a proof for nothing")
        return
    steps = list(proof) if first & (first - 1) else [roots[0], *proof]
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    if not steps:
        raise Refused("a proof without hashes")
    old = new = steps[0]
    for step in steps[1:]:
        need(last, "a hash too many")
        if node & 1 or node == last:
            old, new = inner(step, old), inner(step, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = inner(new, step)
        node, last = node >> 1, last >> 1
    need(last == 0 and (old, new) == roots, "the hashes do not lead to both roots")


def tile(leaves: Sequence[bytes], level: int, number: int) -> list[bytes]:
    """The hashes of tile `number` of a level: of complete subtrees over 256^level leaves."""
    width = 1 << TILE_LEVELS * level
    starts = range(256 * number * width, min(len(leaves) - width + 1, 256 * (number + 1) * width), width)
    return [root_of(leaves[start : start + width]) for start in starts]
