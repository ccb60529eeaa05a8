"""What bash, zsh and fish make of a line when Tab is pressed behind it."""

import os
import pty
import re
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, run
from typing import Final

import pytest

from lognode.cli.completion.script import SHELLS, completion_script
from lognode.cli.completion.table import rows_of
from lognode.cli.main import build_app
from tests.cli.lognode_command import Lognode

ANSWER_S_MAX: Final = 30  # how long a shell that hangs holds up the tests
# How a shell is started without the machine's settings, and told to be plain.
SHELL: Final = {
    "bash": (("bash", "--norc", "--noprofile", "-i"), "bind 'set enable-bracketed-paste off'"),
    "zsh": (("zsh", "-f", "-i"), "unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -D -u"),
    "fish": (("fish", "-i"), "true"),
}
# In place of the command: a function that prints what it is called with.
ECHO: Final = {
    "bash": """lognode() { printf '<%s>' "$@"; echo .; }""",
    "zsh": """lognode() { printf '<%s>' "$@"; echo .; }""",
    "fish": "function lognode; printf '<%s>' $argv; echo .; end",
}
TYPED: Final = {
    "lognode lo": ["log"],
    "lognode config s": ["config", "show"],
    "lognode log --vis": ["log", "--visibility"],
    "lognode log --visibility pri": ["log", "--visibility", "private"],
    "lognode log --visibility=pri": ["log", "--visibility=private"],
    "lognode log --color ch": ["log", "--color", "ch"],  # no choice
    "lognode tail -n 3 --ord": ["tail", "-n", "3", "--ord"],  # an option of log, not of tail
    "lognode --data-dir elsewhere lo": ["--data-dir", "elsewhere", "log"],
    "lognode --data-dir=elsewhere --js": ["--data-dir=elsewhere", "--json"],
    "lognode append --kind log --vis": ["append", "--kind", "log", "--visibility"],
    "lognode import rec": ["import", "records of may.ndjson"],
    "lognode up --config my": ["up", "--config", "my.toml"],
    "lognode up --config=my": ["up", "--config=my.toml"],
    "lognode show my": ["show", "my"],  # an id, not a file
    "lognode append --title my": ["append", "--title", "my"],
    "lognode completion fi": ["completion", "fish"],
}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scripts")
    for shell in SHELLS:
        (folder / shell).write_text(completion_script(build_app(), shell))
    return folder


class Typist:
    """Who sits before an interactive shell."""

    def __init__(self, screen: int) -> None:
        self.screen = screen
        self.seen = b""

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def wait_for(self, pattern: bytes) -> re.Match[bytes]:
        """The next match in what the shell shows, which is then read."""
        end_s = time.monotonic() + ANSWER_S_MAX
        while not (found := re.search(pattern, self.seen)):
            is_ready, _, _ = select.select([self.screen], [], [], max(0, end_s - time.monotonic()))
            assert is_ready, f"no {pattern!r} in {self.seen!r}"
            self.seen += os.read(self.screen, 65536)
        self.seen = self.seen[found.end() :]
        return found

    def arguments_of(self, line: str) -> list[str]:
        """What a command is called with when Tab is pressed behind the line, and then Enter."""
        self.type(line + "\t\n")
        return re.findall("<([^>]*)>", self.wait_for(rb"(<[^\r\n]*>)\.\r?\n")[1].decode())


@contextmanager
def typing(shell: str, folder: Path, *preparing: str) -> Iterator[Typist]:
    """An interactive shell in a folder, after it did what prepares it."""
    command, plain = SHELL[shell]
    environ = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "TERM": "dumb", "LANG": "C.UTF-8"}
    pid, screen = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(command[0], command, environ)
    typist = Typist(screen)
    try:
        for line in (plain, *preparing, "echo rea''dy"):
            typist.type(line + "\n")
        typist.wait_for(rb"(?<!rea'')ready")
        yield typist
    finally:
        os.close(screen)  # which hangs up on the shell
        os.waitpid(pid, 0)


def complete(shell: str, script: Path, folder: Path, lines: Sequence[str]) -> dict[str, list[str]]:
    """The arguments that each line leads to."""
    for name in ("records of may.ndjson", "my.toml"):
        (folder / name).touch()
    with typing(shell, folder, f"source {script}", ECHO[shell]) as typist:
        return {line: typist.arguments_of(line) for line in lines}


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_commands_options_values_and_files(shell: str, scripts: Path, tmp_path: Path) -> None:
    assert complete(shell, scripts / shell, tmp_path, list(TYPED)) == TYPED


def test_a_script_without_the_words_completes_none_of_them(scripts: Path, tmp_path: Path) -> None:
    """That what is found comes from our table, and not from the shell."""
    broken = tmp_path / "broken"
    broken.write_text((scripts / "bash").read_text().replace("\tlog\tcommand", "\tgol\tcommand"))

    assert complete("bash", broken, tmp_path, ["lognode lo"]) == {"lognode lo": ["lo"]}


@pytest.mark.parametrize("shell", SHELLS)
def test_an_installed_script_is_found_by_a_new_shell(shell: str, tmp_path: Path) -> None:
    lognode = Lognode(tmp_path)
    done = lognode.run("completion", shell, "--install")
    file = Path(re.findall(r"^Wrote (\S+)\. ", done.stderr.decode())[0])

    assert file.is_file()
    assert file.is_relative_to(tmp_path)
    # Where bash-completion and zsh's fpath would take it from; fish looks there by itself.
    finding = {"bash": f"source {file}", "zsh": f"fpath+=({file.parent}); compinit -D -u", "fish": "true"}
    with typing(shell, tmp_path, finding[shell], ECHO[shell]) as typist:
        assert typist.arguments_of("lognode config s") == ["config", "show"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_script_and_the_shell_finds_no_fault(shell: str, tmp_path: Path) -> None:
    script = Lognode(tmp_path).run("completion", shell).stdout

    assert script.decode() == completion_script(build_app(), shell)
    (tmp_path / "script").write_bytes(script)
    assert run((shell, "-n", tmp_path / "script"), stdin=DEVNULL, capture_output=True, check=True).stderr == b""


def test_every_row_has_four_columns_and_one_meaning() -> None:
    rows = list(rows_of(build_app()))

    assert len({row[:2] for row in rows}) == len(rows)
    for row in rows:
        columns = str(row).split("\t")
        assert len(columns) == 4
        assert all(columns)
        assert "'" not in row.word
        assert row.summary or row.command == "lognode completion", f"{row.command} {row.word} has no help"
