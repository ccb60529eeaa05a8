"""One write that goes wrong, the n-th: whichever it is, the node keeps what it acknowledged, and goes on.

The call fails, or the process is killed as it begins: while a node is made, at its start, at work, or as it
recovers. Where the daemon gives up at its start, it says why, and the next start succeeds.
"""

import time
from pathlib import Path
from random import Random
from signal import SIGKILL
from typing import Final

from tests.faults.failing_disk import at_one_call
from tests.faults.processes import HinderedDaemon, verify_command
from tests.faults.trial import Broken, Trial

# Calls by which SQLite and the secret files are written, what happens, and about how many a thread makes.
KINDS: Final = (
    ("pwrite64", "error=ENOSPC", 400),
    ("pwrite64", "error=EIO", 400),
    ("pwrite64", "signal=KILL", 400),
    ("fdatasync", "error=EIO", 30),
    ("fdatasync", "signal=KILL", 30),
    ("fsync", "error=EIO", 6),
    ("fsync", "signal=KILL", 6),
    ("ftruncate", "error=EIO", 2),
    ("write", "error=ENOSPC", 3),
    ("write", "signal=KILL", 3),
)
LOAD_S: Final = 1.0  # on a busy machine too, the call that fails must come
TOLERATED: Final = ("writer.busy", "writer.failed", "disk.full")
START_CODES: Final = ("[disk.full]", "[data_dir.unwritable]")


def one_failure(folder: Path, seed: int) -> str:
    """What went wrong, and whether the daemon met it at its "start", at "work" or "nowhere". Raises Broken."""
    rng = Random(seed)
    call, event, count = KINDS[seed % len(KINDS)]
    number = rng.randint(1, count)
    what = f"seed {seed}, {call} number {number}: {event}"
    daemon = HinderedDaemon(folder / "node", wrapper=at_one_call(call, event, number))
    try:
        with daemon, HinderedDaemon(folder / "node") as sound:
            trial = Trial(daemon, seed, TOLERATED)
            met = _meet(trial, daemon, is_kill=event == "signal=KILL")
            if daemon.is_running:
                daemon.kill()
            trial.daemon = sound
            sound.start()
            trial.check()
            _work(trial)
            verify_command(sound.data_dir)
            sound.stop()
    except Exception as failure:
        raise Broken(f"{what}: {failure}\n{daemon.log[-2000:]}") from failure
    return f"{what} at {met}"


def _meet(trial: Trial, daemon: HinderedDaemon, *, is_kill: bool) -> str:
    exit_code = daemon.try_to_start()
    if exit_code is not None:
        if exit_code != -SIGKILL:
            assert any(code in daemon.log for code in START_CODES), "it did not say why it did not start"
            assert "Traceback" not in daemon.log
        return "start"
    with trial.load():
        time.sleep(LOAD_S)
    if not is_kill:
        _work(trial)  # without a restart
    return "work" if not daemon.is_running or trial.refusals - {"writer.busy"} else "nowhere"


def _work(trial: Trial) -> None:
    with trial.load():
        time.sleep(LOAD_S / 2)
    trial.settle()
    trial.check(all_sent=True)
