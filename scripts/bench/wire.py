"""The least client that can speak to a node: the client shares two cores with the node that is measured."""

import base64
import json
from typing import Any

import trio


class Wire:
    """One keep-alive connection."""

    def __init__(self, stream: trio.SocketStream, token: str) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._head = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n".encode()

    @classmethod
    async def open(cls, url: str, token: str) -> "Wire":
        """Connected to `http://HOST:PORT`."""
        host, _, port = url.removeprefix("http://").rpartition(":")
        return cls(await trio.open_tcp_stream(host, int(port)), token)

    async def request(self, method: str, path: str, body: bytes = b"", media: str = "application/json") -> bytes:
        """The body of a 2xx answer."""
        head = f"{method} {path} HTTP/1.1\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n".encode()
        await self._stream.send_all(head + self._head + b"\r\n" + body)
        answer = await self._until(b"\r\n\r\n")
        assert answer[9:10] == b"2", bytes(answer) + bytes(self._buffer)
        fields = dict(line.lower().split(b": ", 1) for line in answer.split(b"\r\n")[1:] if line)
        if b"content-length" in fields:
            return await self._exactly(int(fields[b"content-length"]))
        chunks = []
        while size := int(await self._until(b"\r\n"), 16):
            chunks.append((await self._exactly(size + 2))[:-2])
        await self._exactly(2)
        return b"".join(chunks)

    async def upgrade(self, path: str) -> None:
        """Make it a WebSocket."""
        key = base64.b64encode(bytes(16))
        fields = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key
        await self._stream.send_all(f"GET {path} HTTP/1.1\r\n".encode() + self._head + fields + b"\r\n\r\n")
        answer = await self._until(b"\r\n\r\n")
        assert b" 101 " in answer[:16], bytes(answer)

    async def send_frame(self, payload: bytes) -> None:
        """One text frame; a mask of zeros leaves the payload as it is."""
        size = len(payload)
        short = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        await self._stream.send_all(b"\x81" + short + bytes(4) + payload)

    async def receive_frame(self) -> Any:
        """The JSON of the next text frame."""
        head = await self._exactly(2)
        size = head[1] & 127
        if size == 126:
            size = int.from_bytes(await self._exactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self._exactly(8), "big")
        payload = await self._exactly(size)
        return json.loads(payload) if head[0] & 15 == 1 else None

    async def close(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def _until(self, end: bytes) -> bytes:
        while (at := self._buffer.find(end)) < 0:
            await self._fill()
        return self._take(at + len(end))[: -len(end)]

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._fill()
        return self._take(size)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def _fill(self) -> None:
        data = await self._stream.receive_some(262_144)
        assert data, "the node closed the connection"
        self._buffer += data
