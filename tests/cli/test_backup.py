"""The backup commands as a person or a nightly job calls them."""

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from typing import Final

import pytest

from lognode.core.limits import MIB
from tests.cli.lognode_command import COMMAND, Lognode
from tests.daemon import Daemon
from tests.faults.failing_disk import at_one_call
from tests.faults.processes import refused

WAIT_S_MAX: Final = 60
LARGE_BYTES: Final = 64 * MIB  # of a database whose copy takes a while


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A running daemon that the tests here share."""
    daemon = Daemon(tmp_path_factory.mktemp("backup") / "node")
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def lognode(node: Daemon, tmp_path: Path) -> Lognode:
    return Lognode(tmp_path, node.data_dir)


def test_a_running_node_is_backed_up_verified_and_restored_elsewhere(node: Daemon, lognode: Lognode) -> None:
    receipt = lognode.json("append", "--kind", "note.made", "--idempotency-key", "one")
    made = lognode.json("backup", "create", "backup")
    assert lognode.json("backup", "verify", "backup") == {"ok": True, **made}
    assert made["node"] == lognode.json("id", "show")["node"]
    assert sorted(made["files"]) == ["lognode.db", "node.key"]
    assert made["spans"] == lognode.json("status")["tenant"]["spans"]

    restored = lognode.json("backup", "restore", "backup", "--data-dir", "restored")

    assert restored == {"data_dir": "restored", **made}
    other = Daemon(lognode.home / "restored")
    other.start()
    there = Lognode(lognode.home, other.data_dir)
    assert other.token != node.token
    assert [feed["open"] for feed in there.json("status")["tenant"]["feeds"]] == [False]
    assert there.json("show", receipt["id"])["id"] == receipt["id"]
    again = there.json("append", "--kind", "note.made", "--idempotency-key", "one")
    assert again == {**receipt, "duplicate": True, "checkpoint_size": again["checkpoint_size"]}
    old, new = there.json("status")["tenant"]["feeds"]
    assert (old["feed"], old["open"], new["open"]) == (receipt["feed"], False, True)
    other.stop()


def test_a_restored_settings_file_that_names_the_old_directory_is_told_of(tmp_path: Path) -> None:
    lognode = Lognode(tmp_path)
    lognode.text("init", "--data-dir", "old")
    file = lognode.home / "old/lognode.toml"
    file.write_text(lognode.text("config", "show", "--data-dir", "old"))  # as long as there was none
    lognode.text("backup", "create", "backup", "--data-dir", "old")

    done = lognode.run("backup", "restore", "backup", "--data-dir", "new")

    assert done.returncode == 0
    told = b"Before you start it, see to new/lognode.toml:1: data_dir: the file in a data directory cannot name another"
    assert told in done.stderr
    assert lognode.run("up", "--data-dir", "new").returncode == 2
    file.write_text(lognode.text("config", "show", "--data-dir", "old"))  # now that there is one
    lognode.text("backup", "create", "second", "--data-dir", "old")
    assert b"see to" not in lognode.run("backup", "restore", "second", "--data-dir", "newer").stderr


def test_people_are_told_what_a_backup_holds_and_to_keep_it_safe(lognode: Lognode) -> None:
    done = lognode.run("backup", "create", "backup")
    assert b"keep it as safe as the node itself" in done.stderr
    assert [line.split()[0] for line in done.stdout.decode().splitlines()] == "Backup Node Made Spans Size".split()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("create", "taken"), 5, "backup.exists"),
        (("create", "nowhere/backup"), 1, "file.unreadable"),
        (("create", "backup", "--data-dir", "empty"), 1, "file.unreadable"),
        (("verify", "empty"), 1, "file.unreadable"),
        (("restore", "empty", "--data-dir", "new"), 1, "file.unreadable"),
        (("restore", "empty"), 5, "data_dir.taken"),
    ],
)
def test_what_cannot_be_done_is_refused(
    lognode: Lognode, arguments: tuple[str, ...], exit_code: int, code: str
) -> None:
    (lognode.home / "empty").mkdir()
    (lognode.home / "taken").mkdir()
    (lognode.home / "taken" / "file").touch()
    if "--data-dir" not in arguments and arguments[0] != "verify":
        arguments = (*arguments, "--data-dir", lognode.environ["LOGNODE_DATA_DIR"])

    answer = refused(lognode.home, "backup", *arguments)

    assert (answer.exit_code, answer.code) == (exit_code, code)
    assert sorted(path.name for path in lognode.home.iterdir()) == ["empty", "taken"]


@pytest.fixture(scope="module")
def large(node: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose database takes a while to copy; most of it means nothing."""
    folder = tmp_path_factory.mktemp("large")
    Lognode(folder, node.data_dir).text("backup", "create", "node")
    (folder / "node/backup.json").unlink()
    sql = f"CREATE TABLE filler (bytes BLOB); INSERT INTO filler VALUES (zeroblob({LARGE_BYTES}));"
    script = f"import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript({sql!r})"
    run((COMMAND[0], "-c", script, folder / "node/lognode.db"), check=True)
    return folder / "node"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 130), (signal.SIGHUP, 130)]
)
def test_ctrl_c_and_what_else_ends_a_command_leaves_nothing(
    large: Path, tmp_path: Path, number: int, code: int
) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    with Lognode(tmp_path, large).start("backup", "create", "backup") as process:
        while not list(tmp_path.glob(".backup.*/lognode.db")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(number)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (code, b"", b"Stopped; nothing was written.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [1, 40, 4000])
def test_a_full_disk_has_its_code_and_leaves_nothing(large: Path, tmp_path: Path, number: int) -> None:
    answer = refused(
        tmp_path,
        *("backup", "create", "backup", "--data-dir", str(large)),
        wrapper=at_one_call("pwrite64", "error=ENOSPC", number),
    )
    assert (answer.exit_code, answer.code) == (75, "disk.full")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_at_a_restore_has_its_code_and_leaves_nothing(lognode: Lognode) -> None:
    lognode.text("backup", "create", "backup")
    answer = refused(
        lognode.home,
        *("backup", "restore", "backup", "--data-dir", "new"),
        wrapper=at_one_call("write", "error=ENOSPC", 2),
    )
    assert (answer.exit_code, answer.code) == (75, "disk.full")
    assert [path.name for path in lognode.home.iterdir()] == ["backup"]


def test_findings_are_printed_and_the_exit_code_is_1(lognode: Lognode) -> None:
    lognode.text("backup", "create", "backup")
    (lognode.home / "backup/lognode.db").unlink()
    shutil.copy(lognode.home / "backup/node.key", lognode.home / "backup/lognode.db")
    done = lognode.run("backup", "verify", "backup")
    assert done.returncode == 1
    assert done.stdout.startswith(b"damage [backup.wrong] lognode.db: ")
