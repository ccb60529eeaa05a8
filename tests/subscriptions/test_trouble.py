"""Subscriptions in trouble: too much is parked, two things happen at once, the clock jumps, a webhook's goes away."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from lognode.core.errors import CallerError, NodeFault
from lognode.engine.subscriptions import store
from lognode.engine.subscriptions.progress import Changes, Progress
from lognode.engine.subscriptions.service import sharing as sharing_module
from lognode.engine.subscriptions.service.sharing import Offer, Sharing
from lognode.engine.subscriptions.subscription import Beyond, Subscription, Terms
from lognode.timeline.store.backup.creation import copy_database
from tests.engine.nodes import Wall, run_engine
from tests.subscriptions.test_sharing import ORDERS, Receiver, acknowledge, calling, desk, settled, titles, write


async def park(sharing: Sharing, offer: Offer, reason: str = "no") -> None:
    await sharing.settle(lambda progress, now_ms: progress.park([offer.handed.delivery], now_ms, reason))


class Held:
    """A function of rows that waits, in the store's thread, until it may run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self._run = getattr(store, name)
        self.begun, self.go = threading.Event(), threading.Event()
        monkeypatch.setattr(sharing_module, name, self)

    def __call__(self, *args: object) -> object:
        self.begun.set()
        assert self.go.wait(20)
        return self._run(*args)


async def until(event: threading.Event) -> None:
    with trio.fail_after(20):
        while not event.is_set():  # noqa: ASYNC110 - it is of another thread
            await trio.sleep(0.001)


async def test_what_is_replayed_is_handed_out_also_where_too_much_is_parked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lognode.engine.subscriptions.progress.SUBSCRIPTION_PARKED_MAX", 1)
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        subscriptions = desk(engine, wall)
        sharing = await subscriptions.create(engine.tenant, "orders", ORDERS)
        await write(engine, engine.tenant, "a", "b")
        with sharing.join() as holder:
            (offer,) = await sharing.take(holder, 1)
            await park(sharing, offer)
            assert await sharing.take(holder, 1) == []
            assert sharing.is_idle, "who does not wait for more is not to wait for ever"
            assert await subscriptions.replay(engine.tenant, "orders", None) == 1
            (again,) = await sharing.take(holder, 2)
            assert titles([again]) == ["a"]
            await acknowledge(sharing, again)
            assert titles(await sharing.take(holder, 1)) == ["b"]


async def test_what_was_replayed_and_acknowledged_does_not_come_again_while_rows_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        subscriptions = desk(engine, wall)
        sharing = await subscriptions.create(engine.tenant, "orders", ORDERS, terms=Terms(max_in_flight=1))
        await write(engine, engine.tenant, "a", "b")
        with sharing.join() as holder:
            for _ in "ab":
                (offer,) = await sharing.take(holder, 1)
                await park(sharing, offer)
            assert await subscriptions.replay(engine.tenant, "orders", None) == 2
            (offer,) = await sharing.take(holder, 1)
            held = Held(monkeypatch, "save_changes")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(acknowledge, sharing, offer)
                await until(held.begun)
                found = await engine.store.read(store.next_again, 0, "orders", sharing._progress.replaying, 9)
                held.go.set()
            assert found == [offer.handed.delivery.position + 1]
            (other,) = await sharing.take(holder, 1)
            assert titles([other]) == ["b"]
            await acknowledge(sharing, other)
            assert sharing.standing().parked == 0


async def test_what_is_told_while_a_subscription_is_set_to_another_place_is_of_the_run_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        sharing = await desk(engine, wall).create(engine.tenant, "orders", ORDERS)
        begin = engine.heads.position(0)
        await write(engine, engine.tenant, "a", "b")
        with sharing.join() as holder:
            one, other = await sharing.take(holder, 2)
            held = Held(monkeypatch, "save_reset")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sharing.reset, begin)
                await until(held.begun)
                nursery.start_soon(park, sharing, one)
                await trio.testing.wait_all_tasks_blocked()
                held.go.set()
            assert sharing.standing().parked == 0
            outcome = await sharing.settle(lambda progress, _: progress.acknowledge([other.handed.delivery]))
            assert outcome.stale == [other.handed.delivery]
            assert titles(await sharing.take(holder, 2)) == ["a", "b"]
        again = await desk(engine, wall).find(engine.tenant, "orders")
        assert again.held.run == sharing.held.run


@pytest.mark.parametrize("back_ms", [5, 3_600_000])
async def test_a_clock_that_is_set_back_takes_nothing_from_who_holds_it(tmp_path: Path, back_ms: int) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        terms = Terms(ack_wait_ms=30_000, max_attempts=1)
        sharing = await desk(engine, wall).create(engine.tenant, "orders", ORDERS, terms=terms)
        await write(engine, engine.tenant, "a")
        with sharing.join() as holder:
            (offer,) = await sharing.take(holder, 1)
            wall.ms -= back_ms
            assert await sharing.take(holder, 1) == []
            assert sharing.standing().under_way == 1
            wall.ms += 30_000
            assert await sharing.take(holder, 1) == []
            assert sharing.standing().parked == 1, "nor does it hold it for longer than it may"
            assert offer.handed.attempt == 1


