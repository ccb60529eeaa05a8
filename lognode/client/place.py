"""Where a node answers, and the token that opens it.

A daemon writes both into its data directory, and its port may change with every start: an Address is
read again for each request, so that a client outlives a restart of its node. Invariant: where a killed daemon
left its URL behind, the token goes to nobody, whoever has that port by now.
"""

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from lognode.core.errors import CallerError, NodeFault
from lognode.core.limits import SECRET_BYTES_MAX

API_URL_NAME: Final = "api.url"
LOCK_NAME: Final = "lognode.lock"  # which a daemon holds as long as it lives
ADMIN_TOKEN_NAME: Final = "admin.token"  # noqa: S105 - a file's name


class Route(NamedTuple):
    """What connections to a place have in common: through which Unix socket (None: TCP), and whether by TLS."""

    socket_path: str | None
    is_tls: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A URL (`http://host:port` or `unix:/path/of/socket`) and a bearer token, None to send none."""

    url: str
    token: str | None

    @property
    def route(self) -> Route:
        """How to connect."""
        socket_path = "/" + self.url.removeprefix("unix:").lstrip("/") if self._is_unix else None
        return Route(socket_path, is_tls=self.url.startswith("https:"))

    @property
    def base_url(self) -> str:
        """What the paths of requests are put behind."""
        return "http://localhost" if self._is_unix else self.url

    @property
    def _is_unix(self) -> bool:
        return self.url.startswith("unix:")


@dataclass(frozen=True, slots=True)
class Address:
    """What the caller knows of a node: its data directory, or a URL and the file of a token.

    A URL wins over the one in the data directory, a token file over the one there.
    """

    data_dir: Path | None = None
    url: str | None = None
    token_file: Path | None = None

    def place(self) -> Place:
        """The place as the files name it now. Raises as `current_url` does, and CallerError("token.missing")."""
        url = self.current_url()
        token_file = self.token_file or (self.data_dir / ADMIN_TOKEN_NAME if self.data_dir else None)
        return Place(url=url, token=_read_token(token_file) if token_file else None)

    def current_url(self) -> str:
        """The URL to ask now.

        Raises NodeFault("client.unreachable") where no daemon runs on the data directory, NodeFault("client.protocol")
        for a URL with a user or password in it, or CallerError("file.unreadable").
        """
        url = (self.url or self._api_url()).rstrip("/")
        # Wherever it stands: a password may have any characters, and errors show URLs.
        if "@" in url and not url.startswith("unix:"):
            raise NodeFault("client.protocol", "a URL with a user or password in it; a token file says who asks")
        return url

    def _api_url(self) -> str:
        if self.data_dir is None:
            raise NodeFault("client.unreachable", "there is no HOME to find a node in; give a data directory or a URL")
        nobody = NodeFault("client.unreachable", f"no node runs on {self.data_dir}")
        try:
            url = _read_line(self.data_dir / API_URL_NAME)
        except CallerError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise nobody from error
            raise
        if not _may_be_held(self.data_dir / LOCK_NAME):
            raise nobody
        return url


def usual_address(environ: Mapping[str, str], token_file: Path | None = None) -> Address:
    """The node that the `lognode` command talks to in this environment, when no flag names another.

    LOGNODE_DATA_DIR, LOGNODE_URL and LOGNODE_TOKEN_FILE name it; without them it is the user's own, in
    $XDG_DATA_HOME/lognode or ~/.local/share/lognode.
    """
    url = environ.get("LOGNODE_URL") or None
    # The token of the user's own node is for that node, not for any URL.
    data_dir = environ.get("LOGNODE_DATA_DIR") or (None if url else _own_data_dir(environ))
    token = environ.get("LOGNODE_TOKEN_FILE")
    return Address(Path(data_dir) if data_dir else None, url, token_file or (Path(token) if token else None))


def _own_data_dir(environ: Mapping[str, str]) -> str | None:
    # A relative XDG_DATA_HOME is to be ignored. STATE_DIRECTORY would be that of the program which connects.
    if environ.get("XDG_DATA_HOME", "").startswith("/"):
        return environ["XDG_DATA_HOME"] + "/lognode"
    home = environ.get("HOME", "")
    return f"{home}/.local/share/lognode" if home.startswith("/") else None


def _may_be_held(lock: Path) -> bool:
    """False when for certain no daemon lives; who may not read the lock file must take its word."""
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        # Shared, so that clients do not take each other for a daemon, and let go again at once.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _read_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise CallerError("file.unreadable", f"{path}: {reason}") from error


def _read_token(path: Path) -> str:
    """The token in a file. No error shows what else is there: it may be any secret, whose file was named by mistake."""
    try:
        with path.open("rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise CallerError("file.unreadable", f"{path}: {error.strerror}") from error
    if len(content) > SECRET_BYTES_MAX:
        raise CallerError("file.unreadable", f"{path}: more than {SECRET_BYTES_MAX} bytes, so it is no token")
    token = content.strip()
    if not token:
        raise CallerError("token.missing", "the file is empty", place=str(path))
    if not all(0x20 < char < 0x7F for char in token):
        raise CallerError("token.missing", "the file holds more than one line of visible ASCII", place=str(path))
    return token.decode("ascii")
