"""Rounds of load and SIGKILL: what was acknowledged is there after each, once, and the node goes on.

    python -m tests.faults.kill9 --rounds 1000        as scripts/kill9 calls it

With --signal TERM fifty clients load a daemon that is asked to stop: it ends with code 0, and breaks off no answer.
With --reactions rules react meanwhile, and what they set off is there once.

A failure names its seed; `--seed` runs that one again. The moments of the kills come from the seed, what the
daemon is doing then does not.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from signal import SIGKILL, SIGTERM, Signals
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from tests.faults.load import crowd
from tests.faults.one_failure import one_failure
from tests.faults.processes import HinderedDaemon, verify_command
from tests.faults.reactions import reactions_after_kills
from tests.faults.trial import BUSY, Broken, Trial

LOAD_S_MAX: Final = {SIGKILL: 0.3, SIGTERM: 1.0}  # before the end
WRITERS_MORE: Final = 46  # beside the four of every trial, when the daemon is asked to stop
START_S_MAX: Final = 0.6  # of a start that is killed as well
STARTS_KILLED: Final = 0.15  # share of rounds with such a start
ROUNDS_A_SEED: Final = 10
SPANS_A_KILL: Final = 200  # that set off reactions

Make = Callable[[Path], HinderedDaemon]


class Round(NamedTuple):
    """What is known after a round."""

    spans: int
    acknowledged: int
    ready_s: float  # from the start of the daemon after the kill to its first answer that it is ready


def kill_rounds(
    folder: Path, seed: int, count: int, make: Make = HinderedDaemon, end: Signals = SIGKILL
) -> Iterator[Round]:
    """End a daemon on `folder`/node that often. Raises Broken with the seed, or what else a client ran into."""
    rng = Random(seed)
    done = 0
    with make(folder / "node") as daemon:
        try:
            trial = _trial(daemon, seed, end)
            daemon.start()
            while done < count:
                with trial.load():
                    time.sleep(rng.uniform(0, LOAD_S_MAX[end]))
                    assert daemon.is_running, "the daemon died by itself"
                    daemon.kill() if end == SIGKILL else daemon.stop()
                assert end == SIGKILL or not trial.cut_answers, "an answer that said success was broken off"
                if end == SIGKILL and rng.random() < STARTS_KILLED:
                    daemon.start_and_kill(rng.uniform(0, START_S_MAX))
                started_s = time.monotonic()
                daemon.start()
                ready_s = time.monotonic() - started_s
                trial.check()
                done += 1
                yield Round(len(trial.history.rows), trial.acknowledged, ready_s)
            trial.settle()
            trial.check(all_sent=True)
            assert not trial.idle, f"{trial.idle} did nothing"
            verify_command(daemon.data_dir)
            daemon.stop()
        except Exception as error:
            raise Broken(f"seed {seed}, after {done} of {count} rounds: {error}\n{daemon.log[-1000:]}") from error


def _trial(daemon: HinderedDaemon, seed: int, end: Signals) -> Trial:
    if end == SIGKILL:
        return Trial(daemon, seed)
    tolerated = (*BUSY, "node.stopping")
    return Trial(daemon, seed, tolerated, crowd(WRITERS_MORE, seed, tolerated))


def main() -> None:
    """Do what the command line asks for, on fresh data directories, each with a seed of its own."""
    parser = argparse.ArgumentParser(prog="scripts/kill9", description="Kill a daemon under load, again and again.")
    parser.add_argument("--rounds", type=int, default=1000, help="how often; 1000 by default")
    parser.add_argument("--failing-calls", type=int, default=0, help="instead, let single writes fail, so many times")
    parser.add_argument("--seed", type=int, default=1, help="of the first data directory; each next one adds 1")
    parser.add_argument(
        "--signal", choices=("KILL", "TERM"), default="KILL", help="TERM: ask it to stop, under 50 writers"
    )
    parser.add_argument("--reactions", type=int, default=0, help="instead, kill it while rules react to so many spans")
    arguments = parser.parse_args()
    if arguments.reactions:
        _say_reactions(arguments.reactions, arguments.seed)
        return
    end = Signals[f"SIG{arguments.signal}"]
    say = _say_failures if arguments.failing_calls else partial(_say_rounds, end)
    # On a terminal, each line takes the place of the one before.
    start, stop = ("\r\x1b[K", "") if sys.stdout.isatty() else ("", "\n")
    for line in say(arguments.failing_calls or arguments.rounds, arguments.seed):
        sys.stdout.write(start + line + stop)
        sys.stdout.flush()


def _say_reactions(spans: int, seed: int) -> None:
    kills = max(1, spans // SPANS_A_KILL)
    with TemporaryDirectory(prefix="lognode-kill9-") as folder, HinderedDaemon(Path(folder) / "node") as daemon:
        found = reactions_after_kills(daemon, seed, spans, kills)
    if not found.is_once(spans):
        raise Broken(f"seed {seed}: effects are lost or doubled: {found}")
    sys.stdout.write(f"seed {seed}: {spans} reactions, {kills} kills; each effect and each firing is there once\n")


def _say_rounds(end: Signals, count: int, seed: int) -> Iterator[str]:
    ready_s: list[float] = []
    spans = 0
    while len(ready_s) < count:
        before = spans
        with TemporaryDirectory(prefix="lognode-kill9-") as folder:
            for state in kill_rounds(Path(folder), seed, min(ROUNDS_A_SEED, count - len(ready_s)), end=end):
                ready_s.append(state.ready_s)
                spans = before + state.spans
                yield (
                    f"{len(ready_s)} of {count} rounds, seed {seed}: {spans} spans, none lost or doubled;"
                    f" restart to ready {median(ready_s):.2f} s median, {max(ready_s):.2f} s at most"
                )
        seed += 1


def _say_failures(count: int, seed: int) -> Iterator[str]:
    for number in range(count):
        with TemporaryDirectory(prefix="lognode-kill9-") as folder:
            yield f"{number + 1} of {count}, {one_failure(Path(folder), seed + number)}; nothing lost or doubled"


if __name__ == "__main__":
    main()
