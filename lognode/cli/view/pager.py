"""The pager that a long answer goes through: $LOGNODE_PAGER, then $PAGER, then less.

Whoever leaves it early has seen enough: that is no error.
"""

import io
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from subprocess import PIPE, Popen
from typing import Final, TextIO

from lognode.cli.output import say

# For less: begin at the end, where the newest stands, keep colours, leave the text there. It may not end by itself
# where all fits the screen (F), which does not go with beginning at the end. A LESS of the user's own wins.
_LESS: Final = "RX+G"


def pager_command(environ: Mapping[str, str]) -> tuple[list[str], bool]:
    """The pager's words, none for no pager, and whether the user named it. Raises ValueError for an open quote."""
    for variable in ("LOGNODE_PAGER", "PAGER"):
        if variable in environ:
            words = shlex.split(environ[variable])
            return ([] if words == ["cat"] else words), True
    return (["less"] if environ.get("TERM", "dumb") != "dumb" else []), False


@contextmanager
def paged() -> Iterator[TextIO]:
    """Where to write: into a pager, or straight to stdout where there is none."""
    # Ctrl-C belongs to the pager: it ends a search there, and must not end us below it. It is heard and passed over,
    # since a pager would inherit that it is ignored.
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    process = _started()
    if process is None or process.stdin is None:
        signal.signal(signal.SIGINT, before)
        yield sys.stdout
        return
    writing = io.TextIOWrapper(process.stdin, "utf-8", errors="replace")
    try:
        with suppress(BrokenPipeError):
            yield writing
            writing.flush()
    finally:
        with suppress(BrokenPipeError):
            writing.close()
        process.wait()
        signal.signal(signal.SIGINT, before)


def _started() -> Popen[bytes] | None:
    """The pager as a process; None where there is none, which is said of one that the user named."""
    try:
        words, is_named = pager_command(os.environ)
    except ValueError as error:
        say(f"The pager cannot be started ({error}); shown without.")
        return None
    if not words:
        return None
    try:
        # The user's own choice, and no shell between.
        return Popen(words, stdin=PIPE, env={"LESS": _LESS, "LV": "-c", **os.environ})  # noqa: S603
    except OSError as error:
        if is_named:
            say(f"The pager cannot be started ({words[0]}: {error.strerror}); shown without.")
        return None
