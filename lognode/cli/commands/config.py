"""Commands about settings: config show and config check."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Final

from lognode.cli.options import NO_FLAGS, DataDir, Flag, Flags, Json, read_file
from lognode.cli.output import print_json, print_text
from lognode.core.errors import CallerError
from lognode.settings import Check, check_settings, trace_settings
from lognode.settings.sources import CONFIG_NAME
from lognode.settings.webhook import Webhook

EXIT_PROBLEMS: Final = 2


def config_show(*, origin: Flag = False, flags: Flags = NO_FLAGS, data_dir: DataDir = None, json: Json = False) -> None:
    """Print the settings in force, as a settings file.

    They are those that 'lognode up' with the same options would run with. Where the data directory has a settings
    file, its own name stands there as a comment.

    Parameters
    ----------
    origin
        Say of each where it comes from: its option, its variable, its file and line, or the default.

    Examples
    --------
    $ lognode config show --origin
    $ lognode config show --log-level debug >lognode.toml
    """
    given = {"data_dir": data_dir, **asdict(flags)}
    loaded = trace_settings(given, os.environ, read_file, Path.resolve)
    own = loaded.settings.data_dir / CONFIG_NAME
    has_own = own in check_settings(given, os.environ, read_file, Path.resolve).found
    values = {name: _anywhere(getattr(loaded.settings, name)) for name in loaded.origins}
    if json:
        origins = {name: {**where._asdict(), "name": where.name or None} for name, where in loaded.origins.items()}
        print_json({"settings": values, "origins": origins} if origin else {"settings": values})
        return
    for name, value in values.items():
        # What has no value cannot be said in TOML; its name stands there all the same. And where this may become the
        # data directory's own file, that would be refused once the directory is elsewhere.
        line = f"# {name} =" if value is None else f"{name} = {_toml(value)}"
        if name == "data_dir" and has_own:
            line = f"# {line}"
        print_text(f"{line}  # {loaded.origins[name]}" if origin else line)


def _anywhere(value: object) -> object:
    """A value that means the same in a file elsewhere."""
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, tuple) and value and isinstance(value[0], Webhook):
        return {hook.name: _table(hook) for hook in value}
    return value


def _table(hook: Webhook) -> dict[str, object]:
    table: dict[str, object] = {"url": hook.url}
    return {**table, "secret_file": _anywhere(hook.secret_file)} if hook.secret_file else table


def _toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(said)}" for key, said in value.items()) + "}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    plain = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in plain) + '"'


def config_check(
    file: Path | None = None, /, *, flags: Flags = NO_FLAGS, data_dir: DataDir = None, json: Json = False
) -> int:
    """Say everything that is wrong with the settings.

    Each problem stands on a line: file and line, setting, what it takes, what a misspelt name may have meant.

    Parameters
    ----------
    file
        The file; by default the files, variables and options that 'lognode up' would go by.

    Examples
    --------
    $ lognode config check /etc/lognode/lognode.toml
    $ lognode config check && kill -HUP "$(pidof lognode)"

    Notes
    -----
    Exit code 0 when all is fine, 2 when anything is not, 1 when a file cannot be read.
    """
    given = {"data_dir": data_dir, **asdict(flags)}
    check = check_settings(given, os.environ, read_file, Path.resolve) if file is None else _check_file(file)
    if json:
        found = [str(path) for path in check.found]
        print_json({"ok": not check.problems, "files": found, "problems": list(map(_told, check.problems))})
    else:
        for problem in check.problems:
            print_text(f"{problem.place}: {problem.detail} [{problem.code}]")
        if not check.problems:
            for path in check.files:
                print_text(f"{path}: {'fine' if path in check.found else 'not there, which is fine'}")
    return EXIT_PROBLEMS if check.problems else 0


def _check_file(path: Path) -> Check:
    """A file by itself. Inside a data directory it may say less than elsewhere."""
    is_own = path.name == CONFIG_NAME and (path.parent / "node.key").exists()
    return check_settings({"data_dir": path.parent} if is_own else {"config": path}, {}, read_file, Path.resolve)


def _told(problem: CallerError) -> dict[str, object]:
    """A problem for programs."""
    names = ("file", "line", "key", "suggestion")
    where = {"code": problem.code, "place": problem.place, **{name: problem.extra.get(name) for name in names}}
    return where | {"detail": problem.detail}
