"""Clients that stop reading: live tails with a back-log behind them, and appenders that want no receipts.

Plain blocking sockets with a small receive buffer, so that what is not read comes to stand at the daemon soon.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import h11

from tests.daemon import Daemon
from tests.faults.load import SOCKET, SPANS
from tests.faults.websocket import Socket, SocketLost, connect

LIVE: Final = SPANS.removesuffix("spans") + "live"
RECEIVE_BUFFER_BYTES: Final = 4096
READ_BUFFER_BYTES: Final = 4 << 20
FRAMES_MAX: Final = 3000
REF_CHARS: Final = 240
IDLE_LOOKS: Final = 3


class EventTail:
    """A tail by server-sent events, which reads when it is asked to."""

    def __init__(self, daemon: Daemon, cursor: str) -> None:
        self._socket = connect(daemon.url, RECEIVE_BUFFER_BYTES)
        self._http = h11.Connection(h11.CLIENT)
        headers = {"Host": urlsplit(daemon.url).netloc, "Last-Event-ID": cursor, **daemon.headers}
        request = h11.Request(method="GET", target=LIVE, headers=list(headers.items()))
        for event in (request, h11.EndOfMessage()):
            self._socket.sendall(self._http.send(event) or b"")

    def close(self) -> None:
        self._socket.close()

    def positions(self) -> Iterator[int]:
        """Positions of the spans it is shown, as they come; from now on it reads quickly."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BUFFER_BYTES)
        text = b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(self._socket.recv(1 << 20))
            elif isinstance(event, h11.Data):
                *lines, text = (text + event.data).split(b"\n")
                yield from [json.loads(line[6:])["position"] for line in lines if line.startswith(b"data: ")]


class SocketTail:
    """A tail by WebSocket, which reads when it is asked to."""

    def __init__(self, daemon: Daemon, cursor: str) -> None:
        self._socket = Socket(daemon.url, SOCKET, daemon.token, RECEIVE_BUFFER_BYTES)
        self._socket.send(type="subscribe", after=cursor)

    def close(self) -> None:
        self._socket.close()

    def positions(self) -> Iterator[int]:
        """Positions of the spans it is shown, as they come; from now on it reads quickly."""
        self._socket.set_buffer(READ_BUFFER_BYTES)
        while True:
            frame = self._socket.receive()
            if frame["type"] == "span":
                yield frame["span"]["position"]


class MuteAppender:
    """Appends over a WebSocket as fast as the daemon reads, FRAMES_MAX at most, and reads no receipt."""

    def __init__(self, daemon: Daemon, data_bytes: int) -> None:
        self.sent = 0
        self._name = uuid4().hex
        self._socket = Socket(daemon.url, SOCKET, daemon.token, RECEIVE_BUFFER_BYTES)
        self._data = "x" * data_bytes
        self._thread = Thread(target=self._send, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.close()
        self._thread.join()

    def draft(self, number: int) -> dict[str, Any]:
        """What it sends, by the same key each time."""
        return {"kind": "mute.sent", "data": self._data, "idempotency_key": f"{self._name} {number}"}

    def _send(self) -> None:
        with suppress(SocketLost):
            while self.sent < FRAMES_MAX:
                # The reference comes back in the receipt, and makes it long.
                self._socket.send(type="append", ref="x" * REF_CHARS, draft=self.draft(self.sent))
                self.sent += 1


def resident_bytes(pid: int) -> int:
    """The memory that a process has for itself."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kib,) = [int(line.split()[1]) for line in lines if line.startswith("RssAnon:")]
    return kib * 1024


def wait_until_idle(pid: int) -> None:
    """Return once a process has used no processor for a while: whoever it serves does not read.

    One still look is not enough: on a busy machine a process may wait for its turn that long.
    """
    used, looks = -1, 0
    while looks < IDLE_LOOKS:
        time.sleep(0.5)
        looks = looks + 1 if used == (used := _ticks(pid)) else 0


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
