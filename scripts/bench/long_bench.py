"""Figures of long histories, which take minutes: whether size costs memory, time of a read, or time of a start.

Run by name only. Each figure is compared with that of the shortest history.
"""

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from statistics import median, quantiles

import trio
from figure import Figure
from http_bench import SPANS, daemon
from process_bench import drafts_of, engine
from records import CHUNK, mixed_lines, note_lines
from wire import Wire

from lognode.identity.store import create_key_file
from lognode.timeline.query import Query
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.read.pages import select_page

PAGES = 1_000
WALK_PAGES = 300  # more than any cache holds
MB = 1_000_000


def memory(folder: Path, spans: int, runs: int) -> Iterator[Figure]:
    """Peak memory of a daemon and of `lognode import`, while that imports web requests and notes over HTTP.

    And of the daemon after three clients have walked through the history, which fills the caches of all readers.
    """
    found: dict[str, dict[int, list[float]]] = {"daemon": {}, "daemon, then read": {}, "lognode import": {}, "rate": {}}
    for count in (spans, 10 * spans):
        file = folder / "lines.ndjson"
        with file.open("wb") as sink:
            sink.writelines(line + b"\n" for line in mixed_lines(count))
        for run in range(runs):
            node = folder / f"{count}-{run}"
            with daemon(node) as running:
                start_s = time.perf_counter()
                client = import_file(node, file)
                rate = count / (time.perf_counter() - start_s)
                written = peak_of(running.pid)
                trio.run(walk_by_three, running.url, running.token)
                values = {"daemon": written, "daemon, then read": peak_of(running.pid), "lognode import": client}
                for name, value in (*values.items(), ("rate", rate)):
                    found[name].setdefault(count, []).append(value)
    for name in ("daemon", "daemon, then read", "lognode import"):
        yield from compared(f"peak of {name}, {{:,}} spans", "MB", found[name])
    yield from compared("rate of lognode import, {:,} spans", "spans/s", found["rate"])


def import_file(node: Path, file: Path) -> float:
    """Megabytes that `lognode import` needed at its peak."""
    command = [sys.executable, "-m", "lognode", "import", "--data-dir", str(node), str(file)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
    peak = 0.0
    # Not what wait4 says, which counts the memory of this process too, from before the command began.
    while process.poll() is None:
        peak = peak_of(process.pid) or peak
        time.sleep(0.02)
    assert process.returncode == 0
    return peak


async def walk_by_three(url: str, token: str) -> None:
    """Three clients, as many as a node has readers, each through the first WALK_PAGES pages of the history."""

    async def walk() -> None:
        wire = await Wire.open(url, token)
        path = f"{SPANS}?sort=asc&limit=1000"
        after = ""
        for _ in range(WALK_PAGES):
            page = json.loads(await wire.request("GET", path + after))
            if not page["spans"]:
                break
            after = f"&after={page['newer']}"
        await wire.close()

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(walk)


def peak_of(pid: int) -> float:
    """Megabytes that a process has had in memory at most; 0 once it has ended."""
    found = re.search(r"VmHWM:\s+([0-9]+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 / MB if found else 0.0


def scale(folder: Path, spans: int, runs: int) -> Iterator[Figure]:
    """The latest 100 spans of a kind, and starting a node, by length of history.

    Each run asks histories of all lengths, so that a machine that is busy for a while is so for all of them.
    """
    found: dict[str, dict[int, list[float]]] = {}
    counts = (spans // 10, spans, 10 * spans)
    for count in counts:
        trio.run(write, folder / str(count), count)
        create_key_file(
            folder / str(count) / "node.key", bytes(32), None, os.urandom
        )  # the key that `engine` wrote with
    for _, count in product(range(runs), counts):
        inside = trio.run(ask_inside, folder / str(count))
        with daemon(folder / str(count)) as running:
            outside = trio.run(ask_http, running.url, running.token)
        for name, value_s in (
            ("latest 100 of {:,}, in a reader: median", median(inside)),
            ("latest 100 of {:,}, in a reader: p99", p99(inside)),
            ("latest 100 of {:,}, over HTTP: median", median(outside)),
            ("latest 100 of {:,}, over HTTP: p99", p99(outside)),
            ("start with {:,}", running.ready_s),
        ):
            found.setdefault(name, {}).setdefault(count, []).append(1_000 * value_s)
    for name, values in found.items():
        yield from compared(name, "ms", values)


async def write(node: Path, count: int) -> None:
    """A history of so many notes."""
    async with engine(node) as (_, writer, tenant):
        for at in range(0, count, CHUNK):
            drafts = drafts_of(note_lines(min(CHUNK, count - at), at))
            for first in range(0, len(drafts), 1_000):
                await writer.append(tenant, drafts[first : first + 1_000])


async def ask_inside(node: Path) -> list[float]:
    """Seconds of each page, in a reader's thread."""
    async with engine(node) as (store, _, tenant):
        return await store.read(time_pages, tenant, store.feeds)


def time_pages(conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef]) -> list[float]:
    """Seconds of each of many pages."""
    times = []
    for _ in range(PAGES):
        start_s = time.perf_counter()
        assert len(select_page(conn, tenant, feeds, Query(kinds=("note",))).records) == 100
        times.append(time.perf_counter() - start_s)
    return times


async def ask_http(url: str, token: str) -> list[float]:
    """Seconds of each page, as one client sees them."""
    wire = await Wire.open(url, token)
    times = []
    for _ in range(PAGES):
        start_s = time.perf_counter()
        await wire.request("GET", f"{SPANS}?kind=note&limit=100")
        times.append(time.perf_counter() - start_s)
    await wire.close()
    return times


def p99(times: list[float]) -> float:
    """What 99 of 100 do not exceed."""
    return quantiles(times, n=100)[-1]


def compared(name: str, unit: str, values: Mapping[int, list[float]]) -> Iterator[Figure]:
    """A figure for each length of history, against that of the shortest."""
    shortest = min(values)
    for count, found in values.items():
        yield Figure(name.format(count), unit, found, f"{shortest:,} spans", median(values[shortest]))
