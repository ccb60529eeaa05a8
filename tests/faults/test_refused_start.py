"""A daemon that must not start: it says why, exits as promised, and leaves everything as it was."""

import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.faults.processes import AS_ANYBODY, HinderedDaemon, Refused, refused, verify_command
from tests.faults.trial import Trial

SEED: Final = 6001
NEWER_VERSION: Final = 999
# Opens a database, and dies before it could close it: its journal stays.
SET_VERSION_AND_DIE: Final = """
import os, sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
conn.execute("PRAGMA user_version = " + sys.argv[2])
os._exit(0)
"""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A daemon with some spans that is stopped; it starts again after all tests."""
    with HinderedDaemon(tmp_path_factory.mktemp("start") / "node") as daemon:
        daemon.start()
        trial = Trial(daemon, SEED)
        with trial.load():
            time.sleep(0.2)
        trial.settle()
        trial.check(all_sent=True)
        daemon.stop()
        yield trial
        daemon.start()
        trial.check(all_sent=True)
        verify_command(daemon.data_dir)
        daemon.stop()


@pytest.fixture
def trial(stopped: Trial) -> Iterator[Trial]:
    """The stopped daemon; after the test its database holds what it held."""
    yield stopped
    stopped.check_file()


@pytest.fixture
def folder(trial: Trial) -> Path:
    """The data directory of the stopped daemon."""
    return trial.daemon.data_dir


def refused_start(folder: Path, listen: str = "127.0.0.1:0", wrapper: Sequence[str] = ()) -> Refused:
    return refused(folder.parent, "up", "--data-dir", str(folder), "--listen", listen, wrapper=wrapper)


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a data directory that keeps something: neither the lock nor the index of the journal does."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix not in {".lock", ".db-shm"}}


@contextmanager
def read_only(paths: Iterable[Path]) -> Iterator[None]:
    """While inside, nobody may write to these files or into these folders."""
    modes = {path: path.stat().st_mode for path in paths}
    try:
        for path in modes:
            path.chmod(0o500 if path.is_dir() else 0o400)
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def test_an_address_that_is_taken_exits_with_5(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refusal = refused_start(folder, address)

    assert (refusal.code, refusal.exit_code) == ("listen.taken", 5)
    assert address in refusal.problem["detail"]
    assert not (folder / "api.url").exists()


def test_a_second_daemon_on_one_data_directory_exits_with_5_and_the_first_goes_on(trial: Trial) -> None:
    first, folder = trial.daemon, trial.daemon.data_dir
    first.start()
    pid = first.pid
    refusals = [refused_start(folder), refused(folder.parent, "init", "--data-dir", str(folder))]
    with trial.load():
        time.sleep(0.1)
    trial.settle()
    trial.check(all_sent=True)
    first.stop()

    for refusal in refusals:
        assert (refusal.code, refusal.exit_code) == ("data_dir.locked", 5)
        assert refusal.problem["detail"].endswith(f"process {pid}")


@pytest.mark.parametrize(
    "names", [["."], [".", "lognode.db", "lognode.lock"], ["lognode.db"]], ids=["folder", "all", "database"]
)
def test_a_data_directory_that_is_read_only_exits_with_1(folder: Path, names: list[str]) -> None:
    before = content(folder)

    with read_only(folder / name for name in names):
        refusal = refused_start(folder, wrapper=AS_ANYBODY)

    assert (refusal.code, refusal.exit_code) == ("data_dir.unwritable", 1)
    assert str(folder) in refusal.problem["detail"]
    assert content(folder) == before


def test_a_data_directory_that_cannot_be_made_exits_with_1(tmp_path: Path) -> None:
    with read_only([tmp_path]):
        refusal = refused(tmp_path, "init", "--data-dir", str(tmp_path / "node"), wrapper=AS_ANYBODY)

    assert (refusal.code, refusal.exit_code) == ("data_dir.unwritable", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("has_journal", [False, True], ids=["closed", "with a journal"])
def test_a_newer_database_exits_with_5_and_stays_byte_for_byte(folder: Path, *, has_journal: bool) -> None:
    database = folder / "lognode.db"
    version = set_version(database, NEWER_VERSION)
    if has_journal:
        command = (sys.executable, "-c", SET_VERSION_AND_DIE, str(database), str(NEWER_VERSION + 1))
        subprocess.run(command, check=True)
        assert (folder / "lognode.db-wal").stat().st_size > 0
    before = content(folder)

    refusal = refused_start(folder)
    after = content(folder)
    set_version(database, version)

    assert (refusal.code, refusal.exit_code) == ("database.newer", 5)
    assert [name for name in before if after.get(name) != before[name]] == []


def set_version(database: Path, version: int) -> int:
    """The schema version that was there before."""
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        before: int = conn.execute("PRAGMA user_version").fetchone()[0]
        conn.execute(f"PRAGMA user_version = {version}")
    return before


def test_a_start_that_is_not_refused_is_found(folder: Path) -> None:
    with pytest.raises(AssertionError):
        refused(folder.parent, "init", "--data-dir", str(folder))
