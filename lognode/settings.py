"""What a node was told to do, from flags, environment and file, as one frozen value.

Owns the names, the defaults and the reading of every setting; config/lognode.toml describes them to
people. Knows no file system and no process: the environment and a way to read a file are handed in.
Invariant: a setting that is not understood is an error that names its place, never passed over.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

from lognode.core.errors import CallerError

CONFIG_NAME: Final = "lognode.toml"
LOG_FORMATS: Final = ("text", "json")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
SOCKET_PATH_BYTES_MAX: Final = 107  # what Linux's sockaddr_un holds before its final zero

_PREFIX: Final = "LOGNODE_"
# Variables with our prefix that are no settings: they say where the settings are, open the key, or tell
# the command line which node to talk to.
_OTHER_VARIABLES: Final = ("CONFIG", "KEY_PASSPHRASE_FILE", "TENANT", "TOKEN_FILE", "URL")


@dataclass(frozen=True, slots=True)
class Settings:
    """What one node runs with."""

    data_dir: Path
    listen: str = "127.0.0.1:7480"
    unix_socket: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    log_level: str = "info"
    log_format: str = "text"


class Listen(NamedTuple):
    """A loopback address, without the brackets of IPv6, and a TCP port; port 0 is any free one."""

    host: str
    port: int


def load_settings(
    flags: Mapping[str, object], environ: Mapping[str, str], read_file: Callable[[Path], bytes | None]
) -> Settings:
    """The settings in force: a flag wins over LOGNODE_<NAME>, that over the file, that over the default.

    `flags` maps setting names, and `config`, to values; None is a flag that was not given. The file is the
    one that `config` or LOGNODE_CONFIG names, else lognode.toml in the data directory, which may be absent.
    `read_file` gives a file's bytes, None where there is none, and may raise OSError.
    Raises CallerError settings.unknown, settings.invalid, listen.invalid or file.unreadable.
    """
    given = _from_environment(environ) | _from_flags(flags)
    config = given.pop("config", None)
    if config is not None:
        path = _path(config)
        given = _from_file(path, _read(read_file, path, optional=False)) | given
    else:
        data_dir = _path(given["data_dir"]) if "data_dir" in given else default_data_dir(environ)
        path = data_dir / CONFIG_NAME
        file = _from_file(path, _read(read_file, path, optional=True))
        if "data_dir" in file:
            detail = "the file in a data directory cannot name the data directory; use --data-dir or --config"
            raise CallerError("settings.invalid", detail, place=file["data_dir"].place)
        given = file | given
    values: dict[str, Any] = {name: _READERS[name](value) for name, value in given.items()}
    if "data_dir" not in values:
        values["data_dir"] = default_data_dir(environ)
    return Settings(**values)


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """The user's data directory for lognode: $XDG_DATA_HOME/lognode, or ~/.local/share/lognode.

    Raises CallerError("settings.invalid") where the environment knows no home.
    Source: XDG Base Directory Specification, which ignores a relative XDG_DATA_HOME.
    """
    xdg = environ.get("XDG_DATA_HOME", "")
    if xdg.startswith("/"):
        return Path(xdg) / "lognode"
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        detail = "there is no HOME to keep data in; name a directory with --data-dir or LOGNODE_DATA_DIR"
        raise CallerError("settings.invalid", detail)
    return Path(home) / ".local/share/lognode"


def parse_listen(text: str) -> Listen:
    """The address and port of `127.0.0.1:7480`, `[::1]:7480` or `localhost:7480`.

    Only loopback: the API is plain HTTP, which must not leave the machine. Raises CallerError("listen.invalid").
    """
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 0xFFFF:
        raise CallerError("listen.invalid", f"{text!r:.80} is not HOST:PORT with a port from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise CallerError("listen.invalid", f"{text!r:.80} needs brackets around its IPv6 address, as in [::1]:7480")
    if not _is_loopback(host):
        detail = f"{host!r:.80} is not a loopback address; to be reached from outside, put a TLS proxy in front"
        raise CallerError("listen.invalid", detail)
    return Listen(host, int(port))


class _Given(NamedTuple):
    """A value as it came, where from, and the directory that a relative path in it counts from."""

    value: object
    place: str
    base: Path = Path()

    def refused(self, takes: str) -> CallerError:
        return CallerError("settings.invalid", f"{self.value!r:.80} given, but it takes {takes}", place=self.place)


def _from_flags(flags: Mapping[str, object]) -> dict[str, _Given]:
    given = {name: value for name, value in flags.items() if value is not None}
    for name in given:
        if name not in {"config", *_READERS}:
            raise _unknown(name, _READERS, "flags")
    return {name: _Given(value, f"--{name.replace('_', '-')}") for name, value in given.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Given]:
    """An empty variable counts as absent, since some service managers cannot remove one."""
    known = {_PREFIX + name.upper(): name for name in ("config", *_READERS)}
    others = {_PREFIX + name for name in _OTHER_VARIABLES}
    given: dict[str, _Given] = {}
    for variable, value in environ.items():
        if variable in known and value:
            given[known[variable]] = _Given(value, variable)
        elif variable.startswith(_PREFIX) and variable not in {*known, *others}:
            raise _unknown(variable, [*known, *others], "environment")
    return given


def _from_file(path: Path, raw: bytes) -> dict[str, _Given]:
    try:
        text = raw.decode()
        table = tomllib.loads(text)
    except ValueError as error:  # both "not UTF-8" and "not TOML"
        raise CallerError("settings.invalid", f"not a TOML file: {error}", place=str(path)) from error
    given: dict[str, _Given] = {}
    for name, value in table.items():
        place = f"{path} line {_line_of(name, text)}"
        if name not in _READERS:
            raise _unknown(name, _READERS, place)
        given[name] = _Given(value, place, path.parent)
    return given


def _line_of(name: str, text: str) -> int:
    """The number of the line that introduces a key or table, which the parser does not tell."""
    key = re.compile(rf"""\s*\[*\s*["']?{re.escape(name)}["']?\s*[=.\]]""")
    return next((number for number, line in enumerate(text.splitlines(), 1) if key.match(line)), 1)


def _unknown(name: str, known: Sequence[str] | Mapping[str, object], place: str) -> CallerError:
    near = get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return CallerError("settings.unknown", f"{name!r:.80} is not a setting{hint}", place=place)


def _read(read_file: Callable[[Path], bytes | None], path: Path, *, optional: bool) -> bytes:
    try:
        raw = read_file(path)
    except OSError as error:
        raise CallerError("file.unreadable", f"{path}: {error.strerror or error}") from error
    if raw is None and not optional:
        raise CallerError("file.unreadable", f"{path}: there is no such file")
    return raw or b""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _text(given: _Given) -> str:
    if not isinstance(given.value, str | Path) or not str(given.value):
        raise given.refused("text")
    return str(given.value)


def _path(given: _Given) -> Path:
    text = _text(given)
    if text.startswith("~"):
        raise given.refused("a path written out, without ~")
    return given.base / text


def _socket_path(given: _Given) -> Path:
    path = _path(given)
    if len(str(path).encode()) > SOCKET_PATH_BYTES_MAX:
        raise given.refused(f"a path of at most {SOCKET_PATH_BYTES_MAX} bytes")
    return path


def _listen(given: _Given) -> str:
    text = _text(given)
    try:
        parse_listen(text)
    except CallerError as error:
        raise CallerError(error.code, error.detail, place=given.place) from None
    return text


def _names(given: _Given) -> tuple[str, ...]:
    """From an array of text, or from one text with commas, which is all that a variable can hold."""
    items = given.value.split(",") if isinstance(given.value, str) else given.value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise given.refused("names, as an array or with commas between them")
    return tuple(name for item in items if (name := item.strip()))


def _hosts(given: _Given) -> tuple[str, ...]:
    """Lower case, as names of hosts compare; without scheme, port or path, which a Host check leaves out."""
    hosts = tuple(name.lower() for name in _names(given))
    if not all(re.fullmatch(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", host) for host in hosts):
        raise given.refused("host names without scheme, port or path")
    return hosts


def _one_of(*choices: str) -> Callable[[_Given], str]:
    def choice(given: _Given) -> str:
        if given.value not in choices:
            raise given.refused(f"one of {', '.join(choices)}")
        return str(given.value)

    return choice


_READERS: Final[Mapping[str, Callable[[_Given], object]]] = {
    "data_dir": _path,
    "listen": _listen,
    "unix_socket": _socket_path,
    "allowed_hosts": _hosts,
    "search": _names,
    "log_level": _one_of(*LOG_LEVELS),
    "log_format": _one_of(*LOG_FORMATS),
}
