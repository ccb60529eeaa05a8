"""Fills the full-text index behind the timeline, for the tenants that the settings name.

Works in small steps on the writing connection, between the writer's commits. Knows no queries. Invariant: it
never holds up a commit by more than one step, and what fails here loses nothing: the index is made from
bodies, and its position moves with it in one transaction.
"""

import sqlite3
from collections.abc import Collection, Iterable

import structlog
import trio

from lognode.core.errors import CallerError
from lognode.core.limits import INDEX_RETRY_S, INDEX_STEP_SPANS
from lognode.engine.service.heads import Heads
from lognode.engine.service.meters import Meters
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store
from lognode.timeline.store.read.search import index_next, search_disable, search_enable, search_position

_log = structlog.get_logger(__name__)


class Indexer:
    """The index of a node's tenants."""

    def __init__(self, store: Store, heads: Heads, meters: Meters) -> None:
        self._store = store
        self._heads = heads
        self._positions: dict[int, int] = {}  # of the tenants that it is on for
        meters.index_lag.set_function(self._lag)

    async def choose(self, names: Collection[str]) -> list[TenantRef]:
        """Turn the index on for the tenants called `names`, off for all others; those it is on for.

        All of them or, when it raises, none is switched. Raises CallerError("tenant.unknown") for a name that this
        node does not know.
        """
        unknown = [name for name in names if name not in self._store.tenants]
        if unknown:
            raise CallerError("tenant.unknown", f"{unknown[0]!r:.80} in the setting 'search'", place="search")
        chosen = {self._store.tenants[name] for name in names}
        others = set(self._store.tenants.values()) - chosen
        on, off = ([tenant.number for tenant in some] for some in (chosen, others))
        self._positions = await self._store.write(_switch, on, off)
        return sorted(chosen)

    async def run(self, tenant: TenantRef) -> None:
        """Keep one tenant's index up to its timeline, until cancelled."""
        while True:
            try:
                position = await self._store.write(_step, tenant.number)
            except sqlite3.Error as error:  # such as a full disk, which passes
                _log.warning("index_step_failed", error=str(error), retry_s=INDEX_RETRY_S)
                await trio.sleep(INDEX_RETRY_S)
                continue
            self._positions[tenant.number] = position
            await self._heads.wait_beyond(tenant.number, position)

    def _lag(self) -> int:
        # A step may see a commit before it is announced.
        return sum(max(0, self._heads.position(number) - position) for number, position in self._positions.items())


def _switch(conn: sqlite3.Connection, on: Iterable[int], off: Iterable[int]) -> dict[int, int]:
    """Switch the index on and off for tenants; the position of each that it is on for."""
    with conn:
        conn.execute("BEGIN IMMEDIATE")
        for tenant in off:
            search_disable(conn, tenant)
        for tenant in on:
            search_enable(conn, tenant)
        return {tenant: search_position(conn, tenant) for tenant in on}


def _step(conn: sqlite3.Connection, tenant: int) -> int:
    """Index a few more spans; the position that is reached."""
    with conn:
        conn.execute("BEGIN IMMEDIATE")
        index_next(conn, tenant, INDEX_STEP_SPANS)
        return search_position(conn, tenant)
