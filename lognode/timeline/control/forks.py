"""`feed.fork`: the control span that carries a proof that a feed has two histories.

Owns its data. Must not know who wrote it: whoever did, the proof speaks for itself.
Source: docs/protocol.md, Control spans.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId, TenantId
from lognode.core.limits import FORK_NOTE_BYTES_MAX, PATH_HASHES_MAX, SIZE_MAX
from lognode.core.span import ENTRY_BYTES
from lognode.timeline.control.shape import elements, fault_of_after, fault_of_bytes, fault_of_integer
from lognode.timeline.proof.fork import Fork, ForkProof, Side, check_fork
from lognode.timeline.proof.tree import HASH_BYTES


class FeedFork(NamedTuple):
    """The data of `feed.fork`, in the order of its encoding."""

    after: list[SpanId]
    openings: list[bytes]
    seq: int
    first: Side
    second: Side

    @property
    def proof(self) -> ForkProof:
        """The proof that it carries."""
        return ForkProof(tuple(self.openings), self.seq, (self.first, self.second))


def feed_fork_data(after: Sequence[SpanId], proof: ForkProof) -> bytes:
    """The data of the `feed.fork` that carries a proof."""
    sides = [[side.entry, list(side.path), side.note] for side in proof.sides]
    return encode([sorted(set(after)), list(proof.openings), proof.seq, *sides])


def parse_feed_fork(data: bytes) -> FeedFork:
    """The parts of `feed.fork`, the proof not checked. Raises CallerError("body.malformed")."""
    after, openings, seq, first, second = elements("feed.fork", data, len(FeedFork._fields))
    fault = (
        fault_of_after(after)
        or _fault_of_openings(openings)
        or fault_of_integer("seq", seq, 0, SIZE_MAX)
        or _fault_of_side(first)
        or _fault_of_side(second)
    )
    if fault:
        raise CallerError("body.malformed", f"feed.fork: {fault}")
    return FeedFork(after, openings, seq, _side(first), _side(second))  # type: ignore[arg-type]


def check_feed_fork(tenant: TenantId, found: FeedFork) -> Fork:
    """What the proof shows of a feed of this tenant. Raises CallerError("fork.invalid")."""
    fork = check_fork(found.proof)
    if fork.tenant != tenant:
        raise CallerError("fork.invalid", "the feed is of another tenant")
    return fork


def _side(parts: Any) -> Side:
    entry, path, note = parts
    return Side(entry, tuple(path), note)


def _fault_of_openings(openings: object) -> str | None:
    is_right = (
        isinstance(openings, list) and 1 <= len(openings) <= 2 and all(isinstance(item, bytes) for item in openings)
    )
    return None if is_right else "openings are not one or two byte strings"


def _fault_of_side(side: object) -> str | None:
    if not isinstance(side, list) or len(side) != 3:
        return "a side is not entry, path and checkpoint"
    entry, path, note = side
    if not isinstance(path, list) or len(path) > PATH_HASHES_MAX:
        return "a path is no list of hashes"
    if not isinstance(note, bytes) or len(note) > FORK_NOTE_BYTES_MAX:
        return "a checkpoint is no byte string, or too long"
    faults = (fault_of_bytes("a hash", item, HASH_BYTES) for item in path)
    return fault_of_bytes("an entry", entry, ENTRY_BYTES) or next(filter(None, faults), None)
