"""Power cuts of a node at work: at each, what it had told anybody is there, nothing is damaged, and it goes on.

    python -m tests.faults.powercut --seeds 1000        as scripts/powercut calls it

One run of a real daemon is recorded with every write, every sync and every byte that it sent: a first start, load
through all doors, an orderly end, another start, load, an end. Then the power is cut in that record, again and
again: a seed chooses the moment and, within disk.py's model, what the disk holds afterwards. A node opens that, as
`lognode up` would. What it sent before the moment, whether or not anybody read it, is what it must still know.
"""

import argparse
import bisect
import os
import re
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import TemporaryDirectory, mkdtemp
from typing import Final, NamedTuple

import cbor2
import trio

from lognode.core.draft import Draft
from lognode.core.errors import LognodeError
from lognode.identity.store import read_public
from lognode.node import parts as node
from lognode.node.identity import DATABASE_NAME, KEY_NAME
from lognode.settings import Settings
from lognode.timeline.store.audit import audit_file
from tests.faults.disk import Disk, Event, Rename, Sent, Sync, write_image
from tests.faults.history import Row, database_rows
from tests.faults.processes import HinderedDaemon
from tests.faults.trace import STRACE, parse_trace
from tests.faults.trial import Broken, Trial

LOAD_S: Final = 0.5  # of each start
SEEDS_A_RECORD: Final = 100
TRACE_S_MAX: Final = 30
LINE_BYTES_MAX: Final = 256  # of the line that says so
TRACE_NAME: Final = "trace"
MEMORY: Final = "/dev/shm"
NODE_NAME: Final = "node"
ANNOUNCEMENT: Final = f"{NODE_NAME}/{node.URL_NAME}"
AFTER_CUT: Final = Draft(kind="after.cut", data=cbor2.dumps({"name": "after the cut"}))
OPENED: Final = 2  # spans that every node has when it is ready: the tenant and the feed

_ID: Final = re.compile(rb'"id":"([0-9a-z]+)"')
_NOTE: Final = re.compile(rb"lognode\.v1/\S+\n(\d+)\n")


class Record(NamedTuple):
    """A recorded run."""

    data_dir: Path
    events: list[Event]
    moments: list[list[float]]  # at which to cut the power: of syncs, of what was sent, of anything
    promises: list[tuple[float, int]]  # moments, and how many spans somebody relies on from each on
    rows: list[Row]
    public: bytes

    def promised(self, moment: float) -> int:
        """How many spans somebody relies on at a moment; 0 when nobody has heard of the node."""
        return self.promises[bisect.bisect_left(self.promises, (moment, 0)) - 1][1]


class Cut(NamedTuple):
    """What came of one cut."""

    promised: int
    lost: int  # of those
    findings: list[str]


def record_run(folder: Path, seed: int, patch: str = "checkpointing") -> Record:
    """Record a daemon on `folder`/node from its first start to its second end."""
    trace = folder / TRACE_NAME
    with HinderedDaemon(folder / NODE_NAME, wrapper=(*STRACE, "-D", "-o", str(trace)), patch=patch) as daemon:
        trial = Trial(daemon, seed)
        for _ in range(2):
            daemon.start()
            with trial.load():
                time.sleep(LOAD_S)
            trial.settle()
            trial.check(all_sent=True)
            pid = daemon.pid
            daemon.stop()
            _wait_for_end(trace, pid)
        assert not trial.idle, f"{trial.idle} did nothing"
    record = read_record(folder)
    assert record.rows == trial.history.rows, "the record is not of this history"
    return record


def read_record(folder: Path) -> Record:
    """The record that was made in a directory, which must not have moved since.

    An assertion fails where the trace does not lead to the files that the daemon left.
    """
    data_dir = folder / NODE_NAME
    with (folder / TRACE_NAME).open() as lines:
        events = parse_trace(lines, data_dir)
    for path, content in Disk(events).seen().items():
        assert content is None or content == (folder / path).read_bytes(), f"{path} is not as it was recorded"
    rows = database_rows(data_dir)
    positions = {row.id.encode(): row.position for row in rows}
    promises = [(0.0, 0)]
    for began, _, operation in events:
        count = 0
        if isinstance(operation, Sent):
            count = max(_positions_in(operation.data, positions))
        elif isinstance(operation, Rename) and ANNOUNCEMENT in operation.sources:
            count = OPENED  # by now it has said its name
        promises.append((began, max(promises[-1][1], count)))
    ends = [event.ended for event in events if isinstance(event.operation, Sync)]
    sent = [event.began + 0.5 for event in events if isinstance(event.operation, Sent)]
    # Just before a sync ends, just after; just after something was sent; at any time.
    moments = [[*ends, *[end + 0.5 for end in ends]], sent, [event.began + 0.5 for event in events]]
    return Record(data_dir, events, moments, promises, rows, read_public(data_dir / KEY_NAME))


def _positions_in(sent: bytes, positions: Mapping[bytes, int]) -> Iterator[int]:
    """Up to which positions somebody relies on the history who was sent this: by spans, and by checkpoints."""
    yield 0
    yield from [positions[span_id] for span_id in _ID.findall(sent) if span_id in positions]
    yield from map(int, _NOTE.findall(sent))


