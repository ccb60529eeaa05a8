"""Calls to members.

Owns the connections to each of them, and which address is tried when. Must not know what is said. Invariants: a
contact is called with its own certificate pinned, by OpenSSL and byte for byte; connections are kept to DIALS_MAX peers
at most.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Final, Self

import httpx
import trio

from lognode.core.errors import PeerError
from lognode.core.limits import CALL_BYTES_S_MIN, DIALS_MAX, FOLLOW_SILENCE_S_MAX, MESSAGE_BYTES_MAX
from lognode.federation.transport.calls import Answer, calling, http_client, read_whole
from lognode.federation.transport.contact import Contact, url_at
from lognode.federation.transport.doors.peer_app import CALL_PATH, FOLLOW_PATH
from lognode.federation.transport.frames import FrameReader
from lognode.federation.transport.tls import TlsIdentity, peer_client_context

# Failures of an address, which another one may not have.
_NEXT: Final = frozenset({"peer.unreachable", "peer.untrusted"})
# How a peer shows, or a connection that broke, that our certificate is none of a member.
_UNKNOWN: Final = frozenset({"peer.unreachable", "peer.refused"})


class Frames:
    """The messages of a streamed answer, in order; ends when the peer ends it as it should.

    Raises PeerError peer.slow, peer.unreachable or message.too_large.
    """

    def __init__(self, parts: Answer, on_received: Callable[[int], None]) -> None:
        self._parts = parts
        self._count = on_received
        self._reader = FrameReader()
        self._messages: deque[bytes] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            while self._messages:
                if message := self._messages.popleft():
                    return message
            await self._read()

    async def _read(self) -> None:
        """Wait for parts until a message is whole; a sign of life is one."""
        with trio.move_on_after(FOLLOW_SILENCE_S_MAX) as deadline:
            while not self._messages:
                try:
                    part = await anext(self._parts)
                except StopAsyncIteration:
                    if self._reader.is_between:
                        raise
                    raise PeerError("peer.unreachable", "the stream ended in the middle of a message") from None
                self._count(len(part))
                self._messages.extend(self._reader.feed(part))
                deadline.deadline += len(part) / CALL_BYTES_S_MIN
            return
        raise PeerError("peer.slow", f"nothing whole came for {FOLLOW_SILENCE_S_MAX} seconds")


class Dialer:
    """The calling side of one node."""

    def __init__(
        self,
        identity: TlsIdentity,
        on_bytes: Callable[[int, int], None] = lambda _received, _sent: None,
        on_tried: Callable[[bytes, str, str | None], None] = lambda _node_key, _address, _code: None,
        former: TlsIdentity | None = None,
    ) -> None:
        """`on_tried` is told of each address that a node answered at, or with which error it did not.

        `former` is shown to those that do not know `identity` yet, after a rotation of the node's key.
        """
        self._identities = [identity] if former is None else [identity, former]
        self._count = on_bytes
        self._tried = on_tried
        self._clients: dict[tuple[bytes, bytes], httpx.AsyncClient] = {}  # by certificates; the newest used last
        self._good: dict[bytes, str] = {}  # the address that answered last, by certificate

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; the next call opens another."""
        clients, self._clients = self._clients, {}
        with trio.CancelScope(shield=True):
            for client in clients.values():
                await client.aclose()

    async def ask(self, contact: Contact, body: bytes) -> bytes:
        """The answer to one request. Raises PeerError of what went wrong; the request may have been served then."""
        async with self._calling(contact, CALL_PATH, body) as parts:
            answer = await read_whole(parts, MESSAGE_BYTES_MAX)
            self._count(len(answer), len(body))
            return answer

    @asynccontextmanager
    async def follow(self, contact: Contact, body: bytes) -> AsyncIterator[Frames]:
        """The messages of a streamed answer, while inside. Raises PeerError, also out of the iteration."""
        async with self._calling(contact, FOLLOW_PATH, body) as parts:
            self._count(0, len(body))
            yield Frames(parts, lambda size: self._count(size, 0))

    @asynccontextmanager
    async def _calling(self, contact: Contact, path: str, body: bytes) -> AsyncIterator[Answer]:
        """The answer to the first of our identities that is known."""
        async with AsyncExitStack() as stack:
            for identity in self._identities[:-1]:
                try:
                    answer = await self._call(stack, identity, contact, path, body)
                except PeerError as error:
                    if error.code not in _UNKNOWN:
                        raise
                else:
                    yield answer
                    return
            yield await self._call(stack, self._identities[-1], contact, path, body)

    async def _call(
        self, stack: AsyncExitStack, identity: TlsIdentity, contact: Contact, path: str, body: bytes
    ) -> Answer:
        """The answer of the first address that has one."""
        http = await self._client(identity, contact)
        failed: PeerError | None = None
        good = self._good.get(contact.certificate)
        for address in sorted(contact.addresses, key=lambda address: address != good):
            try:
                call = calling(http, url_at(address, path), body, lambda shown: shown == contact.certificate)
                answer = await stack.enter_async_context(call)
            except PeerError as error:
                if error.code not in _NEXT:
                    raise
                self._tried(contact.node_key, address, error.code)
                # That somebody else answers says more than silence.
                failed = error if failed is None or error.code == "peer.untrusted" else failed
            else:
                self._good[contact.certificate] = address
                self._tried(contact.node_key, address, None)
                return answer
        raise failed or PeerError("peer.unreachable", "no address is known")

    async def _client(self, identity: TlsIdentity, contact: Contact) -> httpx.AsyncClient:
        """The client for a contact's certificate; the one that was used least lately makes room."""
        certificates = contact.certificate, identity.certificate
        client = self._clients.pop(certificates, None)
        client = client or http_client(peer_client_context(identity, contact.certificate))
        self._clients[certificates] = client
        if len(self._clients) > DIALS_MAX:
            oldest = next(iter(self._clients))
            self._good.pop(oldest[0], None)
            await self._clients.pop(oldest).aclose()
        return client
