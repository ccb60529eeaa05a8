"""Writes merges for a node that writes nothing else: others learn what it knows, and have its cosignatures.

Invariant: a merge is written only for something other than merges, so that a federation in which nobody writes goes
quiet.
"""

import structlog
import trio

from lognode.core.errors import NodeFault
from lognode.core.ids import b32encode
from lognode.engine.service.writer import Writer
from lognode.timeline.store.database import Store

_log = structlog.get_logger(__name__)


class Merging:
    """The task of a node."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    async def run(self) -> None:
        """Write merges when they are due, until cancelled."""
        for tenant in set(self._store.tenants.values()):
            self._writer.news.expect(tenant.number)
        while True:
            await self._wait_due()
            due = self._writer.news.due()
            if due is not None and due[0] <= trio.current_time():
                await self._merge(due[1])

    async def _wait_due(self) -> None:
        due = self._writer.news.due()
        with trio.move_on_at(due[0] if due else float("inf")):
            await self._writer.news.wait_change()

    async def _merge(self, number: int) -> None:
        tenant = next(tenant for tenant in self._store.tenants.values() if tenant.number == number)
        try:
            await self._writer.merge(tenant)
        except NodeFault as fault:
            # Other tenants have nothing to do with it; this one is tried again later.
            _log.warning("merge_failed", tenant=b32encode(tenant.tenant_id), code=fault.code, detail=fault.detail)
