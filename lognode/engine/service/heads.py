"""How far each tenant's timeline is committed, and waiting for more.

A commit wakes live tails; it hands them nothing. They read from the store at their own pace, from their own
place, so a slow reader costs no memory and holds nobody up.
"""

from collections import defaultdict

import trio


class Heads:
    """The newest committed position of every tenant."""

    def __init__(self) -> None:
        self._positions: dict[int, int] = {}
        self._waiting: defaultdict[int, trio.Event] = defaultdict(trio.Event)

    def position(self, tenant: int) -> int:
        """The newest committed position of a tenant, by its number; 0 before the first."""
        return self._positions.get(tenant, 0)

    def publish(self, tenant: int, position: int) -> None:
        """Say that everything up to `position` is committed."""
        if position > self.position(tenant):
            self._positions[tenant] = position
            self._waiting.pop(tenant, trio.Event()).set()

    async def wait_beyond(self, tenant: int, position: int) -> None:
        """Return once something beyond `position` is committed."""
        while self.position(tenant) <= position:
            await self._waiting[tenant].wait()
