"""What an engine took in from another node reads as its own does: proofs, counts, an audit, backups, new feeds."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import trio

from lognode.core.access import Level
from lognode.core.ids import b32encode
from lognode.core.span import PRIVATE
from lognode.identity.keys import NodeKeys
from lognode.timeline.control.members import member_remove_data
from lognode.timeline.proof.checkpoint import origin, vkey
from lognode.timeline.query import Query
from lognode.timeline.record import RECORD_COLUMNS, FeedRef, Record
from lognode.timeline.store.audit import audit_file
from lognode.timeline.store.backup.restoration import restore_backup
from lognode.timeline.store.read.pages import select_page
from lognode.timeline.store.read.proofs import growth_proof, span_proof
from lognode.timeline.store.read.statistics import statistics
from tests.engine.nodes import SEED, Engine, drafts, run_engine
from tests.independent.tlog_proof_checker import check
from tests.timeline.backups import back_up, ignore, write_key
from tests.timeline.pens import Pen, admitted, write_all_sorts

BOB = NodeKeys.from_seed(bytes(31) + b"\x02")
BEYOND = 40


async def take_in(engine: Engine) -> Pen:
    """Bob, who was admitted, wrote entries of every sort, and was removed: his last entries are void."""
    tenant = engine.tenant
    admit = await engine.writer.append_control(
        tenant, "member.admit", lambda _, after: admitted(BOB, engine.keys, tenant.tenant_id, after, Level.TRUSTED)
    )
    bob = Pen(BOB, tenant.tenant_id, [admit.id])
    write_all_sorts(bob, 400)
    stops = [1, 300, len(bob.entries)]
    ranges = [bob.range(start, stop) for start, stop in zip([0, *stops], stops, strict=False)]
    assert await engine.writer.ingest(tenant, ranges) == stops
    cuts = [(bob.feed_id, stops[-1] - BEYOND, bytes(32))]
    await engine.writer.append_control(
        tenant, "member.remove", lambda _, after: member_remove_data(after, BOB.public, cuts, "test")
    )
    return bob


def all_proofs(conn: sqlite3.Connection, feeds: Mapping[int, FeedRef], feed: FeedRef) -> list[tuple[Record, bytes]]:
    sql = f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b USING (row) WHERE s.feed = ?"
    records = [Record(*row) for row in conn.execute(sql, (feed.number,))]
    return [(record, span_proof(conn, feeds, record)) for record in records]


async def test_every_span_of_another_node_has_a_proof_that_strangers_accept(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        bob = await take_in(engine)
        feed = next(feed for feed in engine.store.feeds.values() if feed.feed_id == bob.feed_id)
        key = vkey(origin(engine.tenant.tenant_id, bob.feed_id), bob.key.public)
        proofs = await engine.store.read(all_proofs, engine.store.feeds, feed)
        assert [check(proof, key).index for _, proof in proofs] == [record.seq for record, _ in proofs]
        assert len(proofs) == sum(entry.visibility not in (PRIVATE, 7) for entry in bob.entries) - 2 * 16
        note, _ = await engine.store.read(growth_proof, feed, 300)
        assert note == bob.note()


async def test_what_is_void_is_counted_and_in_no_page(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        bob = await take_in(engine)
        await engine.writer.append(engine.tenant, drafts(3))
        stats = await engine.store.read(statistics, engine.tenant, engine.store.feeds)
        found = next(feed for feed in stats["feeds"] if feed["feed"] == b32encode(bob.feed_id))
        assert (found["size"], found["own"], found["open"]) == (len(bob.entries), False, False)
        assert stats["spans"] + stats["void"] + stats["withheld"] == sum(feed["size"] for feed in stats["feeds"])
        read = partial(select_page, tenant=engine.tenant, feeds=engine.store.feeds, query=Query(limit=1000))
        page = await engine.store.read(read)
        assert len(page.records) == stats["spans"]
        cut = len(bob.entries) - BEYOND
        number = next(number for number, feed in engine.store.feeds.items() if feed.feed_id == bob.feed_id)
        assert max(record.seq for record in page.records if record.feed == number) < cut


def test_a_backup_holds_what_others_wrote_and_a_restored_node_opens_a_feed_of_its_own_alone(tmp_path: Path) -> None:
    async def write(folder: Path) -> list[str]:
        async with run_engine(folder) as engine:
            if len(engine.store.feeds) == 1:
                await take_in(engine)
            else:
                await engine.writer.append(engine.tenant, drafts(1))
            stats = await engine.store.read(statistics, engine.tenant, engine.store.feeds)
            return [feed["node"] for feed in stats["feeds"]]

    node, restored = tmp_path / "node", tmp_path / "restored"
    node.mkdir(mode=0o700)
    nodes = trio.run(write, node)
    write_key(node, SEED)
    assert audit_file(node / "lognode.db", node_public=NodeKeys.from_seed(SEED).public) == []
    back_up(node, tmp_path / "backup")
    trio.run(restore_backup, tmp_path / "backup", restored, ignore)
    with closing(sqlite3.connect(restored / "lognode.db")) as conn:
        sql = "SELECT own FROM feeds JOIN endings USING (feed_id)"
        assert conn.execute(sql).fetchall() == [(1,)]
        for table in ("inert", "cuts", "checkpoints"):
            assert conn.execute(f"SELECT count(*) FROM {table}").fetchone() > (0,)
    assert trio.run(write, restored) == [*nodes, nodes[0]]
    assert audit_file(restored / "lognode.db", node_public=NodeKeys.from_seed(SEED).public) == []
