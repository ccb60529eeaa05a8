"""Power cuts in the record of a real daemon, and in those of daemons that are wrong, which the same cuts find."""

import re
from pathlib import Path
from random import Random
from subprocess import run
from typing import Final

import pytest

from tests.daemon import LOGNODE
from tests.faults.disk import Certain, Disk, Sent, Write
from tests.faults.powercut import Record, cut_power, cut_power_at, power_cuts, record_run
from tests.faults.trace import STRACE, parse_trace

# A hundred cuts; scripts/powercut makes a thousand, in ten records.
SEEDS: Final = range(3101, 3201)
FIRST_START_SEEDS: Final = 3
BROKEN_CUTS_MAX: Final = 100


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return record_run(tmp_path_factory.mktemp("powercut"), SEEDS[0])


def test_a_power_cut_loses_nothing_that_was_told_and_damages_nothing(record: Record) -> None:
    found = {seed: cut for seed in SEEDS if (cut := cut_power(record, seed)).findings}

    assert found == {}, f"the record is in {record.data_dir.parent}"


def test_the_record_has_copied_its_log_into_the_database_between_answers(record: Record) -> None:
    sent = [event.began for event in record.events if isinstance(event.operation, Sent)]
    copied = [
        event.began
        for event in record.events
        if isinstance(event.operation, Write) and event.operation.path == "node/lognode.db"
    ]

    assert any(sent[0] < began < sent[-1] for began in copied)


def test_a_first_start_that_is_cut_short_is_made_good_by_the_next(record: Record) -> None:
    """At every moment until somebody has heard of the node, and a little beyond; what is found alike is judged once."""
    (heard,) = [began for began, count in record.promises if count][:1]
    early = [event for event in record.events if event.began <= heard]
    moments = sorted({moment + 0.5 for event in early for moment in (event.began, event.ended)})
    cuts = {
        (record.promised(moment), *sorted(Disk(record.events, moment).found(Random(seed)).items())): (moment, seed)
        for moment in moments
        for seed in range(FIRST_START_SEEDS)
    }
    found = {
        (moment, seed): cut
        for moment, seed in cuts.values()
        if (cut := cut_power_at(record, moment, Random(seed))).findings
    }

    assert found == {}, f"the record is in {record.data_dir.parent}"


def test_a_new_data_directory_is_durable_with_those_above_it(tmp_path: Path) -> None:
    data_dir = tmp_path / "a" / "b" / "node"
    run((*STRACE, "-o", tmp_path / "trace", *LOGNODE, "init", "--data-dir", data_dir), check=True, capture_output=True)
    with (tmp_path / "trace").open() as lines:
        least = Disk(parse_trace(lines, tmp_path / "a")).found(Certain(is_kind=False))

    assert {f"a/b/node/{name}" for name in ("node.key", "admin.token", "lognode.db")} <= least.keys()


@pytest.mark.parametrize(
    ("patch", "finding"),
    [
        ("careless", "[0-9]+ of [0-9]+ spans are lost"),
        ("reckless", "malformed|damaged"),
        ("unsynced", "key file damaged|the file holds no token"),
    ],
    ids=["syncs too rarely", "never syncs its database", "never syncs its key"],
)
def test_the_cuts_find_a_daemon_that(tmp_path: Path, patch: str, finding: str) -> None:
    cuts = power_cuts(tmp_path, range(SEEDS[0], SEEDS[0] + BROKEN_CUTS_MAX), patch)

    assert any(re.search(finding, line) for cut in cuts for line in cut.findings)
