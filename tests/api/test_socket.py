"""GET .../ws over a real port: appends in flight, subscriptions, and clients that misbehave."""

import json
import random
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
from wsproto.events import BytesMessage, TextMessage

from lognode.api.live import socket
from lognode.api.services import Services
from lognode.core.limits import DRAFT_LINE_BYTES_MAX, KIB, MIB, SOCKET_APPENDS_MAX
from lognode.timeline.store.read.lookup import records_at
from tests.api.serving import SocketClient, append_kinds, held_disk, serve, tenant_of

Connect = Callable[[], AbstractAsyncContextManager[SocketClient]]


@pytest.fixture
async def connect(services: Services) -> AsyncIterator[Connect]:
    """Opens a socket, and cuts it off at the end."""
    async with serve(services) as url:

        @asynccontextmanager
        async def open_socket() -> AsyncIterator[SocketClient]:
            async with await SocketClient.connect(services, url) as client:
                yield client

        yield open_socket


def append(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "append", "ref": number, "draft": {"kind": "test.frame", "data": number}, **more}


async def test_an_append_is_acknowledged_under_its_ref(connect: Connect) -> None:
    ref = {"any": ["json", 1.50]}
    async with connect() as client:
        await client.ask(type="append", ref=ref, draft={"kind": "a.b"}, idempotency_key="one")
        first = await client.receive()
        await client.ask(type="append", draft={"kind": "a.b"}, idempotency_key="one")
        again = await client.receive()

    assert (first["type"], first["ref"]) == ("receipt", ref)
    assert (again["type"], again["ref"]) == ("receipt", None)
    assert first["receipt"]["duplicate"] is False
    assert again["receipt"] == {**first["receipt"], "duplicate": True}


async def test_many_appends_in_flight_land_in_order(connect: Connect) -> None:
    async with connect() as client, trio.open_nursery() as nursery:

        async def send() -> None:
            for number in range(3000):
                await client.ask(**append(number))

        nursery.start_soon(send)
        frames = [await client.receive() for _ in range(3000)]

    assert [frame["ref"] for frame in frames] == list(range(3000))
    positions = [frame["receipt"]["position"] for frame in frames]
    assert positions == list(range(positions[0], positions[0] + 3000))


async def test_a_refused_append_says_nothing_of_the_others(services: Services, connect: Connect) -> None:
    bad: dict[int, tuple[dict[str, Any], str]] = {
        3: ({"draft": {"kind": "tenant.create"}}, "kind.reserved"),
        5: ({"draft": {"kind": "a.b", "tags": 7}}, "draft.invalid"),
        7: ({"draft": {"kind": "a.other"}, "idempotency_key": "key 6"}, "idempotency.mismatch"),
        8: ({"draft": [], "idempotency_key": "x" * 300}, "draft.invalid"),
        9: ({"idempotency_key": "x" * 300}, "idempotency.invalid"),
    }
    async with connect() as client:
        async with held_disk(services):
            for number in range(12):
                more, _ = bad.get(number, ({"idempotency_key": f"key {number}"}, ""))
                await client.ask(**append(number, **more))
        frames = {frame["ref"]: frame for frame in [await client.receive() for _ in range(12)]}

    assert {ref: frame["problem"]["code"] for ref, frame in frames.items() if frame["type"] == "error"} == {
        ref: code for ref, (_, code) in bad.items()
    }
    assert sum(frame["type"] == "receipt" for frame in frames.values()) == 12 - len(bad)


@pytest.mark.parametrize(
    ("frame", "ref", "code"),
    [
        (TextMessage("{"), None, "json.malformed"),
        (TextMessage(""), None, "json.malformed"),
        (TextMessage("[1]"), None, "request.malformed"),
        (TextMessage('{"type": "shout", "ref": 1}'), 1, "request.malformed"),
        (TextMessage('{"type": "append", "ref": 2}'), 2, "request.malformed"),
        (TextMessage('{"type": "append", "ref": 3, "draft": {"kind": "a.b", "kind": "c.d"}}'), 3, "json.duplicate_key"),
        (TextMessage('{"type": "unsubscribe", "ref": 4}'), 4, "request.malformed"),
        (TextMessage(json.dumps({"type": "append", "ref": "x" * 999, "draft": {}})), None, "request.malformed"),
        (TextMessage('{"type": "subscribe", "ref": 5, "filter": {"knid": "a"}}'), 5, "filter.invalid"),
        (TextMessage('{"type": "subscribe", "ref": 6, "after": "x"}'), 6, "cursor.invalid"),
        (TextMessage('{"type": "subscribe", "ref": 7, "filter": {"limit": 3}}'), 7, "filter.invalid"),
        (BytesMessage(b'{"type": "unsubscribe", "ref": 8}'), 8, "request.malformed"),
    ],
)
async def test_a_frame_that_makes_no_sense_is_answered_and_the_socket_lives_on(
    connect: Connect, frame: TextMessage | BytesMessage, ref: object, code: str
) -> None:
    async with connect() as client:
        await client.send(frame)
        refused = await client.receive()
        await client.ask(**append(1))
        answered = await client.receive()

    assert (refused["type"], refused["ref"], refused["problem"]["code"]) == ("error", ref, code)
    assert answered["type"] == "receipt"


