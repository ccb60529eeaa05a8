"""Proofs that a feed has two histories, which its author signed both.

Owns the checks and the text of such a proof. Must not know where it comes from. Invariant: what passes could be made by
nobody without the feed's own keys, and names the first entry that differs: the hashes to the left of an entry are
those of everything before it.
Source: docs/protocol.md, Fork proofs.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from lognode.core.clock import HLC_MAX
from lognode.core.errors import CallerError
from lognode.core.ids import FEED_ID_BYTES, FeedId, SpanId, TenantId
from lognode.core.limits import FORK_BYTES_MAX, FORK_NOTE_BYTES_MAX, PATH_HASHES_MAX
from lognode.core.span import ENTRY_BYTES, leaf_hash, span_id
from lognode.timeline.control.founding import FeedOpen, check_feed_open, parse_feed_open
from lognode.timeline.proof.checkpoint import (
    Checkpoint,
    decode_base64,
    encode_base64,
    origin,
    parse_checkpoint,
    parse_origin,
    verify_checkpoint,
    verify_note,
    vkey,
)
from lognode.timeline.proof.tlogproof import format_proof, parse_proof
from lognode.timeline.proof.tree import verify_inclusion

_FIRST_LINE: Final = b"lognode.fork/v1"
_PROOF_LINE: Final = b"c2sp.org/tlog-proof@v1\n"
_SEQ: Final = slice(FEED_ID_BYTES, FEED_ID_BYTES + 8)
_HLC: Final = slice(FEED_ID_BYTES + 8, FEED_ID_BYTES + 16)


class Side(NamedTuple):
    """One history: the entry, its path to a root, and the checkpoint in which that root is signed."""

    entry: bytes
    path: Sequence[bytes]  # of RFC 6962, the leaf's sibling first
    note: bytes


class ForkProof(NamedTuple):
    """Two entries at one place of a feed, the smaller leaf hash first.

    `openings` holds the data of the `feed.open` that binds the log key of both; or that of each side, where a feed was
    opened twice with different log keys.
    """

    openings: Sequence[bytes]
    seq: int
    sides: tuple[Side, Side]

    @property
    def feed(self) -> FeedId:
        """The feed that it is about."""
        return FeedId(self.sides[0].entry[:FEED_ID_BYTES])


class Fork(NamedTuple):
    """What a proof that passed every check shows."""

    tenant: TenantId
    feed: FeedId
    node_key: bytes
    seq: int  # of the first entry that differs
    spans: tuple[SpanId, SpanId]
    sizes: tuple[int, int]  # of the trees that were signed
    roots: tuple[bytes, bytes]


def fork_proof(seq: int, *histories: tuple[bytes, Side]) -> ForkProof:
    """The proof in its one form, of two sides, each with the data of the `feed.open` that binds its log key.

    Raises CallerError("fork.invalid") where they prove nothing.
    """
    ordered = sorted(histories, key=lambda history: leaf_hash(history[1].entry))
    opened = [parse_feed_open(data).log_key for data, _ in ordered]
    openings = [data for data, _ in ordered]
    try:
        first, second = (
            side._replace(note=lone_note(side.note, vkey(parse_checkpoint(side.note).origin, log_key)))
            for (_, side), log_key in zip(ordered, opened, strict=True)
        )
    except CallerError as error:
        raise CallerError("fork.invalid", error.detail) from error
    proof = ForkProof(tuple(openings[: 1 if opened[0] == opened[1] else 2]), seq, (first, second))
    check_fork(proof)
    return proof


def lone_note(note: bytes, vkey_text: str) -> bytes:
    """A checkpoint with the signature of this verifier key and no other. Raises CallerError("checkpoint.invalid")."""
    signed = verify_note(note, vkey_text)
    name, key_id, _ = vkey_text.split("+", 2)
    (own,) = (line for line in signed.signatures if line.name == name and line.key_id.hex() == key_id)
    return f"{signed.text}\n— {name} {encode_base64(own.key_id + own.signature)}\n".encode()


def check_fork(proof: ForkProof) -> Fork:
    """What a proof shows. Raises CallerError("fork.invalid"), whose detail says which check failed."""
    try:
        tenant, feed = parse_origin(parse_checkpoint(proof.sides[0].note).origin)
        opened = [_read_opening(tenant, feed, data) for data in proof.openings]
        pairs = list(zip(proof.sides, opened * 2 if len(opened) == 1 else opened, strict=True))
        heads = [_read_head(tenant, feed, side, opening) for side, opening in pairs]
    except ValueError as error:
        raise CallerError("fork.invalid", "openings that are not one or two") from error
    except CallerError as error:
        raise CallerError("fork.invalid", error.detail) from error
    if len(opened) == 2 and (proof.seq or opened[0].log_key == opened[1].log_key):
        raise CallerError("fork.invalid", "two openings, and not two log keys from entry 0 on")
    leaves = [_check_side(feed, proof.seq, side, head) for side, head in zip(proof.sides, heads, strict=True)]
    if leaves[0] >= leaves[1]:
        raise CallerError("fork.invalid", "the entries do not differ, or stand the wrong way round")
    before = [left_hashes(proof.seq, head.size, side.path) for side, head in zip(proof.sides, heads, strict=True)]
    if before[0] != before[1]:
        raise CallerError("fork.invalid", "the histories differ before the entry already")
    one, other = heads
    spans = [span_id(_hlc(side.entry), leaf) for side, leaf in zip(proof.sides, leaves, strict=True)]
    return Fork(
        tenant,
        feed,
        opened[0].node_key,
        proof.seq,
        (spans[0], spans[1]),
        (one.size, other.size),
        (one.root, other.root),
    )


def left_hashes(index: int, size: int, path: Sequence[bytes]) -> list[bytes]:
    """The hashes of an inclusion proof that stand to the left: those of the perfect subtrees over the leaves before.

    Which places these are follows from `index` alone, so of two trees that begin alike they are equal.
    """
    found, place, last = [], index, size - 1
    for step in path:
        if place & 1 or place == last:
            found.append(step)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        place, last = place >> 1, last >> 1
    return found


def format_fork(proof: ForkProof) -> bytes:
    """A proof as a file."""
    openings = [encode_base64(data).encode() for data in proof.openings]
    texts = [format_proof(side.entry, proof.seq, side.path, side.note) for side in proof.sides]
    return b"\n".join([_FIRST_LINE, *openings, b"\n".join(texts)])


def parse_fork(raw: bytes) -> ForkProof:
    """The parts of such a file, none of them checked. Raises CallerError("fork.invalid")."""
    if len(raw) > FORK_BYTES_MAX:
        raise CallerError("fork.invalid", f"{len(raw)} bytes, at most {FORK_BYTES_MAX}")
    head, *texts = raw.split(_PROOF_LINE)
    lines = head.split(b"\n")
    if lines[0] != _FIRST_LINE or lines[-1] or not 3 <= len(lines) <= 4:
        raise CallerError("fork.invalid", f"it does not begin with {_FIRST_LINE.decode()} and one or two openings")
    if len(texts) != 2:
        raise CallerError("fork.invalid", f"{len(texts)} proofs, not two")
    if not texts[0].endswith(b"\n\n"):
        raise CallerError("fork.invalid", "no empty line between the proofs")
    try:
        openings = [decode_base64(line.decode("ascii")) for line in lines[1:-1]]
        one, other = (parse_proof(_PROOF_LINE + text) for text in (texts[0][:-1], texts[1]))
    except UnicodeDecodeError as error:
        raise CallerError("fork.invalid", "an opening is not ASCII") from error
    except CallerError as error:
        raise CallerError("fork.invalid", error.detail) from error
    if one.index != other.index:
        raise CallerError("fork.invalid", "the proofs are of different places")
    sides = (Side(one.entry, one.hashes, one.note), Side(other.entry, other.hashes, other.note))
    proof = ForkProof(tuple([data for data in openings if data is not None]), one.index, sides)
    if format_fork(proof) != raw:
        raise CallerError("fork.invalid", "another text of the same proof")
    return proof


def _read_opening(tenant: TenantId, feed: FeedId, data: bytes) -> FeedOpen:
    opened = parse_feed_open(data)
    check_feed_open(tenant, feed, opened)
    return opened


def _read_head(tenant: TenantId, feed: FeedId, side: Side, opened: FeedOpen) -> Checkpoint:
    key = vkey(origin(tenant, feed), opened.log_key)
    head = verify_checkpoint(side.note, key)
    if len(side.note) > FORK_NOTE_BYTES_MAX or lone_note(side.note, key) != side.note:
        raise CallerError("fork.invalid", "a checkpoint is not signed by its log alone")
    return head


def _check_side(feed: FeedId, seq: int, side: Side, head: Checkpoint) -> bytes:
    """The leaf hash of an entry that its tree holds at `seq`."""
    entry = side.entry
    if len(entry) != ENTRY_BYTES or entry[:FEED_ID_BYTES] != feed or int.from_bytes(entry[_SEQ]) != seq:
        raise CallerError("fork.invalid", "an entry is of another feed or place")
    if _hlc(entry) > HLC_MAX:
        raise CallerError("fork.invalid", "an entry has a time that does not exist")
    leaf = leaf_hash(entry)
    if len(side.path) > PATH_HASHES_MAX or not verify_inclusion(leaf, seq, head.size, side.path, head.root):
        raise CallerError("fork.invalid", "the hashes do not lead from an entry to its checkpoint's root")
    return leaf


def _hlc(entry: bytes) -> int:
    return int.from_bytes(entry[_HLC])
