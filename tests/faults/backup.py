"""A backup of a daemon under load, restored elsewhere while the original goes on; and the judgement of both.

    python -m tests.faults.backup --seconds 30        as scripts/backup-under-load calls it

What is compared: what clients were told before the backup began, the restored node by its API and its file, and
the places of both feeds. Invariant: no place of any feed has two spans, wherever they are read.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import httpx

from tests.cli.lognode_command import Lognode
from tests.faults.history import Row, database_rows, row_of, shown
from tests.faults.load import SPANS, Receipt
from tests.faults.processes import HinderedDaemon
from tests.faults.trial import Broken, Trial
from tests.independent.tlog_proof_checker import Rejected, check

SHARE_BEFORE: Final = 0.5  # of the load
PROOFS: Final = 20  # of spans from before the restore
STATS: Final = "/v1/tenants/default/stats"

# Copies a data directory into a new folder while the daemon works; returns once that is done.
Copy = Callable[[Path, Path], None]


class Outcome(NamedTuple):
    """What a trial came to."""

    before: int  # acknowledged before the backup began
    during: int  # acknowledged while it was made
    copied: int  # spans in the backup
    backup_s: float
    original: int  # spans of the original at the end


def create(data_dir: Path, folder: Path) -> None:
    """As an operator does."""
    Lognode(folder.parent).text("backup", "create", str(folder), "--data-dir", str(data_dir))


def restore(folder: Path, data_dir: Path) -> None:
    """As on another machine: a home of its own."""
    Lognode(data_dir.parent).text("backup", "restore", str(folder), "--data-dir", str(data_dir))


def backup_trial(folder: Path, seed: int, load_s: float, *, copy: Copy = create, use: Copy = restore) -> Outcome:
    """Load a daemon for so long, copy it in the middle, use the copy elsewhere. Raises Broken."""
    home, elsewhere = folder / "home", folder / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    with HinderedDaemon(home / "node") as original, HinderedDaemon(elsewhere / "node") as restored:
        original.start()
        trial = Trial(original, seed)
        with trial.load():
            time.sleep(load_s * SHARE_BEFORE)
            told = acknowledged(trial)
            started_s = time.monotonic()
            copy(original.data_dir, home / "backup")
            backup_s = time.monotonic() - started_s
            during = trial.acknowledged - len(told)
            time.sleep(load_s * (1 - SHARE_BEFORE))
        trial.settle()
        trial.check(all_sent=True)
        use(home / "backup", restored.data_dir)
        verified = Lognode(elsewhere).run("verify", "--data-dir", str(restored.data_dir))
        if verified.returncode:
            raise Broken(f"the restored node is damaged: {verified.stdout.decode()}")
        copied = database_rows(restored.data_dir)
        judge(findings_of_copy(copied, told, trial.history.rows))
        restored.start()
        judge(findings_of_life(restored, copied))
        judge(findings_of_forks(database_rows(original.data_dir), database_rows(restored.data_dir)))
        restored.stop()
        original.stop()
    return Outcome(len(told), during, len(copied), backup_s, len(trial.history.rows))


def acknowledged(trial: Trial) -> dict[str, Receipt | None]:
    """What clients were told so far, by the names of spans."""
    return {name: receipt for client in trial.clients for name, receipt in dict(client.acknowledged).items()}


def findings_of_copy(copied: list[Row], told: dict[str, Receipt | None], original: list[Row]) -> Iterator[str]:
    """What is wrong with the copied spans, given what was told before and what the original has."""
    held = {row.name: row for row in copied}
    if lost := told.keys() - held.keys():
        yield f"{len(lost)} spans were acknowledged before the backup began and are not in it: {shown(lost)}"
    if moved := [name for name, receipt in told.items() if receipt and row_of(receipt, name) != held.get(name)]:
        yield f"{len(moved)} spans are not what their receipts say: {shown(moved)}"
    if copied != original[: len(copied)]:
        yield "the copy holds something else than the original"


def findings_of_life(restored: HinderedDaemon, copied: list[Row]) -> Iterator[str]:
    """What is wrong with a restored node that is written to."""
    with restored.client() as http:
        (old,) = http.get(STATS).json()["feeds"]
        receipt = http.post(SPANS, json={"kind": "restored.note", "data": {"name": "restored"}}).json()
        feeds = http.get(STATS).json()["feeds"]
        if receipt["feed"] == old["feed"]:
            return  # whether that is a fork is judged by the places
        opening = next(row for row in database_rows(restored.data_dir) if (row.feed, row.seq) == (receipt["feed"], 0))
        opened = http.get(f"{SPANS}/{opening.id}").json()["data"]
        parent = (opened["parent_size"], opened["parent_root"], opened["reason"])
        if (receipt["seq"], parent) != (1, (old["size"], old["root"], "restore")):
            yield f"the new feed does not say where it comes from: {opened}"
        if opening.id <= copied[-1].id:
            yield "the new feed begins before the end of the old one"
        yield from findings_of_keys(http, copied)
        step = max(1, len(copied) // PROOFS)
        vkeys = {feed["feed"]: feed["vkey"] for feed in feeds}
        for span_id, feed in [*[(row.id, row.feed) for row in copied[::step]], (receipt["id"], receipt["feed"])]:
            try:
                check(http.get(f"{SPANS}/{span_id}/proof").content, vkeys[feed])
            except Rejected as error:
                yield f"the proof of {span_id} does not hold: {error}"


def findings_of_keys(http: httpx.Client, copied: list[Row]) -> Iterator[str]:
    """Whether a span of the backup is the same one when it is sent again with its key."""
    row = next(row for row in reversed(copied) if row.name and row.name.startswith("single."))
    span = http.get(f"{SPANS}/{row.id}").json()
    draft = {field: span[field] for field in ("kind", "title", "data", "tags")}
    again = http.post(SPANS, json=draft, headers={"Idempotency-Key": row.name or ""}).json()
    if (again.get("id"), again.get("duplicate")) != (row.id, True):
        yield f"the key of a span in the backup does not hold: {again}"


def findings_of_forks(one: list[Row], other: list[Row]) -> Iterator[str]:
    """Places of a feed at which two spans stand."""
    leaves = {(row.feed, row.seq): row.leaf for row in one}
    forked = [f"{row.feed} {row.seq}" for row in other if leaves.get((row.feed, row.seq), row.leaf) != row.leaf]
    if forked:
        yield f"{len(forked)} places have two spans: {shown(forked)}"


def judge(findings: Iterator[str]) -> None:
    if found := list(findings):
        raise Broken("\n".join(found))


def main() -> None:
    """Do what the command line asks for, on fresh directories."""
    parser = argparse.ArgumentParser(
        prog="scripts/backup-under-load", description="Back up a loaded daemon, restore it elsewhere, let both go on."
    )
    parser.add_argument("--seconds", type=float, default=30, help="of load; 30 by default")
    parser.add_argument("--trials", type=int, default=1, help="how often; 1 by default")
    parser.add_argument("--seed", type=int, default=1, help="of the first trial; each next one adds 1")
    arguments = parser.parse_args()
    for seed in range(arguments.seed, arguments.seed + arguments.trials):
        with TemporaryDirectory(prefix="lognode-backup-") as folder:
            done = backup_trial(Path(folder), seed, arguments.seconds)
        sys.stdout.write(
            f"seed {seed}: {done.before} spans acknowledged before the backup began, all {done.copied} in it whole;"
            f" it took {done.backup_s:.1f} s, while {done.during} more were acknowledged; original and restored node"
            f" went on, and no place has two spans\n"
        )


if __name__ == "__main__":
    main()
