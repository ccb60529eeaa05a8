"""Many worlds, one after the other, so that it can be stopped and goes on later."""

import json
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from lognode.sim.simulation import Scenario, scenario_of, simulate
from tests.sim.worlds import worst_of


def load(path: Path, first: int) -> dict[str, Any]:
    """How far it was: the next seed, and the failures so far."""
    if path.exists():
        state: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return state
    return {"first": first, "next": first, "failed": [], "seconds": 0.0}


def play(scenario: Scenario) -> list[str]:
    """What is wrong in a world."""
    try:
        return list(simulate(scenario).verdict.faults)
    except BaseExceptionGroup as broken:
        if broken.subgroup(KeyboardInterrupt):
            raise KeyboardInterrupt from None
        return [repr(broken.exceptions[0])]


def main() -> int:
    """Play on; the exit code says whether any world failed."""
    parser = ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--worst", action="store_true")
    parser.add_argument("--state", type=Path, default=Path("build/simulate.json"))
    options = parser.parse_args()
    options.state.parent.mkdir(parents=True, exist_ok=True)
    state = load(options.state, options.first)
    while state["next"] < state["first"] + options.seeds:
        seed, begun = state["next"], time.monotonic()
        scenario = worst_of(seed) if options.worst else scenario_of(seed)
        faults = play(scenario)
        state["next"] += 1
        state["seconds"] += time.monotonic() - begun
        if faults:
            state["failed"].append(seed)
            again = str(scenario) if options.worst else f"lognode sim --seed {seed} --trace"
            print(f"seed {seed}: {'; '.join(faults)} ({again})", flush=True)
        if faults or not state["next"] % 50 or state["next"] == state["first"] + options.seeds:
            options.state.write_text(json.dumps(state), "utf-8")
            if sys.stdout.isatty():
                print(f"\r{state['next']}", end="", flush=True)
    worlds = state["next"] - state["first"]
    print(f"{worlds:,} worlds, {state['seconds'] / max(1, worlds):.3f} s each, failed: {state['failed'] or 'none'}")
    return 1 if state["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
