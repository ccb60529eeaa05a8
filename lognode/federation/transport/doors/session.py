"""One connection of another node, from its handshake to its end."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio

# On close: throw away what was not sent, and tell the other side so.
_AT_ONCE: Final = struct.pack("ii", 1, 0)


class Session:
    """A connection, whose certificate it showed, and what is served on it; `certificate` is empty for a stranger."""

    def __init__(self, certificate: bytes, address: str, sock: Any) -> None:
        self.certificate = certificate
        self.address = address
        self._socket = sock
        self._scopes: set[trio.CancelScope] = set()

    @property
    def is_busy(self) -> bool:
        """Whether anything is served on it now."""
        return bool(self._scopes)

    def abort(self) -> None:
        """End the connection with everything on it: no byte leaves any more, not even one that waits to be sent."""
        for scope in self._scopes:
            scope.cancel()
        if self._socket.fileno() != -1:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            self._socket.close()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """What is inside is cancelled when the connection is aborted."""
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)

    @contextmanager
    def sending(self, s_max: float) -> Iterator[None]:
        """What is inside is sent within so many seconds, or the connection ends: its reader takes too little."""
        with trio.move_on_after(s_max) as scope:
            yield
        if scope.cancelled_caught:
            self.abort()
