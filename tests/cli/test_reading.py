"""What `log`, `tail`, `show` and `why` print on terminals of several sizes, through pagers and into pipes."""

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cli.lognode_command import Lognode
from tests.daemon import Daemon

SPANS: Final = 60
PAINT: Final = re.compile(r"\x1b\[[0-9;]*m")
TRICK: Final = "a\x1b[2Jb\x9bc\u202ed"


@pytest.fixture(scope="module")
def lognode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lognode]:
    """A node with 60 spans of one kind, and one that tries to steer the terminal."""
    daemon = Daemon(tmp_path_factory.mktemp("reading") / "node")
    daemon.start()
    lognode = Lognode(daemon.data_dir.parent, daemon.data_dir)
    lines = [json.dumps({"kind": "screen.filled", "title": f"number {n}", "data": {"n": n}}) for n in range(SPANS)]
    lines.append(json.dumps({"kind": "trick.tried", "title": TRICK, "tags": ["\x1b[31m"], "data": {TRICK: 1}}))
    lognode.text("import", "-", stdin="\n".join(lines).encode())
    yield lognode
    daemon.stop()


@pytest.fixture
def pager(tmp_path: Path) -> Path:
    """A pager that keeps what it is given."""
    program = tmp_path / "pager"
    program.write_text(f'#!/bin/sh\nexec cat >"{tmp_path}/paged"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_log_on_a_terminal_shows_the_newest_fifty_in_columns(lognode: Lognode) -> None:
    code, printed = lognode.on_terminal("log", "--kind", "screen.filled")
    *shown, last = printed.splitlines()

    assert (code, len(shown)) == (0, 50)
    assert "number 10" in shown[0]
    assert "number 59" in shown[-1]
    assert "screen.filled" in shown[0]
    assert PAINT.search(shown[0])
    assert "--limit" in last


@pytest.mark.parametrize("columns", [40, 80, 100])
def test_every_line_fits_the_terminal(lognode: Lognode, columns: int) -> None:
    for command in (("log", "--time", "utc", "--limit", "20"), ("tail", "-n", "20")):
        code, printed = lognode.on_terminal(*command, columns=columns)
        lines = [PAINT.sub("", line) for line in printed.splitlines() if "shown" not in line]
        assert (code, len(lines)) == (0, 20)
        assert all(len(line) <= columns for line in lines)


def test_nothing_is_painted_where_nobody_wants_it(lognode: Lognode) -> None:
    span_id = lognode.lines("log", "--limit", "1")[0]["id"]

    for command in (["log", "--limit", "3"], ["tail"], ["show", span_id], ["why", span_id]):
        assert "\x1b" not in lognode.on_terminal(*command, environ={"NO_COLOR": "1"})[1]
        assert "\x1b" not in lognode.on_terminal(*command, "--color", "never")[1]
        assert "\x1b" in lognode.on_terminal(*command, "--color", "always", environ={"NO_COLOR": "1"})[1]


def test_what_others_wrote_cannot_control_the_terminal(lognode: Lognode, pager: Path) -> None:
    span_id = lognode.lines("log", "--kind", "trick.tried")[0]["id"]
    commands = [["log", "--format", form] for form in ("text", "json", "tsv")]
    commands += [["tail"], ["show", span_id], ["show", span_id, "--json"], ["why", span_id]]

    for command in commands:
        shown = lognode.on_terminal(*command, environ={"LOGNODE_PAGER": "cat"})[1]
        assert "\x1b" not in PAINT.sub("", shown)
        assert "\x1b[31m" not in shown
        assert not {"\x9b", "\u202e"} & set(shown)
    lognode.on_terminal("log", lines=10, environ={"LOGNODE_PAGER": str(pager)})
    paged = pager.with_name("paged").read_text()
    assert "a␛[2Jb\\u009bc\\u202ed" in paged
    assert "\x1b" not in PAINT.sub("", paged)


def test_json_on_a_terminal_means_the_same_as_in_a_pipe(lognode: Lognode) -> None:
    shown = lognode.on_terminal("log", "--kind", "trick.tried", "--json")[1]

    assert json.loads(shown) == lognode.lines("log", "--kind", "trick.tried")[0]
    assert json.loads(shown)["title"] == TRICK


def test_what_is_longer_than_the_screen_goes_through_the_pager(lognode: Lognode, pager: Path) -> None:
    paged = pager.with_name("paged")
    named = {"LOGNODE_PAGER": str(pager), "PAGER": "false"}

    code, printed = lognode.on_terminal("log", "--kind", "screen.filled", lines=24, columns=100, environ=named)
    lines = PAINT.sub("", paged.read_text()).splitlines()

    assert code == 0
    assert "number" not in printed
    assert len(lines) == 50
    assert all(len(line) <= 100 for line in lines)
    paged.unlink()
    for command in (["log", "--no-pager"], ["log", "--limit", "5"], ["log", "--json"], ["tail", "-n", "50"]):
        assert "number 59" in lognode.on_terminal(*command, lines=24, environ=named)[1]
    assert b"number 59" in lognode.run("log", environ=named).stdout
    assert not paged.exists()


def test_a_pager_that_leaves_early_has_seen_enough(lognode: Lognode) -> None:
    code, printed = lognode.on_terminal("log", lines=10, environ={"LOGNODE_PAGER": "head -n 1"})

    assert code == 0
    assert printed.count("number") == 1
    assert "Traceback" not in printed
    assert lognode.on_terminal("log", lines=10, environ={"LOGNODE_PAGER": "true"})[0] == 0


def test_ctrl_c_belongs_to_the_pager(lognode: Lognode, tmp_path: Path) -> None:
    program = tmp_path / "pager"
    program.write_text("#!/bin/sh\ntrap 'echo interrupted' INT\nkill -INT 0\ncat\n")
    program.chmod(0o755)

    code, printed = lognode.on_terminal("log", lines=10, environ={"LOGNODE_PAGER": str(program)})

    assert code == 0
    assert "interrupted" in printed
    assert "number 59" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("named", ["/no/such/pager", "'unclosed"])
def test_a_pager_that_is_not_there_is_said_and_done_without(lognode: Lognode, named: str) -> None:
    code, printed = lognode.on_terminal("log", lines=10, environ={"LOGNODE_PAGER": named})

    assert code == 0
    assert "The pager cannot be started" in printed
    assert "number 59" in printed
    # Less is nobody's wish: without it nothing need be said.
    assert "pager" not in lognode.on_terminal("log", lines=10, environ={"PATH": "/no/such"})[1]


def test_fields_are_lines_of_tabs_or_smaller_objects(lognode: Lognode) -> None:
    newest = ("log", "--kind", "screen.filled", "--limit", "2")

    assert lognode.text(*newest, "--fields", "kind,data.n,actor") == "screen.filled\t58\t\nscreen.filled\t59\t"
    assert lognode.lines(*newest, "--fields", "title,data.n", "--json")[1] == {"title": "number 59", "data.n": 59}
    assert len(lognode.text(*newest, "--format", "tsv").splitlines()[0].split("\t")) == 4
    assert lognode.text("log", "--kind", "trick.tried", "--fields", "title") == TRICK
    for wrong, said in (
        (["--fields", "titel"], b"did you mean 'title'"),
        (["--format", "text", "--fields", "id"], b"tsv"),
    ):
        done = lognode.run("log", *wrong)
        assert (done.returncode, done.stdout) == (2, b"")
        assert said in done.stderr


def test_columns_into_a_pipe_are_asked_for_and_then_hold_all(lognode: Lognode) -> None:
    lines = lognode.text("log", "--kind", "screen.filled", "--format", "text").splitlines()

    assert len(lines) == SPANS
    assert all(len(line) == 120 for line in lines)
    assert "\x1b" not in "".join(lines)
