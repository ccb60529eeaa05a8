"""One client's connection: hypercorn's HTTP/1.1 on a trio stream.

Hypercorn's own connection class has no deadline on sending and shields it from cancellation, so one reader who
stopped reading could keep a node from stopping; it also takes HTTP/2, which nothing here needs. Its protocol
code is a private interface: hypercorn is pinned, and tests/api/test_server.py holds what it must keep doing.
Invariant: every wait for a client has a deadline, save that for the end of a stream it listens to.
"""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.events import Response
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WebsocketBuffer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState
from hypercorn.utils import parse_socket_addr

from lognode.core.limits import (
    FRAME_BYTES_MAX,
    IDLE_S_MAX,
    KIB,
    QUEUE_MESSAGES_MAX,
    RECEIVE_BYTES_MAX,
    SEND_BYTES_MAX,
    TAIL_SEND_S_MAX,
)

# The bytes of a connection, and what its requests find in the state of their scope.
Opened = tuple[trio.abc.Stream, dict[str, Any]]
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)
_log = structlog.get_logger(__name__)


def http_config() -> Config:
    """How hypercorn speaks HTTP here."""
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_max_requests = 1 << 62  # a client that appends one by one keeps its connection
    config.max_app_queue_size = QUEUE_MESSAGES_MAX
    config.h11_max_incomplete_size = 16 * KIB  # request line and headers
    config.websocket_max_message_size = FRAME_BYTES_MAX
    return config


class Client:
    """A connection from its first request to its last."""

    def __init__(
        self,
        app: ASGIFramework,
        config: Config,
        context: WorkerContext,
        socket: trio.socket.SocketType,
        opened: Opened,
    ) -> None:
        self._app = app
        self._config = config
        self._context = context
        self._socket = socket
        self._stream, self._state = opened
        self._sending = trio.Lock()
        self._open = trio.CancelScope()  # around all reading
        self._reading = trio.CancelScope()
        self._read_until = math.inf
        self._protocol: H11Protocol

    async def run(self) -> None:
        """Serve until either side closes. What goes wrong with one client ends no other."""
        socket = self._socket
        try:
            peer = parse_socket_addr(socket.family, socket.getpeername())
            own = parse_socket_addr(socket.family, socket.getsockname())
            is_tls = isinstance(self._stream, trio.SSLStream)
            async with trio.open_nursery() as nursery:
                tasks: Any = _Tasks(nursery)
                state = ConnectionState(self._state)
                app: Any = self._app
                self._protocol = _Http11(
                    app, self._config, self._context, tasks, state, ssl=is_tls, client=peer, server=own, send=self._do
                )
                self._set_idle(is_idle=True)
                await self._read()
        except* OSError:
            pass  # the client was gone before it was served
        except* Exception:  # noqa: BLE001 - a mistake of ours or of hypercorn's must not end the server
            _log.exception("a connection failed")

    def close_if_idle(self) -> None:
        """Close, if it waits for its next request."""
        if self._read_until != math.inf:
            self._open.cancel()

    async def _read(self) -> None:
        with self._open:
            while data := await self._receive():
                await self._protocol.handle(RawData(data))
        await self._protocol.handle(Closed())

    async def _receive(self) -> bytes:
        with trio.CancelScope(deadline=self._read_until) as self._reading, suppress(*_GONE):
            return bytes(await self._stream.receive_some(RECEIVE_BYTES_MAX))
        return b""

    def _set_idle(self, *, is_idle: bool) -> None:
        self._read_until = trio.current_time() + IDLE_S_MAX if is_idle else math.inf
        self._reading.deadline = self._read_until

    async def _do(self, event: Any) -> None:
        """Carry out what the protocol asks for."""
        if isinstance(event, RawData):
            # An `async with` would go through the scheduler, also where nobody else sends.
            if self._sending.locked():
                await self._sending.acquire()
            else:
                self._sending.acquire_nowait()
            try:
                await self._send(event.data)
            finally:
                self._sending.release()
        elif isinstance(event, Updated):
            self._set_idle(is_idle=event.idle)
        else:
            await self._close()

    async def _send(self, data: bytes) -> None:
        is_sent = False
        try:
            for start in range(0, len(data), SEND_BYTES_MAX):
                with trio.fail_after(TAIL_SEND_S_MAX):
                    await self._stream.send_all(data[start : start + SEND_BYTES_MAX])
            is_sent = True
        except (trio.TooSlowError, *_GONE):
            pass  # the reading task finds the stream closed, and ends what is being served
        finally:
            if not is_sent:  # half a message may be out: nothing may follow it
                self._socket.close()

    async def _close(self) -> None:
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            with suppress(trio.BusyResourceError, *_GONE):
                await self._stream.send_eof()
        await self._stream.aclose()
        # A request that came early would wait for its turn, which comes no more.
        self._open.cancel()


