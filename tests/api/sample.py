"""Routes that show what becomes of bodies and streams, a server for them, and plain sockets to talk to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import trio
from quart import request, websocket
from quart_trio.wrappers import TrioResponse

from lognode.api.app import ApiApp, Docs
from lognode.api.server.serve import serve_api
from lognode.api.server.sockets import open_listening
from lognode.core.access import Action
from lognode.core.errors import CallerError

LOOPBACK: Final = "127.0.0.1"
# No test measures time by it: how long something that hangs holds up the others.
HANG_S_MAX: Final = 30


class Sample:
    """Handlers that tell when they begin and end, and wait until they may go on."""

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.may_go_on = trio.Event()
        self.ended = trio.Event()

    def register(self, app: ApiApp) -> None:
        for handler in (self.count_bytes, self.refuse, self.stream, self.wait):
            name = handler.__name__
            app.register_route(f"/v1/{name}", handler, methods=("POST",), action=Action.NODE_READ, docs=Docs())
        app.register_route("/v1/echo", self.echo, action=Action.NODE_READ, docs=Docs(), is_websocket=True)

    async def count_bytes(self) -> TrioResponse:
        self.begun.set()
        await self.may_go_on.wait()
        size = 0
        async for part in request.body:
            size += len(part)
        return TrioResponse(str(size))

    async def refuse(self) -> TrioResponse:
        self.begun.set()
        raise CallerError("draft.invalid")

    async def wait(self) -> TrioResponse:
        self.begun.set()
        await self.may_go_on.wait()
        return TrioResponse("done")

    async def stream(self) -> TrioResponse:
        return TrioResponse(self._parts())

    async def _parts(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.begun.set()
                yield b"x" * 100_000
        finally:
            self.ended.set()

    async def echo(self) -> None:
        try:
            while True:
                await websocket.send(await websocket.receive())
        finally:
            self.ended.set()


@asynccontextmanager
async def serving(app: ApiApp, unix_socket: Path | None = None) -> AsyncIterator[str]:
    """The URL of a server that runs inside, and has ended after; "stopping" begins its end earlier."""
    stopping = app.services.stopping
    with trio.fail_after(HANG_S_MAX):
        async with trio.open_nursery() as nursery:
            listening = open_listening(LOOPBACK, 0, unix_socket)
            nursery.start_soon(serve_api, app, listening, stopping)
            yield listening.url
            stopping.set()


async def connect(url: str) -> trio.SocketStream:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return await trio.open_tcp_stream(host, int(port))


def head(url: str, line: str, token: dict[str, str], *more: str) -> bytes:
    host = url.removeprefix("http://")
    lines = [f"{line} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in token.items()), *more]
    return "\r\n".join([*lines, "", ""]).encode()


async def receive_until(stream: trio.SocketStream, ending: bytes) -> bytes:
    """What comes until `ending`, or until the server has closed the connection."""
    data = b""
    with suppress(trio.BrokenResourceError):
        while ending not in data and (part := await stream.receive_some()):
            data += part
    return data


async def send_for_ever(stream: trio.SocketStream, data: bytes) -> None:
    """Send again and again until the server has closed the connection."""
    with suppress(trio.BrokenResourceError):
        while True:
            await stream.send_all(data)
