"""From flags, environment and files to the settings in force, and to what is wrong with any of them.

A flag wins over LOGNODE_<NAME>, that over the file in the data directory, that over the file of the user or
service, that over the default. Where a file is named, it is the only one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

from lognode.core.errors import CallerError
from lognode.settings.settings import READERS, Settings
from lognode.settings.toml import read_toml
from lognode.settings.value import Given, Origin, read_path

CONFIG_NAME: Final = "lognode.toml"

_PREFIX: Final = "LOGNODE_"
# Variables with our prefix that are no settings: they open the key, or are for the command line.
_OTHER_VARIABLES: Final = ("KEY_PASSPHRASE_FILE", "PAGER", "TENANT", "TOKEN_FILE", "URL")

Layer = dict[str, Given]
# A file's bytes, None where there is none; may raise OSError.
ReadFile = Callable[[Path], bytes | None]
# Where a path leads, which one name of a directory has in common with another.
Resolve = Callable[[Path], Path]


class Loaded(NamedTuple):
    """The settings in force, and where each comes from."""

    settings: Settings
    origins: Mapping[str, Origin]


class Check(NamedTuple):
    """The files that were looked for, which of them were there, and all that is wrong, in the order of reading."""

    files: tuple[Path, ...]
    found: tuple[Path, ...]
    problems: tuple[CallerError, ...]


def load_settings(
    flags: Mapping[str, object], environ: Mapping[str, str], read_file: ReadFile, resolve: Resolve = Path
) -> Settings:
    """The settings in force.

    `flags` maps setting names, and `config`, to values; None is a flag that was not given. `resolve` tells whether
    two paths are one.
    Raises CallerError settings.unknown, settings.invalid, listen.invalid or file.unreadable.
    """
    return trace_settings(flags, environ, read_file, resolve).settings


def trace_settings(
    flags: Mapping[str, object], environ: Mapping[str, str], read_file: ReadFile, resolve: Resolve = Path
) -> Loaded:
    """The settings in force with their origins. Raises what load_settings does."""
    sources = _gather(flags, environ, read_file, resolve)
    for problem in sources.problems:
        raise problem
    given: Layer = {}
    for layer in sources.layers:
        given |= layer
    if "data_dir" not in given:
        given["data_dir"] = _usual_data_dir(environ)
    values: dict[str, Any] = {name: READERS[name](value) for name, value in given.items()}
    origins = {name: given[name].origin if name in given else Origin("default") for name in READERS}
    return Loaded(Settings(**values), origins)


def check_settings(
    flags: Mapping[str, object], environ: Mapping[str, str], read_file: ReadFile, resolve: Resolve = Path
) -> Check:
    """Everything that is wrong in the flags, the variables and the files, also where another value wins.

    Raises CallerError file.unreadable.
    """
    sources = _gather(flags, environ, read_file, resolve)
    problems = list(sources.problems)
    for given in (given for layer in sources.layers for given in layer.values()):
        try:
            READERS[given.name](given)
        except CallerError as error:
            problems.append(error)
    found = tuple(path for path in sources.files if read_file(path) is not None)
    return Check(sources.files, found, tuple(sorted(problems, key=_place)))


def find_data_dir(flags: Mapping[str, object], environ: Mapping[str, str], read_file: ReadFile) -> Path:
    """The data directory alone, so that a node is found while other lines of its files are wrong.

    Raises CallerError as load_settings does, for what could change the answer.
    """
    sources = _gather(flags, environ, read_file, Path, data_dir_only=True)
    given = [layer["data_dir"] for layer in sources.layers if "data_dir" in layer]
    if not given:
        for problem in sources.problems:
            raise problem
    return read_path(given[-1] if given else _usual_data_dir(environ))


class _Sources(NamedTuple):
    """What was given, the weakest layer first; what cannot be a setting; the files that were looked for."""

    layers: list[Layer]
    problems: list[CallerError]
    files: tuple[Path, ...]


def _gather(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    read_file: ReadFile,
    resolve: Resolve,
    *,
    data_dir_only: bool = False,
) -> _Sources:
    problems = list[CallerError]()
    layers = [_from_environment(environ, problems), _from_flags(flags, problems)]
    config = [layer.pop("config") for layer in layers if "config" in layer]
    if config:
        path = read_path(config[-1])
        layers.insert(0, _from_file(path, _read(read_file, path, optional=False), problems))
        return _Sources(layers, problems, (path,))
    files = list[Path]()
    if usual := _usual_config(environ):
        files.append(usual)
        layers.insert(0, _from_file(usual, _read(read_file, usual, optional=True), problems))
    own = None if data_dir_only else _own_config(layers, environ)
    if own is not None and own not in files:
        files.append(own)
        layer = _from_file(own, _read(read_file, own, optional=True), problems)
        if data_dir := layer.pop("data_dir", None):
            problems.extend(_elsewhere(data_dir, own.parent, resolve))
        layers.insert(len(layers) - 2, layer)
    return _Sources(layers, problems, tuple(files))


def _elsewhere(data_dir: Given, own: Path, resolve: Resolve) -> Iterator[CallerError]:
    """What is wrong with a data directory that its own file names."""
    try:
        named = read_path(data_dir)
    except CallerError as error:
        yield error
        return
    if resolve(named) != resolve(own):
        detail = "the file in a data directory cannot name another one; remove the line, or use --data-dir or --config"
        yield data_dir.error("settings.invalid", detail)


def _own_config(layers: Sequence[Layer], environ: Mapping[str, str]) -> Path | None:
    """The settings file in the data directory; None where that is given as what it cannot be."""
    given = [layer["data_dir"] for layer in layers if "data_dir" in layer]
    try:
        return read_path(given[-1] if given else _usual_data_dir(environ)) / CONFIG_NAME
    except CallerError:
        return None  # whoever reads the value says so, at its place


def _from_flags(flags: Mapping[str, object], problems: list[CallerError]) -> Layer:
    layer: Layer = {}
    for name, value in flags.items():
        origin = Origin("flag", f"--{name.replace('_', '-')}")
        if value is not None and name not in {"config", *READERS}:
            problems.append(_unknown(name, READERS, origin))
        elif value is not None:
            layer[name] = Given(name, value, origin)
    return layer


def _from_environment(environ: Mapping[str, str], problems: list[CallerError]) -> Layer:
    """An empty variable counts as absent, since some service managers cannot remove one."""
    known = {_PREFIX + name.upper(): name for name in ("config", *READERS)}
    others = {_PREFIX + name for name in _OTHER_VARIABLES}
    layer: Layer = {}
    for variable, value in environ.items():
        origin = Origin("environment", variable)
        if variable in known and value:
            layer[known[variable]] = Given(known[variable], value, origin)
        elif variable.startswith(_PREFIX) and variable not in {*known, *others}:
            problems.append(_unknown(variable, {*known, *others}, origin))
    return layer


def _from_file(path: Path, raw: bytes, problems: list[CallerError]) -> Layer:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        problems.append(Origin("file", str(path), line).error("settings.invalid", "not a TOML file: no UTF-8"))
        return {}
    entries, mistakes = read_toml(text)
    for line, reason, name in mistakes:
        said = f"{name}: not TOML: {reason}" if name else f"not TOML: {reason}"
        problems.append(Origin("file", str(path), line).error("settings.invalid", said, key=name))
    layer: Layer = {}
    for name, line, value in entries:
        origin = Origin("file", str(path), line)
        if name in READERS:
            layer[name] = Given(name, value, origin, path.parent)
        else:
            problems.append(_unknown(name, READERS, origin))
    return layer


def _unknown(name: str, known: Iterable[str], origin: Origin) -> CallerError:
    by_spelling = {word.lower(): word for word in sorted(known)}
    near = next((by_spelling[word] for word in get_close_matches(name.lower(), by_spelling, n=1)), None)
    hint = f"; did you mean {near!r}?" if near else ""
    return origin.error("settings.unknown", f"{name!r:.80} is not a setting{hint}", key=name, suggestion=near)


def _read(read_file: ReadFile, path: Path, *, optional: bool) -> bytes:
    try:
        raw = read_file(path)
    except OSError as error:
        raise CallerError("file.unreadable", f"{path}: {error.strerror or error}") from error
    if raw is None and not optional:
        raise CallerError("file.unreadable", f"{path}: there is no such file")
    return raw or b""


def _place(problem: CallerError) -> tuple[str, int]:
    line = problem.extra.get("line")
    return str(problem.extra.get("file", "")), line if isinstance(line, int) else 0


def _usual_data_dir(environ: Mapping[str, str]) -> Given:
    """A service's StateDirectory, else the user's data directory for lognode.

    Raises CallerError("settings.invalid") where the environment knows no home.
    Source: systemd.exec(5), and the XDG Base Directory Specification, which ignores a relative XDG_DATA_HOME.
    """
    found = _directory(environ, "STATE_DIRECTORY", "XDG_DATA_HOME", ".local/share")
    if found is None:
        detail = "there is no HOME to keep data in; name a directory with --data-dir or LOGNODE_DATA_DIR"
        raise CallerError("settings.invalid", detail)
    return Given("data_dir", *found)


def _usual_config(environ: Mapping[str, str]) -> Path | None:
    """The settings file of a service (ConfigurationDirectory) or else of the user, which both may be absent."""
    found = _directory(environ, "CONFIGURATION_DIRECTORY", "XDG_CONFIG_HOME", ".config")
    return found and found[0] / CONFIG_NAME


def _directory(environ: Mapping[str, str], service: str, xdg: str, below_home: str) -> tuple[Path, Origin] | None:
    """What systemd made for this service (the first of several), else a directory of XDG with our name in it."""
    if (first := environ.get(service, "").partition(":")[0]).startswith("/"):
        return Path(first), Origin("environment", service)
    if environ.get(xdg, "").startswith("/"):
        return Path(environ[xdg]) / "lognode", Origin("environment", xdg)
    home = environ.get("HOME", "")
    return (Path(home) / below_home / "lognode", Origin("default")) if home.startswith("/") else None
