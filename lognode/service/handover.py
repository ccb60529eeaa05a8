"""Listening sockets that the service manager opened before the node was started: socket activation.

Owns the protocol of sd_listen_fds(3). Knows nothing of what is served. Invariant: what the node would refuse to
listen on by a setting, it also refuses when it is handed over.
"""

import socket
from collections.abc import MutableMapping
from ipaddress import ip_address
from typing import Final

from lognode.core.errors import CallerError

FIRST_FD: Final = 3  # SD_LISTEN_FDS_START
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def take_sockets(environ: MutableMapping[str, str], pid: int) -> list[socket.socket]:
    """The sockets that were handed to this process, in their order; none where they are another's.

    The variables are taken out of `environ`: a process that this one starts must not believe them.
    Raises CallerError("listen.invalid").
    """
    whose, count, names = (environ.pop(name, "") for name in _VARIABLES)
    if whose != str(pid):
        return []
    if not count.isascii() or not count.isdecimal():
        raise CallerError("listen.invalid", f"{count!r:.80} is no number of sockets", place="LISTEN_FDS")
    labels = names.split(":")
    sockets: list[socket.socket] = []
    try:
        for number in range(int(count)):
            label = labels[number] if number < len(labels) else ""
            sockets.append(_take(FIRST_FD + number, f"LISTEN_FDS, socket {number + 1}" + (f" ({label})" * bool(label))))
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _take(handle: int, place: str) -> socket.socket:
    try:
        sock = socket.socket(fileno=handle)
    except OSError as error:
        raise CallerError("listen.invalid", f"file descriptor {handle}: {error.strerror}", place=place) from error
    try:
        sock.set_inheritable(False)
        _check(sock, place)
    except BaseException:
        sock.close()
        raise
    return sock


def _check(sock: socket.socket, place: str) -> None:
    """Raises CallerError("listen.invalid") for a socket that the API is not served on."""
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise CallerError("listen.invalid", "it is no listening stream socket; use ListenStream=", place=place)
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        host = sock.getsockname()[0]
        if not ip_address(host).is_loopback:
            detail = f"{host} is not a loopback address; to be reached from outside, put a TLS proxy in front"
            raise CallerError("listen.invalid", detail, place=place)
    elif sock.family != socket.AF_UNIX:
        raise CallerError("listen.invalid", "it is neither TCP nor a Unix socket", place=place)
