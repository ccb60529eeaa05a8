"""A blocking WebSocket client for threads: JSON frames out, JSON frames in."""

import json
import socket
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Event, Request, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

RECEIVE_BYTES: Final = 64 * 1024
ANSWER_S_MAX: Final = 30


class SocketLost(Exception):
    """The server is gone, or closed the socket."""


def connect(url: str, buffer_bytes: int | None = None) -> socket.socket:
    """A connection, if wanted with a receive buffer of a fixed size. Raises OSError."""
    place = urlsplit(url)
    sock = socket.socket()
    if buffer_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    sock.settimeout(ANSWER_S_MAX)
    try:
        sock.connect((place.hostname, place.port))
    except BaseException:
        sock.close()
        raise
    return sock


class Socket:
    """One open WebSocket."""

    def __init__(self, url: str, path: str, token: str, buffer_bytes: int | None = None) -> None:
        """Connects, if wanted with a small receive buffer; raises OSError or SocketLost."""
        self._socket = connect(url, buffer_bytes)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._text = ""
        bearer = [(b"Authorization", f"Bearer {token}".encode())]
        try:
            self._upgrade(Request(host=urlsplit(url).netloc, target=path, extra_headers=bearer))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cut the connection, also under a thread that waits for it."""
        with suppress(OSError):  # it may be cut already
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def set_buffer(self, size: int) -> None:
        """Let so many bytes wait to be received."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    def send(self, **frame: Any) -> None:
        """Send one frame. Raises SocketLost."""
        self.send_text(json.dumps(frame))

    def send_text(self, text: str) -> None:
        """Send one frame, whatever it holds. Raises SocketLost."""
        self._send(TextMessage(text))

    def receive(self, timeout_s: float = ANSWER_S_MAX) -> dict[str, Any]:
        """The next frame. Raises TimeoutError or SocketLost."""
        self._socket.settimeout(timeout_s)
        event = self._next_event()
        if not isinstance(event, TextMessage):
            raise SocketLost(f"closed: {event}")
        frame: dict[str, Any] = json.loads(event.data)
        return frame

    def _upgrade(self, request: Request) -> None:
        self._send(request)
        answer = self._next_event()
        if not isinstance(answer, AcceptConnection):
            raise SocketLost(f"not upgraded: {answer}")

    def _send(self, event: Event) -> None:
        try:
            self._socket.settimeout(ANSWER_S_MAX)
            self._socket.sendall(self._protocol.send(event))
        except (OSError, LocalProtocolError) as error:
            raise SocketLost(str(error)) from error

    def _next_event(self) -> Event:
        """The next whole message, or what else the server says."""
        while True:
            for event in self._protocol.events():
                if not isinstance(event, TextMessage):
                    return event
                self._text += event.data
                if event.message_finished:
                    text, self._text = self._text, ""
                    return TextMessage(text)
            self._receive()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(RECEIVE_BYTES)
            if data:
                self._protocol.receive_data(data)
        except TimeoutError:
            raise
        except (OSError, RemoteProtocolError) as error:
            raise SocketLost(str(error)) from error
        if not data:
            raise SocketLost("the connection ended")
