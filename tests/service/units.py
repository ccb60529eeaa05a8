"""The unit files as systemd reads them, as far as tests need it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent.parent
SERVICE: Final = ROOT / "systemd/lognode.service"
SOCKET: Final = ROOT / "systemd/lognode.socket"
SYSUSERS: Final = ROOT / "systemd/lognode.sysusers"
PROGRAM: Final = "/opt/lognode/bin/lognode"


class Directive(NamedTuple):
    """One line of a unit."""

    section: str
    name: str
    value: str


def directives(path: Path) -> Iterator[Directive]:
    """The lines of a unit that mean something, in their order."""
    section = ""
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield Directive(section, name, value)


def values(path: Path, name: str) -> list[str]:
    """All values of a directive, as they are written."""
    return [directive.value for directive in directives(path) if directive.name == name]


def value(path: Path, name: str) -> str:
    """The one value of a directive."""
    (only,) = values(path, name)
    return only
