"""Tells all nodes of a tenant of forks that this node alone knows, or that only spans tell that do not count."""

import structlog
import trio

from lognode.core.errors import NodeFault
from lognode.core.ids import FeedId, b32encode
from lognode.engine.service.standings import Standings
from lognode.engine.service.writer import Writer
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store

_log = structlog.get_logger(__name__)


class Telling:
    """The task of a node."""

    def __init__(self, store: Store, writer: Writer, standings: Standings) -> None:
        self._store = store
        self._writer = writer
        self._standings = standings
        self._known: dict[int, dict[FeedId, int]] = {}  # forks by tenant

    async def run(self) -> None:
        """Write what is to be told at the start and whenever a membership changes, until cancelled."""
        changed = trio.Event()

        def heed() -> None:
            changed.set()

        with self._standings.telling(heed):
            for tenant in set(self._store.tenants.values()):
                await self._tell(tenant)  # what was found before a restart
                self._known[tenant.number] = dict(self._standings.of(tenant.number).forks)
            while True:
                await changed.wait()
                changed = trio.Event()
                for tenant in set(self._store.tenants.values()):
                    await self._alert(tenant)
                    await self._tell(tenant)  # who was an observer may write now

    async def _alert(self, tenant: TenantRef) -> None:
        """Tell the owner of forks that were not known so far."""
        forks = self._standings.of(tenant.number).forks
        known = self._known.get(tenant.number, {})
        own = {feed.feed_id for feed in self._store.feeds.values() if feed.own}
        for feed in [feed for feed, seq in forks.items() if known.get(feed) != seq]:
            whose = "this node" if feed in own else "another node"
            detail = f"feed {b32encode(feed)} of {whose}, from entry {forks[feed]} on"
            await self._writer.alerts.tell(tenant, "feed.forked", detail)
        self._known[tenant.number] = dict(forks)

    async def _tell(self, tenant: TenantRef) -> None:
        try:
            await self._writer.forks.tell(tenant)
        except NodeFault as fault:
            # The next change of the membership, or the next start, tries again.
            _log.warning("fork_not_told", tenant=b32encode(tenant.tenant_id), code=fault.code, detail=fault.detail)
