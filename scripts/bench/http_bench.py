"""Figures through the public door: a real daemon with its default settings, and clients in this process."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import trio
from figure import Figure
from raw import raw_append, rows_of
from records import note_lines, web_lines
from wire import Wire

SPANS = "/v1/tenants/default/spans"
ONE_BY_ONE = 1_000
IN_FLIGHT = 256


class Running(NamedTuple):
    """A node that can be used."""

    url: str
    token: str
    ready_s: float  # from the command on
    pid: int


@contextmanager
def daemon(folder: Path, *flags: str) -> Iterator[Running]:
    """A node on `folder`, with its default settings but for `flags`."""
    command = [sys.executable, "-m", "lognode", "up", "--data-dir", str(folder), "--listen", "127.0.0.1:0", *flags]
    start_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
    url_file = folder / "api.url"
    try:
        while not url_file.exists():
            assert process.poll() is None, "the node ended"
            time.sleep(0.005)
        ready_s = time.perf_counter() - start_s
        token = (folder / "admin.token").read_text().strip()
        yield Running(url_file.read_text().strip(), token, ready_s, process.pid)
    finally:
        process.terminate()
        process.wait()


def http(folder: Path, spans: int, runs: int) -> Iterator[Figure]:
    """Appends and reads over HTTP and WebSocket."""
    lines = note_lines(spans)
    with daemon(folder / "node") as (url, token, *_):
        streams = [trio.run(stream, url, token, lines) for _ in range(runs)]
        keyed = [b'{"idempotency_key":"%d",%s' % (at, line[1:]) for at, line in enumerate(lines)]
        keyed_rate = trio.run(stream, url, token, keyed)
        requests = [trio.run(stream, url, token, web_lines()) for _ in range(runs)]
        singles = {count: [trio.run(one_by_one, url, token, lines, count) for _ in range(runs)] for count in (1, 50)}
        sockets = {count: [trio.run(socket, url, token, lines, count) for _ in range(runs)] for count in (1, IN_FLIGHT)}
        pages = [trio.run(read_pages, url, token) for _ in range(runs)]
        empty = [trio.run(read_empty, url, token) for _ in range(runs)]
    rows = rows_of(folder / "node" / "lognode.db")
    # In order of arrival: two control spans, the notes of each run, those with keys, the web requests.
    keyed_at = 2 + runs * spans
    for name, values, start, count in (
        ("NDJSON, notes", streams, 2, spans),
        ("NDJSON, notes with keys", [keyed_rate], keyed_at, spans),
        ("NDJSON, web requests", requests, keyed_at + spans, len(web_lines())),
    ):
        raw = median(raw_append(folder / "raw.db", rows, 1_000, count, start) for _ in range(runs))
        yield Figure(name, "spans/s", values, "raw SQLite, 1,000 per batch", raw)
    raw_1 = median(raw_append(folder / "raw.db", rows, 1, 2_000, 2) for _ in range(runs))
    for count, values in singles.items():
        yield Figure(f"one at a time, {count} clients", "spans/s", values, "raw SQLite, 1 per batch", raw_1)
    for count, values in sockets.items():
        yield Figure(f"WebSocket, {count} in flight", "spans/s", values, "raw SQLite, 1 per batch", raw_1)
    yield Figure("latest 100 by kind", "pages/s", pages, "/livez of the same node", median(empty))


async def stream(url: str, token: str, lines: list[bytes]) -> float:
    """Spans a second of one NDJSON upload."""
    wire = await Wire.open(url, token)
    body = b"\n".join(lines) + b"\n"
    start_s = time.perf_counter()
    await wire.request("POST", SPANS, body, "application/x-ndjson")
    rate = len(lines) / (time.perf_counter() - start_s)
    await wire.close()
    return rate


async def one_by_one(url: str, token: str, lines: list[bytes], clients: int) -> float:
    """Spans a second when each client waits for its receipt before it sends the next."""
    wires = [await Wire.open(url, token) for _ in range(clients)]
    count = ONE_BY_ONE // clients

    async def client(number: int) -> None:
        for line in lines[number * count : (number + 1) * count]:
            await wires[number].request("POST", SPANS, line)

    start_s = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(clients):
            nursery.start_soon(client, number)
    rate = count * clients / (time.perf_counter() - start_s)
    for wire in wires:
        await wire.close()
    return rate


async def socket(url: str, token: str, lines: list[bytes], in_flight: int) -> float:
    """Spans a second over one WebSocket."""
    wire = await Wire.open(url, token)
    await wire.upgrade("/v1/tenants/default/ws")
    count = min(len(lines), ONE_BY_ONE if in_flight == 1 else 20_000)
    room = trio.Semaphore(in_flight)
    done = trio.Event()

    async def receive() -> None:
        for _ in range(count):
            frame = await wire.receive_frame()
            assert frame["type"] == "receipt", frame
            room.release()
        done.set()

    start_s = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        for at in range(count):
            await room.acquire()
            await wire.send_frame(b'{"type":"append","ref":%d,"draft":%s}' % (at, lines[at]))
        await done.wait()
    rate = count / (time.perf_counter() - start_s)
    await wire.close()
    return rate


async def read_pages(url: str, token: str) -> float:
    """Pages a second: the latest 100 spans of a kind."""
    return await _repeat(url, token, f"{SPANS}?kind=note&limit=100")


async def read_empty(url: str, token: str) -> float:
    """Answers a second of the least handler."""
    return await _repeat(url, token, "/livez")


async def _repeat(url: str, token: str, path: str) -> float:
    wire = await Wire.open(url, token)
    start_s = time.perf_counter()
    for _ in range(500):
        await wire.request("GET", path)
    rate = 500 / (time.perf_counter() - start_s)
    await wire.close()
    return rate
