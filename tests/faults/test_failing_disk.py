"""Disks that fail or are full, under a real daemon at work: it says so, loses nothing, and recovers by itself."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from lognode.core.errors import ERRORS
from lognode.core.limits import KIB
from tests.cli.lognode_command import Lognode
from tests.faults.failing_disk import SmallDisk, failing, may_mount, no_file_may_grow, small_disk
from tests.faults.load import SPANS, Unexpected
from tests.faults.processes import HinderedDaemon, refused
from tests.faults.trial import Broken, Trial

SEED: Final = 7001
LOAD_S: Final = 0.2
FAULT_S: Final = 0.4
ROOM_BYTES: Final = 256 * KIB  # for some commits
FILE_BYTES_MAX: Final = 64 * KIB  # less than what any database has
WAIT_S_MAX: Final = 30
TOLERATED: Final = ("writer.busy", "writer.failed", "disk.full")
DRAFT: Final = {"kind": "a.b", "data": {"name": "never to be stored"}}
LOG_TO_FULL_DISK: Final = ("sh", "-c", 'exec "$@" 2>/dev/full', "sh")

# Calls that fail, how, what an append is told then, and a command for the daemon to stand behind.
FAULTS: Final = {
    "fsync fails": ("fsync,fdatasync", "EIO", "writer.failed", ()),
    "writing fails": ("pwrite64", "EIO", "writer.failed", ()),
    "no room is left, not for the log either": ("pwrite64", "ENOSPC", "disk.full", LOG_TO_FULL_DISK),
}


def assert_fault_is_told(trial: Trial, code: str) -> None:
    """Asserts what clients are told while nothing can be written: appends fail, reads do not."""
    daemon = trial.daemon
    assert code in trial.refusals
    with daemon.client() as http:
        answer = http.post(SPANS, json=DRAFT)
        assert (answer.json()["code"], answer.status_code) == (code, ERRORS[code].status)
        assert answer.json()["retryable"] is True
        assert int(answer.headers["Retry-After"]) > 0
        trial.check()
        assert http.get("/livez").is_success
        # The answer from before the fault stands for a second.
        wait_for(lambda: http.get("/readyz").json(), lambda told: told.get("code") == "node.not_ready")
    done = Lognode(daemon.data_dir.parent, daemon.data_dir).run("status")
    assert done.returncode == 75, done.stderr


def assert_all_is_well(trial: Trial) -> None:
    """Asserts that the node recovered: each span that was ever sent is there, once, and it is ready."""
    with trial.load():
        time.sleep(LOAD_S)
    trial.settle()
    trial.check(all_sent=True)
    with trial.daemon.client() as http:
        wait_for(lambda: http.get("/readyz").status_code, lambda status: status == httpx.codes.OK)


def wait_for(ask: Callable[[], Any], is_right: Callable[[Any], bool]) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not is_right(answer := ask()):
        assert time.monotonic() < deadline, f"still {answer}"
        time.sleep(0.05)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_node_says_so_and_recovers_without_a_restart_when(tmp_path: Path, fault: str) -> None:
    calls, error, code, wrapper = FAULTS[fault]
    with HinderedDaemon(tmp_path / "node", patch="traceable", wrapper=wrapper) as daemon, ExitStack() as disk:
        daemon.start()
        trial = Trial(daemon, SEED, TOLERATED)
        with trial.load():
            time.sleep(LOAD_S)
            disk.enter_context(failing(daemon.pid, calls, error))
            time.sleep(FAULT_S)
        assert_fault_is_told(trial, code)
        disk.close()
        assert_all_is_well(trial)
        daemon.stop()


def test_a_node_that_is_killed_while_its_disk_fails_has_what_it_acknowledged(tmp_path: Path) -> None:
    with HinderedDaemon(tmp_path / "node", patch="traceable") as daemon:
        daemon.start()
        trial = Trial(daemon, SEED, TOLERATED)
        with trial.load():
            time.sleep(LOAD_S)
            with failing(daemon.pid, "fsync,fdatasync", "EIO"):
                time.sleep(FAULT_S)
                daemon.kill()
        daemon.start()
        trial.check()
        assert_all_is_well(trial)
        daemon.stop()


def test_a_node_that_does_not_hear_of_a_failed_commit_is_found(tmp_path: Path) -> None:
    with HinderedDaemon(tmp_path / "node", patch="deaf") as daemon:
        daemon.start()
        trial = Trial(daemon, SEED, TOLERATED)
        # A stream finds it itself when its receipts are read back from a store that does not have the spans.
        with pytest.raises((Broken, Unexpected), match=r"acknowledged spans of .* are lost|lines and has \d+ receipts"):
            load_and_check(trial, daemon.pid)


def load_and_check(trial: Trial, pid: int) -> None:
    with trial.load():
        time.sleep(LOAD_S)
        with failing(pid, "fsync,fdatasync", "EIO"):
            time.sleep(FAULT_S)
    trial.check()


def test_a_node_whose_files_may_not_grow_recovers_when_they_may(tmp_path: Path) -> None:
    with HinderedDaemon(tmp_path / "node") as daemon, ExitStack() as quota:
        daemon.start()
        trial = Trial(daemon, SEED, TOLERATED)
        with trial.load():
            time.sleep(LOAD_S)
            quota.enter_context(no_file_may_grow(daemon.pid, FILE_BYTES_MAX))
            time.sleep(FAULT_S)
        assert_fault_is_told(trial, "writer.failed")
        quota.close()
        assert_all_is_well(trial)
        daemon.stop()


def check_full_disk(folder: Path) -> None:
    """Fills a disk of its own under a daemon, restarts the daemon, and makes room again."""
    with small_disk(folder) as disk, HinderedDaemon(folder / "node") as daemon:
        daemon.start()
        trial = Trial(daemon, SEED, TOLERATED)
        with trial.load():
            time.sleep(LOAD_S)
            disk.fill(ROOM_BYTES)
            time.sleep(FAULT_S)
        use_up(disk, trial)
        assert_fault_is_told(trial, "disk.full")
        disk.free()
        assert_all_is_well(trial)

        use_up(disk, trial)
        daemon.kill()
        # A node that has its files may start even now, to be read; one that has none cannot.
        another = str(folder / "another")
        refusals = [
            refused(folder, "up", "--listen", "127.0.0.1:0", "--data-dir", another),
            refused(folder, "init", "--data-dir", another),
        ]
        disk.free()
        daemon.start()
        assert_all_is_well(trial)
        daemon.stop()

    for refusal in refusals:
        assert (refusal.code, refusal.exit_code) == ("disk.full", 75)


def use_up(disk: SmallDisk, trial: Trial) -> None:
    """Take all room, and what the daemon gives back when it tidies up, until no span finds any."""
    refused_in_a_row = 0
    while refused_in_a_row < 3:
        disk.fill(0)
        parcel = trial.single.parcel_of(1)
        trial.single.append(trial.daemon, iter([parcel]))
        refused_in_a_row = refused_in_a_row + 1 if parcel.key in trial.single.pending else 0


if may_mount():  # where nobody may, ENOSPC by strace and the quota stand in for it

    def test_a_full_disk_is_said_and_survived(tmp_path: Path) -> None:
        check_full_disk(tmp_path / "disk")
