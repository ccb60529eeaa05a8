"""Figures of two daemons that join and sync over TLS on loopback, beside hypercore 11 in the same run."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import trio
from figure import Figure
from http_bench import SPANS, Running, daemon, stream
from long_bench import MB, peak_of
from records import note_lines
from wire import Wire

HYPERCORE = "hypercore@11.30.0"
LIVE_SPANS = 500
PAUSE_S = 0.02  # between two live spans, so that each is a commit and a push of its own
POLL_S = 0.05
SYNC_S_MAX = 300


class Synced(NamedTuple):
    """What one first sync came to; pairs are of the node that had the spans and of the one that got them."""

    rate: float  # spans a second
    wire_bytes: float  # a span
    cpu_us: tuple[float, float]  # a span
    peaks_mb: tuple[float, float]
    delays_ms: list[float]  # from a receipt of the one to the same span at a client of the other


def sync(folder: Path, spans: int, runs: int) -> Iterator[Figure]:
    """The first sync to an empty node, verified and durable, and the delay of a live link.

    The node that has the spans was started again after it got them, so that what importing took is not counted.
    """
    lines = note_lines(spans)
    ours = [run_once(folder / f"sync-{number}", lines) for number in range(runs)]
    theirs = [found for _ in range(runs) if (found := run_hypercore(folder, lines)) is not None]
    of_theirs = {key: median([found[key] for found in theirs]) for key in (theirs[0] if theirs else ())}

    def beside(name: str, unit: str, values: list[float], key: str) -> Figure:
        return Figure(name, unit, values, "hypercore", of_theirs.get(key))

    yield beside("first sync", "spans/s", [found.rate for found in ours], "rate")
    yield beside("wire, TCP and TLS around it", "B/span", [found.wire_bytes for found in ours], "bytes")
    for at, side in enumerate(("from", "to")):
        name = f"processor time of the node it goes {side}"
        yield Figure(name, "us/span", [found.cpu_us[at] for found in ours])
        yield beside(f"peak memory of the node it goes {side}", "MB", [found.peaks_mb[at] for found in ours], side)
    yield Figure("live link, commit to commit: median", "ms", [median(found.delays_ms) for found in ours])
    yield Figure("live link, commit to commit: p99", "ms", [quantiles(found.delays_ms, n=100)[-1] for found in ours])


def run_once(folder: Path, lines: list[bytes]) -> Synced:
    """Two nodes, all lines on the first before the second joins."""
    folder.mkdir()
    with member(folder / "a") as one:
        trio.run(stream, one.url, one.token, lines)
    with member(folder / "a") as one, member(folder / "b") as other:
        invite = trio.run(post, one, "/v1/tenants/default/invites", {})["invite"]
        before = loopback_bytes(), cpu_s(one.pid), cpu_s(other.pid)
        start_s = time.perf_counter()
        trio.run(post, other, "/v1/node/join", {"invite": invite})
        trio.run(wait_until_same, one, other)
        seconds = time.perf_counter() - start_s
        after = loopback_bytes(), cpu_s(one.pid), cpu_s(other.pid)
        wire, one_s, other_s = ((end - begin) / len(lines) for begin, end in zip(before, after, strict=True))
        peaks = (peak_of(one.pid), peak_of(other.pid))
        cpu_us = (1e6 * one_s, 1e6 * other_s)
        return Synced(len(lines) / seconds, wire, cpu_us, peaks, trio.run(delays_ms, one, other))


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def member(folder: Path) -> Iterator[Running]:
    """A node that others reach on loopback alone."""
    peer, join = free_port(), free_port()
    listen = ["--peer-listen", f"127.0.0.1:{peer}", "--join-listen", f"127.0.0.1:{join}"]
    with daemon(folder, *listen, "--advertise", f"127.0.0.1:{peer}", "--no-discovery") as running:
        yield running


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def post(node: Running, path: str, what: dict[str, str]) -> Any:
    """The answer of a node."""
    wire = await Wire.open(node.url, node.token)
    answer = json.loads(await wire.request("POST", path, json.dumps(what).encode()))
    await wire.close()
    return answer


async def wait_until_same(one: Running, other: Running) -> None:
    """Return once the second node's default tenant has all that the first one's has."""
    wires = [await Wire.open(node.url, node.token) for node in (one, other)]
    with trio.fail_after(SYNC_S_MAX):
        goal = await newest_position(wires[0])
        while await newest_position(wires[1]) < goal:  # noqa: ASYNC110 - the node is another process
            await trio.sleep(POLL_S)  # a client that followed all spans would take part in what is measured
    for wire in wires:
        await wire.close()


async def newest_position(wire: Wire) -> int:
    """How many spans the default tenant has."""
    page = json.loads(await wire.request("GET", f"{SPANS}?order=arrival&sort=desc&limit=1"))
    position: int = page["spans"][0]["position"] if page["spans"] else 0
    return position


async def delays_ms(one: Running, other: Running) -> list[float]:
    """Milliseconds from each receipt of the first node until a client of the second one sees the span."""
    writer = await Wire.open(one.url, one.token)
    reader = await Wire.open(other.url, other.token)
    await reader.upgrade("/v1/tenants/default/ws")
    await reader.send_frame(b'{"type":"subscribe","ref":1}')
    seen: dict[str, float] = {}
    written: dict[str, float] = {}

    async def watch() -> None:
        while len(seen) < LIVE_SPANS:
            frame = await reader.receive_frame()
            if frame and frame["type"] == "span" and frame["span"]["kind"] == "live":
                seen[frame["span"]["id"]] = time.perf_counter()

    with trio.fail_after(SYNC_S_MAX):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            for _ in range(LIVE_SPANS):
                receipt = json.loads(await writer.request("POST", SPANS, b'{"kind":"live"}'))
                written[receipt["id"]] = time.perf_counter()
                await trio.sleep(PAUSE_S)
    await writer.close()
    await reader.close()
    return [1_000 * max(0.0, seen[span] - written[span]) for span in written]


def run_hypercore(folder: Path, lines: list[bytes]) -> dict[str, float] | None:
    """The same of hypercore, got by npm into a temporary directory; None, with the reason told, where that fails."""
    try:
        modules = npm_modules(folder / "npm")
        file = folder / "lines.ndjson"
        file.write_bytes(b"".join(line + b"\n" for line in lines))
        with tempfile.TemporaryDirectory(dir=folder) as place:
            script = Path(__file__).with_name("hypercore.cjs")
            environment = {**os.environ, "NODE_PATH": str(modules)}
            command = ["node", str(script), place, str(file)]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, timeout=SYNC_S_MAX)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"without hypercore: {error}", file=sys.stderr)
        return None
    found = json.loads(done.stdout)
    served, pulled = found["peaks"]
    return {"rate": found["rate"], "bytes": found["bytes"], "from": served / MB, "to": pulled / MB}


def npm_modules(folder: Path) -> Path:
    """Where node finds hypercore, fetched when it is not there yet. Raises OSError, subprocess.SubprocessError."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed")
    if not folder.exists():
        folder.mkdir()
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), HYPERCORE]
        subprocess.run(command, check=True, capture_output=True, timeout=SYNC_S_MAX)
    return folder / "node_modules"


def loopback_bytes() -> int:
    """What went over loopback so far; a benchmark has it for itself."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "lo":
            return int(numbers.split()[0])
    return 0
