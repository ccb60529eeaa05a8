"""A daemon with a mirror, killed under load: afterwards the mirror has every span once and in order."""

import json
import os
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.daemon import Daemon
from tests.faults.history import History
from tests.faults.processes import HinderedDaemon
from tests.faults.trial import Trial

SEED: Final = 4201
ROUNDS: Final = 4
LOAD_S: Final = 0.5
LOST_BYTES_MAX: Final = 20_000  # of the newest segment's end, as with a power cut
PATIENCE_S: Final = 60
BROKEN_S: Final = 5  # given to a mirror that will never be whole


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.ndjson"))


def mirrored(folder: Path) -> list[tuple[int, str]]:
    """Position and id of each line; ValueError where one is no line of an export."""
    lines = b"".join(path.read_bytes() for path in segments(folder)).splitlines(keepends=True)
    if not all(line.endswith(b"\n") for line in lines):
        raise ValueError("a line without its end")
    spans: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [(span["position"], span["id"]) for span in spans]


def is_whole(folder: Path, daemon: Daemon, patience_s: float) -> bool:
    """Whether the mirror comes to hold exactly what the node does."""
    history = History()
    history.read(daemon)
    wanted = [(row.position, row.id) for row in history.rows]
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            if mirrored(folder) == wanted:
                return True
        except ValueError:
            pass  # torn for now, or for ever
        time.sleep(0.1)
    return False


def tear(folder: Path, rng: Random) -> None:
    """Take off the end of the newest segment what may not have been on the disk, in the middle of a line."""
    newest = segments(folder)[-1]
    data = newest.read_bytes()
    size = max(len(data) - rng.randrange(LOST_BYTES_MAX), 10)
    while data[size - 1 : size] == b"\n":
        size -= 1
    os.truncate(newest, size)


def kill_and_tear(folder: Path, patch: str | None, rounds: int) -> list[bool]:
    """For each round of load, SIGKILL and a torn end whether the mirror became whole again."""
    rng = Random(SEED)
    mirror = folder / "mirror"
    whole = list[bool]()
    with HinderedDaemon(folder / "node", "--mirror-dir", str(mirror), patch=patch) as daemon:
        trial = Trial(daemon, SEED)
        daemon.start()
        for _ in range(rounds):
            with trial.load():
                time.sleep(LOAD_S)
                daemon.kill()
            tear(mirror, rng)
            daemon.start()
            whole.append(is_whole(mirror, daemon, BROKEN_S if patch else PATIENCE_S))
        daemon.stop()
    return whole


def test_a_killed_daemons_mirror_has_every_span_once_and_in_order(tmp_path: Path) -> None:
    assert kill_and_tear(tmp_path, None, ROUNDS) == [True] * ROUNDS
    assert len(mirrored(tmp_path / "mirror")) > ROUNDS


def test_a_mirror_that_cannot_be_written_is_shown_and_goes_on_when_it_can(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.write_bytes(b"a file in the way")
    with HinderedDaemon(tmp_path / "node", "--mirror-dir", str(mirror)) as daemon:
        daemon.start()
        with daemon.client() as http:
            answer = http.post("/v1/tenants/default/spans", json={"kind": "note.made"})
            assert answer.status_code == 201
            state: dict[str, Any] = {}
            while state.get("state") != "waiting":
                (state,) = [one for one in http.get("/v1/node").json()["subsystems"] if one["name"] == "mirror.default"]
            assert state["error"] == "mirror.unwritable"
        mirror.unlink()
        assert is_whole(mirror, daemon, PATIENCE_S)


def test_a_mirror_that_hangs_keeps_no_node_from_ending(tmp_path: Path) -> None:
    with HinderedDaemon(tmp_path / "node", "--mirror-dir", str(tmp_path / "mirror")) as daemon:
        daemon.start()
        assert is_whole(tmp_path / "mirror", daemon, PATIENCE_S)
        daemon.stop()
        (newest,) = segments(tmp_path / "mirror")
        newest.unlink()
        os.mkfifo(newest)  # who opens it waits as for a server that does not answer
        daemon.start()
        with daemon.client() as http:
            assert http.post("/v1/tenants/default/spans", json={"kind": "note.made"}).status_code == 201
        daemon.stop()


@pytest.mark.parametrize("patch", ["uncut", "skipping"])
def test_a_mirror_that_resumes_wrongly_is_found_out(tmp_path: Path, patch: str) -> None:
    assert kill_and_tear(tmp_path, patch, 1) == [False]
