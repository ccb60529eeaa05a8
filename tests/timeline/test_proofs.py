"""Proofs from stored tiles: every span of histories that cross tile borders, and what damage does to them."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest

from lognode.core.draft import Draft
from lognode.core.errors import NodeFault
from lognode.timeline.proof.checkpoint import parse_checkpoint, vkey
from lognode.timeline.proof.tlogproof import check_proof
from lognode.timeline.proof.tree import EMPTY, grow, root_of, verify_consistency
from lognode.timeline.record import RECORD_COLUMNS, FeedRef, Record, leaf_of
from lognode.timeline.store.read.proofs import growth_proof, span_proof
from tests.engine.nodes import run_engine
from tests.independent.tlog_proof_checker import check

BATCHES = [1000, 1000, 700, 13]


def records_of(conn: sqlite3.Connection) -> list[Record]:
    sql = f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b USING (row)"
    return [Record(*row) for row in conn.execute(sql)]


def some_proofs(conn: sqlite3.Connection, feeds: Mapping[int, FeedRef]) -> list[tuple[Record, bytes]]:
    records = records_of(conn)
    size = len(records)
    picked = {*range(0, size, 97), *range(250, 262), *range(size - 5, size)}
    return [(records[at], span_proof(conn, feeds, records[at])) for at in sorted(picked)]


async def test_every_proof_is_accepted_by_a_checker_that_shares_no_code(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        for count in BATCHES:
            await engine.writer.append(engine.tenant, [Draft(kind="note", title=str(n)) for n in range(count)])
        (feed,) = engine.store.feeds.values()
        for record, proof in await engine.store.read(some_proofs, engine.store.feeds):
            key = vkey(check_name(proof), feed.log_key)
            assert check(proof, key).index == check_proof(proof, key).index == record.seq


def check_name(proof: bytes) -> str:
    return proof.decode().split("\n\n", 1)[1].split("\n", 1)[0]


async def test_every_earlier_size_is_consistent_with_the_newest_checkpoint(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        for count in BATCHES:
            await engine.writer.append(engine.tenant, [Draft(kind="note", title=str(n)) for n in range(count)])
        (feed,) = engine.store.feeds.values()
        leaves = [leaf_of(record, feed.feed_id) for record in await engine.store.read(records_of)]
        for since in (1, 2, 255, 256, 257, 512, 1000, 2048, len(leaves)):
            note, proof = await engine.store.read(growth_proof, feed, since)
            head = parse_checkpoint(note)
            old_root = root_of(grow(EMPTY, leaves[:since]).border)
            assert verify_consistency(since, head.size, old_root, head.root, proof)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE tiles SET hashes = zeroblob(length(hashes))",
        "DELETE FROM tiles",
        "UPDATE spans SET hlc = hlc + 1 WHERE seq = 100",
        "UPDATE spans SET header = zeroblob(length(header)) WHERE seq = 3",
    ],
)
async def test_no_proof_leaves_a_damaged_store(tmp_path: Path, damage: str) -> None:
    def break_it(conn: sqlite3.Connection) -> None:
        conn.execute("DROP TRIGGER spans_are_never_changed")
        conn.execute(damage)

    async with run_engine(tmp_path) as engine:
        await engine.writer.append(engine.tenant, [Draft(kind="note", title=str(n)) for n in range(1000)])
        await engine.store.write(break_it)
        records = await engine.store.read(records_of)
        with pytest.raises(NodeFault) as caught:
            await engine.store.read(span_proof, engine.store.feeds, records[101])
        assert caught.value.code == "database.damaged"