async def test_a_draft_may_be_as_large_as_over_http_and_no_larger(connect: Connect) -> None:
    async with connect() as client:
        await client.ask(type="append", ref=1, draft={"kind": "a.b", "data": "x" * 1_000_000})
        assert (await client.receive())["type"] == "receipt"
        await client.ask(type="append", ref=2, draft={"kind": "a.b", "data": "x" * (DRAFT_LINE_BYTES_MAX - KIB)})
        assert (await client.receive())["problem"]["code"] == "draft.too_large"
        await client.send(TextMessage("x" * (DRAFT_LINE_BYTES_MAX + 64 * KIB)))
        code, _ = await client.receive_close()
        assert code == 1009


async def test_a_subscription_shows_what_matches_from_now_on(services: Services, connect: Connect) -> None:
    await append_kinds(services, "a.old")
    async with connect() as client:
        await client.ask(type="subscribe", ref="s", filter={"kind": ["a.b", "a.old"]})
        begun = await client.receive()
        receipts = await append_kinds(services, "a.b", "c.d", "a.b")
        spans = [await client.receive() for _ in range(2)]

    assert (begun["type"], begun["ref"]) == ("subscribed", "s")
    assert [frame["span"]["position"] for frame in spans] == [receipts[0].position, receipts[2].position]
    assert all(frame["ref"] == "s" for frame in spans)


async def test_subscriptions_live_side_by_side_until_they_are_ended(services: Services, connect: Connect) -> None:
    async with connect() as client:
        for ref, kind in ((1, "a.b"), (2, "c.d")):
            await client.ask(type="subscribe", ref=ref, filter={"kind": kind})
            assert (await client.receive())["type"] == "subscribed"
        await client.ask(type="subscribe", ref=1)
        assert (await client.receive())["problem"]["code"] == "request.malformed"
        await append_kinds(services, "a.b")
        assert (await client.receive())["ref"] == 1
        await client.ask(type="unsubscribe", ref=1)
        assert await client.receive() == {"type": "unsubscribed", "ref": 1}
        await append_kinds(services, "a.b", "c.d")
        assert (await client.receive())["ref"] == 2


async def test_nothing_follows_the_end_of_a_subscription(services: Services, connect: Connect) -> None:
    async with connect() as client:
        await client.ask(type="subscribe", ref="s")
        cursor = (await client.receive())["cursor"]
        await append_kinds(services, *["a.b"] * 1000)
        await client.ask(type="subscribe", ref="t", after=cursor)
        for ref in ("t", "s"):
            await client.ask(type="unsubscribe", ref=ref)
        frames = [await client.receive()]
        while frames[-1] != {"type": "unsubscribed", "ref": "s"}:
            frames.append(await client.receive())
        await client.ask(**append(1))
        assert (await client.receive())["type"] == "receipt"

    end = frames.index({"type": "unsubscribed", "ref": "t"})
    assert all(frame["ref"] == "s" for frame in frames[end + 1 :])


async def test_a_socket_has_a_bounded_number_of_subscriptions(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "SUBSCRIPTIONS_MAX", 2)
    async with connect() as client:
        for ref in (1, 2, 3):
            await client.ask(type="subscribe", ref=ref)
        frames = {frame["ref"]: frame["type"] for frame in [await client.receive() for _ in range(3)]}

    assert frames == {1: "subscribed", 2: "subscribed", 3: "error"}


