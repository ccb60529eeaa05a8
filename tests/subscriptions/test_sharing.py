"""Subscriptions on real databases: what arrives late, what is void, who is slow, and rows that cannot be written."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from lognode.core.draft import Draft
from lognode.core.errors import CallerError, NodeFault
from lognode.core.limits.subscriptions import (
    SUBSCRIPTION_PARKED_MAX,
)
from lognode.core.span import PRIVATE
from lognode.engine.subscriptions.service.calling import Calling, message_id
from lognode.engine.subscriptions.service.desk import Subscriptions
from lognode.engine.subscriptions.service.sharing import Offer, Sharing
from lognode.engine.subscriptions.store import load_subscription
from lognode.engine.subscriptions.subscription import Terms
from lognode.engine.tasks.service.webhooks import Webhooks
from lognode.engine.tasks.targets import Allowed
from lognode.timeline.record import TenantRef
from tests.engine.nodes import Engine, Wall, run_engine
from tests.engine.pairs import admit, hand_over, two_nodes

ORDERS = {"kind": ["order"]}


def desk(engine: Engine, wall: Wall, webhooks: Webhooks | None = None) -> Subscriptions:
    world = wall.world()
    return Subscriptions(engine.store, engine.heads, world, webhooks or Webhooks(world), engine.keys.public)


async def write(engine: Engine, tenant: TenantRef, *titles: str, **said: Any) -> None:
    await engine.writer.append(tenant, [Draft(kind="order", title=title, **said) for title in titles])


def titles(offers: list[Offer]) -> list[str]:
    return [msgspec.json.decode(offer.span)["title"] for offer in offers]


async def acknowledge(sharing: Sharing, *offers: Offer) -> None:
    outcome = await sharing.settle(lambda progress, _: progress.acknowledge([one.handed.delivery for one in offers]))
    assert outcome.stale == []


async def test_what_arrives_late_from_another_node_is_delivered_as_what_is_new(tmp_path: Path) -> None:
    wall = Wall()
    async with two_nodes(tmp_path, wall) as (one, other, theirs):
        await admit(one, other)
        await hand_over(one, other, one.tenant, theirs)
        await write(other, theirs, "of long ago")
        wall.ms += 3_600_000
        sharing = await desk(one, wall).create(one.tenant, "orders", ORDERS)
        with sharing.join() as holder:
            await write(one, one.tenant, "new")
            offers = await sharing.take(holder, 10)
            assert titles(offers) == ["new"]
            await acknowledge(sharing, *offers)
            await hand_over(other, one, theirs, one.tenant)
            late = await sharing.take(holder, 10)
            assert titles(late) == ["of long ago"]
            assert msgspec.json.decode(late[0].span)["at"] < msgspec.json.decode(offers[0].span)["at"]


async def test_a_restart_delivers_again_what_was_not_acknowledged_and_nothing_else(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        sharing = await desk(engine, wall).create(engine.tenant, "orders", ORDERS)
        await write(engine, engine.tenant, *map(str, range(8)))
        with sharing.join() as holder:
            offers = await sharing.take(holder, 8)
            await acknowledge(sharing, offers[0], offers[3], offers[7])
            await sharing.settle(lambda progress, now_ms: progress.park([offers[5].handed.delivery], now_ms, "no"))
        again = await desk(engine, wall).find(engine.tenant, "orders")
        with again.join() as holder:
            assert titles(await again.take(holder, 8)) == ["1", "2", "4", "6"]
        assert again.standing().parked == 1


async def test_a_span_that_became_void_meanwhile_is_passed_over(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        sharing = await desk(engine, wall).create(engine.tenant, "orders", ORDERS)
        await write(engine, engine.tenant, "a", "b")
        with sharing.join() as holder:
            first, _ = await sharing.take(holder, 2)
        position = first.handed.delivery.position
        await engine.store.write(lambda conn: conn.execute("INSERT INTO voids VALUES (?, 'member.cut')", (position,)))
        with sharing.join() as holder:
            offers = await sharing.take(holder, 2)
            assert titles(offers) == ["b"]
            await acknowledge(sharing, *offers)
        assert sharing.standing().behind == 0


async def test_who_takes_nothing_holds_nobody_up_and_no_more_than_it_may(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        terms = Terms(max_in_flight=3)
        sharing = await desk(engine, wall).create(engine.tenant, "orders", ORDERS, terms=terms)
        await write(engine, engine.tenant, *map(str, range(100)))
        with sharing.join() as slow, sharing.join() as quick:
            assert titles(await sharing.take(slow, 1)) == ["0"]
            done = []
            while offers := await sharing.take(quick, 10):
                done += titles(offers)
                await acknowledge(sharing, *offers)
            assert done == [str(number) for number in range(1, 100)]
            assert await sharing.take(slow, 10) == []
            row, _ = await engine.store.read(load_subscription, 0, "orders")
            assert len(row.beyond) < 1000


async def test_an_ack_that_no_row_can_say_is_told_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = Wall()

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async with run_engine(tmp_path, wall) as engine:
        subscriptions = desk(engine, wall)
        sharing = await subscriptions.create(engine.tenant, "orders", ORDERS)
        await write(engine, engine.tenant, "a")
        with sharing.join() as holder:
            (offer,) = await sharing.take(holder, 1)
            with monkeypatch.context() as broken:
                broken.setattr("lognode.engine.subscriptions.service.sharing.save_changes", fail)
                with pytest.raises(sqlite3.OperationalError):
                    await acknowledge(sharing, offer)
            with pytest.raises(sqlite3.OperationalError):
                await sharing.take(holder, 1)
        again = await subscriptions.find(engine.tenant, "orders")
        assert again is not sharing
        with again.join() as holder:
            assert titles(await again.take(holder, 1)) == ["a"]


async def test_what_is_parked_while_a_reset_is_under_way_stays_parked(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        subscriptions = desk(engine, wall)
        sharing = await subscriptions.create(engine.tenant, "orders", ORDERS)
        await write(engine, engine.tenant, "a", "b")
        with sharing.join() as holder:
            first, second = await sharing.take(holder, 2)
            places = [offer.handed.delivery.position for offer in (first, second)]
            async with trio.open_nursery() as nursery, sharing._saving:  # so that both have to wait
                nursery.start_soon(sharing.reset, places[0])
                for offer in (first, second):
                    delivery = offer.handed.delivery
                    nursery.start_soon(
                        sharing.settle, lambda progress, now_ms, one=delivery: progress.park([one], now_ms)
                    )
                await trio.testing.wait_all_tasks_blocked()
            parked = await subscriptions.parked(engine.tenant, "orders", 0, 10)
            assert [one.parked.position for one in parked] == places[:1]
            assert sharing.standing().parked == 1
            assert titles(await sharing.take(holder, 2)) == ["b"]


async def test_a_damaged_row_is_named_and_other_subscriptions_go_on(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        for name in ("bad", "good"):
            await desk(engine, wall).create(engine.tenant, name, ORDERS)
        await engine.store.write(
            lambda conn: conn.execute("UPDATE subscriptions SET checkpoint = 99 WHERE name = 'bad'")
        )
        with pytest.raises(NodeFault) as found:
            await desk(engine, wall).find(engine.tenant, "bad")
        assert found.value.code == "database.damaged"
        assert (await desk(engine, wall).find(engine.tenant, "good")).held.name == "good"


async def test_a_subscription_with_too_much_parked_delivers_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SUBSCRIPTION_PARKED_MAX > 1
    monkeypatch.setattr("lognode.engine.subscriptions.progress.SUBSCRIPTION_PARKED_MAX", 1)
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        subscriptions = desk(engine, wall)
        sharing = await subscriptions.create(engine.tenant, "orders", ORDERS)
        await write(engine, engine.tenant, "a", "b")
        with sharing.join() as holder:
            (offer,) = await sharing.take(holder, 1)
            await sharing.settle(lambda progress, now_ms: progress.park([offer.handed.delivery], now_ms))
            assert await sharing.take(holder, 1) == []
        await subscriptions.delete(engine.tenant, "orders")
        with pytest.raises(CallerError) as refused:
            await sharing.take(holder, 1)
        assert refused.value.code == "subscription.unknown"


class Receiver(Webhooks):
    """Webhooks that are answered here: what each said, and errors for some titles."""

    def __init__(self, wall: Wall) -> None:
        super().__init__(wall.world())
        self.configure({"till": ("http://127.0.0.1:1/", None)}, Allowed())  # type: ignore[dict-item]
        self.got: list[tuple[str, str, int]] = []  # id, title, attempt
        self.errors: dict[str, Exception] = {}

    async def call(self, name: str, message_id: str, body: bytes) -> None:
        assert name == "till"
        said = msgspec.json.decode(body)
        await trio.lowlevel.checkpoint()
        self.got.append((message_id, said["span"]["title"], said["attempt"]))
        if error := self.errors.get(said["span"]["title"]):
            raise error


@asynccontextmanager
async def calling(engine: Engine, wall: Wall, receiver: Receiver) -> AsyncIterator[Subscriptions]:
    subscriptions = desk(engine, wall, receiver)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Calling(subscriptions, receiver).run)
        yield subscriptions
        nursery.cancel_scope.cancel()


async def settled(sharing: Sharing, wall: Wall, **wanted: int) -> None:
    """Return once the subscription is so, while time goes by."""
    with trio.fail_after(20):
        while not wanted.items() <= sharing.standing()._asdict().items():
            wall.ms += 1000
            await trio.sleep(0.01)


async def test_a_webhook_gets_each_span_but_no_private_one_and_what_it_refuses_is_parked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lognode.engine.subscriptions.progress.SUBSCRIPTION_BACKOFF_MS_MIN", 1)
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        receiver = Receiver(wall)
        receiver.errors["bad"] = CallerError("webhook.refused", "it answered 422")
        async with calling(engine, wall, receiver) as subscriptions:
            sharing = await subscriptions.create(
                engine.tenant, "orders", ORDERS, webhook="till", terms=Terms(max_attempts=3)
            )
            await write(engine, engine.tenant, "hidden", visibility=PRIVATE)
            await write(engine, engine.tenant, "good", "bad", "better")
            await settled(sharing, wall, behind=0, parked=1)
            (parked,) = await subscriptions.parked(engine.tenant, "orders", 0, 10)
            assert (parked.parked.attempts, parked.parked.reason) == (3, "webhook.refused: it answered 422")
            receiver.errors.clear()
            assert await subscriptions.replay(engine.tenant, "orders", None) == 1
            await settled(sharing, wall, parked=0)
        assert sorted(title for _, title, _ in receiver.got if title != "bad") == ["better", "good"]
        of_bad = [(name, attempt) for name, title, attempt in receiver.got if title == "bad"]
        assert [attempt for _, attempt in of_bad] == [1, 2, 3, 1]
        assert len({name for name, _ in of_bad}) == 1
        assert len({name for name, *_ in receiver.got}) == 3


@pytest.mark.parametrize("code", ["webhook.secret", "webhook.unreachable"])
async def test_a_receiver_that_cannot_be_reached_is_asked_for_one_span_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    for module in ("progress", "service.calling"):
        monkeypatch.setattr(f"lognode.engine.subscriptions.{module}.backoff_ms", lambda _: 1)
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        receiver = Receiver(wall)
        receiver.errors = {f"{number}": NodeFault(code) for number in range(20)}
        async with calling(engine, wall, receiver) as subscriptions:
            sharing = await subscriptions.create(engine.tenant, "orders", ORDERS, webhook="till")
            await write(engine, engine.tenant, *map(str, range(20)))
            with trio.fail_after(20):
                while len(receiver.got) < 30:
                    wall.ms += 1000
                    await trio.sleep(0.01)
            receiver.errors.clear()
            # What is wrong here counts against no span; a receiver that is down, against the one that it is asked for.
            assert sharing.standing().parked == 0 or code == "webhook.unreachable"
            await settled(sharing, wall, behind=0)
        first = [title for _, title, _ in receiver.got][:8]
        assert sorted(first) == sorted(f"{number}" for number in range(8))
        assert [title for _, title, _ in receiver.got][8:13] == ["0"] * 5 or code == "webhook.unreachable"


async def test_a_message_has_one_id_until_the_subscription_is_set_to_another_place(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        sharing = await desk(engine, wall, Receiver(wall)).create(engine.tenant, "orders", ORDERS, webhook="till")
        begin = engine.heads.position(0)
        await write(engine, engine.tenant, "a")
        found = []
        for _ in range(2):
            with sharing.join() as holder:
                (offer,) = await sharing.take(holder, 1)
                found.append(message_id(sharing, offer))
        await sharing.reset(begin)
        with sharing.join() as holder:
            (offer,) = await sharing.take(holder, 1)
            found.append(message_id(sharing, offer))
        assert found[0] == found[1] != found[2]


async def test_private_spans_are_refused_to_a_webhook_that_asks_for_them(tmp_path: Path) -> None:
    wall, wanted = Wall(), {"visibility": ["private"]}
    async with run_engine(tmp_path, wall) as engine:
        with pytest.raises(CallerError) as refused:
            await desk(engine, wall, Receiver(wall)).create(engine.tenant, "orders", wanted, webhook="till")
        assert refused.value.code == "subscription.invalid"
