"""Keeps this node linked with the other members of its tenants.

For each tie there is a task: it waits for its turn, dials, holds a session until that breaks, and backs off. Ties come
and go with the memberships. Invariants: a peer that has a session with us is not dialled; of two nodes that can dial
each other the one with the smaller key does; one peer's failure, of whatever sort, is nobody else's.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog
import trio

from lognode.core.access import Level
from lognode.core.errors import CallerError, LognodeError, NodeFault, PeerError
from lognode.core.ids import LogLineKind, format_logline, logline
from lognode.core.limits import CANDIDATE_DIAL_S, LINK_TURN_S, LINK_WELL_S
from lognode.federation.sync.pace import Pace
from lognode.federation.sync.service.linking.session import Session
from lognode.federation.sync.service.outside import Outside
from lognode.federation.sync.service.state.tie import Tie, TieStatus
from lognode.federation.sync.service.state.ties import Ties
from lognode.federation.sync.service.waiting import wait_any
from lognode.federation.transport.contact import Contact
from lognode.timeline.record import TenantRef

_log = structlog.get_logger(__name__)
# What concerns the way to a peer, and so all tenants alike.
_OF_THE_WAY = frozenset({"peer.unreachable", "peer.untrusted", "peer.slow", "peer.busy", "peer.unaddressed"})


class Links:
    """The links of a node."""

    def __init__(self, ties: Ties, outside: Outside) -> None:
        self.ties: Final = ties
        self._outside = outside
        self._paces: dict[bytes, Pace] = {}
        self._tasks: dict[Tie, trio.CancelScope] = {}
        self._introduced: dict[tuple[int, bytes], Contact] = {}
        self._attended: set[int] = set()
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Keep linked until cancelled."""
        self._tasks.clear()
        self._attended.clear()
        try:
            async with trio.open_nursery() as self._nursery:
                for tenant in set(self._outside.store.tenants.values()):
                    self.attend(tenant)
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def attend(self, tenant: TenantRef, contacts: Sequence[Contact] = ()) -> None:
        """Keep a tenant linked from now on; with these, too, while this node does not know what they are in it."""
        for contact in contacts:
            self._introduced[tenant.number, contact.node_key] = contact
            self._hasten(tenant, contact.node_key)
        if self._nursery is None:
            return
        if tenant.number in self._attended:
            self._relink(tenant, self._members(tenant))
        else:
            self._attended.add(tenant.number)
            self._nursery.start_soon(self._attend, tenant)

    def status(self, tenant: TenantRef) -> list[TieStatus]:
        """How the ties of a tenant are doing, by the peers' keys."""
        return [tie.status() for tie in self.ties.of(tenant)]

    def trouble(self, tenant: TenantRef) -> LognodeError | None:
        """Why this node is kept from the others of a tenant: it is no member, or they say so."""
        member = self._outside.standings.of(tenant.number).members.get(self._outside.own_key)
        if member is not None and member.level == Level.BLOCKED:
            return CallerError("member.removed")
        ties = self.ties.of(tenant)
        refusing = [tie for tie in ties if tie.is_refused]
        if not refusing or any(tie.is_live for tie in ties):
            return None  # who is live tells what there is to know
        return PeerError("member.refused", f"{len(refusing)} of {len(ties)} do, none has a session with it")

    def ask(self, tenant: TenantRef, node_key: bytes | None = None) -> list[TieStatus]:
        """Have a tenant compared now with one peer or all, and how they are doing.

        Raises CallerError("peer.unknown").
        """
        ties = [tie for tie in self.ties.of(tenant) if node_key in (None, tie.node_key)]
        if node_key is not None and not ties:
            raise CallerError("peer.unknown", "no other member of the tenant has this key")
        self._hasten(tenant, node_key)
        return [tie.status() for tie in ties]

    def _hasten(self, tenant: TenantRef, node_key: bytes | None) -> None:
        """Have a tenant compared with one peer or all, without waiting for the next try."""
        for tie in self.ties.of(tenant):
            if node_key in (None, tie.node_key):
                self._pace(tie).hasten()
                tie.pace.hasten()
                tie.ask()

    async def _attend(self, tenant: TenantRef) -> None:
        """Follow the membership of a tenant."""
        standings = self._outside.standings
        before: set[bytes] | None = None
        while True:
            seen = standings.version(tenant.number)
            membership = standings.of(tenant.number)
            members = self._members(tenant)
            self._relink(tenant, members)
            for node_key in sorted(members - before) if before is not None else ():
                self._outside.notices.tell(
                    tenant.number,
                    "member.admitted",
                    node=format_logline(logline(LogLineKind.NODE, node_key)),
                    level=membership.level(node_key).name.lower(),
                )
            before = members
            await standings.wait_change(tenant.number, seen)

    def _members(self, tenant: TenantRef) -> set[bytes]:
        """The other nodes that are members of a tenant now."""
        known = self._outside.standings.of(tenant.number).members
        return {node_key for node_key in known if self.ties.is_member(node_key, tenant)}

    def _relink(self, tenant: TenantRef, members: set[bytes]) -> None:
        """Have a tie and a task for each other member, and for nobody else.

        Who introduced this node is taken for a member until it is known what it is: it may have been let in after all
        that is known here.
        """
        assert self._nursery is not None
        known = self._outside.standings.of(tenant.number).members
        introduced = {node_key for number, node_key in self._introduced if number == tenant.number}
        wanted = members | (introduced - known.keys())
        for tie in self.ties.of(tenant):
            if tie.node_key not in wanted:
                self.ties.drop(tie)
                scope = self._tasks.pop(tie, None)
                if scope is not None:
                    scope.cancel()
        for node_key in wanted - {self._outside.own_key}:
            tie = self.ties.tie(node_key, tenant)
            if tie in self._tasks:
                tie.ask()  # what one may have of the other has changed
            else:
                self._tasks[tie] = trio.CancelScope()
                self._nursery.start_soon(self._keep, tie, self._tasks[tie])

    async def _keep(self, tie: Tie, scope: trio.CancelScope) -> None:
        """Hold a tie's sessions, one after the other."""
        with scope, self._outside.directory.wanting(tie.node_key):
            while True:
                await self._wait_turn(tie)
                begun = trio.current_time()
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._step_back, tie, nursery.cancel_scope)
                        await self._dial(tie)
                # One peer's failure is nobody else's, also when it comes together with the end of the task.
                except* Exception as failed:  # noqa: BLE001
                    if trio.current_time() - begun >= LINK_WELL_S:
                        tie.pace.succeeded()
                    self._blame(tie, _cause_of(failed))

    async def _dial(self, tie: Tie) -> None:
        """Hold one session. Raises what it ends by."""
        node_key = tie.node_key
        member = self._outside.standings.of(tie.tenant.number).members.get(node_key)
        introduced = self._introduced.get((tie.tenant.number, node_key))
        addresses = self._outside.directory.reach(node_key) or (introduced.addresses if introduced else ())
        if not addresses:
            raise PeerError("peer.unaddressed")
        known = member or introduced
        assert known is not None
        contact = Contact(node_key, known.certificate, addresses)
        await Session(tie, contact, self.ties, self._outside, partial(self._met, tie)).run()

    def _met(self, tie: Tie) -> None:
        """The peer answered: whoever else waits for it may go."""
        self._pace(tie).succeeded()
        tie.retry_at = None
        for other in self._tasks:
            if other.node_key == tie.node_key and other is not tie:
                other.turned.ring()

    async def _step_back(self, tie: Tie, scope: trio.CancelScope) -> None:
        """End our session once the node whose turn it is has one with us."""
        if not self._is_first(tie):
            while not tie.inbound:
                await tie.turned.wait()
            scope.cancel()

    async def _wait_turn(self, tie: Tie) -> None:
        """Return when this node is to dial: nobody else has, and no back-off holds."""
        pace, earliest = self._pace(tie), self._turn_at(tie)
        while True:
            if tie.inbound:
                tie.retry_at = None
                await tie.turned.wait()
                earliest = self._turn_at(tie)
                continue
            now = trio.current_time()
            due = max(earliest, pace.retry_at, tie.pace.retry_at)
            if due <= now and pace.claim(now, self._chance()):
                tie.retry_at = None
                return
            tie.retry_at = due
            with trio.move_on_at(due):
                await wait_any(tie.turned.wait, partial(self._wait_hastened, tie))

    async def _wait_hastened(self, tie: Tie) -> None:
        """Return once somebody asks for the peer, or another place of it is known: then it is tried at once.

        A peer may tell new places with each breath, and they may be anybody's: for these it is tried once a second.
        """
        directory = self._outside.directory
        places, seen = self._places(tie), directory.version

        async def wait_places() -> None:
            nonlocal seen
            while self._places(tie) <= places:
                seen = await directory.wait_change(seen)

        await wait_any(tie.asked.wait_rung, wait_places)
        pause_s = 0 if tie.asked.is_rung else CANDIDATE_DIAL_S
        tie.asked.still()
        self._pace(tie).hasten(pause_s)
        tie.pace.hasten(pause_s)
        tie.turned.ring()

    def _places(self, tie: Tie) -> set[str]:
        """Where the peer may be."""
        directory = self._outside.directory
        known = {str(entry.address) for entry in directory.known(tie.node_key)}
        return known.union(*(map(str, heard.peer_addresses) for heard in directory.announced(tie.node_key)))

    def _blame(self, tie: Tie, error: BaseException) -> None:
        """Take note of what a session ended by."""
        if not isinstance(error, LognodeError):
            _log.error("link_failed", exc_info=error)
            error = NodeFault("node.internal", f"{type(error).__name__}: {error}"[:300])
        tie.fail(error)
        now, chance = trio.current_time(), self._chance()
        tie.pace.failed(now, chance)
        if error.code in _OF_THE_WAY:
            self._pace(tie).failed(now, chance)

    def _pace(self, tie: Tie) -> Pace:
        return self._paces.setdefault(tie.node_key, Pace())

    def _is_first(self, tie: Tie) -> bool:
        return self._outside.own_key < tie.node_key

    def _turn_at(self, tie: Tie) -> float:
        """When this node may dial; at once where the other cannot know yet that it may, or a write waits for it."""
        is_new = not tie.has_met and (tie.tenant.number, tie.node_key) in self._introduced
        is_urgent = is_new or self._outside.writer.is_in_doubt(tie.tenant)
        return trio.current_time() + (0 if is_urgent or self._is_first(tie) else LINK_TURN_S)

    def _chance(self) -> float:
        return int.from_bytes(self._outside.world.random_bytes(2)) / 0x1_0000


def _cause_of(failed: BaseException) -> BaseException:
    """What a session ended by: of several things at once the first that has a code."""
    causes = [failed]
    while any(isinstance(cause, BaseExceptionGroup) for cause in causes):
        causes = [
            inner
            for cause in causes
            for inner in (cause.exceptions if isinstance(cause, BaseExceptionGroup) else [cause])
        ]
    return next((cause for cause in causes if isinstance(cause, LognodeError)), causes[0])
