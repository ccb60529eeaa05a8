"""Telling the service manager how the node is, as sd_notify(3) has it.

Owns the socket that NOTIFY_SOCKET names and the words that go through it; without that variable nothing is told.
Knows nothing of what it tells. Invariant: whatever becomes of a message, the node goes on.
"""

import socket
import time
from collections.abc import Mapping
from typing import Final

import structlog

from lognode.core.limits import NOTIFY_S_MAX

USEC_PER_S: Final = 1_000_000
_log = structlog.get_logger(__name__)


class Notifier:
    """The way to the service manager, from the environment that it started this process with."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of a name in the abstract namespace.
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self.watchdog_s = _watchdog_s(environ, pid) if self._address else None  # the longest silence; None: any

    def ready(self, status: str) -> None:
        """The node is up, or a reload is over; `status` is a line for people."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """A reload begins; the manager waits for `ready`."""
        # Newer managers take only a message that tells when it was sent, lest an old one count for a new reload.
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=Reloading")

    def stopping(self) -> None:
        """The node ends."""
        self._send("STOPPING=1", "STATUS=Stopping")

    def ping(self) -> None:
        """The node lives; without it for `watchdog_s` it is killed and started again."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(NOTIFY_S_MAX)  # a manager that does not read holds the node up no longer
                sock.connect(self._address)
                sock.sendall("\n".join(lines).encode())
        except (OSError, ValueError) as error:  # ValueError: a zero byte inside the name
            _log.warning("notify_failed", message=lines[0], error=str(error))


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds within which the manager expects a ping; None where it expects none of this process."""
    usec, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(pid))
    return int(usec) / USEC_PER_S if usec.isascii() and usec.isdecimal() and int(usec) and whose == str(pid) else None
