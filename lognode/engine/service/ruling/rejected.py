"""The task that tells how often rules rejected, where it was not told each time."""

import structlog
import trio

from lognode.core.draft import Draft
from lognode.core.world import World
from lognode.engine.receipt import AppendStopped
from lognode.engine.ruling.rejections import MINUTE_MS
from lognode.engine.service.writer import Writer
from lognode.rules.records import FIRED, fired_data
from lognode.timeline.store.database import Store

_log = structlog.get_logger(__name__)


class RejectionTeller:
    """Writes what the gate has counted."""

    def __init__(self, writer: Writer, store: Store, world: World) -> None:
        self._writer = writer
        self._store = store
        self._world = world

    async def run(self) -> None:
        """Tell it once a minute. Raises NodeFault."""
        while True:
            await trio.sleep(MINUTE_MS / 1000)
            await self.tell()

    async def tell(self) -> None:
        """Write a firing for each rule and actor whose rejections were counted in a minute that is over."""
        tenants = {tenant.number: tenant for tenant in self._store.tenants.values()}
        for by, fired in self._writer.gate.rejections.take(self._world.now_ms()):
            draft = Draft(kind=FIRED, data=fired_data(fired), visibility=by.visibility)
            try:
                await self._writer.append(tenants[by.tenant], [draft], wait=True)
            except AppendStopped as stopped:
                # It may write there no more, which is no reason to leave out what others are to be told.
                _log.warning("rejections_untold", count=fired.count, code=stopped.error.code)