async def test_what_a_connection_that_ended_had_parked_is_listed(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        subscriptions = desk(engine, wall)
        sharing = await subscriptions.create(engine.tenant, "orders", ORDERS, terms=Terms(max_attempts=1))
        await write(engine, engine.tenant, "a")
        with sharing.join() as holder:
            assert await sharing.take(holder, 1)
        assert len(await subscriptions.parked(engine.tenant, "orders", 0, 10)) == sharing.standing().parked == 1


async def test_what_comes_again_comes_in_lots_of_so_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lognode.engine.subscriptions.service.sharing.TAIL_BATCH_BYTES_MAX", 300)
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        sharing = await desk(engine, wall).create(engine.tenant, "orders", ORDERS)
        names = [letter * 200 for letter in "abcd"]
        await write(engine, engine.tenant, *names)
        found: list[Offer] = []
        for _ in range(2):
            found.clear()
            with sharing.join() as holder:
                while offers := await sharing.take(holder, 9):
                    assert len(offers) <= 3
                    found += offers
                assert titles(found) == names
                assert sharing.standing().under_way == 4
        assert [offer.handed.attempt for offer in found] == [2, 1, 1, 1]


async def test_nothing_is_thought_settled_that_no_row_says_whatever_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("it cannot be encoded")

    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        subscriptions = desk(engine, wall)
        sharing = await subscriptions.create(engine.tenant, "orders", ORDERS)
        await write(engine, engine.tenant, "a")
        with sharing.join() as holder:
            (offer,) = await sharing.take(holder, 1)
            with monkeypatch.context() as broken:
                broken.setattr(sharing_module, "save_changes", fail)
                with pytest.raises(ValueError, match="encoded"):
                    await park(sharing, offer)
        again = await subscriptions.find(engine.tenant, "orders")
        with again.join() as holder:
            assert titles(await again.take(holder, 1)) == ["a"]


async def test_rows_of_a_subscription_that_was_deleted_change_none_of_its_name(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        subscriptions = desk(engine, wall)
        old = await subscriptions.create(engine.tenant, "orders", ORDERS)
        await subscriptions.delete(engine.tenant, "orders")
        wall.ms += 1
        new = await subscriptions.create(engine.tenant, "orders", ORDERS)
        late = Changes(old.held.run, 99, Beyond(), [], [])
        with pytest.raises(CallerError):
            await engine.store.write(store.save_changes, old.held, late)
        held: Subscription
        held, _ = await engine.store.read(store.load_subscription, 0, "orders")
        assert held == new.held


class Slow(Receiver):
    """A receiver that answers once it is told to."""

    def __init__(self, wall: Wall) -> None:
        super().__init__(wall)
        self.asked, self.go = trio.Event(), trio.Event()

    async def call(self, name: str, message_id: str, body: bytes) -> None:
        if msgspec.json.decode(body)["span"]["title"] == "slow":
            self.asked.set()
            await self.go.wait()
        await super().call(name, message_id, body)


async def test_another_webhook_subscription_of_a_name_that_was_deleted_during_a_call_is_served(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        receiver = Slow(wall)
        async with calling(engine, wall, receiver) as subscriptions:
            await subscriptions.create(engine.tenant, "orders", ORDERS, webhook="till")
            await write(engine, engine.tenant, "slow", "quick")
            await receiver.asked.wait()
            await subscriptions.delete(engine.tenant, "orders")
            fresh = await subscriptions.create(engine.tenant, "orders", ORDERS, webhook="till")
            receiver.go.set()
            await write(engine, engine.tenant, "new")
            await settled(fresh, wall, behind=0)
        assert [title for _, title, _ in receiver.got][-1] == "new"


async def test_a_webhook_whose_answer_no_row_can_say_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lognode.engine.subscriptions.service.calling.SUBSCRIPTION_LOOK_S", 0.01)
    failed = threading.Event()

    def fail_for_one(conn: sqlite3.Connection, held: Subscription, changes: Changes) -> Subscription:
        if held.name == "bad" and not failed.is_set():
            failed.set()
            raise sqlite3.OperationalError("disk I/O error")
        return store.save_changes(conn, held, changes)

    monkeypatch.setattr(sharing_module, "save_changes", fail_for_one)
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        receiver = Receiver(wall)
        async with calling(engine, wall, receiver) as subscriptions:
            for name in ("bad", "good"):
                await subscriptions.create(engine.tenant, name, ORDERS, webhook="till")
            await write(engine, engine.tenant, "a")
            await settled(await subscriptions.find(engine.tenant, "good"), wall, behind=0)
            await until(failed)
            with trio.fail_after(20):
                while (await subscriptions.find(engine.tenant, "bad")).standing().behind:  # noqa: ASYNC110 - by rows
                    await trio.sleep(0.01)


async def test_what_was_delivered_counts_for_nothing_where_a_backup_is_restored(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        subscriptions = desk(engine, wall)
        for name in ("orders", "bad"):
            await subscriptions.create(engine.tenant, name, ORDERS)
        await engine.store.write(lambda conn: conn.execute("UPDATE subscriptions SET run = 9 WHERE name = 'bad'"))
        copy = tmp_path / "copy.db"
        await trio.to_thread.run_sync(copy_database, engine.store.path, copy, lambda *_: None)
        # Another span gets the position in the copy that this one has here.
        sharing = await subscriptions.find(engine.tenant, "orders")
        await write(engine, engine.tenant, "a")
        with sharing.join() as holder:
            (offer,) = await sharing.take(holder, 1)
    with closing(sqlite3.connect(copy, isolation_level=None)) as conn:
        restored = Progress(*store.load_subscription(conn, 0, "orders"))
        assert restored.looked == sharing.held.checkpoint
        position = offer.handed.delivery.position
        restored.saw([position], position)
        (other,) = restored.hand_out(1, wall.ms, 1)
        assert restored.acknowledge([offer.handed.delivery]).stale == [offer.handed.delivery]
        assert restored.acknowledge([other.delivery]).done == 1
        with pytest.raises(NodeFault):
            store.load_subscription(conn, 0, "bad")
