"""GET .../live over a real port: nothing missed, nothing repeated, whatever happens in between."""

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Final

import httpx
import pytest
import trio

from lognode.api.live import events
from lognode.api.live.tail import Tail
from lognode.api.services import Services
from lognode.core.ids import b32encode
from lognode.core.limits import NOTICES_WAITING_MAX
from lognode.timeline.query import arrival_cursor, encode_cursor, lineage_of
from tests.api.serving import LIVE, SPANS, EventClient, Told, append_kinds, http_client, serve, tenant_of

SPANS_MADE: Final = 200


@pytest.fixture
async def url(services: Services) -> AsyncIterator[str]:
    async with serve(services) as served:
        yield served


@pytest.fixture
async def http(services: Services, url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(services, url) as client:
        yield client


Follow = Callable[..., AbstractAsyncContextManager[EventClient]]


@pytest.fixture
def follow(services: Services, url: str) -> Follow:
    """Opens a tail: `follow(cursor, **parameters)`."""

    @asynccontextmanager
    async def open_tail(cursor: str | None = None, **params: str) -> AsyncIterator[EventClient]:
        async with aclosing(await EventClient.connect(services, url, cursor, params)) as tail:
            yield tail

    return open_tail


async def test_a_tail_shows_what_comes_from_now_on(services: Services, http: httpx.AsyncClient, follow: Follow) -> None:
    await append_kinds(services, "a.old")
    async with follow() as tail:
        assert (await tail.next()).span is None
        (receipt,) = await append_kinds(services, "a.new")
        _, span = await tail.next_span()

    assert span == {
        name: value
        for name, value in (await http.get(f"{SPANS}/{b32encode(receipt.id)}")).json().items()
        if name != "entry"
    }


async def test_a_tail_that_saw_nothing_goes_on_from_where_it_began(services: Services, follow: Follow) -> None:
    async with follow() as tail:
        cursor, _ = await tail.next()
    await append_kinds(services, "a.b")

    async with follow(cursor) as tail:
        assert (await tail.next_span())[1]["kind"] == "a.b"
    async with follow(after=cursor) as tail:
        assert (await tail.next_span())[1]["kind"] == "a.b"


async def test_the_last_event_goes_before_the_parameter(services: Services, follow: Follow) -> None:
    async with follow() as tail:
        start, _ = await tail.next()
        await append_kinds(services, "a.one", "a.two")
        cursor, _ = await tail.next_span()

    async with follow(cursor, after=start) as tail:
        assert (await tail.next_span())[1]["kind"] == "a.two"


async def chase(services: Services, follow: Follow, seed: int) -> tuple[list[int], list[int]]:
    """Positions that a client saw which left and came back at random, and those that it should have seen."""
    chance = random.Random(seed)
    wanted: list[int] = []
    seen: list[int] = []
    cursor = None

    async def make(*kinds: str) -> None:
        receipts = await append_kinds(services, *kinds)
        wanted.extend(receipt.position for receipt, kind in zip(receipts, kinds, strict=True) if kind == "a.b")

    async def come_and_go() -> None:
        nonlocal cursor
        while True:
            async with follow(cursor, kind="a.b") as tail:
                # Leave after so many events, with more of them on the way.
                for _ in range(chance.choice([0, 1, 3, 50])):
                    cursor, span = await tail.next_span()
                    seen.append(span["position"])

    async with follow() as tail:
        cursor, _ = await tail.next()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(come_and_go)
        while len(wanted) < SPANS_MADE:
            await make(*chance.choices(["a.b", "c.d"], k=chance.choice([1, 2, 30])))
            await trio.sleep(chance.choice([0, 0, 0.01]))
        nursery.cancel_scope.cancel()
    await make("a.b", "a.b")
    async with follow(cursor, kind="a.b") as tail:
        while seen[-1:] != wanted[-1:]:
            _, span = await tail.next_span()
            seen.append(span["position"])
    return seen, wanted


@pytest.mark.parametrize("seed", range(8))
async def test_nothing_is_missed_or_repeated_across_reconnects_and_appends(
    services: Services, follow: Follow, seed: int
) -> None:
    seen, wanted = await chase(services, follow, seed)

    assert seen == wanted


@pytest.mark.parametrize("slip", [-1, 1])
async def test_the_chase_finds_a_cursor_that_is_one_off(
    services: Services, follow: Follow, monkeypatch: pytest.MonkeyPatch, slip: int
) -> None:
    right, number = Tail.cursor, tenant_of(services).number

    def cursor(tail: Tail, position: int) -> str:
        return right(tail, min(position + slip, services.heads.position(number)))

    monkeypatch.setattr(Tail, "cursor", cursor)
    # A slip shows only where the client left between two spans, which a busy machine may keep it from.
    for seed in range(8):
        seen, wanted = await chase(services, follow, seed)
        if seen != wanted:
            return
    pytest.fail("no chase found it")


async def test_a_quiet_tail_gives_signs_of_life_and_moves_its_cursor(
    services: Services, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "TAIL_HEARTBEAT_S", 0.05)
    async with follow(kind="a.b") as tail:
        start, _ = await tail.next()
        assert await tail.next() == Told(None, None)
        receipts = await append_kinds(services, *["c.d"] * 3)
        while (told := await tail.next()) == Told(None, None):
            pass

    lineage = lineage_of(services.node_public, tenant_of(services), services.store.feeds)
    end = encode_cursor(arrival_cursor(receipts[-1].position), lineage)
    assert told == Told(end, None)
    assert start != end


async def test_a_slow_reader_misses_nothing_and_delays_nobody(
    services: Services, http: httpx.AsyncClient, follow: Follow
) -> None:
    last = 0
    big = json.dumps({"kind": "a.big", "data": "x" * 100_000}).encode()
    async with follow() as slow, follow() as quick:
        for number in range(150):
            answer = await http.post(SPANS, content=big, headers={"Content-Type": "application/json"})
            last = answer.json()["position"]
            if number % 30 == 0:
                await quick.next_span()
        assert services.writer.waiting_spans == 0
        positions = [(await slow.next_span())[1]["position"] for _ in range(150)]

    assert positions == list(range(last - 149, last + 1))


async def test_tails_end_cleanly_when_the_node_stops(services: Services, follow: Follow) -> None:
    async with follow() as tail:
        await tail.next()
        services.stopping.set()
        with pytest.raises(trio.EndOfChannel):
            await tail.next()


@pytest.mark.parametrize("name", ["before", "limit", "order", "sort", "knid"])
async def test_what_makes_no_sense_for_a_tail_is_refused(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.get(LIVE, params={name: "1"})

    assert (answer.status_code, answer.json()["code"]) == (400, "filter.invalid")
    assert answer.json()["place"] == name


async def test_a_tail_takes_only_cursors_of_its_own_arrivals(services: Services, http: httpx.AsyncClient) -> None:
    (receipt,) = await append_kinds(services, "a.b")
    lineage = lineage_of(services.node_public, tenant_of(services), services.store.feeds)
    page = (await http.get(SPANS)).json()
    refused = {
        encode_cursor(arrival_cursor(1), lineage._replace(node_public=b"n" * 32)): "cursor.foreign",
        # After the node was set back to an older copy, spans would be missed without a word.
        encode_cursor(arrival_cursor(receipt.position + 1), lineage): "cursor.invalid",
        page["newer"]: "cursor.invalid",
        "x": "cursor.invalid",
    }

    for cursor, code in refused.items():
        answer = await http.get(LIVE, params={"after": cursor})
        assert answer.json()["code"] == code


async def test_a_tail_by_text_needs_full_text(http: httpx.AsyncClient) -> None:
    answer = await http.get(LIVE, params={"text": "word"})

    assert (answer.status_code, answer.json()["code"]) == (409, "search.off")


async def test_what_happens_between_nodes_comes_beside_the_spans(services: Services, follow: Follow) -> None:
    tenant = tenant_of(services).number
    async with follow() as tail:
        assert (await tail.next()).span is None
        services.notices.tell(tenant + 1, "peer.up", node="of another tenant")
        services.notices.tell(tenant, "peer.up", node="a")
        assert await tail.next() == (None, None)
        assert tail.happened == [("peer.up", {"node": "a"})]
        await append_kinds(services, "a.new")
        cursor, span = await tail.next_span()
    assert span["kind"] == "a.new"
    async with follow(cursor) as tail:
        await append_kinds(services, "a.newer")
        assert (await tail.next_span())[1]["kind"] == "a.newer"


async def test_who_does_not_take_notices_keeps_the_newest_few(services: Services) -> None:
    with services.notices.listen(1) as listener:
        for number in range(2 * NOTICES_WAITING_MAX):
            services.notices.tell(1, "sync.progress", number=number)
        kept = [notice.content["number"] for notice in listener.take()]
    assert kept == list(range(NOTICES_WAITING_MAX, 2 * NOTICES_WAITING_MAX))
