"""A daemon killed, or asked to stop, under load, many times; and wrong daemons, which the same rounds find."""

from pathlib import Path
from signal import SIGTERM
from typing import Final

import pytest

from tests.faults.kill9 import ROUNDS_A_SEED, Make, kill_rounds
from tests.faults.processes import HinderedDaemon
from tests.faults.trial import Broken

# Three times ten rounds; scripts/kill9 makes a thousand.
SEEDS: Final = (4101, 4102, 4103)
BROKEN_ROUNDS_MAX: Final = 10
STOPS: Final = 4


class Amnesiac(HinderedDaemon):
    """A daemon whose newest commits had never reached the disk."""

    def start(self) -> None:
        if not self.data_dir.exists():
            super().start()
            self.stop()  # the first commits shall be in the database, not only in its log
        super().start()

    def kill(self) -> None:
        super().kill()
        for ending in ("-wal", "-shm"):
            (self.data_dir / f"lognode.db{ending}").unlink(missing_ok=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_daemon_has_lost_and_doubled_nothing_that_it_acknowledged(tmp_path: Path, seed: int) -> None:
    rounds = list(kill_rounds(tmp_path, seed, ROUNDS_A_SEED))

    assert len(rounds) == ROUNDS_A_SEED
    assert rounds[-1].acknowledged > 0


def test_a_daemon_that_is_asked_to_stop_under_fifty_writers_keeps_its_word(tmp_path: Path) -> None:
    rounds = list(kill_rounds(tmp_path, SEEDS[0], STOPS, end=SIGTERM))

    assert len(rounds) == STOPS


@pytest.mark.parametrize(
    ("patch", "finding"),
    [
        ("parting", "acknowledged spans of .* are lost|and has [0-9]+ receipts"),
        ("curt", "an answer that said success was broken off"),
    ],
    ids=["answers without a commit", "breaks off its answers"],
)
def test_the_rounds_find_a_daemon_that_when_it_stops(tmp_path: Path, patch: str, finding: str) -> None:
    with pytest.raises(Broken, match=finding):
        for _ in kill_rounds(tmp_path, SEEDS[0], STOPS, lambda path: HinderedDaemon(path, patch=patch), SIGTERM):
            pass


@pytest.mark.parametrize(
    ("make", "finding"),
    [
        (lambda path: HinderedDaemon(path, patch="hasty"), "acknowledged spans of .* are lost|and has [0-9]+ receipts"),
        (lambda path: HinderedDaemon(path, patch="forgetful"), "doubled|two receipts"),
        (Amnesiac, "the checkpoint shrank"),
    ],
    ids=["answers before the commit", "takes no notice of keys", "loses its newest commits"],
)
def test_the_rounds_find_a_daemon_that(tmp_path: Path, make: Make, finding: str) -> None:
    with pytest.raises(Broken, match=finding):
        for _ in kill_rounds(tmp_path, SEEDS[0], BROKEN_ROUNDS_MAX, make):
            pass
