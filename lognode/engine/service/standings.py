"""Who is what in each tenant, as of the newest commit.

The writer publishes it; everybody else looks here. Invariant: what is read here is durable, and never older than what
a reader of the database can see of the same commit.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from lognode.core.ids import TenantId
from lognode.timeline.members import Membership, membership

_NOBODY = membership(TenantId(bytes(20)), ())


class Standings:
    """The memberships of all tenants of this node."""

    def __init__(self) -> None:
        self._members: dict[int, Membership] = {}
        self._versions: defaultdict[int, int] = defaultdict(int)
        self._waiting: defaultdict[int, trio.Event] = defaultdict(trio.Event)
        self._heeding: set[Callable[[], None]] = set()

    def of(self, tenant: int) -> Membership:
        """Who is what in a tenant, by its number; nobody where nothing is known."""
        return self._members.get(tenant, _NOBODY)

    def version(self, tenant: int) -> int:
        """A number that grows with every change of a tenant's membership."""
        return self._versions[tenant]

    def publish(self, tenant: int, members: Membership) -> None:
        """Say that this is the membership now."""
        if members is not self._members.get(tenant):
            self._members[tenant] = members
            self._versions[tenant] += 1
            self._waiting.pop(tenant, trio.Event()).set()
            for heed in self._heeding:
                heed()

    @contextmanager
    def telling(self, heed: Callable[[], None]) -> Iterator[None]:
        """While inside, `heed` is called with each change before anything else happens; it must not fail."""
        self._heeding.add(heed)
        try:
            yield
        finally:
            self._heeding.discard(heed)

    async def wait_change(self, tenant: int, seen: int) -> int:
        """The version, once it is no longer `seen`."""
        while self._versions[tenant] == seen:
            await self._waiting[tenant].wait()
        return self._versions[tenant]
