"""Sockets of socket activation: taken when they are ours and fit to be served, refused with their place else."""

import os
import subprocess
import sys
from typing import Final

import pytest

from lognode.service.handover import take_sockets

# Puts the sockets of its arguments at file descriptors 3, 4, ... and takes them; prints what it took.
TAKE: Final = """
import os, socket, sys
from lognode.core.errors import CallerError
from lognode.service.handover import take_sockets
pid, names, *kinds = sys.argv[1:]
opened = []
for kind in kinds:
    if kind == "file":
        opened.append(os.open("/dev/null", os.O_RDONLY))
        continue
    family = socket.AF_UNIX if "unix" in kind else socket.AF_INET6 if ":" in kind else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM if "datagram" in kind else socket.SOCK_STREAM)
    if family != socket.AF_UNIX:
        sock.bind((kind.split()[0], 0))
    elif "datagram" not in kind:
        sock.bind("")
    if "datagram" not in kind and "idle" not in kind:
        sock.listen()
    opened.append(sock.detach())
high = [os.dup2(handle, 100 + number) for number, handle in enumerate(opened)]
for number, handle in enumerate(high):
    os.dup2(handle, 3 + number)
environ = {"LISTEN_PID": pid or str(os.getpid()), "LISTEN_FDS": str(len(kinds)), "LISTEN_FDNAMES": names}
if names == "?":
    environ["LISTEN_FDS"] = "?"
try:
    taken = take_sockets(environ, os.getpid())
    print([sock.family.name for sock in taken], [os.get_inheritable(sock.fileno()) for sock in taken], environ)
except CallerError as error:
    print(error.code, error.place, error.detail)
"""


def take(*kinds: str, pid: str = "", names: str = "") -> str:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", TAKE, pid, names, *kinds]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environ).stdout.strip()


def test_sockets_are_taken_in_their_order_and_the_variables_go() -> None:
    assert take("127.0.0.1", "unix", "::1") == "['AF_INET', 'AF_UNIX', 'AF_INET6'] [False, False, False] {}"


def test_sockets_of_another_process_are_left_alone() -> None:
    assert take("0.0.0.0", pid="1") == "[] [] {}"


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("0.0.0.0", "0.0.0.0 is not a loopback address"),
        ("::", ":: is not a loopback address"),
        ("127.0.0.1 idle", "no listening stream socket"),
        ("127.0.0.1 datagram", "no listening stream socket"),
        ("unix datagram", "no listening stream socket"),
        ("file", "file descriptor 4: Socket operation on non-socket"),
    ],
)
def test_a_socket_that_the_api_is_not_served_on_is_refused(kind: str, detail: str) -> None:
    said = take("127.0.0.1", kind, names="api:other")

    assert said.startswith("listen.invalid LISTEN_FDS, socket 2 (other)")
    assert detail in said


def test_a_number_that_is_none_is_refused() -> None:
    assert take(names="?") == "listen.invalid LISTEN_FDS '?' is no number of sockets"


def test_without_a_handover_there_is_nothing() -> None:
    environ = {"HOME": "/nonexistent"}

    assert take_sockets(environ, os.getpid()) == []
    assert environ == {"HOME": "/nonexistent"}
