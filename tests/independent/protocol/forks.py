"""Judges fork proofs, as a file or as the data of a `feed.fork`, from docs/protocol.md, Fork proofs."""

from dataclasses import dataclass

from tests.independent.protocol.cbor import need, read_array
from tests.independent.protocol.fields import as_bytes, as_int, as_list, as_text, unbase32, unbase64
from tests.independent.protocol.notes import (
    Checkpoint,
    check_checkpoint,
    log_key,
    read_checkpoint,
    read_entry,
    read_proof,
    split_note,
)
from tests.independent.protocol.openings import read_opening
from tests.independent.protocol.tree import check_inclusion, leaf_hash, left_of

FILE_BYTES_MAX = 16_384
NOTE_BYTES_MAX = 1_024
HASHES_MAX = 63
MAGIC = b"lognode.fork/v1"


@dataclass(frozen=True)
class Side:
    entry: bytes
    hashes: list[bytes]
    note: bytes


@dataclass(frozen=True)
class Fork:
    """What a fork proof shows."""

    tenant: bytes
    feed: bytes
    node_key: bytes
    seq: int
    sides: tuple[tuple[bytes, Checkpoint], tuple[bytes, Checkpoint]]  # span id and tree


def check_fork_file(raw: bytes) -> Fork:
    need(len(raw) <= FILE_BYTES_MAX, "a file that is too long")
    head, *proofs = raw.split(b"c2sp.org/tlog-proof@v1\n")
    lines = head.split(b"\n")
    need(len(proofs) == 2 and lines[0] == MAGIC and lines[-1] == b"", "not this form")
    need(proofs[0].endswith(b"\n\n"), "no empty line between the proofs")
    texts = [b"c2sp.org/tlog-proof@v1\n" + proof for proof in (proofs[0][:-1], proofs[1])]
    found = [read_proof(text) for text in texts]
    need(found[0].index == found[1].index, "two places")
    sides = [Side(proof.entry, proof.hashes, proof.note) for proof in found]
    return check_fork([unbase64(line) for line in lines[1:-1]], found[0].index, sides)


def read_fork_data(data: bytes) -> tuple[list[bytes], list[bytes], int, list[Side]]:
    """`after`, openings, seq and sides of the data of a `feed.fork`."""
    after, openings, seq, *sides = read_array(data, 5)
    return (
        [as_bytes(one, 24) for one in as_list(after)],
        _openings(openings),
        as_int(seq),
        [_side(side) for side in sides],
    )


def _openings(value: object) -> list[bytes]:
    found = [as_bytes(one) for one in as_list(value)]
    need(1 <= len(found) <= 2, "not one or two openings")
    return found


def _side(value: object) -> Side:
    parts = as_list(value)
    need(len(parts) == 3, "not the parts of a side")
    side = Side(as_bytes(parts[0], 65), [as_bytes(step, 32) for step in as_list(parts[1])], as_bytes(parts[2]))
    need(len(side.hashes) <= HASHES_MAX and len(side.note) <= NOTE_BYTES_MAX, "a side that is too long")
    return side


def check_fork(openings: list[bytes], seq: int, sides: list[Side]) -> Fork:
    origin = as_text(read_checkpoint(split_note(sides[0].note)[0]).origin)
    version, tenant_text, feed_text = [*origin.split("/"), "", ""][:3]
    need(version == "lognode.v1" and origin.count("/") == 2, "no origin of a feed")
    tenant, feed = unbase32(tenant_text, 20), unbase32(feed_text, 16)
    opened = [read_opening(data, tenant, feed) for data in openings]
    need(len(opened) == 1 or (len(opened) == 2 and seq == 0), "no opening, or more than may be")
    need(len({one.log_key for one in opened}) == len(opened), "one opening twice")
    trees = []
    for side, opening in zip(sides, opened * (3 - len(opened)), strict=True):
        tree = check_checkpoint(side.note, log_key(tenant, feed, opening.log_key), alone=True)
        entry = read_entry(side.entry, visibility_most=255)
        need((entry.feed, entry.seq) == (feed, seq), "an entry of another place")
        check_inclusion(leaf_hash(side.entry), seq, tree.size, side.hashes, tree.root)
        trees.append((entry.span_id, tree))
    need(leaf_hash(sides[0].entry) < leaf_hash(sides[1].entry), "the larger leaf first, or one leaf twice")
    left = [left_of(seq, tree.size, side.hashes) for side, (_, tree) in zip(sides, trees, strict=True)]
    need(left[0] == left[1], "hashes to the left that differ")
    return Fork(tenant, feed, opened[0].node_key, seq, (trees[0], trees[1]))
