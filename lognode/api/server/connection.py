"""One request or one WebSocket between hypercorn and the application.

Owns what Quart's own classes lack here: bodies that are pulled, a quick path for plain answers, and
answers that a client can read although it is still sending. Invariant: no more than the server's short
queue of a request or socket is held in memory.
"""

from typing import Any

import trio
from quart.wrappers.response import DataBody
from quart_trio.asgi import TrioASGIHTTPConnection, TrioASGIWebsocketConnection
from quart_trio.wrappers import TrioWebsocket

from lognode.api.server.body import RequestBody
from lognode.core.limits import DRAIN_S_MAX, FRAMES_MAX


class ApiHTTPConnection(TrioASGIHTTPConnection):
    """One request and its answer."""

    async def __call__(self, receive: Any, send: Any) -> None:
        """Serve the request. A stream ends when its client leaves; any other handler runs to its end."""
        request: Any = self._create_request_from_scope(send)
        body = request.body = RequestBody(receive, self.scope)
        response: Any = await self.app.handle_request(request)
        if body.is_gone:
            return
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        content = response.response
        is_whole = isinstance(content, DataBody)
        start = {"type": "http.response.start", "status": response.status_code, "headers": headers}
        await send({**start, "is_whole": is_whole})
        if is_whole:
            await send({"type": "http.response.body", "body": content.data, "more_body": not body.is_complete})
            if body.is_complete:
                return
        else:
            await self._send_stream(receive, send, content, body)
        with trio.move_on_after(DRAIN_S_MAX):
            await body.drain()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_stream(self, receive: Any, send: Any, content: Any, body: RequestBody) -> None:
        async with trio.open_nursery() as nursery:
            if body.is_complete:  # else the stream itself may still read the body, and meets its end
                nursery.start_soon(_end_with_client, nursery, receive, body)
            async with content as parts:
                async for part in parts:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            nursery.cancel_scope.cancel()


class ApiWebsocket(TrioWebsocket):
    """A WebSocket that knows whether it was accepted and closed."""

    is_accepted = False
    is_closed = False

    async def accept(self, headers: Any = None, subprotocol: str | None = None) -> None:
        """Accept the upgrade, once."""
        if not self.is_accepted:
            self.is_accepted = True
            await super().accept(headers, subprotocol)

    async def close(self, code: int, reason: str = "") -> None:
        """Close with a status code of RFC 6455; a second call does nothing."""
        if not self.is_closed:
            self.is_closed = True
            await super().close(code, reason)


class ApiWebsocketConnection(TrioASGIWebsocketConnection):
    """One WebSocket; its handler is cancelled when the client leaves."""

    def __init__(self, app: Any, scope: Any) -> None:
        super().__init__(app, scope)
        self.send_channel, self.receive_channel = trio.open_memory_channel[Any](FRAMES_MAX)

    async def __call__(self, receive: Any, send: Any) -> None:
        """Serve the socket until its handler ends or the client leaves."""
        socket = self._create_websocket_from_scope(send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._queue_frames, nursery, receive)
            await self.handle_websocket(nursery, socket, send)

    async def send_data(self, send: Any, data: str | bytes) -> None:
        """Send one frame, without Quart's signal."""
        await send({"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data})

    async def _queue_frames(self, nursery: trio.Nursery, receive: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.receive":
                text = message.get("text")
                await self.send_channel.send(message["bytes"] if text is None else text)
            elif message["type"] == "websocket.disconnect":
                break
        nursery.cancel_scope.cancel()


async def _end_with_client(nursery: trio.Nursery, receive: Any, body: RequestBody) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    body.is_gone = True
    nursery.cancel_scope.cancel()
