"""The writer: acknowledged is durable, one place has one span, and failures cost nothing that was said."""

import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio

from lognode.core.draft import Draft, idem_key
from lognode.core.errors import LognodeError, NodeFault
from lognode.core.limits import GROUP_SPANS_MAX, MAILBOX_SPANS_MAX
from lognode.core.span import decode_body, decode_header
from lognode.engine.receipt import AppendStopped, Receipt
from lognode.timeline.record import Record, id_of, leaf_of
from lognode.timeline.store import database
from lognode.timeline.store.opening.migrate import connect_reader, connect_writer
from tests.engine.nodes import CutConnection, Engine, Wall, assert_sound, drafts, run_engine


async def test_a_tenant_opens_with_its_feed_and_itself(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        records = await assert_sound(engine)
        assert [decode_header(record.header).kind for record in records] == ["feed.open", "tenant.create"]
        assert all(record.visibility == 2 for record in records)


async def test_receipts_name_what_is_stored(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        receipts = await engine.writer.append(engine.tenant, drafts(5))
        records = (await assert_sound(engine))[2:]
        for receipt, record in zip(receipts, records, strict=True):
            feed = engine.store.feeds[record.feed]
            assert receipt == Receipt(
                id_of(record, feed.feed_id), feed.feed_id, record.seq, record.position, leaf_of(record, feed.feed_id), 7
            )
        assert engine.heads.position(engine.tenant.number) == 7


async def test_a_restarted_node_goes_on_where_it_stopped(tmp_path: Path) -> None:
    sizes = [1, 255, 256, 257, 511, 600]
    records: list[Record] = []
    for size in sizes:
        async with run_engine(tmp_path) as engine:
            for start in range(0, size, GROUP_SPANS_MAX):
                await engine.writer.append(engine.tenant, drafts(min(size, GROUP_SPANS_MAX), start))
            records = await assert_sound(engine)
    assert len(records) == 2 + sum(sizes)
    assert len({record.feed for record in records}) == 1


async def test_many_callers_share_commits_and_keep_their_order(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        places: dict[int, list[int]] = {}

        async def call(caller: int) -> None:
            receipts = [await engine.writer.append(engine.tenant, drafts(3)) for _ in range(20)]
            places[caller] = [receipt.seq for call in receipts for receipt in call]

        async with trio.open_nursery() as nursery:
            for caller in range(30):
                nursery.start_soon(call, caller)
        assert sorted(seq for seqs in places.values() for seq in seqs) == list(range(2, 2 + 30 * 20 * 3))
        assert all(seqs == sorted(seqs) for seqs in places.values())
        await assert_sound(engine)


async def test_two_tenants_share_a_commit_and_nothing_else(tmp_path: Path) -> None:
    async with run_engine(tmp_path, tenants=("default", "other")) as engine:
        both = [engine.store.tenants[name] for name in ("default", "other")]
        got: dict[int, list[Receipt]] = {}

        async def call(number: int) -> None:
            keyed = Draft(kind="note", subject="same", idem=bytes(16))
            got[number] = await engine.writer.append(both[number], [keyed, *drafts(2)])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, 0)
            nursery.start_soon(call, 1)
        assert [receipt.position for receipt in got[0]] == [receipt.position for receipt in got[1]] == [3, 4, 5]
        assert not any(receipt.duplicate for receipts in got.values() for receipt in receipts)
        assert got[0][0].feed != got[1][0].feed
        assert [engine.heads.position(tenant.number) for tenant in both] == [5, 5]


async def test_one_key_makes_one_span(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        key = idem_key(engine.tenant.tenant_id, engine.keys.logline, "k")
        keyed = Draft(kind="note", title="once", idem=key)
        first = (await engine.writer.append(engine.tenant, [keyed]))[0]
        again = (await engine.writer.append(engine.tenant, [keyed]))[0]
        assert (again.id, again.position, again.duplicate) == (first.id, first.position, True)
        twice = await engine.writer.append(engine.tenant, [Draft(kind="a", idem=bytes(16))] * 2)
        assert twice[0].id == twice[1].id
        assert [receipt.duplicate for receipt in twice] == [False, True]
        assert len(await assert_sound(engine)) == 4
    async with run_engine(tmp_path) as engine:
        assert (await engine.writer.append(engine.tenant, [keyed]))[0].id == first.id
        assert decode_body((await assert_sound(engine))[2].body or b"").idem == key


async def test_a_key_used_for_other_content_stops_its_call_there(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await engine.writer.append(engine.tenant, [Draft(kind="a", idem=bytes(16))])
        with pytest.raises(AppendStopped) as caught:
            await engine.writer.append(engine.tenant, [*drafts(2), Draft(kind="b", idem=bytes(16)), *drafts(3)])
        assert len(caught.value.receipts) == 2
        assert caught.value.error.code == "idempotency.mismatch"
        assert len(await assert_sound(engine)) == 5


async def test_a_full_mailbox_says_so_and_waits_for_those_who_wait(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        batch = drafts(GROUP_SPANS_MAX)
        busy: list[NodeFault] = []

        async def hurry() -> None:
            try:
                await engine.writer.append(engine.tenant, batch)
            except NodeFault as error:
                busy.append(error)

        async def queue() -> None:
            await engine.writer.append(engine.tenant, batch, wait=True)

        calls = MAILBOX_SPANS_MAX // GROUP_SPANS_MAX
        async with trio.open_nursery() as nursery:
            for _ in range(calls):
                nursery.start_soon(queue)
            await trio.testing.wait_all_tasks_blocked(0)
            for _ in range(5):
                nursery.start_soon(hurry)
            for _ in range(5):
                nursery.start_soon(queue)
        assert all((error.code, error.retry_after_s) == ("writer.busy", 1) for error in busy)
        stored = len(await assert_sound(engine)) - 2
        assert stored == (calls + 10 - len(busy)) * GROUP_SPANS_MAX


async def test_a_tenant_that_floods_the_mailbox_keeps_no_other_from_being_heard(tmp_path: Path) -> None:
    async with run_engine(tmp_path, tenants=("default", "other")) as engine, trio.open_nursery() as nursery:
        flooding, quiet = (engine.store.tenants[name] for name in ("default", "other"))
        for _ in range(14):
            nursery.start_soon(partial(engine.writer.append, flooding, drafts(GROUP_SPANS_MAX), wait=True))
        await trio.lowlevel.checkpoint()
        for number in range(20):
            assert (await engine.writer.append(quiet, drafts(1, number)))[0].seq == 2 + number


async def test_a_repeat_names_a_checkpoint_of_its_own_feed(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        keyed = Draft(kind="note", idem=bytes(16))
        first = (await engine.writer.append(engine.tenant, [keyed, *drafts(3)]))[0]
        wall.ms -= 3_600_000
        await engine.writer.append(engine.tenant, drafts(50))
        again = (await engine.writer.append(engine.tenant, [keyed]))[0]
        assert (again.feed, again.seq, again.checkpoint_size) == (first.feed, first.seq, 6)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE tiles SET hashes = zeroblob(32)",
        "DELETE FROM tiles",
        "UPDATE spans SET header = zeroblob(length(header)) WHERE seq = 290",
        "UPDATE spans SET hlc = hlc + 1 WHERE seq = 300",
        "UPDATE checkpoints SET note = CAST(replace(note, '302', '301') AS BLOB)",
    ],
)
async def test_nothing_is_signed_on_top_of_a_damaged_feed(tmp_path: Path, damage: str) -> None:
    def break_it(conn: sqlite3.Connection) -> None:
        conn.execute("DROP TRIGGER spans_are_never_changed")
        conn.execute(damage)

    async with run_engine(tmp_path) as engine:
        await engine.writer.append(engine.tenant, drafts(300))
        await engine.store.write(break_it)
    async with run_engine(tmp_path) as engine:
        with pytest.raises(NodeFault) as caught:
            await engine.writer.append(engine.tenant, drafts(5))
        assert caught.value.code == "database.damaged"
        assert engine.heads.position(engine.tenant.number) == 302  # it can still be read


DAMAGES = {
    "its newest tile": "UPDATE tiles SET hashes = zeroblob(32) WHERE feed = 1",
    "the span of a key": "UPDATE spans SET header = zeroblob(length(header)) WHERE feed = 1 AND seq = 2",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
async def test_a_damaged_tenant_harms_no_other_that_shares_its_commit(tmp_path: Path, damage: str) -> None:
    def break_it(conn: sqlite3.Connection) -> None:
        conn.execute("DROP TRIGGER spans_are_never_changed")
        conn.execute(damage)

    keyed = Draft(kind="note", idem=bytes(16))
    async with run_engine(tmp_path, tenants=("default", "other")) as engine:
        await engine.writer.append(engine.tenant, [keyed, *drafts(300)])
        await engine.store.write(break_it)
    async with run_engine(tmp_path, tenants=("default", "other")) as engine, trio.open_nursery() as nursery:
        codes: list[str] = []

        async def append_to_damaged() -> None:
            try:
                await engine.writer.append(engine.tenant, [keyed])
            except NodeFault as error:
                codes.append(error.code)

        sound: list[Receipt] = []

        async def append_to_sound() -> None:
            sound.extend(await engine.writer.append(engine.store.tenants["other"], drafts(2)))

        nursery.start_soon(append_to_damaged)
        nursery.start_soon(append_to_sound)
        await trio.testing.wait_all_tasks_blocked(0.2)
    assert codes == ["database.damaged"]
    assert [receipt.position for receipt in sound] == [3, 4]


async def test_cancelling_loses_the_reply_never_the_write(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(engine.writer.append, engine.tenant, drafts(2, number))
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        last = await engine.writer.append(engine.tenant, drafts(1))
        records = await assert_sound(engine)
        assert len(records) == last[0].position
        assert (len(records) - 3) % 2 == 0  # whole calls or nothing


async def test_a_full_disk_is_said_and_passes(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await engine.store.write(lambda conn: conn.execute("PRAGMA max_page_count = 60").fetchall())
        stored = 0
        code = None
        while code is None:
            try:
                stored += len(await engine.writer.append(engine.tenant, drafts(200)))
            except NodeFault as error:
                code = error.code
        assert code == "disk.full"
        # The writer reopened its connection, which knows of no bound: there is room again.
        stored += len(await engine.writer.append(engine.tenant, drafts(200)))
        assert len(await assert_sound(engine)) == 2 + stored


async def test_a_writer_that_failed_goes_on_while_a_backup_reads_an_old_snapshot(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        with closing(connect_reader(tmp_path / "lognode.db")) as backup:
            backup.execute("BEGIN")
            before = backup.execute("SELECT count(*) FROM spans").fetchone()
            await engine.writer.append(engine.tenant, drafts(3))  # which the snapshot keeps in the WAL
            await engine.store.write(lambda conn: conn.execute("PRAGMA max_page_count = 60").fetchall())
            with pytest.raises(NodeFault) as caught:
                await engine.writer.append(engine.tenant, drafts(GROUP_SPANS_MAX))
            assert caught.value.code == "disk.full"
            await engine.writer.append(engine.tenant, drafts(4))
            assert backup.execute("SELECT count(*) FROM spans").fetchone() == before
        assert len(await assert_sound(engine)) == 2 + 3 + 4


async def test_what_a_killed_node_left_in_the_wal_is_made_durable_before_anything_follows(tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    async with run_engine(tmp_path) as engine:
        await engine.writer.append(engine.tenant, drafts(3))
        for name in ("lognode.db", "lognode.db-wal"):
            shutil.copy(tmp_path / name, killed)
    count = "SELECT count(*) FROM spans"
    async with run_engine(killed) as engine:
        # Without the WAL, which may be in the page cache alone.
        with closing(connect_reader(killed / "lognode.db", is_still=True)) as synced:
            assert synced.execute(count).fetchone() == (5,)
        await assert_sound(engine)


async def test_a_node_starts_to_be_read_though_nothing_can_be_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_engine(tmp_path) as engine:
        await engine.writer.append(engine.tenant, drafts(3))

    def refuse(_: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(database, "_checkpoint", refuse)
        async with run_engine(tmp_path) as engine:
            with pytest.raises(NodeFault) as caught:
                await engine.writer.append(engine.tenant, drafts(1))
            assert caught.value.code == "writer.failed"
            assert len(await assert_sound(engine)) == 5
            patch.undo()
            await engine.writer.append(engine.tenant, drafts(1))


async def test_the_index_of_the_wal_is_held_while_the_writer_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens a WAL without its index believes all its frames, those of a failed fsync too."""
    async with run_engine(tmp_path) as engine:
        stale = engine.store._writer

        def connect(path: Path) -> sqlite3.Connection:
            assert stale._running
            return connect_writer(path)

        monkeypatch.setattr(database, "connect_writer", connect)
        await engine.store.reopen_writer()
        assert engine.store._writer is not stale
        assert not stale._running


@pytest.mark.parametrize("commits", [True, False])
async def test_a_commit_whose_end_is_unknown_is_looked_up_first(tmp_path: Path, *, commits: bool) -> None:
    async with run_engine(tmp_path) as engine:
        await engine.writer.append(engine.tenant, drafts(3))
        connection = engine.store._writer
        connection._connection = CutConnection(connection._conn, commits=commits)  # type: ignore[assignment]
        if commits:
            assert (await engine.writer.append(engine.tenant, drafts(1)))[0].position == 6
        else:
            with pytest.raises(LognodeError) as caught:
                await engine.writer.append(engine.tenant, drafts(1))
            assert caught.value.code == "writer.failed"
        after = await engine.writer.append(engine.tenant, drafts(2))
        assert after[0].position == (7 if commits else 6)
        await assert_sound(engine)


async def test_a_clock_set_back_by_more_than_ten_minutes_opens_a_new_feed_at_now(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        await engine.writer.append(engine.tenant, drafts(2))
        wall.ms -= 590_000
        await engine.writer.append(engine.tenant, drafts(2))
        assert len({record.feed for record in await assert_sound(engine)}) == 1
        wall.ms -= 60_000
        receipts = await engine.writer.append(engine.tenant, drafts(2))
        records = await assert_sound(engine)
        assert len({record.feed for record in records}) == 2
        assert receipts[0].seq == 1
        assert records[-1].hlc >> 16 == wall.ms
    async with run_engine(tmp_path, wall) as engine:
        await engine.writer.append(engine.tenant, drafts(2))
        assert len({record.feed for record in await assert_sound(engine)}) == 2


async def test_a_writer_that_stops_answers_everybody(tmp_path: Path) -> None:
    errors: list[str] = []

    async def call(engine: Engine) -> None:
        try:
            await engine.writer.append(engine.tenant, drafts(500))
        except NodeFault as error:
            errors.append(error.code)

    async with trio.open_nursery() as nursery, run_engine(tmp_path) as engine:
        for _ in range(8):
            nursery.start_soon(call, engine)
        await trio.lowlevel.checkpoint()
    async with run_engine(tmp_path) as engine:
        assert len(await assert_sound(engine)) - 2 == (8 - len(errors)) * 500
    assert set(errors) <= {"node.stopping"}
