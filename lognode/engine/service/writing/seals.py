"""What this node signs for those who ask it: bundles, and trees of its own feeds that it has signed before.

Invariant: none of it can be taken for anything that the writer has not signed: a seal names a bundle, and a checkpoint
is of a tree that its feed had.
"""

from lognode.core.ids import TenantId
from lognode.identity.keys import NodeKeys
from lognode.timeline.proof.bundle.seal import sign_seal
from lognode.timeline.proof.bundle.writer import Total
from lognode.timeline.proof.checkpoint import sign_checkpoint
from lognode.timeline.record import FeedRef


class Seals:
    """The log keys of own feeds, for what is asked."""

    def __init__(self, keys: NodeKeys) -> None:
        self._keys = keys

    def bundle(self, tenant: TenantId, feed: FeedRef, total: Total) -> bytes:
        """The seal of a bundle that this node made of a tenant, by the log key of an own feed of it."""
        assert feed.own
        return sign_seal(self._keys.log_key(feed.feed_id), tenant, feed.feed_id, total.items, total.digest)

    def tree(self, tenant: TenantId, feed: FeedRef, size: int, root: bytes) -> bytes:
        """The checkpoint of a tree that an own feed had, once more; `root` is what its entries hash to."""
        assert feed.own
        return sign_checkpoint(self._keys.log_key(feed.feed_id), tenant, feed.feed_id, size, root)
