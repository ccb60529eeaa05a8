"""A reader who types what one document shows, on a node of its own: shell, terminal, Python."""

import fcntl
import os
import re
import signal
import struct
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen, TimeoutExpired
from types import TracebackType
from typing import Any, Final, Self

import pytest

from tests.daemon import Daemon
from tests.docs.document import ROOT, Block

BLOCK_S_MAX: Final = 60  # how long a hanging block holds up the tests
ENDING_S_MAX: Final = 5
ENDINGS_MAX: Final = 6
COLUMNS: Final = 100

# Everything a script sets is there for the next one, as is the directory that it leaves.
PRELUDE: Final = "set -euo pipefail -o allexport\ntrap 'env -0 >\"$DOCS_STATE\"' EXIT\n"

# What a terminal takes away again: lines that are erased, then all that moves its cursor or paints.
GONE: Final = re.compile(r"[^\n]*\n[^\n]*\x1b\[1A\x1b\[2K|[^\n]*\x1b\[2K")
UNSEEN: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")

# What differs from run to run, by its shape. Longer shapes stand first.
SHAPES: Final = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"\d+:\d\d:\d\d"), "<clock>"),
    (re.compile(r"\d+[smhd] ago"), "<ago>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<listen>"),
    (re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{42,}={0,2}(?![A-Za-z0-9+/=])"), "<key>"),
    (re.compile(r"(?<![0-9a-z])(?=[a-z]*\d)[0-9a-hjkmnp-tv-z]{20,}(?![0-9a-z])"), "<id>"),
    (re.compile(r"\+[0-9a-f]{8}\+"), "+<hash>+"),
    (re.compile(r"[ \t]+"), " "),
)


def shape(text: str) -> str:
    """`text` with whatever no two runs share replaced by what it is."""
    for pattern, name in SHAPES:
        text = pattern.sub(name, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())


def matches(shown: str, printed: str) -> bool:
    """Whether a command printed what the document shows, by shape; `...` stands for any text, alone for any lines."""
    lines = [
        "(.*\n)*?" if line == "..." else ".*?".join(map(re.escape, line.split("..."))) + "\n"
        for line in shape(shown).splitlines()
    ]
    return re.fullmatch("".join(lines), shape(printed) + "\n" if printed.strip() else "") is not None


