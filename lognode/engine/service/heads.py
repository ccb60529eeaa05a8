"""How far each tenant's timeline is committed, and waiting for more.

A commit wakes live tails and links to other nodes; it hands them nothing. They read from the store at their own pace,
from their own place, so a slow reader costs no memory and holds nobody up. A commit may also hold what is no span here,
such as what another node withholds: it moves no position, and counts as growth.
"""

from collections import defaultdict

import trio


class Heads:
    """The newest committed position of every tenant."""

    def __init__(self) -> None:
        self.total = 0  # rises with every commit of any tenant
        self._positions: dict[int, int] = {}
        self._growth: defaultdict[int, int] = defaultdict(int)
        self._waiting: defaultdict[int, trio.Event] = defaultdict(trio.Event)
        self._growing: defaultdict[int, trio.Event] = defaultdict(trio.Event)
        self._changing = trio.Event()

    def position(self, tenant: int) -> int:
        """The newest committed position of a tenant, by its number; 0 before the first."""
        return self._positions.get(tenant, 0)

    def growth(self, tenant: int) -> int:
        """Rises with every commit of a tenant."""
        return self._growth[tenant]

    def publish(self, tenant: int, position: int) -> None:
        """Say that there was a commit, and that everything up to `position` is committed."""
        self._growth[tenant] += 1
        self.total += 1
        self._changing.set()
        self._changing = trio.Event()
        self._growing.pop(tenant, trio.Event()).set()
        if position > self.position(tenant):
            self._positions[tenant] = position
            self._waiting.pop(tenant, trio.Event()).set()

    async def wait_beyond(self, tenant: int, position: int) -> None:
        """Return once something beyond `position` is committed."""
        while self.position(tenant) <= position:
            await self._waiting[tenant].wait()

    async def wait_growth(self, tenant: int, seen: int) -> None:
        """Return once there was a commit beyond the growth `seen`."""
        while self._growth[tenant] <= seen:
            await self._growing[tenant].wait()

    async def wait_total(self, seen: int) -> None:
        """Return once there was a commit of any tenant beyond the total `seen`."""
        while self.total <= seen:
            await self._changing.wait()
