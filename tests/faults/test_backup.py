"""Backups of a daemon under load, and ways to copy or restore one that are wrong, which the same trial finds."""

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.agreement.test_copies import make_plain
from tests.faults.backup import backup_trial, create, restore
from tests.faults.trial import Broken

SEED: Final = 5101
LOAD_S: Final = 2.0  # scripts/backup-under-load takes 30
RESET_S_MAX: Final = 30


def copy_file_alone(data_dir: Path, folder: Path) -> None:
    """The database as it lies there, without its WAL."""
    folder.mkdir()
    for name in ("lognode.db", "node.key"):
        shutil.copy(data_dir / name, folder)


def copy_slowly(data_dir: Path, folder: Path) -> None:
    """The database, and some time later its WAL, as by cp on a slow disk."""
    copy_file_alone(data_dir, folder)
    wal = data_dir / "lognode.db-wal"
    salts = salts_of(wal)
    deadline = time.monotonic() + RESET_S_MAX
    with closing(sqlite3.connect(data_dir / "lognode.db", isolation_level=None)) as conn:
        while salts_of(wal) == salts:
            assert time.monotonic() < deadline, "the WAL did not begin anew"
            conn.execute("PRAGMA wal_checkpoint(RESTART)")  # as the daemon does every 16 MiB
            time.sleep(0.05)
    shutil.copy(wal, folder)


def salts_of(wal: Path) -> bytes:
    """What changes when a WAL begins anew."""
    return wal.read_bytes()[16:24]


def use_as_it_is(folder: Path, data_dir: Path) -> None:
    """Start a node on what was copied."""
    shutil.copytree(folder, data_dir)


def restore_and_go_on(folder: Path, data_dir: Path) -> None:
    """A restored node that goes on in its old feed."""
    restore(folder, data_dir)
    with closing(sqlite3.connect(data_dir / "lognode.db", isolation_level=None)) as conn:
        conn.execute("DELETE FROM endings")
    make_plain(data_dir)


def test_a_backup_of_a_loaded_node_holds_what_was_acknowledged_and_forks_nothing(tmp_path: Path) -> None:
    done = backup_trial(tmp_path, SEED, LOAD_S)

    assert 0 < done.before < done.copied < done.original


def test_a_backup_that_is_put_in_place_by_hand_forks_nothing_either(tmp_path: Path) -> None:
    done = backup_trial(tmp_path, SEED, LOAD_S, use=use_as_it_is)

    assert 0 < done.before < done.copied < done.original


WRONG: Final = {
    "copies the database file alone": (copy_file_alone, use_as_it_is, "not in it|is damaged"),
    "copies the database and later its WAL": (copy_slowly, use_as_it_is, "not in it|is damaged"),
    "lets a restored node go on in its old feed": (create, restore_and_go_on, "places have two spans"),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_trial_finds_who(tmp_path: Path, what: str) -> None:
    copy, use, finding = WRONG[what]
    with pytest.raises(Broken, match=finding):
        backup_trial(tmp_path, SEED, LOAD_S, copy=copy, use=use)
