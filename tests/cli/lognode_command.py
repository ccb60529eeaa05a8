"""The `lognode` command as a process of its own, with nothing of the machine's settings."""

import fcntl
import json
import os
import pty
import struct
import sys
import termios
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen, run
from typing import Any, Final

COMMAND: Final = (sys.executable, "-m", "lognode")
COMMAND_S_MAX: Final = 120  # how long a hanging command holds up the tests


class Lognode:
    """Runs commands on one data directory, given by the environment unless `data_dir` is None."""

    def __init__(self, home: Path, data_dir: Path | None = None) -> None:
        self.home = home
        self.environ = {"HOME": str(home), "PATH": "/usr/bin:/bin", "COLUMNS": "120"}
        if data_dir is not None:
            self.environ["LOGNODE_DATA_DIR"] = str(data_dir)

    def run(self, *arguments: str, stdin: bytes = b"", environ: Mapping[str, str] = {}) -> CompletedProcess[bytes]:
        """The process after its end, whatever its exit code."""
        return run(
            (*COMMAND, *arguments),
            input=stdin,
            capture_output=True,
            env={**self.environ, **environ},
            cwd=self.home,
            timeout=COMMAND_S_MAX,
            check=False,
        )

    def text(self, *arguments: str, stdin: bytes = b"") -> str:
        """What a command prints that must succeed, without the last line end."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().removesuffix("\n")

    def json(self, *arguments: str, stdin: bytes = b"") -> Any:
        """The one JSON value that a command prints."""
        return json.loads(self.text(*arguments, "--json", stdin=stdin))

    def lines(self, *arguments: str) -> list[Any]:
        """The JSON values that a command prints, one a line."""
        return [json.loads(line) for line in self.text(*arguments).splitlines()]

    def on_terminal(
        self,
        *arguments: str,
        columns: int = 120,
        lines: int = 100,
        environ: Mapping[str, str] = {},
        answer: Callable[[str], str | None] = lambda _shown: None,
    ) -> tuple[int, str]:
        """How a command ends and what it prints when stdin, stdout and stderr are a terminal of that size.

        `answer` is given what was shown so far, and gives the line that is typed, once, or None.
        """
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        names = {name: value for name, value in self.environ.items() if name != "COLUMNS"}
        process = Popen(
            (*COMMAND, *arguments),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**names, "TERM": "xterm", **environ},
            cwd=self.home,
            start_new_session=True,
        )
        os.close(theirs)
        shown = bytearray()
        with suppress(OSError):  # how Linux says that the other side closed
            typed: str | None = None
            while chunk := os.read(ours, 65536):
                shown += chunk
                if typed is None and (typed := answer(shown.decode(errors="replace"))) is not None:
                    os.write(ours, typed.encode() + b"\n")
        os.close(ours)
        return process.wait(COMMAND_S_MAX), shown.decode()

    def start(self, *arguments: str, stdin: int = PIPE) -> Popen[bytes]:
        """A process that runs on; the caller ends it."""
        return Popen((*COMMAND, *arguments), stdin=stdin, stdout=PIPE, stderr=PIPE, env=self.environ, cwd=self.home)
