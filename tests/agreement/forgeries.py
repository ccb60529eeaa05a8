"""Two histories of one feed, signed by its author, as bytes alone: no store, no spans behind the entries."""

from collections.abc import Sequence
from hashlib import sha256

from lognode.core.ids import FeedId, TenantId
from lognode.core.span import entry_bytes, leaf_hash
from lognode.identity.keys import KeyPair
from lognode.timeline.proof.checkpoint import sign_checkpoint
from lognode.timeline.proof.fork import ForkProof, Side, fork_proof
from lognode.timeline.proof.tree import EMPTY, grow, inclusion_proof, root_of
from tests.vectors.history import NodesOf


def entries(feed: FeedId, size: int, seq: int, branch: str) -> list[bytes]:
    """The entries of a feed that is one up to `seq`, and there begins to differ by branch."""
    return [
        entry_bytes(feed, at, 1000 + at, 1, sha256(f"{branch if at >= seq else ''} {at}".encode()).digest())
        for at in range(size)
    ]


def side(log_key: KeyPair, tenant: TenantId, held: Sequence[bytes], seq: int) -> Side:
    """Entry `seq` of these, in the tree that is signed over all of them."""
    leaves = [leaf_hash(entry) for entry in held]
    root = root_of(grow(EMPTY, leaves).border)
    path = tuple(inclusion_proof(seq, len(held), NodesOf(leaves)))
    return Side(held[seq], path, sign_checkpoint(log_key, tenant, FeedId(held[seq][:16]), len(held), root))


def forked(
    log_key: KeyPair, tenant: TenantId, opening: bytes, feed: FeedId, seq: int, sizes: tuple[int, int]
) -> ForkProof:
    """The proof that a feed has two histories of these sizes, which differ from `seq` on."""
    one, other = (
        side(log_key, tenant, entries(feed, size, seq, branch), seq)
        for size, branch in zip(sizes, ("one", "other"), strict=True)
    )
    return fork_proof(seq, (opening, one), (opening, other))
