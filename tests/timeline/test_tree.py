"""The Merkle tree against RFC 6962: its published vectors, and its recursive definitions as text."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.timeline.proof import tree

LEAF_INPUTS = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
LEAVES = [sha256(b"\x00" + bytes.fromhex(text)).digest() for text in LEAF_INPUTS]

# The vectors of the certificate-transparency project for these eight leaves.
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSIONS = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
CONSISTENCIES = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]

sizes = st.integers(0, 700)


def leaves_of(count: int) -> list[bytes]:
    return [sha256(b"\x00" + number.to_bytes(4)).digest() for number in range(count)]


def split(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, as written there."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962 section 2.1.1, as written there."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(first: int, leaves: Sequence[bytes], *, whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962 section 2.1.2, as written there."""
    if first == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = split(len(leaves))
    if first <= k:
        return [*naive_subproof(first, leaves[:k], whole=whole), naive_root(leaves[k:])]
    return [*naive_subproof(first - k, leaves[k:], whole=False), naive_root(leaves[:k])]


def perfect_nodes(leaves: Sequence[bytes]) -> tree.NodeSource:
    def node(level: int, index: int) -> bytes:
        covered = leaves[index << level : (index + 1) << level]
        assert len(covered) == 1 << level, "asked for a subtree that is not perfect"
        return naive_root(covered)

    return node


@pytest.mark.parametrize("size", range(9))
def test_roots_match_the_published_vectors(size: int) -> None:
    assert tree.root_of(tree.grow(tree.EMPTY, LEAVES[:size]).border).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "path"), INCLUSIONS)
def test_inclusion_proofs_match_the_published_vectors(index: int, size: int, path: list[str]) -> None:
    proof = tree.inclusion_proof(index, size, perfect_nodes(LEAVES[:size]))
    assert [step.hex() for step in proof] == path
    assert tree.verify_inclusion(LEAVES[index], index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("first", "second", "path"), CONSISTENCIES)
def test_consistency_proofs_match_the_published_vectors(first: int, second: int, path: list[str]) -> None:
    proof = tree.consistency_proof(first, second, perfect_nodes(LEAVES[:second]))
    assert [step.hex() for step in proof] == path
    roots = bytes.fromhex(ROOTS[first]), bytes.fromhex(ROOTS[second])
    assert tree.verify_consistency(first, second, *roots, proof)


@given(st.lists(st.integers(0, 300), max_size=6))
def test_growing_in_any_batches_gives_the_recursive_root(batches: list[int]) -> None:
    leaves = leaves_of(sum(batches))
    border, start = tree.EMPTY, 0
    for count in batches:
        border = tree.grow(border, leaves[start : start + count]).border
        start += count
    assert border == tree.grow(tree.EMPTY, leaves).border
    assert tree.root_of(border) == naive_root(leaves)


def test_growth_hands_out_each_tile_node_once_and_in_order() -> None:
    leaves = leaves_of(65_536 + 700)
    border, start = tree.EMPTY, 0
    kept: dict[int, list[bytes]] = {8: [], 16: []}
    for count in (0, 1, 254, 1, 1, 300, 65_000, 0, 679):
        growth = tree.grow(border, leaves[start : start + count])
        for level, nodes in growth.nodes.items():
            assert nodes, "a level that gained nothing is absent"
            assert len(kept[level]) == start >> level
            kept[level] += nodes
        border, start = growth.border, start + count
    assert start == len(leaves)
    assert kept[8] == [naive_root(leaves[at : at + 256]) for at in range(0, 258 * 256, 256)]
    assert kept[16] == [naive_root(leaves[:65_536])]


@given(sizes)
def test_a_border_holds_a_perfect_node_for_each_set_bit_of_its_size(size: int) -> None:
    leaves = leaves_of(size)
    node = perfect_nodes(leaves)
    assert tree.grow(tree.EMPTY, leaves).border == (
        size,
        tuple(node(level, (size >> level) - 1) if size >> level & 1 else None for level in range(size.bit_length())),
    )


@given(sizes)
def test_rows_over_a_tile_are_its_perfect_nodes(size: int) -> None:
    leaves = leaves_of(size)
    node = perfect_nodes(leaves)
    for level, row in enumerate(tree.perfect_rows(leaves)):
        assert row == [node(level, index) for index in range(size >> level)]


