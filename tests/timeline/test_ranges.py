"""Ranges and control spans for other nodes: whole, provable, and no more than others may have."""

import sqlite3
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from lognode.core.clock import state_hash
from lognode.core.draft import Draft
from lognode.core.errors import NodeFault
from lognode.core.limits import RANGE_BYTES_MAX, RANGE_SPANS_MAX
from lognode.core.span import PRIVATE, leaf_hash, leaf_hashes, stub_entry
from lognode.timeline.proof.checkpoint import origin, verify_checkpoint, vkey
from lognode.timeline.proof.tree import EMPTY, grow, root_of, verify_inclusion
from lognode.timeline.store.read.ranges import read_clock, read_foretold, read_range
from tests.engine.nodes import Engine, drafts, run_engine


async def read_all(
    engine: Engine, spans_max: int = RANGE_SPANS_MAX, bytes_max: int = RANGE_BYTES_MAX
) -> list[tuple[int, int]]:
    """Where the ranges begin and end that bring the whole first feed, each checked like a stranger would."""
    feed, found, border = engine.store.feeds[1], [], EMPTY
    key = vkey(origin(engine.tenant.tenant_id, feed.feed_id), feed.log_key)
    read = partial(read_range, spans_max=spans_max, bytes_max=bytes_max)
    while part := await engine.store.read(read, feed, border.size):
        border = grow(border, leaf_hashes(feed.feed_id, part.start, part.entries)).border
        head = verify_checkpoint(part.note, key)
        assert (head.size, head.root) == (part.stop, root_of(border))
        found.append((part.start, part.stop))
    return found


async def test_ranges_end_at_the_furthest_kept_checkpoint_within_the_budget_or_the_nearest(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        for start in range(0, 3_000, 600):
            await engine.writer.append(engine.tenant, drafts(600, start))
        assert await read_all(engine) == [(0, 3002)]
        assert await read_all(engine, spans_max=1_300) == [(0, 1202), (1202, 2402), (2402, 3002)]
        assert await read_all(engine, spans_max=1) == [(0, 602), (602, 1202), (1202, 1802), (1802, 2402), (2402, 3002)]
        assert await read_all(engine, bytes_max=1) == await read_all(engine, spans_max=1)
        feed = engine.store.feeds[1]
        part = await engine.store.read(lambda conn: read_range(conn, feed, 601, spans_max=700))
        assert part is not None
        assert (part.start, part.stop) == (601, 1202)
        clock = await engine.store.read(read_clock, engine.tenant)
        assert clock.size(feed.feed_id) == 3002
        assert state_hash(clock)


async def test_private_spans_leave_as_stubs(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await engine.writer.append(engine.tenant, [Draft(kind="note", title="mine", visibility=PRIVATE), *drafts(1)])
        part = await engine.store.read(read_range, engine.store.feeds[1], 2)
        assert part is not None
        private, public = part.entries
        assert (private.visibility, private.is_withheld, private.body) == (PRIVATE, True, None)
        assert b"mine" not in repr(part).encode()
        assert sha256(public.header).digest() == public.header_sha256 != public.header
        assert await read_all(engine) == [(0, 4)]


@pytest.mark.parametrize(
    ("table", "column"), [("bodies", "body"), ("spans", "header"), ("spans", "hlc"), ("spans", "visibility")]
)
async def test_a_changed_byte_is_noticed_before_anything_leaves(tmp_path: Path, table: str, column: str) -> None:
    async with run_engine(tmp_path) as engine:
        await engine.writer.append(engine.tenant, drafts(300))

        def change(conn: sqlite3.Connection) -> None:
            conn.execute(f"DROP TRIGGER {table}_are_never_changed")
            (held,) = conn.execute(f"SELECT {column} FROM {table} WHERE row = 277").fetchone()
            changed = held[:-5] + bytes([held[-5] ^ 1]) + held[-4:] if isinstance(held, bytes) else held ^ 1
            conn.execute(f"UPDATE {table} SET {column} = ? WHERE row = 277", (changed,))

        await engine.store.write(change)
        with pytest.raises(NodeFault) as caught:
            await engine.store.read(read_range, engine.store.feeds[1], 0)
        assert caught.value.code == "database.damaged"


async def test_a_missing_span_is_noticed_before_anything_leaves(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await engine.writer.append(engine.tenant, drafts(3))

        def remove(conn: sqlite3.Connection) -> None:
            conn.executescript("DROP TRIGGER spans_are_never_deleted; DELETE FROM spans WHERE row = 3")

        await engine.store.write(remove)
        with pytest.raises(NodeFault):
            await engine.store.read(read_range, engine.store.feeds[1], 0)


async def test_control_spans_come_with_proofs_to_the_newest_checkpoint(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await engine.writer.append(engine.tenant, drafts(700))
        feed = engine.store.feeds[1]
        found = await engine.store.read(read_foretold, engine.tenant, feed.feed_id, 0)
        assert [span.seq for span in found] == [0, 1]
        key = vkey(origin(engine.tenant.tenant_id, feed.feed_id), feed.log_key)
        for span in found:
            head = verify_checkpoint(span.note, key)
            entry = stub_entry(feed.feed_id, span.seq, span.entry.hlc, 2, span.entry.header_sha256)
            assert verify_inclusion(leaf_hash(entry), span.seq, head.size, span.path, head.root)
        assert [span.seq for span in await engine.store.read(read_foretold, engine.tenant, feed.feed_id, 1)] == [1]
        assert not await engine.store.read(read_foretold, engine.tenant, feed.feed_id, 2)
