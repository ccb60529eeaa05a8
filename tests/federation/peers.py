"""Nodes that talk to each other over real loopback sockets, in one process: their connections and no more.

A `Peer` is a node's TLS identity, roster and doors; what is said is the handler's matter.
"""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from lognode.api.server.serve import Door, serve
from lognode.api.server.sockets import open_listening
from lognode.core.errors import PeerError
from lognode.federation.transport.contact import Contact
from lognode.federation.transport.dialer import Dialer
from lognode.federation.transport.doors.handshake import JoinDoor, PeerDoor
from lognode.federation.transport.doors.join_app import JoinApp
from lognode.federation.transport.doors.peer_app import Handler, PeerApp
from lognode.federation.transport.doors.roster import Roster
from lognode.federation.transport.tls import TlsIdentity
from lognode.identity.keys import NodeKeys

LOOPBACK: Final = "127.0.0.1"


class Echo:
    """A handler that says back what it is told, and by whom; it streams what is put in."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bytes]] = []
        self.forbidden: set[tuple[bytes, bytes]] = set()  # calls that are allowed no more: by whom, and which
        self.blamed: list[tuple[bytes, str]] = []
        self.ended = trio.Event()  # a stream has ended
        self.put, self._messages = trio.open_memory_channel[bytes](16)

    async def answer(self, peer: bytes, body: bytes) -> bytes:
        self.asked.append((peer, body))
        return peer + body

    async def follow(self, peer: bytes, body: bytes) -> AsyncGenerator[bytes, None]:
        self.asked.append((peer, body))
        try:
            async for message in self._messages:
                yield message
        finally:
            self.ended.set()

    def allows(self, peer: bytes, body: bytes) -> bool:
        return (peer, body) not in self.forbidden

    def blame(self, peer: bytes, error: PeerError) -> None:
        self.blamed.append((peer, error.code))


class Peer:
    """One node as the others see it; `number` chooses its keys."""

    def __init__(self, number: int) -> None:
        self.keys = NodeKeys.from_seed(bytes([number]) * 32)
        self.identity = TlsIdentity.from_seed(self.keys.tls_seed())
        self.roster = Roster()
        self.refusals: list[str] = []
        self.received = self.sent = 0
        self.door = PeerDoor(self.identity, self.roster, self.refusals.append)
        self.join_door = JoinDoor(self.identity, self.refusals.append)
        self.address = f"{LOOPBACK}:1"  # where nobody listens; another one while it is served

    @property
    def contact(self) -> Contact:
        return Contact(self.keys.public, self.identity.certificate, (self.address,))

    def knows(self, *peers: "Peer") -> None:
        """From now on these are the members, and whoever is none is out."""
        self.roster.update({peer.identity.certificate: peer.keys.public for peer in peers}, is_joinable=False)
        self.door.recheck()

    def dialer(self) -> Dialer:
        return Dialer(self.identity, self.count)

    def count(self, received: int, sent: int) -> None:
        self.received += received
        self.sent += sent

    @asynccontextmanager
    async def serving(self, handler: Handler) -> AsyncIterator[PeerApp]:
        """The application of the peer door while it is served, at `address`."""
        app = PeerApp(self.roster.node_of, handler, self.count)
        async with _served(app, self.door.open) as self.address:
            yield app

    @asynccontextmanager
    async def joinable(self, handler: Callable[[bytes], Awaitable[bytes]]) -> AsyncIterator[str]:
        """The address of the join door while it is served."""
        async with _served(JoinApp(handler, self.count), self.join_door.open) as address:
            yield address


@asynccontextmanager
async def connected(address: str, context: ssl.SSLContext) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
    """A TLS connection whose handshake is done, for bytes that no client of ours would send."""
    host, port = address.split(":")
    stream = trio.SSLStream(await trio.open_tcp_stream(host, int(port)), context, https_compatible=True)
    try:
        await stream.do_handshake()
        yield stream
    finally:
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def _served(app: Any, door: Door) -> AsyncIterator[str]:
    listening = open_listening(LOOPBACK, 0)
    stopping = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, app, door, listening, stopping)
        try:
            yield listening.url.removeprefix("http://")
        finally:
            nursery.cancel_scope.cancel()
            listening.close()
