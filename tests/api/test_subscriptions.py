"""Named subscriptions over HTTP, server-sent events and WebSocket, on a real port."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, Final

import httpx
import pytest
import trio

from lognode.api.services import Services
from lognode.core.ids import b32encode
from lognode.core.limits.subscriptions import (
    SUBSCRIPTION_CONSUMERS_MAX,
    SUBSCRIPTIONS_NAMED_MAX,
)
from tests.api.serving import SPANS, TENANT, EventClient, SocketClient, append_kinds, http_client, serve

SUBSCRIPTIONS: Final = f"{TENANT}/subscriptions"
ORDERS: Final = f"{SUBSCRIPTIONS}/orders"
FILTER: Final = {"kind": ["order.*"]}


Consume = Callable[..., AbstractAsyncContextManager["Consumer"]]


@pytest.fixture
async def url(services: Services) -> AsyncIterator[str]:
    async with serve(services) as served:
        yield served


@pytest.fixture
async def http(services: Services, url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(services, url) as client:
        yield client


@pytest.fixture
def consume(services: Services, http: httpx.AsyncClient, url: str) -> Consume:
    """Opens a connection of server-sent events: `consume(**parameters)`."""

    @asynccontextmanager
    async def connect(**params: object) -> AsyncIterator[Consumer]:
        query = {name: f"{value}" for name, value in params.items()}
        async with aclosing(await EventClient.connect(services, url, None, query, f"{ORDERS}/stream")) as events:
            yield Consumer(http, events)

    return connect


class Consumer:
    """Somebody who consumes by server-sent events."""

    def __init__(self, http: httpx.AsyncClient, events: EventClient) -> None:
        self._http = http
        self._events = events

    async def next(self) -> dict[str, Any]:
        """What the next event carries that carries anything."""
        with trio.fail_after(20):
            while True:
                _, found = await self._events.next()
                if found is not None:
                    return found
                if self._events.happened:
                    return self._events.happened.pop()[1]

    async def ends(self) -> bool:
        """Whether the stream ends before anything else comes."""
        try:
            await self.next()
        except trio.EndOfChannel:
            return True
        return False

    async def say(self, word: str, *offers: dict[str, Any], **said: object) -> dict[str, Any]:
        return await say(self._http, word, *offers, **said)


async def say(http: httpx.AsyncClient, word: str, *offers: dict[str, Any], **said: object) -> dict[str, Any]:
    body = {"deliveries": [offer["delivery"] for offer in offers], **said}
    answer = await http.post(f"{ORDERS}/{word}", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def create(http: httpx.AsyncClient, **said: object) -> dict[str, Any]:
    answer = await http.post(SUBSCRIPTIONS, json={"name": "orders", "filter": FILTER, "start": "beginning", **said})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def show(http: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await http.get(ORDERS)).json()
    return found


async def eventually(http: httpx.AsyncClient, **wanted: object) -> dict[str, Any]:
    """The subscription once it is so."""
    with trio.fail_after(20):
        while not wanted.items() <= (found := await show(http)).items():  # noqa: ASYNC110 - over HTTP
            await trio.sleep(0.01)
    return found


async def refused(http: httpx.AsyncClient, method: str, path: str, **body: object) -> tuple[int, str]:
    answer = await http.request(method, path, json=body or None)
    return answer.status_code, answer.json()["code"]


async def test_what_is_acknowledged_never_comes_again_and_what_is_not_does(
    services: Services, http: httpx.AsyncClient, consume: Consume
) -> None:
    await append_kinds(services, "order.one", "note.made", "order.two", "order.three")
    made = await create(http)
    assert (made["delivery"], made["behind"], made["parked"]) == ("pull", 6, 0)
    async with consume() as consumer:
        offers = [await consumer.next() for _ in range(3)]
        assert [offer["span"]["kind"] for offer in offers] == ["order.one", "order.two", "order.three"]
        assert [(offer["attempt"], offer["replay"]) for offer in offers] == [(1, False)] * 3
        assert await consumer.say("ack", offers[0], offers[2]) == {"done": 2, "stale": []}
    async with consume() as consumer:
        again = await consumer.next()
        assert (again["span"]["kind"], again["attempt"]) == ("order.two", 2)
        assert await consumer.say("ack", again, again) == {"done": 2, "stale": []}
        await append_kinds(services, "note.made", "order.four")
        assert (await consumer.next())["span"]["kind"] == "order.four"
        assert (await show(http))["consumers"] == 1
    found = await eventually(http, consumers=0)
    assert (found["behind"], found["waiting"], found["in_flight"]) == (1, 1, 0)


async def test_consumers_share_a_subscription_and_what_one_held_goes_to_the_others(
    services: Services, http: httpx.AsyncClient, consume: Consume
) -> None:
    await append_kinds(services, *[f"order.n{number}" for number in range(6)])
    await create(http)
    async with consume(in_flight=2) as one:
        mine = [await one.next() for _ in range(2)]
        async with consume(in_flight=3) as other:
            theirs = [await other.next() for _ in range(3)]
            assert await one.say("ack", mine[0])
            mine.append(await one.next())
        kinds = {offer["span"]["kind"] for offer in [*mine, *theirs]}
        assert kinds == {f"order.n{number}" for number in range(6)}
        await one.say("ack", *mine)
        again = [await one.next() for _ in range(2)]
        assert [offer["span"]["kind"] for offer in again] == ["order.n2", "order.n3"]
        assert [offer["attempt"] for offer in again] == [2, 1]  # it had hardly looked at the second


async def test_a_span_that_keeps_failing_is_parked_listed_and_replayed(
    services: Services, http: httpx.AsyncClient, consume: Consume
) -> None:
    (receipt, *_) = await append_kinds(services, "order.bad", "order.good")
    await create(http, max_attempts=2)
    async with consume() as consumer:
        bad, good = await consumer.next(), await consumer.next()
        await consumer.say("ack", good)
        assert await consumer.say("retry", bad, after_ms=0, reason="no room") == {"done": 1, "stale": []}
        assert await consumer.say("retry", bad) == {"done": 0, "stale": [bad["delivery"]]}
        again = await consumer.next()
        assert (again["span"]["kind"], again["attempt"]) == ("order.bad", 2)
        await consumer.say("retry", again, reason="still none")
        (parked,) = (await http.get(f"{ORDERS}/parked")).json()["parked"]
        assert (parked["span"], parked["attempts"], parked["reason"], parked["replay"]) == (
            again["span"]["id"], 2, "still none", False,
        )  # fmt: skip
        assert (await show(http))["behind"] == 0
        asked = await http.post(f"{ORDERS}/replay", json={"spans": [parked["span"]]})
        assert asked.json() == {"replayed": 1}
        replayed = await consumer.next()
        assert (replayed["replay"], replayed["attempt"]) == (True, 1)
        await consumer.say("park", replayed, reason="never mind")
        assert (await http.get(f"{ORDERS}/parked")).json()["parked"][0]["reason"] == "never mind"
        assert (await http.post(f"{ORDERS}/replay", json={})).json() == {"replayed": 1}
        await consumer.say("ack", await consumer.next())
    assert (await http.get(f"{ORDERS}/parked")).json() == {"parked": [], "next": None}
    assert receipt.position == replayed["span"]["position"]


async def test_all_up_to_one_are_acknowledged_at_once_and_a_reset_delivers_again(
    services: Services, http: httpx.AsyncClient, consume: Consume
) -> None:
    await append_kinds(services, *[f"order.n{number}" for number in range(5)])
    await create(http)
    async with consume() as consumer:
        offers = [await consumer.next() for _ in range(5)]
        assert await consumer.say("ack", up_to=offers[3]["delivery"]) == {"done": 4, "stale": []}
        place = offers[2]["span"]["id"]
        assert (await http.post(f"{ORDERS}/reset", json={"start": place})).status_code == 200
        again = [await consumer.next() for _ in range(3)]
        assert [offer["span"]["kind"] for offer in again] == ["order.n2", "order.n3", "order.n4"]
        stale = await consumer.say("ack", offers[4])
        assert stale == {"done": 0, "stale": [offers[4]["delivery"]]}
        await consumer.say("ack", *again)
    assert (await eventually(http, consumers=0))["behind"] == 0


@pytest.mark.parametrize("start", ["now", "beginning", "id", "cursor", "time"])
async def test_a_subscription_begins_where_it_is_told(
    services: Services, http: httpx.AsyncClient, start: str, consume: Consume
) -> None:
    await append_kinds(services, "order.one")
    page = (await http.get(SPANS, params={"kind": "order.one"})).json()
    (one,) = page["spans"]
    cursor = (await http.get(SPANS, params={"order": "arrival"})).json()["newer"]
    await append_kinds(services, "order.two")
    await create(http, start={"id": one["id"], "cursor": cursor, "time": one["at"]}.get(start, start))
    await append_kinds(services, "order.three")
    async with consume() as consumer:
        first = await consumer.next()
    expected = {"now": "order.three", "cursor": "order.two"}
    assert first["span"]["kind"] == expected.get(start, "order.one")


async def test_a_stream_ends_where_it_was_to_and_when_its_subscription_is_deleted(
    services: Services, http: httpx.AsyncClient, consume: Consume
) -> None:
    await append_kinds(services, "order.one", "order.two", "order.three")
    await create(http)
    async with consume(limit=2) as consumer:
        for _ in range(2):
            await consumer.say("ack", await consumer.next())
        assert await consumer.ends()
    async with consume(follow="false") as consumer:
        await consumer.say("ack", await consumer.next())
        assert await consumer.ends()
    async with consume() as consumer:
        assert (await http.delete(ORDERS)).json()["consumers"] == 1
        assert (await consumer.next())["code"] == "subscription.unknown"
        assert await consumer.ends()
    assert await refused(http, "GET", ORDERS) == (404, "subscription.unknown")
    await create(http)
    assert (await http.get(f"{ORDERS}/parked")).json()["parked"] == []


async def test_a_socket_delivers_and_takes_acknowledgements_in_band(
    services: Services, http: httpx.AsyncClient, url: str
) -> None:
    await append_kinds(services, "order.one", "order.two", "order.three")
    await create(http)
    async with await SocketClient.connect(services, url, path=f"{ORDERS}/ws?in_flight=2") as client:
        one, two = await client.receive(), await client.receive()
        assert [frame["type"] for frame in (one, two)] == ["span", "span"]
        await client.ask(type="ack", deliveries=[one["delivery"]], ref={"n": 1})
        frames = [await client.receive(), await client.receive()]
        (settled,) = [frame for frame in frames if frame["type"] == "settled"]
        (three,) = [frame for frame in frames if frame["type"] == "span"]
        assert settled == {"type": "settled", "ref": {"n": 1}, "done": 1, "stale": []}
        await client.ask(type="park", deliveries=[three["delivery"]], reason="no")
        await client.ask(type="retry", deliveries=[two["delivery"]], after_ms=-1, ref=2)
        await client.ask(type="shout", ref=3)
        await client.ask(type="ack", deliveries=["x"], ref=4)
        answers = [await client.receive() for _ in range(4)]
        assert [frame.get("done", frame.get("problem", {}).get("code")) for frame in answers] == [
            1, "subscription.invalid", "request.malformed", "delivery.malformed",
        ]  # fmt: skip
        await client.ask(type="retry", deliveries=[two["delivery"]], after_ms=0)
        frames = [await client.receive(), await client.receive()]
        assert {frame["type"] for frame in frames} == {"span", "settled"}
        assert (await http.delete(ORDERS)).status_code == 200
        assert (await client.receive_close())[1] == "subscription.unknown"


async def test_a_socket_that_breaks_leaves_nothing_behind_and_a_node_that_stops_says_so(
    services: Services, http: httpx.AsyncClient, url: str
) -> None:
    await append_kinds(services, "order.one")
    await create(http)
    async with await SocketClient.connect(services, url, path=f"{ORDERS}/ws") as client:
        await client.receive()
        await eventually(http, in_flight=1)
    await eventually(http, in_flight=0, consumers=0, waiting=1)
    async with await SocketClient.connect(services, url, path=f"{ORDERS}/ws") as client:
        assert (await client.receive())["attempt"] == 2
        services.stopping.set()
        assert (await client.receive_close())[1] == "node.stopping"


BAD: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "a name with capitals": ({"name": "Orders"}, "subscription.invalid"),
    "a name that is too long": ({"name": "o" * 65}, "subscription.invalid"),
    "a filter that is none": ({"filter": {"knid": "x"}}, "filter.invalid"),
    "an end": ({"filter": {"limit": 3}}, "filter.invalid"),
    "words without full text": ({"filter": {"text": "word"}}, "search.off"),
    "no time": ({"ack_wait_ms": 1}, "subscription.invalid"),
    "nothing in flight": ({"max_in_flight": 0}, "subscription.invalid"),
    "too many attempts": ({"max_attempts": 101}, "subscription.invalid"),
    "a start that is none": ({"start": "yesterday"}, "subscription.invalid"),
    "a webhook that is not there": ({"webhook": "ops"}, "webhook.unknown"),
    "a field that is none": ({"nmae": "x"}, "request.malformed"),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_no_subscription_can_be_is_refused(http: httpx.AsyncClient, case: str) -> None:
    said, code = BAD[case]
    body: dict[str, Any] = {"name": "orders", **said}
    status, found = await refused(http, "POST", SUBSCRIPTIONS, **body)
    assert (status in {400, 409, 422}, found) == (True, code)


async def test_names_are_taken_once_and_there_are_no_more_than_so_many(
    services: Services, http: httpx.AsyncClient
) -> None:
    await create(http)
    assert await refused(http, "POST", SUBSCRIPTIONS, name="orders") == (409, "subscription.exists")
    for number in range(SUBSCRIPTIONS_NAMED_MAX - 1):
        await create(http, name=f"n{number}")
    assert await refused(http, "POST", SUBSCRIPTIONS, name="more") == (409, "subscription.too_many")
    names = [one["name"] for one in (await http.get(SUBSCRIPTIONS)).json()["subscriptions"]]
    assert names == sorted(names)
    assert len(names) == SUBSCRIPTIONS_NAMED_MAX


async def test_there_are_no_more_consumers_than_so_many(
    services: Services, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, consume: Consume
) -> None:
    assert SUBSCRIPTION_CONSUMERS_MAX > 1
    monkeypatch.setattr("lognode.engine.subscriptions.service.sharing.SUBSCRIPTION_CONSUMERS_MAX", 1)
    await create(http)
    async with consume():
        await eventually(http, consumers=1)
        async with consume() as other:
            assert (await other.next())["code"] == "subscription.busy"


async def test_other_tenants_and_strangers_see_no_subscription(services: Services, http: httpx.AsyncClient) -> None:
    await create(http)
    async with httpx.AsyncClient(base_url=http.base_url, trust_env=False) as stranger:
        for path in (SUBSCRIPTIONS, ORDERS, f"{ORDERS}/stream", f"{ORDERS}/parked"):
            assert (await stranger.get(path)).status_code == 401
        bad = {"Authorization": http.headers["Authorization"], "Origin": "http://elsewhere.example"}
        assert (await stranger.get(f"{ORDERS}/stream", headers=bad)).status_code == 403


@pytest.mark.parametrize("after", ["x", b32encode(bytes(8))[:-1], b32encode(b"\xff" * 8)])
async def test_a_place_that_no_page_of_what_is_parked_named_is_refused(http: httpx.AsyncClient, after: str) -> None:
    await create(http)
    assert await refused(http, "GET", f"{ORDERS}/parked?after={after}") == (400, "cursor.invalid")