class Reader:
    """With a terminal, a Python prompt, and a node on the default data directory of a clean home."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, with_node: bool = True) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._with_node = with_node
        self._home = folder / "home"
        self._work = folder / "work"
        self._bin = folder / "bin"
        self._state = folder / "state"
        for path in (self._home / ".local/share", self._work, self._bin):
            path.mkdir(parents=True)
        for path in ROOT.iterdir():
            if not path.name.startswith("."):
                (self._work / path.name).symlink_to(path)
        for name, arguments in {"lognode": "-m lognode ", "python3": "", "python": ""}.items():
            program = self._bin / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n')
            program.chmod(0o755)
        self._environ = {
            "HOME": str(self._home),
            "PATH": f"{self._bin}:/usr/bin:/bin",
            "PWD": str(self._work),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "TERM": "xterm",
            "NO_COLOR": "1",
        }
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._background: list[tuple[Block, Popen[bytes], Path]] = []
        environ = {"HOME": str(self._home)}
        environ |= dict.fromkeys(("LOGNODE_PEER_LISTEN", "LOGNODE_JOIN_LISTEN"), "127.0.0.1:0")
        self._node = Daemon(self._home / ".local/share/lognode", environ=environ)

    def __enter__(self) -> Self:
        if self._with_node:
            self._node.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for block, process, log in self._background:
                is_said = error is not None or _has_said(block.words.get("finally", ""), log, process)
                _end(process, signal.SIGTERM)
                printed = log.read_text(errors="replace")
                assert is_said, f"{block.place}: by the end it had printed\n{printed}"
                assert "Traceback" not in printed, f"{block.place}: it printed\n{printed}"
        finally:
            self._node.stop()

    def run(self, block: Block) -> None:
        """Do what a block says, and fail where the document promises something else."""
        if "elsewhere" in block.words:
            self._check_elsewhere(block)
        elif block.language == "python":
            self._run_python(block)
        elif block.language == "console":
            self._run_console(block)
        elif block.words.keys() & {"until", "background"}:
            self._follow(block)
        else:
            code, printed = self._bash(block.text)
            _expect(block, code, printed)

    def _check_elsewhere(self, block: Block) -> None:
        test = block.words["elsewhere"]
        text = (ROOT / test).read_text("utf-8")
        missing = [line for line in block.text.splitlines() if line.split()[0] not in text]
        assert not missing, f"{block.place}: {test} does not run {missing}"

    def _run_python(self, block: Block) -> None:
        """In this process, which is quick; a traceback names the document's line."""
        for name, value in self._environ.items():
            self._monkeypatch.setenv(name, value)
        self._monkeypatch.chdir(self._environ["PWD"])
        code = compile("\n" * (block.line - 1) + block.text, block.place.split(":")[0], "exec")
        exec(code, self._names)

    def _run_console(self, block: Block) -> None:
        commands = block.commands()
        for command in commands:
            if "node" in block.words:
                here = f" --data-dir {self._node.data_dir}"
                code, printed = 0, self._node.log.replace(here, "")
            else:
                code, printed = self._bash(command.typed, on_terminal=True)
            printed = printed.replace(str(self._home), "/home/you")
            if command is commands[-1]:
                _expect(block, code, printed)
            else:
                assert code == 0, f"{block.place}: `{command.typed}` ended with {code}:\n{printed}"
            if not matches(command.printed, printed):
                said = f"`{command.typed}` printed\n{printed}\nnot\n{command.printed}"
                pytest.fail(f"{block.place}: {said}", pytrace=False)

    def _follow(self, block: Block) -> None:
        log = self._folder / f"followed-{block.line}"
        with log.open("wb") as out:
            process = self._start(block.text, out.fileno(), state=Path(os.devnull))
        if "background" in block.words:
            self._background.append((block, process, log))
        until = block.words.get("until", "")
        is_said = _has_said(until, log, process)
        if "background" not in block.words:
            _end(process, signal.SIGINT)
        assert is_said, f"{block.place}: it did not print {until!r} but\n{log.read_text(errors='replace')}"

    def _bash(self, script: str, *, on_terminal: bool = False) -> tuple[int, str]:
        """How a script ended and what it printed; keeps the state that it leaves."""
        if on_terminal:
            screen, terminal = os.openpty()
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        else:
            screen, terminal = os.pipe()
        process = self._start(script, terminal, state=self._state)
        os.close(terminal)
        printed = bytearray()
        try:
            while part := _read(screen):
                printed += part
            code = process.wait(BLOCK_S_MAX)
        finally:
            os.close(screen)
            _end(process, signal.SIGKILL)
        state = (item.partition("=") for item in self._state.read_text().split("\0") if item)
        self._environ = {name: value for name, _, value in state if name not in {"_", "SHLVL", "OLDPWD", "DOCS_STATE"}}
        return code, UNSEEN.sub("", GONE.sub("", printed.decode(errors="replace")))

    def _start(self, script: str, out: int, state: Path) -> Popen[bytes]:
        # A process group of its own, so that Ctrl-C reaches all that the script started and nothing else.
        return Popen(
            ["timeout", "--foreground", str(BLOCK_S_MAX), "bash", "-c", PRELUDE + script],
            cwd=self._environ["PWD"],
            env={**self._environ, "DOCS_STATE": str(state)},
            stdin=out if os.isatty(out) else DEVNULL,
            stdout=out,
            stderr=STDOUT,
            start_new_session=True,
        )


def _expect(block: Block, code: int, printed: str) -> None:
    wanted = int(block.words.get("exit", "0"))
    if code != wanted:
        pytest.fail(f"{block.place}: it ended with {code}, not {wanted}:\n{printed}", pytrace=False)


def _has_said(text: str, log: Path, process: Popen[bytes]) -> bool:
    """Whether a process printed `text` before it ended."""
    while (is_running := process.poll() is None) and text not in log.read_text(errors="replace"):
        time.sleep(0.02)
    return is_running or text in log.read_text(errors="replace")


def _end(process: Popen[bytes], number: signal.Signals) -> int:
    """Its exit code, once it and all that it started were told to end."""
    for _ in range(ENDINGS_MAX):
        # What it started may run on where it has ended itself, as `timeout` does.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        # A signal between a shell's fork and exec is lost on what it starts: tell it again.
        with suppress(TimeoutExpired):
            return process.wait(ENDING_S_MAX)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _read(screen: int) -> bytes:
    try:
        return os.read(screen, 65536)
    except OSError:
        return b""  # a terminal without a program on it
