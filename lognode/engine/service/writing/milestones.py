"""Gives the feeds that earlier versions wrote the checkpoints by which others get them, part by part."""

import sqlite3

import structlog

from lognode.identity.keys import NodeKeys
from lognode.timeline.proof.checkpoint import sign_checkpoint
from lognode.timeline.record import TenantRef
from lognode.timeline.state import WritePlan
from lognode.timeline.store.database import Store
from lognode.timeline.store.read.ranges import missing_milestones
from lognode.timeline.store.write import apply_write

_log = structlog.get_logger(__name__)


async def sign_milestones(store: Store, keys: NodeKeys, tenant: TenantRef) -> bool:
    """Sign what is missing in the own feeds of a tenant; False where it could not be stored.

    The next start tries again. Raises NodeFault("database.damaged").
    """
    for feed in [feed for feed in store.feeds.values() if feed.own and feed.tenant == tenant.number]:
        found = await store.write(missing_milestones, feed)
        key = keys.log_key(feed.feed_id) if found else None
        if key is None:
            continue
        notes = [
            (feed.number, size, sign_checkpoint(key, tenant.tenant_id, feed.feed_id, size, root))
            for size, root in found
        ]
        try:
            await store.write(apply_write, WritePlan({}, [], notes, []))
        except sqlite3.Error as error:
            _log.warning("milestones_not_stored", error=str(error))
            return False
    return True
