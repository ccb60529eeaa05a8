"""What the service manager hears, and that a manager who does not listen harms nobody."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lognode.service.notify import Notifier

PID = os.getpid()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket to listen at, and what NOTIFY_SOCKET calls it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@lognode-test-{PID}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0"))
        sock.settimeout(10)
        yield sock, name


def test_each_message_is_one_datagram_of_lines(manager: tuple[socket.socket, str]) -> None:
    sock, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name}, PID)

    notifier.ready("API at\nhttp://127.0.0.1:1")
    notifier.ping()
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.stopping()

    assert sock.recv(4096) == b"READY=1\nSTATUS=API at http://127.0.0.1:1"
    assert sock.recv(4096) == b"WATCHDOG=1"
    reloading = dict(line.split("=", 1) for line in sock.recv(4096).decode().splitlines())
    assert before <= int(reloading.pop("MONOTONIC_USEC")) <= time.monotonic_ns() // 1000
    assert reloading == {"RELOADING": "1", "STATUS": "Reloading"}
    assert sock.recv(4096) == b"STOPPING=1\nSTATUS=Stopping"


@pytest.mark.parametrize("name", ["", "/no/such/socket", "/bad\0name", "@nobody-listens-here", "x" * 500])
def test_without_a_listener_nothing_happens(name: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000000"}, PID)

    notifier.ready("all is well")
    notifier.ping()


def test_a_manager_that_does_not_read_is_not_waited_for(manager: tuple[socket.socket, str]) -> None:
    sock, name = manager
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler, suppress(TimeoutError):
        filler.settimeout(0.01)
        while True:
            filler.sendto(b"x", name.replace("@", "\0"))

    Notifier({"NOTIFY_SOCKET": name}, PID).ping()

    assert sock.recv(4096) == b"x"


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(PID)}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_for_this_process_and_a_time(environ: dict[str, str], watchdog_s: float | None) -> None:
    assert Notifier({"NOTIFY_SOCKET": "@x", **environ}, PID).watchdog_s == watchdog_s
    assert Notifier(environ, PID).watchdog_s is None  # nobody to tell
