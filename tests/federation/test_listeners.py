"""When a node listens to others, and to whom."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import pytest
import trio
import trio.testing
from prometheus_client import CollectorRegistry

from lognode.core.access import Level
from lognode.core.errors import NodeFault
from lognode.core.ids import SpanId
from lognode.core.world import World
from lognode.engine.service.meters import Meters
from lognode.engine.service.upkeep.supervisor import Supervisor
from lognode.federation.transport.census import Census, take_census
from lognode.federation.transport.doors.roster import Roster
from lognode.federation.transport.listeners import LISTENERS, Listener, Listeners
from lognode.timeline.members import Invite, Member, Membership

OWN, BOB, EVE = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
SPAN: Final = SpanId(bytes(24))
ALONE: Final = Census({}, 0)


def member(key: bytes, level: Level = Level.TRUSTED) -> Member:
    return Member(key, level, b"certificate of " + key, bytes(32), None, SPAN, level == Level.BLOCKED, None, ())


def membership(*members: Member, invites: tuple[Invite, ...] = ()) -> Membership:
    certificates = {one.certificate: one.node_key for one in members if one.level > Level.BLOCKED}
    return Membership(
        {one.node_key: one for one in members}, {}, {}, {one.invite_id: one for one in invites}, certificates
    )


def invite(number: int, expires_ms: int, *, revoked: bool = False) -> Invite:
    joiners = (EVE,)  # it is used up
    return Invite(bytes([number]) * 16, OWN, Level.TRUSTED, 1, joiners, expires_ms, False, revoked, OWN, SPAN)  # noqa: FBT003


def test_members_of_any_tenant_are_let_in_but_of_none_that_this_node_left() -> None:
    census = take_census(
        [
            membership(member(OWN, Level.OBSERVER), member(BOB)),
            membership(member(OWN, Level.BLOCKED), member(EVE)),
            membership(member(EVE)),
        ],
        OWN,
    )
    assert census == ({b"certificate of " + BOB: BOB}, 0)


def test_whoever_was_removed_is_not_let_in() -> None:
    assert take_census([membership(member(OWN, Level.ROOT), member(BOB, Level.BLOCKED))], OWN) == ALONE


@pytest.mark.parametrize(("level", "until_ms"), [(Level.ROOT, 300), (Level.TRUSTED, 0), (Level.OBSERVER, 0)])
def test_strangers_may_come_to_a_root_until_the_last_invite_expires(level: Level, until_ms: int) -> None:
    invites = (invite(1, 300), invite(2, 200), invite(3, 400, revoked=True))
    census = take_census([membership(member(OWN, level), invites=invites)], OWN)

    assert census.joinable_until_ms == until_ms
    assert census.is_joinable(299) == (level == Level.ROOT)
    assert not census.is_joinable(until_ms)


@dataclass
class Hall:
    """Listeners under a supervisor, whose doors do nothing but be open."""

    census: Census = ALONE
    roster: Roster = field(default_factory=Roster)
    open: set[Listener] = field(default_factory=set)
    rechecks: int = 0
    is_taken: bool = False

    def recheck(self) -> None:
        self.rechecks += 1

    async def serve(self, name: Listener) -> None:
        if self.is_taken:
            raise NodeFault("listen.taken", "the port")
        self.open.add(name)
        try:
            await trio.sleep_forever()
        finally:
            self.open.discard(name)


@asynccontextmanager
async def listening(hall: Hall) -> AsyncIterator[tuple[Listeners, Supervisor]]:
    world = World(lambda: int(trio.current_time() * 1000), trio.current_time, bytes)
    supervisor = Supervisor(world, Meters(CollectorRegistry()))
    serve: dict[Listener, Callable[[], Awaitable[None]]] = {
        "peer_listener": lambda: hall.serve("peer_listener"),
        "join_listener": lambda: hall.serve("join_listener"),
    }
    listeners = Listeners(hall.roster, world, supervisor, lambda: hall.census, serve, hall.recheck)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.start("listeners", listeners.run)
        await trio.testing.wait_all_tasks_blocked()
        yield listeners, supervisor
        await supervisor.stop("listeners")
        assert not hall.open
        nursery.cancel_scope.cancel()


async def test_a_node_that_is_alone_listens_to_nobody() -> None:
    hall = Hall()
    async with listening(hall) as (_, supervisor):
        assert not hall.open
        assert [state.name for state in supervisor.states()] == ["listeners"]


async def test_listeners_come_and_go_with_members_and_invites(autojump_clock: trio.testing.MockClock) -> None:
    hall = Hall()
    start_ms = int(trio.current_time() * 1000)
    async with listening(hall) as (listeners, _):
        for census, wanted in (
            (Census({b"c": BOB}, 0), {"peer_listener"}),
            (Census({b"c": BOB}, start_ms + 200_000), set(LISTENERS)),
            (ALONE, set()),
            (Census({}, start_ms + 200_000), set(LISTENERS)),
        ):
            hall.census = census
            before = hall.rechecks
            listeners.refresh()
            assert hall.rechecks == before + 1  # at once
            assert hall.roster.node_of(b"c") == census.peers.get(b"c")
            await trio.testing.wait_all_tasks_blocked()
            assert hall.open == wanted
        await trio.sleep(201)  # the invite expires, and nothing else happens
        assert not hall.open


async def test_a_taken_port_is_shown_and_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    hall = Hall(Census({b"c": BOB}, 0), is_taken=True)
    async with listening(hall) as (_, supervisor):
        states = {state.name: state for state in supervisor.states()}
        assert (states["peer_listener"].state, states["peer_listener"].error) == ("waiting", "listen.taken")
        assert states["listeners"].state == "running"
        hall.is_taken = False
        await trio.sleep(2)
        assert hall.open == {"peer_listener"}
