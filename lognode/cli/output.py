"""The two streams of a command: data on stdout, messages on stderr.

Invariant: text that others wrote never reaches a terminal with control characters in it, and a message is one line.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Final, TextIO

import msgspec

from lognode.core.errors import LognodeError

if TYPE_CHECKING:
    from rich.console import Console

PIPE_CELLS: Final = 4096
NO_TERMINAL_CELLS: Final = 120

_encode = msgspec.json.Encoder().encode


def print_json(value: object) -> None:
    """One JSON value on one line of stdout."""
    encoded = _encode(value)
    if is_terminal():
        encoded = _safe_json(encoded).encode()
    sys.stdout.buffer.write(encoded + b"\n")


def print_text(text: str) -> None:
    """Some plain text on stdout."""
    sys.stdout.buffer.write(safe(text).encode("utf-8", "replace") + b"\n")


def print_raw(text: str) -> None:
    """A line for programs on stdout: exact in a pipe, and safe on a terminal."""
    shown = "\t".join(map(safe, text.split("\t"))) if is_terminal() else text
    sys.stdout.buffer.write(shown.encode("utf-8", "replace") + b"\n")


def print_rows(rows: Mapping[str, object]) -> None:
    """Names and values in two columns on stdout."""
    width = max((len(name) for name in rows), default=0) + 2
    for name, value in rows.items():
        print_text(f"{name:<{width}}{value}")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, apart: bool = False) -> None:
    """Rows in columns below their headings, numbers to the right; nothing without rows.

    `apart`: an empty line before them, where something stands above.
    """
    if not rows:
        return
    if apart:
        print_text("")
    shown = [[f"{value:,}" if isinstance(value, int) else safe(str(value)) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *shown, strict=True)]
    is_number = [isinstance(value, int) for value in rows[0]]
    for row in ([heading.upper() for heading in headings], *shown):
        cells = zip(row, widths, is_number, strict=True)
        line = "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells)
        print_text(line.rstrip())


def flush() -> None:
    """Let go of what stdout still holds back; a broken pipe shows here."""
    sys.stdout.flush()


def say(text: str) -> None:
    """A message for people on stderr, on one line: what others wrote cannot look like another message."""
    sys.stderr.write(safe(text).replace("\n", _picture("\n")) + "\n")


@contextmanager
def told_if_stopped(text: str) -> Iterator[None]:
    """While inside, Ctrl-C leaves this message."""
    try:
        yield
    except KeyboardInterrupt:
        with suppress(OSError):  # the terminal may be gone
            say(text)
        raise


def console(color: str = "auto", file: TextIO | None = None) -> "Console":
    """Rich on stdout or `file`: as wide as the terminal, and never cut where a pipe or a file takes it."""
    from rich.console import Console

    class Stdout(Console):
        def on_broken_pipe(self) -> None:
            # Rich would end the process with exit code 1 here; every command ends alike.
            raise BrokenPipeError

    is_colored = wants_color(color, os.environ, is_terminal=is_terminal())
    return Stdout(
        file=file,
        highlight=False,
        markup=False,
        emoji=False,
        width=text_width() if is_terminal() else PIPE_CELLS,
        force_terminal=is_colored,
        color_system="standard" if is_colored else None,
        no_color=False,  # NO_COLOR is weighed above
    )


def wants_color(choice: str, environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Whether to paint: as `choice` says, and for auto as NO_COLOR, FORCE_COLOR, CLICOLOR and the terminal do.

    Sources: no-color.org, force-color.org, bixense.com/clicolors.
    """
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if any(environ.get(name, "0") not in {"", "0", "false"} for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return is_terminal and environ.get("CLICOLOR") != "0" and environ.get("TERM") != "dumb"


def text_width() -> int:
    """How many cells a line has: of the terminal, or as COLUMNS says."""
    return get_terminal_size((NO_TERMINAL_CELLS, 0)).columns


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr where that is a terminal, fed with how much is done of how much, None where nobody knows."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def is_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


def safe(text: str) -> str:
    """`text` with control characters shown as pictures or escapes; line feeds stay."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else _picture(char) for char in text)


def _picture(char: str) -> str:
    code = ord(char)
    return chr(0x2400 + code) if code < 0x20 else f"\\u{code:04x}"


def _safe_json(encoded: bytes) -> str:
    """JSON that means the same, and cannot steer a terminal."""
    text = encoded.decode()
    return text if text.isprintable() else "".join(char if char.isprintable() else _json_escape(char) for char in text)


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def print_problem(error: LognodeError, *, as_json: bool) -> None:
    """An error on stderr: the problem object, or what went wrong, where, its code and a way out."""
    if as_json:
        sys.stderr.write(_safe_json(_encode(error.problem())) + "\n")
        return
    said = ": ".join(part for part in (error.spec.title, error.place, error.detail) if part)
    say(f"error: {said} [{error.code}]")
    say(f"hint: {error.hint}")
