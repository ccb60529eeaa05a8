"""What the peer door serves: one request and one answer, or one streamed answer.

Owns who the caller is, asked for each request, and what it may cost. Must not know what is said: a handler gets bytes
and gives bytes. Invariants: no handler runs for a certificate that is no member's now; once a node is out, or may no
more see what a call is about, no byte of the answer leaves.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final, NamedTuple, Protocol

import structlog
import trio

from lognode.core.errors import LognodeError, PeerError
from lognode.core.limits import CALL_S_MAX, MESSAGE_BYTES_MAX, TAIL_HEARTBEAT_S
from lognode.federation.transport.doors.budget import Allowance
from lognode.federation.transport.doors.intake import Receive, Request, Send, call_s_max, refuse_upgrade
from lognode.federation.transport.doors.session import Session
from lognode.federation.transport.frames import SIGN_OF_LIFE, frame

CALL_PATH: Final = "/v1/peer"
FOLLOW_PATH: Final = "/v1/follow"
# What a peer did wrong; that it is served more slowly is no fault of its own.
_OF_THE_CALLER: Final = frozenset({"message.malformed", "message.too_large"})
_log = structlog.get_logger(__name__)


class Handler(Protocol):
    """What is done with messages of members; `peer` is a node key."""

    async def answer(self, peer: bytes, body: bytes) -> bytes:
        """The answer to one request. A PeerError refuses it with its code."""
        ...

    def follow(self, peer: bytes, body: bytes) -> AsyncGenerator[bytes, None]:
        """The messages of a streamed answer, none of them empty, as they come to be."""
        ...

    def allows(self, peer: bytes, body: bytes) -> bool:
        """Whether the peer may still have what this request asks for; asked when members changed meanwhile."""
        ...

    def blame(self, peer: bytes, error: PeerError) -> None:
        """Take note that a request was refused before there was a message."""
        ...


class _Call(NamedTuple):
    peer: bytes
    session: Session
    body: bytes


class PeerApp:
    """The application of the peer door."""

    def __init__(
        self, node_of: Callable[[bytes], bytes | None], handler: Handler, on_bytes: Callable[[int, int], None]
    ) -> None:
        self._node_of = node_of
        self._handler = handler
        self._count = on_bytes  # received, sent
        self._allowance = Allowance()
        self._calls: set[_Call] = set()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await refuse_upgrade(scope, send)
            return
        session: Session = scope["state"]["session"]
        peer = self._node_of(session.certificate)
        if peer is None:
            session.abort()
            return
        request = Request(scope, receive, send)
        with session.serving():
            try:
                await self._serve(request, peer, session)
            except PeerError as error:
                if error.code in _OF_THE_CALLER:
                    self._handler.blame(peer, error)
                await request.refuse(error)

    def recheck(self) -> None:
        """End every call whose peer may no more have what it asked for."""
        for call in list(self._calls):
            if self._node_of(call.session.certificate) is None or not self._handler.allows(call.peer, call.body):
                call.session.abort()

    async def _serve(self, request: Request, peer: bytes, session: Session) -> None:
        if request.method != "POST" or request.path not in {CALL_PATH, FOLLOW_PATH}:
            await request.answer(404, b"")
            return
        size = request.body_size(MESSAGE_BYTES_MAX)
        async with self._allowance.calling(peer, size) as held:
            body = await request.read(lambda part: self._allowance.take(peer, part))
            if body is None:
                return
            self._count(size, 0)
            call = _Call(peer, session, body)
            # It may have taken a while to read.
            if self._node_of(session.certificate) is None:
                session.abort()
                return
            self._calls.add(call)
            try:
                if request.path == FOLLOW_PATH:
                    await self._stream(request, call)
                    return
                answer = await self._ask(request, call)
                if answer is not None:
                    self._allowance.give(peer, held, len(answer))
                    self._count(0, len(answer))
                    with session.sending(call_s_max(len(answer))):
                        await request.answer(200, answer)
            finally:
                self._calls.discard(call)

    async def _ask(self, request: Request, call: _Call) -> bytes | None:
        """The handler's answer; None where it failed, and the peer was told."""
        try:
            with trio.fail_after(CALL_S_MAX):  # by then the peer has given up
                return await self._handler.answer(call.peer, call.body)
        except PeerError:
            raise
        except trio.TooSlowError:
            _log.warning("peer_call_failed", code="peer.slow", detail=f"no answer after {CALL_S_MAX} seconds")
        except LognodeError as error:
            _log.warning("peer_call_failed", code=error.code, detail=error.detail)
        except Exception:  # noqa: BLE001 - a mistake of ours must not end the connection without a word
            _log.exception("peer_call_failed", code="node.internal")
        await request.answer(503, b"")
        return None

    async def _stream(self, request: Request, call: _Call) -> None:
        """Stream until either side ends. What cannot go on breaks off, so that it does not look whole."""
        await request.start(200, [])
        failures: list[Exception] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_with_peer, nursery.cancel_scope, request)
            sender, receiver = trio.open_memory_channel[bytes](0)
            nursery.start_soon(self._pump, call, sender, failures)
            await self._send_frames(request, call, receiver)
            nursery.cancel_scope.cancel()
        if not failures:
            await request.finish()

    async def _pump(self, call: _Call, sender: trio.MemorySendChannel[bytes], failures: list[Exception]) -> None:
        """Pass on the handler's messages; it fails only after the last of them."""
        with sender:
            try:
                async with aclosing(self._handler.follow(call.peer, call.body)) as messages:
                    async for message in messages:
                        await sender.send(message)
            except LognodeError as error:
                failures.append(error)
                _log.info("follow_ended", code=error.code, detail=error.detail)
            except Exception as error:  # noqa: BLE001 - as above
                failures.append(error)
                _log.exception("follow_ended", code="node.internal")

    async def _send_frames(self, request: Request, call: _Call, messages: trio.MemoryReceiveChannel[bytes]) -> None:
        while True:
            framed = SIGN_OF_LIFE
            with trio.move_on_after(TAIL_HEARTBEAT_S):
                try:
                    framed = frame(await messages.receive())
                except trio.EndOfChannel:
                    return
            await self._allowance.take(call.peer, len(framed))
            with call.session.sending(call_s_max(len(framed))):
                await request.send_part(framed)
            self._count(0, len(framed))

    async def _end_with_peer(self, scope: trio.CancelScope, request: Request) -> None:
        await request.wait_left()
        scope.cancel()
