"""A value as it was given, where it came from, and how each kind of setting reads it.

A reader takes what a flag, a variable or TOML may hold and gives what `Settings` holds, or raises a
CallerError that names the place and what the setting takes.
"""

import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal, NamedTuple

from lognode.core.errors import CallerError
from lognode.core.limits import ADDRESSES_MAX, STATIC_PEERS_MAX

LOG_FORMATS: Final = ("auto", "text", "json")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
SOCKET_PATH_BYTES_MAX: Final = 107  # what Linux's sockaddr_un holds before its final zero


class Origin(NamedTuple):
    """Where a value comes from: its flag, its variable, or its file and line; a default has no name."""

    source: Literal["flag", "environment", "file", "default"]
    name: str = ""
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.name}:{self.line}" if self.line else self.name or self.source

    def error(self, code: str, detail: str, **extra: object) -> CallerError:
        """A mistake at this place, which programs find in `extra` too."""
        at = {"file": self.name, "line": self.line} if self.source == "file" else {}
        return CallerError(code, detail, place=str(self), extra={**at, **extra})


class Given(NamedTuple):
    """A value as it came, for which setting, where from, and the directory that a relative path counts from."""

    name: str
    value: object
    origin: Origin
    base: Path = Path()

    def refused(self, takes: str) -> CallerError:
        """That this setting has a value which it cannot have."""
        try:
            value = str(self.value) if isinstance(self.value, Path) else self.value
            shown = f"{value!r:.80}"
        except (ValueError, RecursionError):  # a number of too many digits, a table in tables
            shown = "a value too large to show"
        return self.error("settings.invalid", f"{shown} given, but it takes {takes}")

    def error(self, code: str, detail: str) -> CallerError:
        """A mistake in this setting; a flag and a variable name it themselves."""
        named = f"{self.name}: {detail}" if self.origin.source == "file" else detail
        return self.origin.error(code, named, key=self.name)


Reader = Callable[[Given], object]


class Listen(NamedTuple):
    """An address of this machine, without the brackets of IPv6, and a TCP port; port 0 is any free one."""

    host: str
    port: int


def parse_listen(text: str) -> Listen:
    """The address and port of `127.0.0.1:7480`, `[::1]:7480` or `localhost:7480`.

    Only loopback: the API is plain HTTP, which must not leave the machine. Raises CallerError("listen.invalid").
    """
    host, port = parse_bind(text)
    if not _is_loopback(host):
        detail = f"{host!r:.80} is not a loopback address; to be reached from outside, put a TLS proxy in front"
        raise CallerError("listen.invalid", detail)
    return Listen(host, port)


def parse_bind(text: str) -> Listen:
    """The address and port of `0.0.0.0:7481` or `[::]:7481`, any address. Raises CallerError("listen.invalid")."""
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 0xFFFF:
        raise CallerError("listen.invalid", f"{text!r:.80} is not HOST:PORT with a port from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise CallerError("listen.invalid", f"{text!r:.80} needs brackets around its IPv6 address, as in [::1]:7480")
    return Listen(host, int(port))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def read_text(given: Given) -> str:
    """Text that is not empty."""
    if not isinstance(given.value, str | Path) or not str(given.value):
        raise given.refused("text that is not empty")
    return str(given.value)


def read_path(given: Given) -> Path:
    """A path; a relative one counts from its file's directory."""
    text = read_text(given)
    if text.startswith("~"):
        raise given.refused("a path written out, without ~")
    if "\0" in text:
        raise given.refused("a path without a zero byte")
    return given.base / text


def read_socket_path(given: Given) -> Path:
    """A path that the address of a Unix socket can hold."""
    path = read_path(given)
    if len(str(path).encode(errors="surrogateescape")) > SOCKET_PATH_BYTES_MAX:
        raise given.refused(f"a path of at most {SOCKET_PATH_BYTES_MAX} bytes")
    return path


def read_listen(given: Given) -> str:
    """A loopback address and port."""
    text = read_text(given)
    try:
        parse_listen(text)
    except CallerError as error:
        raise given.error(error.code, error.detail) from None
    return text


def read_bind(given: Given) -> str:
    """An IP address, or localhost, and a port."""
    text = read_text(given)
    try:
        host, _ = parse_bind(text)
        if host != "localhost":
            ip_address(host)
    except CallerError as error:
        raise given.error(error.code, error.detail) from None
    except ValueError:
        raise given.error("listen.invalid", f"{text!r:.80} has no IP address before its port") from None
    return text


def read_names(given: Given) -> tuple[str, ...]:
    """Names from an array of text, or from one text with commas, which is all that a variable can hold."""
    items = given.value.split(",") if isinstance(given.value, str) else given.value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise given.refused("names, as an array or with commas between them")
    return tuple(name for item in items if (name := item.strip()))


def read_hosts(given: Given) -> tuple[str, ...]:
    """Names of hosts, lower case, as they compare; without scheme, port or path, which a Host check leaves out."""
    hosts = tuple(name.lower() for name in read_names(given))
    if not all(re.fullmatch(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", host) for host in hosts):
        raise given.refused("host names without scheme, port or path")
    return hosts


def read_places(given: Given) -> tuple[str, ...]:
    """Addresses of other nodes, HOST:PORT each."""
    places = read_names(given)
    if len(places) > STATIC_PEERS_MAX or not all(map(_is_place, places)):
        raise given.refused(f"at most {STATIC_PEERS_MAX} addresses of nodes, each HOST:PORT or [IPv6]:PORT")
    return places


def read_advertised(given: Given) -> tuple[str, ...]:
    """Addresses of this node, HOST:PORT each."""
    places = read_places(given)
    if len(places) > ADDRESSES_MAX:
        raise given.refused(f"at most {ADDRESSES_MAX} addresses")
    return places


def _is_place(text: str) -> bool:
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > 0xFFFF:
        return False
    is_bracketed = host.startswith("[") and host.endswith("]")
    if not is_bracketed and not re.fullmatch(r"[0-9.]+", host):
        return re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?", host) is not None
    try:
        return ip_address(host.strip("[]")).version == (6 if is_bracketed else 4)
    except ValueError:
        return False


def read_switch(given: Given) -> bool:
    """A boolean, or one of the words for it, which are all that a variable can hold."""
    value = {"true": True, "false": False}.get(given.value) if isinstance(given.value, str) else given.value
    if not isinstance(value, bool):
        raise given.refused("true or false")
    return value


def one_of(*choices: str) -> Callable[[Given], str]:
    """A reader of one of these words."""

    def choice(given: Given) -> str:
        if given.value not in choices:
            raise given.refused(f"one of {', '.join(choices)}")
        return str(given.value)

    return choice
