"""From an accepted socket to a connection of somebody known.

Owns what a stranger may cost: a deadline, a place among few, fewer still for one address. Invariants: nothing of HTTP
is read before the handshake is done; whoever is served by the peer door has shown, byte for byte, a certificate of a
member of this moment.
"""

import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any, Final, Literal

import trio

from lognode.core.limits import (
    FAREWELL_S_MAX,
    HANDSHAKE_S_MAX,
    PEER_CONNECTIONS_EACH_MAX,
    PEER_CONNECTIONS_MAX,
    RECEIVE_BYTES_MAX,
    STRANGER_CONNECTIONS_EACH_MAX,
    STRANGER_CONNECTIONS_MAX,
    STRANGER_S_MAX,
)
from lognode.federation.transport.doors.roster import Roster
from lognode.federation.transport.doors.session import Session
from lognode.federation.transport.tls import TlsIdentity, join_server_context, peer_server_context

Refusal = Literal["crowded", "handshake", "unknown"]
# What serves a connection: its bytes, and what its requests are told of it; None where it was refused.
Opened = tuple[trio.SSLStream[trio.SocketStream], dict[str, Any]] | None
_BROKEN: Final = (trio.BrokenResourceError, trio.ClosedResourceError)
_NETWORK_BITS: Final = 64  # of an IPv6 address: whoever has one has the whole network


class _Door:
    """What both doors do: handshakes under a deadline, few at once."""

    def __init__(self, on_refusal: Callable[[Refusal], None]) -> None:
        self._refuse = on_refusal
        self._strangers: Counter[str] = Counter()  # connections by address
        self._waiting: dict[trio.CancelScope, None] = {}  # connections that can be given up, the oldest first

    @asynccontextmanager
    async def _stranger(self, stream: trio.SocketStream) -> AsyncIterator[str | None]:
        """The address of a connection that has a place among strangers; None where there is none for it."""
        try:
            address = source_of(stream.socket.getpeername()[0])
        except OSError:  # it is gone already
            yield None
            return
        few = self._strangers[address] < STRANGER_CONNECTIONS_EACH_MAX
        if not few or (self._strangers.total() >= STRANGER_CONNECTIONS_MAX and not self._make_room()):
            self._refuse("crowded")
            yield None
            return
        self._strangers[address] += 1
        try:
            yield address
        finally:
            self._strangers[address] -= 1
            self._strangers += Counter()  # forgets the addresses that have none left

    def _make_room(self) -> bool:
        """Give up the connection that has taken longest; False where none can be.

        A member's handshake takes milliseconds, and so does what a joiner has to say. So many silent connections from
        many addresses cannot keep either out.
        """
        oldest = next(iter(self._waiting), None)
        if oldest is None:
            return False
        del self._waiting[oldest]
        oldest.cancel()
        return True

    async def _shake_hands(self, context: ssl.SSLContext, stream: trio.SocketStream) -> Any:
        """The encrypted stream; None where the other side cannot or may not have one."""
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with trio.move_on_after(HANDSHAKE_S_MAX) as scope:
            self._waiting[scope] = None
            try:
                await secure.do_handshake()
                return secure
            except _BROKEN:
                pass
            finally:
                is_given_up = scope not in self._waiting
                self._waiting.pop(scope, None)
        self._refuse("crowded" if is_given_up else "handshake")
        if not scope.cancelled_caught:
            with suppress(*_BROKEN), trio.move_on_after(FAREWELL_S_MAX):
                # Trio sends no alert when a handshake fails; the other side would have to guess why.
                await stream.send_all(secure._outgoing.read())  # noqa: SLF001 - pinned; a test holds what it does
                await stream.send_eof()
                # What is closed with bytes unread takes back the alert.
                while await stream.receive_some(RECEIVE_BYTES_MAX):
                    pass
        return None


class PeerDoor(_Door):
    """The door of members."""

    def __init__(self, identity: TlsIdentity, roster: Roster, on_refusal: Callable[[Refusal], None]) -> None:
        super().__init__(on_refusal)
        self._identity = identity
        self._roster = roster
        self._trusted = -1  # the roster's version that the context trusts
        self._context: ssl.SSLContext
        self._sessions: dict[Session, bytes] = {}  # and whose

    @asynccontextmanager
    async def open(self, stream: trio.SocketStream) -> AsyncIterator[Opened]:
        """A connection to a member while it lasts; None for anybody else."""
        async with self._stranger(stream) as address:
            secure = await self._shake_hands(self._current_context(), stream) if address else None
        if secure is None:
            yield None
            return
        certificate = secure.getpeercert(binary_form=True)
        # Between the context's making and now the member may have been removed.
        peer = self._roster.node_of(certificate)
        if peer is None:
            self._refuse("unknown")
            yield None
            return
        owned = sum(1 for whose in self._sessions.values() if whose == peer)
        is_full = len(self._sessions) >= PEER_CONNECTIONS_MAX
        if owned >= PEER_CONNECTIONS_EACH_MAX or (is_full and not self._share_out(owned)):
            self._refuse("crowded")
            yield None
            return
        session = Session(certificate, str(address), stream.socket)
        self._sessions[session] = peer
        try:
            yield secure, {"session": session}
        finally:
            del self._sessions[session]

    def recheck(self) -> None:
        """End every connection of a node that is a member no more."""
        for session in list(self._sessions):
            if self._roster.node_of(session.certificate) is None:
                session.abort()

    def _share_out(self, owned: int) -> bool:
        """End a connection of who has most, for one who has `owned`; False where that has hardly fewer.

        Some nodes of one tenant can have all the places there are; they cannot keep those of others out.
        """
        (greediest, most), *_ = Counter(self._sessions.values()).most_common(1)
        if most <= owned + 1:
            return False
        # The oldest of those on which nothing is served, else the oldest.
        min((one for one, whose in self._sessions.items() if whose == greediest), key=lambda one: one.is_busy).abort()
        self._refuse("crowded")
        return True

    def _current_context(self) -> ssl.SSLContext:
        if self._trusted != self._roster.version:
            self._context = peer_server_context(self._identity, self._roster.peers)
            self._trusted = self._roster.version
        return self._context


class JoinDoor(_Door):
    """The door of those who want to become members: anybody, while there is a live invite."""

    def __init__(self, identity: TlsIdentity, on_refusal: Callable[[Refusal], None]) -> None:
        super().__init__(on_refusal)
        self._context = join_server_context(identity)

    @asynccontextmanager
    async def open(self, stream: trio.SocketStream) -> AsyncIterator[Opened]:
        """A connection to anybody while it lasts; None where there are too many."""
        async with self._stranger(stream) as address:
            secure = await self._shake_hands(self._context, stream) if address else None
            if secure is None:
                yield None
                return
            session = Session(b"", str(address), stream.socket)
            with trio.move_on_after(STRANGER_S_MAX) as scope:
                self._waiting[scope] = None
                try:
                    yield secure, {"session": session}
                finally:
                    self._waiting.pop(scope, None)


def source_of(host: str) -> str:
    """Whom a connection from this IP address is counted for."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, _NETWORK_BITS), strict=False))
