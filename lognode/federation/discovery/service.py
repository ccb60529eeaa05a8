"""Keeps multicast DNS going: announces this node while it listens, and hears of others while any is looked for.

Owns when sockets are opened and closed. A node that listens to nobody and looks for nobody has none. Invariant: what
is heard becomes a candidate in the directory, and nothing else.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog
import trio

from lognode.core.ids import b32encode
from lognode.core.limits import CANDIDATES_MAX, DISCOVERY_RETRY_S_MAX, INTERFACES_LOOK_S
from lognode.core.world import World
from lognode.federation.addresses.announcement import Announcement
from lognode.federation.addresses.diagnosis import Finding, diagnose
from lognode.federation.addresses.interface import Interface, multicast_of
from lognode.federation.discovery.directory import Directory
from lognode.federation.discovery.machine import is_container
from lognode.federation.discovery.multicast import Multicast, open_multicast
from lognode.federation.discovery.whereabouts import Whereabouts

_CHANCE_BYTES: Final = 5  # of a name, so that two copies of one node do not claim the same
_log: Final = structlog.get_logger(__name__)


class DiscoveryState(NamedTuple):
    """What discovery does now, and why it may find nobody."""

    is_on: bool
    is_announcing: bool
    is_browsing: bool
    findings: tuple[Finding, ...]


class _Plan(NamedTuple):
    interfaces: tuple[Interface, ...]  # those with multicast
    announcement: Announcement | None
    is_browsing: bool

    @property
    def is_idle(self) -> bool:
        return not self.interfaces or (self.announcement is None and not self.is_browsing)


class Discovery:
    """Multicast DNS of one node, with the `directory` that it fills and the `whereabouts` that it announces."""

    def __init__(
        self,
        directory: Directory,
        whereabouts: Whereabouts,
        world: World,
        *,
        is_on: bool,
        is_contained: Callable[[], bool] = is_container,
    ) -> None:
        self.directory = directory
        self.whereabouts = whereabouts
        self._is_on = is_on
        self._is_contained = is_contained()
        self._name = f"lognode-{b32encode(world.random_bytes(_CHANCE_BYTES))}"
        self._running: _Plan | None = None
        self._failure: str | None = None  # of a socket, since these were opened
        self._logged: str | None = None
        self._retry_s = float(INTERFACES_LOOK_S)
        self._unclear = deque[str](maxlen=CANDIDATES_MAX)  # announced without what is needed
        self._asking = trio.Event()

    def state(self) -> DiscoveryState:
        """How it is doing."""
        running = self._running
        interfaces = self.whereabouts.interfaces()
        failure = self.whereabouts.failure or self._failure
        return DiscoveryState(
            self._is_on,
            running is not None and running.announcement is not None,
            running is not None and running.is_browsing,
            diagnose(interfaces, is_on=self._is_on, is_container=self._is_contained, failure=failure),
        )

    async def run(self) -> None:
        """Announce and browse as there is reason to, and keep what is learnt, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.directory.run)
            await self._follow_plans()

    async def _follow_plans(self) -> None:
        while True:
            seen = self.directory.version
            if not self._is_on or not (self.whereabouts.is_listening or self.directory.is_wanting):
                await self.directory.wait_change(seen)
                continue
            plan = self._plan()
            if plan.is_idle:
                await self._wait(seen)
                continue
            try:
                async with open_multicast(plan.interfaces, self._complain) as multicast:
                    self._failure = None
                    await self._work(multicast, plan)
            except OSError as error:
                self._complain(str(error))
                await trio.sleep(self._retry_s)
            finally:
                self._running = None
                self.directory.unhear_all()
            # What failed may have been an address that was not ready yet, or for good: try again, but ever less often.
            self._retry_s = (
                INTERFACES_LOOK_S if self._failure is None else min(2 * self._retry_s, DISCOVERY_RETRY_S_MAX)
            )

    async def _work(self, multicast: Multicast, plan: _Plan) -> None:
        """Carry out plans until there is nothing to do, other interfaces to do it on, or a failure to retry."""
        interfaces, retry_at = plan.interfaces, trio.current_time() + self._retry_s
        announced: Announcement | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, multicast)
            nursery.start_soon(self._ask, multicast)
            while not plan.is_idle and plan.interfaces == interfaces:
                seen = self.directory.version
                await multicast.browse(is_on=plan.is_browsing)
                if plan.announcement != announced:
                    announced = plan.announcement
                    await multicast.announce(self._name, announced)
                self._running = plan
                await self._wait(seen)
                plan = self._plan()
                if self._failure is not None and trio.current_time() >= retry_at:
                    break
            nursery.cancel_scope.cancel()

    async def _listen(self, multicast: Multicast) -> None:
        """Have what is heard become candidates."""
        while True:
            name, is_gone = await multicast.heard()
            if name.startswith(self._name):
                continue
            if is_gone:
                self.directory.unhear(name)
            elif (announcement := multicast.recall(name)) is not None:
                self.directory.hear(name, announcement)
            else:
                self._unclear.append(name)
                self._asking.set()

    async def _ask(self, multicast: Multicast) -> None:
        """Ask for what announcements left out, one after the other; a flood of them waits, and its oldest are lost."""
        while True:
            while not self._unclear:
                self._asking = trio.Event()
                await self._asking.wait()
            name = self._unclear.popleft()
            announcement = await multicast.ask(name)
            if announcement is not None:
                self.directory.hear(name, announcement)

    def _plan(self) -> _Plan:
        capable = tuple(multicast_of(self.whereabouts.interfaces()))
        return _Plan(capable, self.whereabouts.announcement(), self.directory.is_wanting)

    async def _wait(self, seen: int) -> None:
        """Until something may have changed: what is wanted, a listener, an interface."""
        with trio.move_on_after(INTERFACES_LOOK_S):
            await self.directory.wait_change(seen)

    def _complain(self, failure: str) -> None:
        """Keep what a socket said last, and say it in the log once."""
        self._failure = failure
        if failure != self._logged:
            self._logged = failure
            _log.warning("discovery_failed", detail=failure)
