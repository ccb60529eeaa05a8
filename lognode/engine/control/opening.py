"""Plans the commits that open a tenant and a feed.

Pure, as all plans. A node's feeds in a tenant follow one another by `parent`. The founder's first feed holds
`feed.open` as entry 0 and `tenant.create` as entry 1, both in one commit.
"""

from hashlib import sha256
from itertools import chain
from typing import NamedTuple

from lognode.core.draft import Draft
from lognode.core.ids import NONCE_BYTES, SpanId
from lognode.core.span import PUBLIC, decode_body, decode_header
from lognode.engine.commit import HEADER_COLUMN, SPAN_COLUMNS, AppendPlan, plan_append
from lognode.identity.keys import NodeKeys
from lognode.timeline.agreement.merges import parent_rows
from lognode.timeline.control.founding import (
    feed_id,
    feed_open_data,
    tenant_create_data,
    tenant_id,
)
from lognode.timeline.members import Control
from lognode.timeline.proof.tree import EMPTY, root_of
from lognode.timeline.record import FeedRef, TenantRef, row_of
from lognode.timeline.state import FeedState, Numbers, TenantState, WritePlan

NONCES_BYTES = 4 * NONCE_BYTES  # of the tenant, of the feed, and of the two bodies


class Moment(NamedTuple):
    """What a plan needs of the world: now, and NONCES_BYTES random bytes."""

    now_ms: int
    nonces: bytes

    def nonce(self, index: int) -> bytes:
        """One of the nonces."""
        return self.nonces[index * NONCE_BYTES : (index + 1) * NONCE_BYTES]


def plan_tenant(keys: NodeKeys, numbers: Numbers, alias: str, moment: Moment) -> AppendPlan:
    """A new tenant, founded by this node and called `alias` here, with its first feed."""
    nonce = moment.nonce(0)
    tenant = TenantRef(numbers.tenant, tenant_id(keys.public, nonce), alias)
    state = TenantState(tenant, 0, 0, None, None, {}, {})
    numbers = numbers._replace(tenant=numbers.tenant + 1)
    opened = _plan_opening(keys, state, numbers, [], "founding", moment, [])
    # Entry 1 names entry 0 in `after`; with the same nonces, planning again gives entry 0 the same id.
    data = tenant_create_data(keys, tenant.tenant_id, nonce, [opened.outcomes[0][0][0].id])
    create = Draft(kind="tenant.create", data=data, visibility=PUBLIC)
    plan = _plan_opening(keys, state, numbers, [], "founding", moment, [create])
    seal = alias_seal(tenant, alias)
    plan.write.rows.update(tenants=[tenant.number, tenant.tenant_id], aliases=[alias, tenant.number, seal])
    return plan


def plan_feed(
    keys: NodeKeys, state: TenantState, numbers: Numbers, after: list[SpanId], reason: str, moment: Moment
) -> AppendPlan:
    """A new feed of this node in a tenant; `state.hlc` says after which time it begins."""
    return _plan_opening(keys, state, numbers, after, reason, moment, [])


def _plan_opening(
    keys: NodeKeys,
    state: TenantState,
    numbers: Numbers,
    after: list[SpanId],
    reason: str,
    moment: Moment,
    more: list[Draft],
) -> AppendPlan:
    tenant, nonce = state.tenant, moment.nonce(1)
    new_id = feed_id(tenant.tenant_id, keys.public, nonce)
    log_key = keys.log_key(new_id)
    old = state.head
    parent = (old.feed.feed_id, old.border.size, root_of(old.border)) if old else None
    data = feed_open_data(keys, tenant.tenant_id, new_id, nonce, after, parent, reason)
    feed = FeedRef(numbers.feed, tenant.number, new_id, keys.public, log_key.public, own=True)
    plan = plan_append(
        state._replace(head=FeedState(feed, EMPTY, {}), ending=None),
        numbers._replace(feed=numbers.feed + 1),
        [[Draft(kind="feed.open", data=data, visibility=PUBLIC), *more]],
        {},
        {},
        log_key=log_key,
        now_ms=moment.now_ms,
        random_bytes=lambda size: moment.nonces[2 * NONCE_BYTES :][:size],
    )
    plan.write.rows["feeds"] = [feed.number, tenant.number, new_id, keys.public, log_key.public, 1]
    plan.write.rows["merged"] = list(chain.from_iterable(parent_rows(feed.number, 0, data)))
    return plan


def alias_seal(tenant: TenantRef, alias: str) -> bytes:
    """What lets 'verify' notice a changed alias: nothing signed covers a node's own names."""
    return sha256(b"lognode alias v1" + tenant.tenant_id + alias.encode()).digest()[:16]


def plan_adoption(tenant: TenantRef, numbers: Numbers) -> tuple[WritePlan, TenantState, Numbers]:
    """The rows of a tenant that others founded, where it stands, and the next free numbers; it gets the next number."""
    assert tenant.alias is not None
    ref = tenant._replace(number=numbers.tenant)
    rows = {
        "tenants": [ref.number, ref.tenant_id],
        "aliases": [tenant.alias, ref.number, alias_seal(ref, tenant.alias)],
    }
    return (
        WritePlan(rows, [], [], []),
        TenantState(ref, 0, 0, None, None, {}, {}),
        numbers._replace(tenant=ref.number + 1),
    )


def controls_of(plan: AppendPlan, author: bytes) -> dict[SpanId, tuple[Control, int]]:
    """The control spans that a plan writes, which writes no others but a merge, each with its row."""
    found = {}
    receipts, bodies = plan.outcomes[0][0], plan.write.bodies
    headers = plan.write.rows["spans"][HEADER_COLUMN::SPAN_COLUMNS]
    own = -len(receipts)  # a merge may stand before them
    for receipt, header, body in zip(receipts, headers[own:], bodies[own:], strict=True):
        hlc = int.from_bytes(receipt.id[:8], "big")
        kind, data = decode_header(header).kind, decode_body(body).data
        control = Control(receipt.id, receipt.feed, receipt.seq, hlc, author, kind, data)
        found[receipt.id] = (control, row_of(plan.state.tenant.number, receipt.position))
    return found