class _Http11(H11Protocol):
    """HTTP/1.1 alone, a whole answer in one piece, and no more of a WebSocket frame than is allowed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._do, self.send = self.send, self._gather
        self._head = b""
        self._is_held = False

    async def handle(self, event: Any) -> None:
        """Take in what was received, or that the client is gone."""
        await super().handle(event)
        frame: WebsocketBuffer | None = getattr(self.stream, "buffer", None)
        # Hypercorn has told the client, but would go on to gather what it sends.
        if frame is not None and frame.length > FRAME_BYTES_MAX:
            await self._do(Closed())

    async def stream_send(self, event: Any) -> None:
        """Send a part of an answer.

        The head of a whole one waits for the body that follows at once: one system call for both, and the
        client wakes up once.
        """
        answer = getattr(self.stream, "response", {}) if isinstance(event, Response) else {}
        self._is_held = answer.get("is_whole", False)
        await super().stream_send(event)

    async def _gather(self, event: Any) -> None:
        if isinstance(event, RawData):
            data = self._head + event.data
            self._head = data if self._is_held else b""
            if self._is_held or not data:
                return
            event = RawData(data)
        await self._do(event)

    async def _check_protocol(self, event: Any) -> None:
        """An offer to upgrade to HTTP/2 is passed over, as RFC 9110 section 7.8 allows."""

    async def _create_stream(self, request: Any) -> None:
        # Compression would cost every frame time on the way to the same machine, and a few of its bytes inflate
        # to any number.
        headers = [(name, value) for name, value in request.headers if name != b"sec-websocket-extensions"]
        if len(headers) < len(request.headers):
            request = type(request)(
                method=request.method, target=request.target, http_version=request.http_version, headers=headers
            )
        await super()._create_stream(request)


class _Tasks:
    """Runs the application for hypercorn's protocol code.

    Hypercorn's own version waits for room in the queue also to say that the client left, and so can wait for
    an application that waits for it. Here the end of the queue says so.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    async def spawn_app(self, app: Any, _config: Config, scope: Any, send: Any) -> Callable[[Any], Awaitable[None]]:
        """Start serving one request; the answer takes in its messages, and does nothing once it was served."""
        sender, receiver = trio.open_memory_channel[Any](QUEUE_MESSAGES_MAX)

        async def put(message: Any) -> None:
            if message["type"].endswith(".disconnect"):
                sender.close()
            else:
                with suppress(*_GONE):
                    await sender.send(message)

        self._nursery.start_soon(_run_app, app, scope, receiver, send)
        return put

    def spawn(self, fn: Any, *args: Any) -> None:
        """Start a task of the connection."""
        self._nursery.start_soon(fn, *args)


async def _run_app(app: Any, scope: Any, receiver: trio.MemoryReceiveChannel[Any], send: Any) -> None:
    async def receive() -> Any:
        try:
            return await receiver.receive()
        except trio.EndOfChannel:
            return {"type": f"{scope['type']}.disconnect", "code": 1006}

    try:
        with receiver:
            await app(scope, receive, send)
    except* Exception:  # noqa: BLE001 - the head is out, so that a broken answer is all that can be said
        _log.exception("an answer could not be finished")
    finally:
        await send(None)
