"""Figures of the engine in this process, without HTTP: append, query, verify, disk."""

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import trio
from figure import Figure
from prometheus_client import CollectorRegistry
from raw import raw_append, rows_of
from records import note_lines, web_lines

from lognode.core.draft import Draft, parse_json_draft
from lognode.core.world import World
from lognode.engine.service.heads import Heads
from lognode.engine.service.meters import Meters
from lognode.engine.service.standings import Standings
from lognode.engine.service.writer import Writer
from lognode.identity.keys import NodeKeys
from lognode.timeline.query import Query
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.audit import audit
from lognode.timeline.store.database import Store, open_store
from lognode.timeline.store.read.pages import Page, select_page

BATCHES = {1: 2_000, 100: 20_000, 1_000: 100_000}  # per batch: spans of a run, at most


@asynccontextmanager
async def engine(folder: Path) -> AsyncIterator[tuple[Store, Writer, TenantRef]]:
    """A store and a writer on `folder`."""
    await trio.Path(folder).mkdir(exist_ok=True)
    world = World(lambda: time.time_ns() // 1_000_000, time.monotonic, os.urandom)
    async with open_store(folder / "lognode.db") as store:
        writer = Writer(store, NodeKeys.from_seed(bytes(32)), world, Heads(), Meters(CollectorRegistry()), Standings())
        if "default" not in store.tenants:
            await writer.create_tenant("default")
        async with trio.open_nursery() as nursery:
            await nursery.start(writer.run)
            yield store, writer, store.tenants["default"]
            nursery.cancel_scope.cancel()


async def fill(folder: Path, drafts: list[Draft], batch: int) -> float:
    """Spans a second when `drafts` are appended, `batch` a call, one call after the other."""
    async with engine(folder) as (_, writer, tenant):
        start_s = time.perf_counter()
        for start in range(0, len(drafts), batch):
            await writer.append(tenant, drafts[start : start + batch])
        return len(drafts) / (time.perf_counter() - start_s)


def drafts_of(lines: list[bytes]) -> list[Draft]:
    """Parsed drafts."""
    return [parse_json_draft(line)[0] for line in lines]


def append(folder: Path, spans: int, runs: int) -> Iterator[Figure]:
    """Durable appends by batch size, from drafts to receipts; and the web requests, which carry tags."""
    work = [(f"notes, {batch:,} per batch", batch, note_lines(min(most, spans))) for batch, most in BATCHES.items()]
    work.append(("web requests, 1,000 per batch", 1_000, web_lines()))
    for name, batch, lines in work:
        drafts = drafts_of(lines)
        ours, raw = [], []
        for run in range(runs):
            place = folder / f"{batch}-{len(lines)}-{run}"
            ours.append(trio.run(fill, place, drafts, batch))
            raw.append(raw_append(folder / "raw.db", rows_of(place / "lognode.db"), batch, len(drafts)))
        yield Figure(name, "spans/s", ours, reference_value=median(raw))


def disk(folder: Path, spans: int, _runs: int) -> Iterator[Figure]:
    """Bytes of the database a span, with all default indexes, after the WAL was copied back."""
    for name, lines in (("notes", note_lines(spans)), ("web requests", web_lines())):
        place = folder / name
        trio.run(fill, place, drafts_of(lines), 1_000)
        rows = rows_of(place / "lognode.db")
        raw_append(folder / "raw.db", rows, 1_000, len(rows["spans"]))
        ours = (place / "lognode.db").stat().st_size / len(lines)
        yield Figure(name, "B/span", [ours], reference_value=(folder / "raw.db").stat().st_size / len(lines))


def query(folder: Path, spans: int, runs: int) -> Iterator[Figure]:
    """The latest 100 spans of a kind; raw SQLite selects the same rows in this thread.

    Inside a reader's thread it is the cost of the page alone; from outside each page adds a change of threads
    there and back, which takes longer on a machine whose other processor sleeps.
    """
    trio.run(fill, folder / "node", drafts_of(note_lines(spans)), 1_000)

    async def ask(tasks: int) -> float:
        async with engine(folder / "node") as (store, _, tenant):
            wanted = Query(kinds=("note",))

            async def one(count: int) -> None:
                for _ in range(count):
                    page = await store.read(latest, tenant, store.feeds, wanted)
                    assert len(page.records) == 100

            await one(100)
            start_s = time.perf_counter()
            async with trio.open_nursery() as nursery:
                for _ in range(tasks):
                    nursery.start_soon(one, 4_000 // tasks)
            return 4_000 / (time.perf_counter() - start_s)

    async def ask_inside() -> float:
        async with engine(folder / "node") as (store, _, tenant):
            return await store.read(pages_a_second, tenant, store.feeds, Query(kinds=("note",)))

    raw = median([raw_query(folder / "node" / "lognode.db") for _ in range(runs)])
    inside = [trio.run(ask_inside) for _ in range(runs)]
    yield Figure("latest 100 by kind, inside a reader", "pages/s", inside, reference_value=raw)
    for tasks in (1, 4):
        values = [trio.run(ask, tasks) for _ in range(runs)]
        yield Figure(f"latest 100 by kind, {tasks} from outside", "pages/s", values, reference_value=raw)


def latest(conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], wanted: Query) -> Page:
    """One page, in a reader's thread."""
    return select_page(conn, tenant, feeds, wanted)


def pages_a_second(conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], wanted: Query) -> float:
    """How many pages a second a reader can make."""
    start_s = time.perf_counter()
    for _ in range(4_000):
        assert len(select_page(conn, tenant, feeds, wanted).records) == 100
    return 4_000 / (time.perf_counter() - start_s)


def raw_query(database: Path) -> float:
    """The same rows by hand-written SQL, in this thread."""
    conn = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    kind = conn.execute("SELECT kind FROM kinds WHERE name = 'note'").fetchone()
    sql = (
        "SELECT s.row, s.feed, s.seq, s.hlc, s.visibility, s.header, b.body FROM spans s JOIN bodies b USING (row) "
        "WHERE s.kind = ? ORDER BY s.hlc DESC LIMIT 100"
    )
    start_s = time.perf_counter()
    for _ in range(4_000):
        assert len(conn.execute(sql, kind).fetchall()) == 100
    return 4_000 / (time.perf_counter() - start_s)


def verify(folder: Path, spans: int, runs: int) -> Iterator[Figure]:
    """The whole history checked from its bytes; raw SQLite only reads the same rows."""
    lines = list(islice(cycle(web_lines()), spans // 10))
    for name, place, drafts in (
        ("notes", folder / "notes", drafts_of(note_lines(spans))),
        ("web requests", folder / "web", drafts_of(lines)),
    ):
        trio.run(fill, place, drafts, 1_000)
        rates, raw = [], []
        for _ in range(runs):
            conn = sqlite3.connect(f"file:{place / 'lognode.db'}?mode=ro", uri=True)
            start_s = time.perf_counter()
            found = audit(conn)
            rates.append(len(drafts) / (time.perf_counter() - start_s))
            assert not found, found
            start_s = time.perf_counter()
            for _row in conn.execute("SELECT * FROM spans JOIN bodies USING (row) ORDER BY feed, seq"):
                pass
            raw.append(len(drafts) / (time.perf_counter() - start_s))
            conn.close()
        yield Figure(name, "spans/s", rates, "reading the rows", median(raw))
