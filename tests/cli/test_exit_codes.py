"""What exit codes and messages say, and which node a command talks to."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from lognode.cli.lines.ndjson import IMPORT_LINES_MAX
from lognode.cli.main import run
from tests.client.node_stub import Answer, problem, stub_node
from tests.daemon import Daemon


class Called(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def problem(self) -> Any:
        return json.loads(self.err)


Call = Callable[..., Called]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command in this process, in a home where nothing is yet."""
    for name in [name for name in os.environ if name.startswith(("LOGNODE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))

    def run_command(*arguments: str, environ: Mapping[str, str] = {}) -> Called:
        with monkeypatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            code = run(arguments)
        return Called(code, *capsys.readouterr())

    return run_command


@pytest.mark.parametrize("command", [["log"], ["status"], ["append", "--kind", "a.b"], ["tail", "-f"], ["why", "x"]])
def test_commands_exit_with_3_when_no_node_runs(call: Call, tmp_path: Path, command: list[str]) -> None:
    done = call(*command)

    assert (done.code, done.out) == (3, "")
    assert done.err.splitlines() == [
        f"error: Node not running: no node runs on {tmp_path}/.local/share/lognode [client.unreachable]",
        "hint: Start it with 'lognode up'.",
    ]


def test_a_url_that_a_killed_node_left_behind_is_a_node_that_does_not_run(call: Call, tmp_path: Path) -> None:
    call("init", "--data-dir", str(tmp_path))
    with stub_node(problem("node.internal", 500)) as stranger:
        (tmp_path / "api.url").write_text(stranger.url)

        assert call("log", "--data-dir", str(tmp_path)).code == 3
        assert json.loads(call("--data-dir", str(tmp_path), "--json").out)["state"] == "stopped"
        assert stranger.asked == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["lgo"], "there is no command 'lgo'; did you mean 'log'?"),
        (["lgo", "--help"], "there is no command 'lgo'; did you mean 'log'?"),
        (["id", "shwo", "-h"], "there is no command 'shwo'; did you mean 'show'?"),
        (["log", "--tga", "x"], "--tga"),
        (["log", "extra"], "'extra' is a word too many"),
        (["config", "shwo"], "show"),
        (["log", "--since", "yesterday"], "write 2h, 3d"),
        (["log", "--limit", "0"], "--limit"),
        (["log", "--status", "maybe"], "executed"),
        (["append"], "--kind"),
        (["up", "--listen", "0.0.0.0:80"], "not a loopback address"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(call: Call, command: list[str], said: str) -> None:
    done = call(*command)
    told = call(*command, "--json")

    assert (done.code, told.code) == (2, 2)
    assert done.err.startswith("error: ")
    assert said in done.err
    assert said in told.problem["detail"]


WRONG_VALUES: Final = [
    (["show", "notanid"], "id.malformed"),
    (["prove", "notanid"], "id.malformed"),
    (["log", "--caused-by", "x"], "id.malformed"),
    (["append", "--kind", "a.b", "--actor", "x"], "id.malformed"),
    (["append", "--kind", "BAD"], "kind.invalid"),
    (["append", "--kind", "tenant.create"], "kind.reserved"),
    (["append", "--kind", "a.b", "--tag", ""], "draft.invalid"),
    (["append", "--kind", "a.b", "--idempotency-key", "x" * 300], "idempotency.invalid"),
    (["append", "--kind", "a.b", "--data", "x"], "json.malformed"),
    (["append", "--kind", "a.b", "--data", '{"n": 1, "n": 2}'], "json.duplicate_key"),
]
WRONG_LINES: Final = {
    "{": "json.malformed",
    '{"kind": "BAD"}': "kind.invalid",
    '{"kind": "a.b", "actor": "x"}': "id.malformed",
    '{"kind": 1}': "draft.invalid",
}


def test_a_value_that_an_option_does_not_take_exits_with_2_and_such_a_line_of_a_file_with_1(
    daemon: Daemon, call: Call, tmp_path: Path
) -> None:
    here = ("--data-dir", str(daemon.data_dir), "--json")
    file = tmp_path / "lines.ndjson"

    for command, code in WRONG_VALUES:
        done = call(*command, *here)
        assert (done.problem["code"], done.code) == (code, 2)
    for line, code in WRONG_LINES.items():
        file.write_text(line)
        done = call("import", str(file), *here)
        assert (done.problem["code"], done.code) == (code, 1)


def test_a_malformed_value_is_called_so_once(call: Call, tmp_path: Path) -> None:
    said = call("append", "--kind", "a.b", "--data", "x", "--data-dir", str(tmp_path)).err

    assert said.startswith("error: Malformed JSON: --data: invalid character (byte 0) [json.malformed]\n")


@pytest.mark.parametrize(
    ("code", "status", "exit_code"),
    [
        ("node.internal", 500, 1),
        ("filter.invalid", 400, 2),
        ("token.wrong", 401, 4),
        ("role.insufficient", 403, 4),
        ("idempotency.mismatch", 409, 5),
        ("writer.busy", 503, 75),
        ("disk.full", 507, 75),
    ],
)
def test_an_error_of_the_node_decides_the_exit_code(call: Call, code: str, status: int, exit_code: int) -> None:
    with stub_node(problem(code, status, headers=[("Retry-After", "3600")])) as node:
        done = call("append", "--kind", "a.b", "--url", node.url, "--json")

    assert done.code == exit_code
    assert done.problem["code"] == code


def test_a_node_is_made_once_and_then_started(call: Call) -> None:
    assert call("--json").json["state"] == "none"

    made, again = call("init", "--json").json, call("init", "--json").json

    assert (made["is_new"], again["is_new"]) == (True, False)
    assert made["node"] == again["node"] == call("id", "show").out.strip()
    assert call("--json").json["state"] == "stopped"
    assert "lognode up" in call().out
    assert call("verify").code == 0


def test_a_second_daemon_on_one_data_directory_exits_with_5(daemon: Daemon, call: Call) -> None:
    done = call("up", "--data-dir", str(daemon.data_dir), "--listen", "127.0.0.1:0")

    assert done.code == 5
    assert "[data_dir.locked]" in done.err


def test_the_node_is_found_by_flag_environment_and_url(daemon: Daemon, call: Call) -> None:
    token_file = str(daemon.data_dir / "admin.token")
    node_id = call("id", "show", "--data-dir", str(daemon.data_dir)).out.strip()

    ways = [
        (["--data-dir", str(daemon.data_dir)], {}),
        (["--url", daemon.url, "--token-file", token_file], {}),
        ([], {"LOGNODE_DATA_DIR": str(daemon.data_dir)}),
        ([], {"LOGNODE_URL": daemon.url, "LOGNODE_TOKEN_FILE": token_file, "LOGNODE_TENANT": "default"}),
        # A flag wins over the environment; an empty variable is none.
        (["--data-dir", str(daemon.data_dir)], {"LOGNODE_URL": "http://127.0.0.1:1", "LOGNODE_TENANT": ""}),
    ]
    for flags, environ in ways:
        for arguments in (["status", *flags], [*flags, "status"]):
            assert call(*arguments, "--json", environ=environ).json["node"]["node"] == node_id


def test_an_import_that_failed_at_no_line_says_at_least_what_is_in(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "lines.ndjson"
    file.write_bytes(b'{"kind":"a.b"}\n' * (IMPORT_LINES_MAX + 1))
    taken = Answer(body=json.dumps({"appended": IMPORT_LINES_MAX, "duplicates": 0}).encode())

    with stub_node(taken, problem("database.damaged", 500)) as node:
        done = call("import", str(file), "--url", node.url)

    counts = f"{IMPORT_LINES_MAX} lines: {IMPORT_LINES_MAX} added, 0 already there"
    assert done.code == 1
    assert done.err.startswith(f"Before the error: at least {counts}. ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("log", "--fields", ""),
        ("log", "--fields", "id,"),
        ("status", "--data-dir", ""),
        ("--data-dir=", "init"),
        ("backup", "create", "backup", "--data-dir", ""),
        ("up", "--data-dir", "node", "--config", ""),
        ("up", "--data-dir", "node", "--mirror-dir", ""),
    ],
)
def test_an_empty_option_as_an_unset_variable_leaves_it_is_refused(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*arguments, "--json")

    assert (done.code, done.problem["code"]) == (2, "usage.invalid")
    assert "a span has no field ''" in done.err or "the path is empty" in done.err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_variable_is_not_the_current_directory(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    done = call("config", "show", "--json", environ={"LOGNODE_DATA_DIR": ""})

    assert str(tmp_path / ".local/share/lognode") in done.out


def test_a_url_alone_is_not_given_the_token_of_the_default_data_directory(
    daemon: Daemon, call: Call, tmp_path: Path
) -> None:
    (tmp_path / ".local" / "share").mkdir(parents=True)
    (tmp_path / ".local" / "share" / "lognode").symlink_to(daemon.data_dir)

    assert call("status").code == 0
    assert call("status", "--url", daemon.url).code == 4


def test_ctrl_c_while_the_command_is_still_being_imported_ends_of_sigint_and_without_a_word(tmp_path: Path) -> None:
    script = """
import sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "cyclopts":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from lognode.__main__ import main
main()
"""
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, cwd=tmp_path, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_verify_exits_with_1_and_names_what_is_damaged(daemon: Daemon, call: Call) -> None:
    here = ("--data-dir", str(daemon.data_dir))
    assert call("append", "--kind", "note.made", "--title", "Hello", *here).code == 0
    daemon.stop()
    with closing(sqlite3.connect(daemon.data_dir / "lognode.db")) as conn, conn:
        triggers = conn.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            conn.execute(f"DROP TRIGGER {name}")
        conn.execute(
            "UPDATE bodies SET body = CAST(replace(body, 'Hello', 'Jello') AS BLOB)"
            " WHERE row = (SELECT max(row) FROM bodies)"
        )
        for _, sql in triggers:
            conn.execute(sql)

    done = call("verify", *here)

    assert done.code == 1
    assert "damage [body.wrong]" in done.out
    assert json.loads(call("verify", "--json", *here).out.splitlines()[0])["severity"] == "damage"
