"""A node that writes one feed twice: two pens with the same keys, alike up to a place and different from there on."""

from copy import copy

from lognode.core.ids import SpanId
from lognode.core.span import PUBLIC, decode_body, stub_entry
from lognode.timeline.control.forks import feed_fork_data
from lognode.timeline.proof.fork import ForkProof, Side, fork_proof
from tests.timeline.pens import Pen


def data_at(pen: Pen, seq: int) -> bytes:
    """The data of an entry's body."""
    return decode_body(pen.entries[seq].body or b"").data


def entry_at(pen: Pen, seq: int) -> bytes:
    entry = pen.entries[seq]
    return stub_entry(pen.feed_id, seq, entry.hlc, entry.visibility, entry.header_sha256)


def side_of(pen: Pen, seq: int, size: int | None = None) -> Side:
    """Entry `seq` of what a pen wrote, in the tree that it signed."""
    told = pen.foretold(seq, size)
    return Side(entry_at(pen, seq), tuple(told.path), told.note)


def proof_of(one: Pen, other: Pen) -> ForkProof:
    """That two pens wrote one feed, at the first entry that differs."""
    pairs = enumerate(zip(one.leaves, other.leaves, strict=False))
    seq = next(at for at, (mine, theirs) in pairs if mine != theirs)
    return fork_proof(seq, (data_at(one, 0), side_of(one, seq)), (data_at(other, 0), side_of(other, seq)))


def twin(pen: Pen) -> Pen:
    """Another pen that has written the same and goes on by itself."""
    other = copy(pen)
    other.entries, other.leaves, other._notes = [*pen.entries], [*pen.leaves], dict(pen._notes)
    return other


def tell(pen: Pen, proof: ForkProof, *after: SpanId) -> SpanId:
    """A `feed.fork` at the end of a pen's feed."""
    return pen.write("feed.fork", feed_fork_data(after, proof), visibility=PUBLIC)