def power_cuts(folder: Path, seeds: Sequence[int], patch: str = "checkpointing") -> Iterator[Cut]:
    """What comes of a power cut for each seed, in a run that is recorded in `folder` with the first of them."""
    record = record_run(folder, seeds[0], patch)
    for seed in seeds:
        yield cut_power(record, seed)


def cut_power(record: Record, seed: int) -> Cut:
    """What comes of a power cut at a moment that the seed chooses."""
    chance = Random(seed)
    return cut_power_at(record, chance.choice(chance.choice(record.moments)), chance)


def cut_power_at(record: Record, moment: float, chance: Random) -> Cut:
    """What comes of a power cut at a moment."""
    with TemporaryDirectory(prefix="lognode-cut-", dir=_in_memory()) as folder:
        write_image(Disk(record.events, moment).found(chance), Path(folder))
        return _judge(record, record.promised(moment), Path(folder) / NODE_NAME)


def _in_memory() -> str | None:
    """Where files are in memory, if anywhere: what a disk keeps was decided before, so nothing need wait for one."""
    return MEMORY if os.access(MEMORY, os.W_OK) else None


def _judge(record: Record, promised: int, data_dir: Path) -> Cut:
    """What a node makes of what is found in its data directory."""
    try:
        public, rows, findings = trio.run(_go_on, data_dir)
    except (LognodeError, sqlite3.Error, ExceptionGroup) as error:
        return Cut(promised, promised, [f"the node does not start: {error!r}"])
    lost = max(0, promised - len(rows)) if public == record.public else promised
    if lost:
        findings.append(f"{lost} of {promised} spans are lost")
    # A node that nobody had heard of may have been made anew.
    elif promised and rows != record.rows[: len(rows)]:
        findings.append("its spans are not those that were written")
    after = database_rows(data_dir)
    # What is found lies elsewhere than what was lost, and a copy opens a feed of its own.
    if after[: len(rows)] != rows or not 1 <= len(after) - len(rows) <= 2:
        findings.append("the history did not go on by one span")
    return Cut(promised, lost, [*findings, *_damage(data_dir)])


async def _go_on(data_dir: Path) -> tuple[bytes, list[Row], list[str]]:
    """Key and spans of a node that starts on a directory, and what is wrong with them; then it appends a span."""
    mask = os.umask(0o077)  # a node sets its own
    try:
        async with node.open_parts(Settings(data_dir=data_dir), node.real_world()) as parts:
            rows, findings = database_rows(data_dir), _damage(data_dir)
            async with trio.open_nursery() as nursery:
                await nursery.start(parts.writer.run)
                await parts.writer.append(parts.store.tenants[node.DEFAULT_TENANT], [AFTER_CUT])
                nursery.cancel_scope.cancel()
    finally:
        os.umask(mask)
    return parts.keys.public, rows, findings


def _damage(data_dir: Path) -> list[str]:
    audited = audit_file(data_dir / DATABASE_NAME, node_public=read_public(data_dir / KEY_NAME))
    return [f"{finding.code} at {finding.place}: {finding.detail}" for finding in audited]


def _wait_for_end(trace: Path, pid: int) -> None:
    """Wait until strace, which by -D is nobody's child, has written that the daemon ended."""
    deadline = time.monotonic() + TRACE_S_MAX
    while not re.search(rf"^{pid} +\+\+\+ exited", _end_of(trace), re.MULTILINE):
        assert time.monotonic() < deadline, "strace did not end"
        time.sleep(0.05)


def _end_of(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LINE_BYTES_MAX))
        return file.read().decode("ascii")


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="scripts/powercut", description="Cut the power of a recorded node.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many cuts; 1000 by default")
    parser.add_argument("--seed", type=int, default=1, help="of the first cut; each next one adds 1")
    parser.add_argument("--record", type=Path, help="cut in this record, which an earlier call kept, not in new ones")
    arguments = parser.parse_args()
    start, end = ("\r\x1b[K", "") if sys.stdout.isatty() else ("", "\n")
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    for line in _say_cuts(seeds, arguments.record):
        sys.stdout.write(start + line + end)
        sys.stdout.flush()


def _say_cuts(seeds: range, kept: Path | None) -> Iterator[str]:
    """A line for each cut. Raises Broken at the first that costs anything, and then keeps the record."""
    promised = 0
    for first in range(0, len(seeds), SEEDS_A_RECORD):
        some = seeds[first : first + SEEDS_A_RECORD]
        folder = kept or Path(mkdtemp(prefix="lognode-powercut-"))
        record = read_record(folder) if kept else record_run(folder, some[0])
        for seed in some:
            cut = cut_power(record, seed)
            if cut.findings:
                raise Broken(f"--record {folder} --seed {seed} --seeds 1\n" + "\n".join(cut.findings))
            promised += cut.promised
            done = seed - seeds[0] + 1
            yield f"{done} of {len(seeds)} cuts, seed {seed}: {promised} promised spans, none lost, nothing damaged"
        if not kept:
            rmtree(folder)


if __name__ == "__main__":
    main()
