"""What `--help` says: that it is there, fits, comes soon, and that its examples are commands."""

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from typing import Final

import pytest
from cyclopts import App, CycloptsError

from lognode.cli.main import build_app
from tests.cli.lognode_command import Lognode

# What only a command that does something needs.
HEAVY: Final = frozenset("aiosqlite cryptography httpx hypercorn nacl quart sqlite3 structlog trio".split())
SUMMARY_CELLS_MAX: Final = 65  # so that it stands on one line of `lognode --help` at 80 columns


def commands_below(app: App, *path: str) -> Iterator[tuple[str, App]]:
    for name in app:
        if not name.startswith("-"):
            yield " ".join((*path, name)), app[name]
            yield from commands_below(app[name], *path, name)


APP: Final = build_app()
COMMANDS: Final = dict(commands_below(APP))
LEAVES: Final = {name: app for name, app in COMMANDS.items() if app.default_command}


def examples_of(app: App) -> list[str]:
    return [line.strip()[2:] for line in (app.help_epilogue or "").splitlines() if line.strip().startswith("$ ")]


def calls_of(example: str) -> Iterator[list[str]]:
    """The words behind each `lognode` of a shell's line, whatever else stands in it."""
    lexer = shlex.shlex(example, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] | None = None
    for token in [*lexer, ";"]:
        if re.fullmatch(r"[|&;<>()]+", token):
            if words is not None:
                yield words
            words = None
        elif words is not None:
            words.append(token)
        elif token == "lognode":
            words = []


def parse(words: list[str]) -> None:
    APP.parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("name", LEAVES)
def test_the_examples_of_a_command_are_commands(name: str) -> None:
    examples = examples_of(LEAVES[name])
    calls = [call for example in examples for call in calls_of(example)]

    assert calls, f"lognode {name} --help shows no example"
    for call in calls:
        parse(call)
    own = [call for call in calls if " ".join(call).startswith(name)]
    assert own, f"lognode {name} --help has no example of itself"


def test_a_family_of_commands_shows_the_examples_of_its_members() -> None:
    members = [line for name in ("config show", "config check") for line in examples_of(COMMANDS[name])]

    assert examples_of(COMMANDS["config"]) == members


def test_no_help_has_two_blocks_of_examples() -> None:
    for name, app in COMMANDS.items():
        assert (app.help_epilogue or "").count("Examples\n") <= 1, name
    assert examples_of(COMMANDS["sync"])[0] == "lognode sync"
    assert "lognode sync status" in examples_of(COMMANDS["sync"])


def test_an_option_that_takes_a_duration_says_so(tmp_path: Path) -> None:
    assert "--expires DURATION" in Lognode(tmp_path).text("invite", "create", "--help")


def test_an_example_can_be_copied_from_a_terminal_of_eighty_columns() -> None:
    long = [line for app in LEAVES.values() for line in examples_of(app) if len(line) > 80 - len("  $ ")]

    assert long == []


def test_an_example_that_has_rotted_is_found() -> None:
    for rotted in ("lognode lgo", "lognode log --limit many", "lognode log --tga x", "true | lognode append"):
        (call,) = calls_of(rotted)
        with pytest.raises(CycloptsError):
            parse(call)
    assert list(calls_of("lognode log --kind 'a.*' | lognode import - >x; echo lognode")) == [
        ["log", "--kind", "a.*"],
        ["import", "-"],
        [],
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_summary_of_one_line_and_a_help_text_for_each_option(name: str) -> None:
    app = COMMANDS[name]
    summary = app.help.partition("\n")[0]

    assert summary.endswith(".")
    assert len(summary) <= SUMMARY_CELLS_MAX
    for argument in app.assemble_argument_collection(parse_docstring=True) if app.default_command else ():
        if argument.index is not None or any(option.startswith("-") for option in argument.names):
            assert argument.parameter.help, f"lognode {name}: {argument.name} has no help"


def test_help_fits_eighty_columns_and_lists_commands_before_options(tmp_path: Path) -> None:
    lognode = Lognode(tmp_path)

    for arguments in ([], ["up"], ["log"], ["config", "check"]):
        done = lognode.run(*arguments, "--help", environ={"COLUMNS": "80"})
        assert (done.returncode, done.stderr) == (0, b"")
        assert all(len(line) <= 80 for line in done.stdout.decode().splitlines())
    shown = lognode.text("--help")
    order = [shown.index(word) for word in ("The node", "Recording", "Reading", "Checking", "Which node", "Examples")]
    assert order == sorted(order)
    assert [shown.index(f"│ {name} ") for name in ("up", "init", "status", "append", "log")] == sorted(
        shown.index(f"│ {name} ") for name in ("up", "init", "status", "append", "log")
    )


@pytest.mark.parametrize("arguments", [["--help"], ["log", "--help"], ["completion", "bash"], ["--version"]])
def test_help_and_completion_load_nothing_of_the_daemon(arguments: list[str], tmp_path: Path) -> None:
    script = (
        "import sys; from lognode.cli.main import run\n"
        f"try: run({arguments!r})\nexcept SystemExit: pass\n"
        "print(); print([name for name in sys.modules])"
    )
    done = run((sys.executable, "-c", script), capture_output=True, check=True, text=True, cwd=tmp_path)
    loaded = set(ast.literal_eval(done.stdout.splitlines()[-1]))

    assert "lognode.cli.main" in loaded
    assert loaded & HEAVY == set()
    assert not {name for name in loaded if re.match(r"lognode\.(api|engine|timeline|identity|node)\b", name)}
