"""When this node listens to others: for members while there are any, for joiners while somebody is invited.

Owns that decision, and that whoever is out is out at once. Must not know sockets: it is handed what serves each door.
Invariant: a node that is alone, without an invite, listens to nobody.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

import trio

from lognode.core.limits import ROSTER_LOOK_S_MAX
from lognode.core.world import World
from lognode.engine.service.upkeep.supervisor import Supervisor
from lognode.federation.transport.census import Census
from lognode.federation.transport.doors.roster import Roster

Listener = Literal["peer_listener", "join_listener"]
LISTENERS: Final[tuple[Listener, ...]] = ("peer_listener", "join_listener")


class Listeners:
    """Keeps the roster as the memberships are, and the listeners as the roster is."""

    def __init__(
        self,
        roster: Roster,
        world: World,
        supervisor: Supervisor,
        census: Callable[[], Census],
        serve: Mapping[Listener, Callable[[], Awaitable[None]]],
        recheck: Callable[[], None],
    ) -> None:
        """`serve` has what runs each listener; `recheck` ends what members of another moment have open."""
        self._roster = roster
        self._world = world
        self._supervisor = supervisor
        self._census = census
        self._serve = serve
        self._recheck = recheck
        self._until_ms = 0  # then a change comes by time alone

    def refresh(self) -> None:
        """Let in whom the memberships let in now, and nobody else."""
        census = self._census()
        self._until_ms = census.joinable_until_ms
        self._roster.update(census.peers, is_joinable=census.is_joinable(self._world.now_ms()))
        self._recheck()

    async def run(self) -> None:
        """Start and stop the listeners, until cancelled; they are stopped then."""
        try:
            while True:
                self.refresh()
                seen = self._roster.version
                wanted = {
                    "peer_listener": bool(self._roster.peers) or self._roster.is_joinable,
                    "join_listener": self._roster.is_joinable,
                }
                for name in LISTENERS:
                    if wanted[name]:
                        self._supervisor.start(name, self._serve[name])
                    else:
                        await self._supervisor.stop(name)
                left_s = (self._until_ms - self._world.now_ms()) / 1000
                with trio.move_on_after(min(left_s, ROSTER_LOOK_S_MAX) if left_s > 0 else ROSTER_LOOK_S_MAX):
                    await self._roster.wait_change(seen)
        finally:
            with trio.CancelScope(shield=True):
                for name in LISTENERS:
                    await self._supervisor.stop(name)
