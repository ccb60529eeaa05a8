"""Runs benchmarks by name and prints each figure with its ratio to the reference of the same run.

A figure alone says more of the machine than of lognode; the ratio to raw SQLite, with the same rows and
indexes on the same disk minutes apart at most, can be compared.
"""

import argparse
import json
import platform
import sqlite3
import tempfile
from pathlib import Path

import gate_bench
import http_bench
import long_bench
import process_bench
import rules_bench
import stall_bench
import sync_bench
from figure import Figure, shown

BENCHES = {
    "append": process_bench.append,
    "query": process_bench.query,
    "verify": process_bench.verify,
    "disk": process_bench.disk,
    "http": http_bench.http,
}
# They take minutes, or gigabytes, or npm, so they are run by name alone.
LONG = {
    "gate": gate_bench.gate,
    "memory": long_bench.memory,
    "rules": rules_bench.rules,
    "scale": long_bench.scale,
    "stalls": stall_bench.stalls,
    "sync": sync_bench.sync,
}


def main() -> None:
    """Parse the command line, run, print."""
    names = f"of {', '.join(BENCHES)}, which is the default, and {', '.join(LONG)}, which take minutes"
    parser = argparse.ArgumentParser(prog="scripts/bench/run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=names)
    parser.add_argument(
        "--spans",
        type=int,
        default=100_000,
        help="spans of each history (default: 100,000); long ones have up to ten times as many",
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each figure, the median counts (default: 3)")
    parser.add_argument("--json", action="store_true", help="one JSON object a figure")
    options = parser.parse_args()
    benches = BENCHES | LONG
    unknown = set(options.names) - set(benches)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(benches)}")
    if not options.json:
        print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {options.spans:,} spans")
    for name in options.names or BENCHES:
        with tempfile.TemporaryDirectory(prefix="lognode-bench-") as folder:
            for figure in benches[name](Path(folder), options.spans, options.runs):
                show(name, figure, as_json=options.json)


def show(name: str, figure: Figure, *, as_json: bool) -> None:
    """One line a figure."""
    if as_json:
        print(json.dumps({"bench": name, **figure.as_dict()}), flush=True)
        return
    ratio = "" if figure.ratio is None else f"{figure.ratio:6.2f} x {figure.reference}"
    print(
        f"{name:8} {figure.name:44} {shown(figure.median):>12} {figure.unit:8} {figure.spread:>20} {ratio}", flush=True
    )


if __name__ == "__main__":
    main()
