"""The listeners for other nodes: which sockets, which doors, and what is served behind them.

Brings together what may not know each other: the API's server, the doors of the transport, and the handlers of sync
and invites.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Literal

import structlog
import trio
from prometheus_client import Gauge

from lognode.api.server.client import Opened
from lognode.api.server.serve import Door, serve
from lognode.api.server.sockets import check_free, open_listening
from lognode.core.errors import LognodeError
from lognode.federation.discovery.whereabouts import Whereabouts
from lognode.federation.transport.census import Census, take_census
from lognode.federation.transport.doors.handshake import JoinDoor, PeerDoor
from lognode.federation.transport.doors.join_app import JoinApp
from lognode.federation.transport.doors.peer_app import PeerApp
from lognode.federation.transport.doors.roster import Roster
from lognode.federation.transport.listeners import LISTENERS, Listeners
from lognode.federation.transport.tls import TlsIdentity
from lognode.node.parts import Parts
from lognode.settings import Settings, parse_bind

# What the listeners depend on.
LISTENING: Final = ("federation", "peer_listen", "join_listen", "advertise")
Name = Literal["peer", "join"]
_log = structlog.get_logger(__name__)


def start_listeners(parts: Parts, settings: Settings) -> None:
    """Have other nodes served while there are any."""
    meters, roster = parts.meters.peers, Roster()
    identity = TlsIdentity.from_seed(parts.keys.tls_seed())
    peer_door = PeerDoor(identity, roster, lambda reason: meters.refusals.labels("peer", reason).inc())
    join_door = JoinDoor(identity, lambda reason: meters.refusals.labels("join", reason).inc())
    peer_app = PeerApp(roster.node_of, parts.answers, meters.count_bytes)
    join_app = JoinApp(parts.desk.admissions.answer, meters.count_bytes)

    def census() -> Census:
        tenants = {tenant.number for tenant in parts.store.tenants.values()}
        return take_census(map(parts.standings.of, tenants), parts.keys.public)

    def recheck() -> None:
        peer_door.recheck()
        peer_app.recheck()

    def door(name: Name, open_door: Door, app: Any, listen: str) -> Callable[[], Awaitable[None]]:
        counting = _counting(open_door, meters.connections.labels(name))
        return partial(_serve, name, counting, app, listen, parts.discovery.whereabouts)

    listeners = Listeners(
        roster,
        parts.world,
        parts.supervisor,
        census,
        {
            "peer_listener": door("peer", peer_door.open, peer_app, settings.peer_listen),
            "join_listener": door("join", join_door.open, join_app, settings.join_listen),
        },
        recheck,
    )

    async def run() -> None:
        with parts.standings.telling(listeners.refresh):
            await listeners.run()

    _warn_of_taken_ports({"peer": settings.peer_listen, "join": settings.join_listen})
    parts.supervisor.start("listeners", run)


def _warn_of_taken_ports(listens: Mapping[Name, str]) -> None:
    """Say now what would go wrong once there is somebody to listen to."""
    for name, listen in listens.items():
        try:
            check_free(*parse_bind(listen))
        except LognodeError as error:
            _log.warning("port_not_free", listener=name, code=error.code, detail=error.detail, hint=error.hint)


async def stop_listeners(parts: Parts) -> None:
    """Have no other node served any more."""
    for name in ("listeners", *LISTENERS):
        await parts.supervisor.stop(name)


async def _serve(name: Name, door: Door, app: Any, listen: str, whereabouts: Whereabouts) -> None:
    """Serve one listener until cancelled. Raises NodeFault("listen.taken") or CallerError("listen.invalid")."""
    host, port = parse_bind(listen)
    listening = open_listening(host, port)
    try:
        whereabouts.listen(name, listening.host, listening.port)
        await serve(app, door, listening, trio.Event())
    finally:
        whereabouts.close(name)
        listening.close()


def _counting(open_door: Door, gauge: Gauge) -> Door:
    """A door whose connections are counted while they last."""

    @asynccontextmanager
    async def counted(stream: trio.SocketStream) -> AsyncIterator[Opened | None]:
        async with open_door(stream) as opened:
            if opened is None:
                yield None
                return
            with gauge.track_inprogress():
                yield opened

    return counted