@given(st.data())
def test_inclusion_proofs_follow_the_recursive_definition_and_verify(data: st.DataObject) -> None:
    size = data.draw(sizes.filter(bool))
    index = data.draw(st.integers(0, size - 1))
    leaves = leaves_of(size)
    proof = tree.inclusion_proof(index, size, perfect_nodes(leaves))
    assert proof == naive_path(index, leaves)
    assert tree.verify_inclusion(leaves[index], index, size, proof, naive_root(leaves))


@given(st.data())
def test_consistency_proofs_follow_the_recursive_definition_and_verify(data: st.DataObject) -> None:
    second = data.draw(sizes.filter(bool))
    first = data.draw(st.integers(1, second))
    leaves = leaves_of(second)
    proof = tree.consistency_proof(first, second, perfect_nodes(leaves))
    assert proof == naive_subproof(first, leaves, whole=True)
    assert tree.verify_consistency(first, second, naive_root(leaves[:first]), naive_root(leaves), proof)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13])
def test_an_inclusion_proof_holds_for_nothing_else(size: int) -> None:
    leaves = leaves_of(size)
    root = naive_root(leaves)
    node = perfect_nodes(leaves)
    for index in range(size):
        leaf, proof = leaves[index], tree.inclusion_proof(index, size, node)
        for other in range(-1, size + 2):
            assert tree.verify_inclusion(leaf, other, size, proof, root) is (other == index)
        assert not tree.verify_inclusion(leaf, index, size, [*proof, root], root)
        assert not tree.verify_inclusion(leaf, index, size, proof, root[::-1])
        assert not tree.verify_inclusion(leaf[::-1], index, size, proof, root)
        for at in range(len(proof)):
            assert not tree.verify_inclusion(leaf, index, size, proof[:at] + proof[at + 1 :], root)
            changed = [*proof[:at], proof[at][::-1], *proof[at + 1 :]]
            assert not tree.verify_inclusion(leaf, index, size, changed, root)


@pytest.mark.parametrize("second", [1, 2, 3, 7, 8, 13])
def test_a_consistency_proof_holds_for_nothing_else(second: int) -> None:
    leaves = leaves_of(second)
    new = naive_root(leaves)
    for first in range(1, second + 1):
        old = naive_root(leaves[:first])
        proof = tree.consistency_proof(first, second, perfect_nodes(leaves))
        assert tree.verify_consistency(first, second, old, new, proof)
        assert not tree.verify_consistency(first, second, old[::-1], new, proof)
        assert not tree.verify_consistency(first, second, old, new[::-1], proof)
        assert not tree.verify_consistency(first, second, old, new, [*proof, new])
        for other in range(1, second + 1):
            assert tree.verify_consistency(other, second, old, new, proof) is (other == first)
        for at in range(len(proof)):
            assert not tree.verify_consistency(first, second, old, new, proof[:at] + proof[at + 1 :])
            changed = [*proof[:at], proof[at][::-1], *proof[at + 1 :]]
            assert not tree.verify_consistency(first, second, old, new, changed)


def test_every_tree_extends_the_empty_tree_and_no_other_of_size_zero() -> None:
    root = naive_root(LEAVES)
    assert tree.consistency_proof(0, 8, perfect_nodes(LEAVES)) == []
    assert tree.verify_consistency(0, 8, tree.EMPTY_ROOT, root, [])
    assert tree.verify_consistency(0, 0, tree.EMPTY_ROOT, tree.EMPTY_ROOT, [])
    assert not tree.verify_consistency(0, 8, root, root, [])
    assert not tree.verify_consistency(0, 8, tree.EMPTY_ROOT, root, [root])
    assert not tree.verify_consistency(0, 0, tree.EMPTY_ROOT, root, [])
    assert not tree.verify_consistency(8, 7, root, root, [])


def test_hashes_of_another_length_never_verify() -> None:
    # A 64-byte "leaf" and a short sibling could otherwise be cut elsewhere and hash alike.
    left, right = LEAVES[:2]
    root = naive_root(LEAVES[:2])
    assert tree.verify_inclusion(left, 0, 2, [right], root)
    assert not tree.verify_inclusion(left + right[:1], 0, 2, [right[1:]], root)
    assert not tree.verify_consistency(1, 2, left + right[:1], root, [right[1:]])
