"""The merge that a commit begins with.

Pure. Invariant: whoever names a tree in a merge has cosigned its checkpoint, and keeps that.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from lognode.core.draft import Draft
from lognode.core.ids import FeedId, TenantId
from lognode.core.span import PUBLIC
from lognode.engine.commit import AppendPlan
from lognode.identity.keys import KeyPair
from lognode.timeline.agreement.merges import MERGE, Merged, merge_data, merge_rows
from lognode.timeline.agreement.news import Fresh
from lognode.timeline.proof.cosignature import cosign


class Merge(NamedTuple):
    """What a merge names, and the checkpoints of that."""

    merged: Sequence[Merged]
    notes: Mapping[FeedId, bytes]
    data: bytes

    @property
    def draft(self) -> Draft:
        """The span to be."""
        return Draft(kind=MERGE, data=self.data, visibility=PUBLIC)


def sign_merge(witness: KeyPair, tenant: TenantId, trees: Mapping[FeedId, Fresh], now_ms: int) -> Merge:
    """The merge that names these trees."""
    time_s = now_ms // 1000
    merged = [
        Merged(feed, tree.size, tree.root, time_s, cosign(witness, tenant, feed, tree.size, tree.root, time_s))
        for feed, tree in trees.items()
    ]
    return Merge(merged, {feed: tree.note for feed, tree in trees.items()}, merge_data(merged))


def with_merge(plan: AppendPlan, merge: Merge, node_key: bytes) -> AppendPlan:
    """A plan whose first call was a merge, with the rows that follow from that; nobody waits for its receipt."""
    ((receipt,), _), *outcomes = plan.outcomes
    assert plan.state.head is not None
    tenant, feed = plan.state.tenant.number, plan.state.head.feed.number
    rows, cosigned = merge_rows(tenant, feed, node_key, receipt.seq, merge.data)
    plan.write.rows["merged"] = list(chain.from_iterable(rows))
    plan.write.rows["cosignatures"] = list(chain.from_iterable((*row, merge.notes[row[1]]) for row in cosigned))
    return plan._replace(outcomes=outcomes, merged=merge.merged)
