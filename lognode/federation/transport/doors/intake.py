"""What both doors do with HTTP: one request, its whole body, a short answer.

Owns deadlines and bounds of bodies. Invariant: no body is read whose length was not told and allowed before, and none
more slowly than CALL_BYTES_S_MIN after CALL_S_MAX.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from lognode.core.errors import PeerError
from lognode.core.limits import CALL_BYTES_S_MIN, CALL_S_MAX, DRAIN_S_MAX

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
STATUSES = {"message.too_large": 413, "peer.busy": 429, "peer.refused": 403, "peer.slow": 408}


class Request:
    """One request, and the ways to answer it."""

    def __init__(self, scope: Any, receive: Receive, send: Send) -> None:
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self._receive = receive
        self._send = send
        headers = dict(scope["headers"])
        self._left: int | None = None  # bytes of the body that are still to come; None: not told
        # Chunks outdo a length that is told beside them, so that it says nothing.
        if b"content-length" in headers and b"transfer-encoding" not in headers:
            self._left = int(headers[b"content-length"])  # h11 has checked that it is a number, and stands once

    def body_size(self, bytes_max: int) -> int:
        """The bytes that the body will have. Raises PeerError message.malformed or message.too_large."""
        if self._left is None:
            raise PeerError("message.malformed", "the length of the body is not told")
        if self._left > bytes_max:
            raise PeerError("message.too_large", f"{self._left} bytes, at most {bytes_max}")
        return self._left

    async def read(self, spend: Callable[[int], Awaitable[None]]) -> bytes | None:
        """The whole body, each part after `spend` took note of it; None when the other side left.

        Raises PeerError("peer.slow").
        """
        size = self._left or 0
        parts: list[bytes] = []
        with trio.move_on_after(call_s_max(size)):
            while self._left:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    return None
                part = message.get("body", b"")
                parts.append(part)
                self._left -= len(part)
                await spend(len(part))
            return b"".join(parts)
        raise PeerError("peer.slow", f"a body of {size} bytes did not come in time")

    async def answer(self, status: int, body: bytes) -> None:
        """Send a whole answer; where the body was not read, the other side is let finish first, for a while."""
        await self.start(status, [(b"content-length", str(len(body)).encode())], is_whole=True)
        await self._send({"type": "http.response.body", "body": body, "more_body": bool(self._left)})
        if self._left:
            with trio.move_on_after(DRAIN_S_MAX):
                while (await self._receive()).get("more_body"):
                    pass
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def refuse(self, error: PeerError) -> None:
        """Answer that the call was refused, and by which code."""
        await self.answer(STATUSES.get(error.code, 400), error.code.encode())

    async def start(self, status: int, headers: list[tuple[bytes, bytes]], *, is_whole: bool = False) -> None:
        """Send the head of an answer."""
        headers.append((b"content-type", b"application/octet-stream"))
        await self._send({"type": "http.response.start", "status": status, "headers": headers, "is_whole": is_whole})

    async def send_part(self, part: bytes) -> None:
        """Send a part of an answer that has begun."""
        await self._send({"type": "http.response.body", "body": part, "more_body": True})

    async def finish(self) -> None:
        """End an answer that was sent in parts."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def wait_left(self) -> None:
        """Return when the other side has left."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def call_s_max(size: int) -> float:
    """Seconds that a call, or one direction of it, may take for so many bytes."""
    return CALL_S_MAX + size / CALL_BYTES_S_MIN


async def refuse_upgrade(scope: Any, send: Send) -> None:
    """Answer to anything but a request: there is nothing else here."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})
