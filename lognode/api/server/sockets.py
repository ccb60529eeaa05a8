"""Listening sockets of the API, bound before anything is served.

Owns the errors that a person who starts a node may meet. Invariants: a Unix socket is never open to other
users, not even for a moment, and the one of a running node is never taken away from it; what listens stays
bound, and clients wait, while the server is started again.
"""

import errno
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lognode.core.errors import CallerError, NodeFault

BACKLOG: Final = 1024
_UNUSABLE: Final = (errno.EADDRNOTAVAIL, errno.EACCES, errno.EAFNOSUPPORT)


class Listening:
    """The sockets that the API is served on, until `close`; `tcp` and `unix` come from somebody else or are bound."""

    def __init__(self, tcp: Sequence[socket.socket], unix: Sequence[socket.socket], own_path: Path | None) -> None:
        self.url = url_of(tcp[0])
        self.host, self.port = tcp[0].getsockname()[:2]
        self._sockets = (*tcp, *unix)
        self._own_path = own_path  # of the Unix socket that goes with the node

    def copies(self) -> list[socket.socket]:
        """The same sockets under descriptors of their own, for a server that closes what it serves."""
        return [sock.dup() for sock in self._sockets]

    def close(self) -> None:
        """Listen no more; whoever handed a socket over may go on."""
        for sock in self._sockets:
            sock.close()
        if self._own_path is not None:
            remove_unix(self._own_path)


def open_listening(
    host: str, port: int, unix_socket: Path | None = None, handed: Sequence[socket.socket] = ()
) -> Listening:
    """What the API listens on: sockets handed over in place of the address or path of their kind, else new ones.

    Raises NodeFault("listen.taken") or CallerError("listen.invalid").
    """
    tcp = [sock for sock in handed if sock.family != socket.AF_UNIX]
    unix = [sock for sock in handed if sock.family == socket.AF_UNIX]
    own_path = None if unix else unix_socket
    bound = [] if tcp else [bind_tcp(host, port)]
    try:
        if own_path is not None:
            unix.append(bind_unix(own_path))
    except BaseException:
        for sock in bound:
            sock.close()
        raise
    return Listening(tcp or bound, unix, own_path)


def check_free(host: str, port: int) -> None:
    """Pass if an address could be listened on now; nothing listens there meanwhile.

    Raises NodeFault("listen.taken") or CallerError("listen.invalid").
    """
    bind_tcp(host, port, backlog=None).close()


def bind_tcp(host: str, port: int, backlog: int | None = BACKLOG) -> socket.socket:
    """A socket bound to an address, listening unless `backlog` is None; port 0 takes a free one.

    Raises NodeFault("listen.taken") or CallerError("listen.invalid").
    """
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        # "localhost" may have two addresses; the first is enough, and the URL names the one that was taken.
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind)
    except OSError as error:
        raise CallerError("listen.invalid", f"{shown}: {error.strerror}") from error
    try:
        # A restart must not wait for connections of the last run; Linux still refuses a second listener.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        if backlog is not None:
            sock.listen(backlog)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise NodeFault("listen.taken", f"{shown} is in use by another program") from error
        if error.errno in _UNUSABLE:
            raise CallerError("listen.invalid", f"{shown}: {error.strerror}") from error
        raise
    return sock


def url_of(sock: socket.socket) -> str:
    """The URL at which a TCP socket is reached."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def bind_unix(path: Path) -> socket.socket:
    """A Unix socket at `path` that only its owner may use; one that nobody serves is replaced.

    Raises NodeFault("listen.taken") or CallerError("listen.invalid").
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(str(path))
        # Nobody can connect before listen, so the mode is in time.
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise NodeFault("listen.taken", f"{path} is in use by another program") from error
        raise CallerError("listen.invalid", f"{path}: {error.strerror or error}") from error
    except BaseException:
        sock.close()
        raise
    return sock


def remove_unix(path: Path) -> None:
    """Take away a socket that is not served any more."""
    path.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise CallerError("listen.invalid", f"{path} exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise NodeFault("listen.taken", f"{path} is served by a running program")
