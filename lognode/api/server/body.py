"""A request body that is read as it is asked for.

Quart gathers ASGI messages in memory without limit, however slowly a handler reads. Here a body is pulled:
what nobody asked for stays with hypercorn, whose short queue then stops reading the socket, and TCP slows
the sender down. Invariant: of any body, no more than that queue and one chunk is in memory.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any

import trio

from lognode.core.errors import CallerError
from lognode.core.limits import DRAFT_LINE_BYTES_MAX, TAIL_SEND_S_MAX


class RequestBody:
    """The chunks of a request body in order: iterate over it once, or await `read`.

    `is_gone` turns true when the client left before the end; nobody waits for an answer then.
    """

    def __init__(self, receive: Callable[[], Awaitable[Any]], scope: Any) -> None:
        # Most requests have no body: they are spared a message that says so.
        self.is_complete = scope["method"] in {"GET", "HEAD"}
        self.is_gone = False
        self.expected_bytes: int | None = None  # None: not told
        self._receive = receive
        for name, value in scope["headers"]:
            if name == b"content-length":  # h11 has checked that it is a number
                self.expected_bytes = int(value)
                self.is_complete = self.expected_bytes == 0
            elif name == b"transfer-encoding":
                self.is_complete = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """The next chunk, never empty. Raises CallerError("request.malformed") when none comes for a minute."""
        while not self.is_complete:
            with trio.move_on_after(TAIL_SEND_S_MAX):
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    self.is_complete = self.is_gone = True
                    raise CallerError("request.malformed", "the body ended early")
                self.is_complete = not message.get("more_body", False)
                if body := message.get("body", b""):
                    return bytes(body)
                continue
            raise CallerError("request.malformed", f"no part of the body came for {TAIL_SEND_S_MAX} seconds")
        raise StopAsyncIteration

    def __await__(self) -> Generator[Any, None, bytes]:
        return self.read(DRAFT_LINE_BYTES_MAX).__await__()

    async def read(self, bytes_max: int) -> bytes:
        """The whole body. Raises CallerError("request.too_large") beyond `bytes_max`."""
        too_large = CallerError("request.too_large", f"the body is larger than {bytes_max} bytes")
        if self.expected_bytes is not None and self.expected_bytes > bytes_max:
            raise too_large
        parts: list[bytes] = []
        size = 0
        async for part in self:
            size += len(part)
            if size > bytes_max:
                raise too_large
            parts.append(part)
        return b"".join(parts)

    async def drain(self) -> None:
        """Throw away what still comes, until the end."""
        while not self.is_complete:
            message = await self._receive()
            self.is_gone = message["type"] == "http.disconnect"
            self.is_complete = self.is_gone or not message.get("more_body", False)