async def test_a_subscription_that_cannot_begin_says_why(connect: Connect) -> None:
    async with connect() as client:
        await client.ask(type="subscribe", ref=1, filter={"text": "word"})
        frames = [await client.receive() for _ in range(2)]
        await client.ask(type="subscribe", ref=1)
        again = await client.receive()

    assert [frame["type"] for frame in frames] == ["subscribed", "error"]
    assert frames[1]["problem"]["code"] == "search.off"
    assert again["type"] == "subscribed"


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_is_missed_or_repeated_across_reconnects_and_appends(
    services: Services, connect: Connect, seed: int
) -> None:
    chance = random.Random(seed)
    wanted: list[int] = []
    seen: list[int] = []
    cursor = None

    async def make(*kinds: str) -> None:
        receipts = await append_kinds(services, *kinds)
        wanted.extend(receipt.position for receipt, kind in zip(receipts, kinds, strict=True) if kind == "a.b")

    async def follow(client: SocketClient, frames: int) -> None:
        nonlocal cursor
        await client.ask(type="subscribe", filter={"kind": "a.b"}, after=cursor)
        cursor = (await client.receive())["cursor"]
        for _ in range(frames):
            frame = await client.receive()
            cursor = frame["cursor"]
            seen.append(frame["span"]["position"])

    async def come_and_go() -> None:
        while True:
            async with connect() as client:
                await follow(client, chance.choice([0, 1, 3, 50]))

    async with connect() as client:
        await follow(client, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(come_and_go)
        while len(wanted) < 200:
            await make(*chance.choices(["a.b", "c.d"], k=chance.choice([1, 2, 30])))
            await trio.sleep(chance.choice([0, 0, 0.01]))
        nursery.cancel_scope.cancel()
    await make("a.b")
    async with connect() as client:
        await follow(client, len(wanted) - len(seen))
    assert seen == wanted


async def test_a_client_that_reads_no_answers_is_not_read_either(connect: Connect) -> None:
    wrong = TextMessage(json.dumps({"type": "shout", "ref": "x" * 250}))
    async with connect() as client:
        # A small receive buffer, so that unread answers come to stand at the server soon.
        client.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
        with trio.move_on_after(1) as scope:
            for _ in range(200_000):
                await client.send(wrong)
                scope.deadline = trio.current_time() + 1

    assert scope.cancelled_caught


async def test_unanswered_appends_are_bounded(services: Services, connect: Connect) -> None:
    draft = {"kind": "a.b", "data": "x" * 20_000}
    async with connect() as client, held_disk(services):
        with trio.move_on_after(1) as scope:
            for number in range(10 * SOCKET_APPENDS_MAX):
                await client.ask(type="append", ref=number, draft=draft)
        assert scope.cancelled_caught


@pytest.mark.parametrize("rest", ['"type": "append", "draft": {"kind": "a.b"}', '"type": "subscribe"'])
async def test_a_request_that_lasts_keeps_its_ref_and_not_its_frame(
    services: Services, connect: Connect, rest: str
) -> None:
    async with connect() as client, held_disk(services):
        tracemalloc.start()
        for number in range(24):
            await client.send(TextMessage(f'{{"ref": {number}, {" " * MIB} {rest}}}'))
        await trio.testing.wait_all_tasks_blocked(0.1)
        kept_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert kept_bytes < 8 * MIB


async def test_a_stopping_node_answers_what_was_sent_and_says_goodbye(services: Services, connect: Connect) -> None:
    tenant = tenant_of(services)
    async with connect() as client:
        await client.ask(type="subscribe", ref="s", filter={"kind": "no.such"})
        await client.receive()
        async with held_disk(services):
            for number in range(50):
                await client.ask(**append(number))
            await trio.testing.wait_all_tasks_blocked(0.05)
            services.stopping.set()
            await trio.testing.wait_all_tasks_blocked(0.05)
        answered = [(await client.receive())["receipt"]["position"] for _ in range(50)]
        goodbye = await client.receive_close()

    assert goodbye == (1001, "node.stopping")
    assert len(await services.store.read(records_at, tenant, answered[0], answered[-1] + 1)) == 50


async def test_what_happens_between_nodes_comes_to_each_subscription(connect: Connect, services: Services) -> None:
    tenant = tenant_of(services).number
    async with connect() as client:
        await client.ask(type="subscribe", ref=1)
        assert (await client.receive())["type"] == "subscribed"
        await append_kinds(services, "a.b")
        assert (await client.receive())["type"] == "span"  # it listens by now
        services.notices.tell(tenant, "peer.down", node="a")
        assert await client.receive() == {"type": "event", "ref": 1, "event": "peer.down", "content": {"node": "a"}}
