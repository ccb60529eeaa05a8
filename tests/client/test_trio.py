"""What only the client for trio promises: many tasks at once, deadlines and cancellation at every await."""

import asyncio
import gc
import socket
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import msgspec
import pytest
import trio
import trio.lowlevel
import trio.testing

from lognode.client import AsyncClient, Draft, Filter, connect_async
from lognode.client.aio.tail import AsyncTail
from tests.client.node_stub import SILENCE, Answer, StubNode, stub
from tests.daemon import Daemon

TASKS: Final = 50
PAGE_OF_TWO: Final = Answer(200, b'{"spans":[{"id":"1"},{"id":"2"}],"older":null,"newer":"c"}')
RECEIPT: Final = {
    "id": "s",
    "feed": "f",
    "seq": 1,
    "position": 2,
    "leaf": "00",
    "checkpoint_size": 2,
    "duplicate": False,
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all tests here; each looks only at spans of its own kind."""
    daemon = Daemon(tmp_path_factory.mktemp("trio") / "node")
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
async def client(node: Daemon) -> AsyncIterator[AsyncClient]:
    async with connect_async(data_dir=node.data_dir) as client:
        yield client


async def titles(client: AsyncClient, kind: str) -> Counter[str | None]:
    return Counter([span.get("title") async for span in client.spans(Filter(kinds=(kind,)))])


async def append_from_many_tasks(client: AsyncClient, kind: str, each: int) -> Counter[str | None]:
    """Each task appends so many spans; the titles that must be there once."""

    async def append(task: int) -> None:
        for number in range(each):
            await client.append(Draft(kind=kind, title=f"{task} {number}"))

    async with trio.open_nursery() as nursery:
        for task in range(TASKS):
            nursery.start_soon(append, task)
    return Counter(f"{task} {number}" for task in range(TASKS) for number in range(each))


async def test_many_tasks_append_through_one_client(client: AsyncClient) -> None:
    sent = await append_from_many_tasks(client, "many.appended", each=4)

    assert await titles(client, "many.appended") == sent


async def test_many_tasks_append_each_span_once_though_the_node_is_killed(client: AsyncClient, node: Daemon) -> None:
    async def kill_and_start() -> None:
        async with client.tail(Filter(kinds=("many.killed",))) as tail:
            await anext(tail)
        await trio.to_thread.run_sync(node.kill)
        await trio.to_thread.run_sync(node.start)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(kill_and_start)
        sent = await append_from_many_tasks(client, "many.killed", each=10)

    assert await titles(client, "many.killed") == sent


async def test_more_tails_than_a_pool_has_connections_do_not_hold_up_an_append(client: AsyncClient) -> None:
    seen = list[str]()

    async def follow(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with client.tail(Filter(kinds=("tail.crowded",))) as tail:
            task_status.started()
            seen.append((await anext(tail)).span["id"])

    async with trio.open_nursery() as nursery:
        for _ in range(110):
            await nursery.start(follow)
        receipt = await client.append(Draft(kind="tail.crowded"))

    assert seen == [receipt["id"]] * 110


async def test_a_cancelled_append_is_recorded_once_when_it_is_sent_again_with_its_key(client: AsyncClient) -> None:
    for number in range(40):
        draft = Draft(kind="append.cancelled", title=str(number))
        with trio.move_on_after(0.0002 * number):
            await client.append(draft, idempotency_key=f"cancelled {number}")
        await client.append(draft, idempotency_key=f"cancelled {number}")

    assert await titles(client, "append.cancelled") == Counter(map(str, range(40)))


async def cut_short(node: StubNode, call: Callable[[], Awaitable[object]]) -> None:
    """Cancel a call when its request has arrived."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.to_thread.run_sync(node.arrivals.acquire)
        nursery.cancel_scope.cancel()


async def test_a_cancelled_append_frees_its_connection_and_sends_no_more() -> None:
    stored = Answer(201, msgspec.json.encode(RECEIPT))
    async with stub(SILENCE, stored) as node, connect_async(url=node.url) as client:
        append = partial(client.append, Draft(kind="a.b"), idempotency_key="k")
        await cut_short(node, append)
        await append()

        assert [asked.headers["idempotency-key"] for asked in node.asked] == ["k", "k"]


async def test_a_deadline_around_a_wait_for_a_span_ends_that_wait_alone(client: AsyncClient) -> None:
    seen = list[str | None]()
    async with client.tail(Filter(kinds=("tail.timed",))) as tail:
        for number in range(10):
            with trio.move_on_after(0.02) as scope:
                await anext(tail)
            assert scope.cancelled_caught
            await client.append(Draft(kind="tail.timed", title=str(number)))
            seen.append((await anext(tail)).span.get("title"))

    assert seen == [str(number) for number in range(10)]


async def test_a_tail_that_is_closed_by_another_task_ends(client: AsyncClient) -> None:
    has_begun = trio.Event()
    seen = list[str]()

    async def follow(tail: AsyncTail) -> None:
        async for arrival in tail:
            seen.append(arrival.span["id"])
            has_begun.set()

    tail = client.tail(Filter(kinds=("tail.closed",)), after=await client.newest_cursor())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, tail)
        receipt = await client.append(Draft(kind="tail.closed"))
        await has_begun.wait()
        await tail.aclose()

    assert seen == [receipt["id"]]


def open_sockets() -> set[int]:
    return {id(item) for item in gc.get_objects() if isinstance(item, socket.socket) and item.fileno() >= 0}


@asynccontextmanager
async def nothing_left_behind() -> AsyncIterator[None]:
    """What is opened inside must be closed there: no generator is left to the collector, and no socket."""
    before = open_sockets()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
        await trio.testing.wait_all_tasks_blocked()
    assert [str(warning.message) for warning in caught] == []
    assert open_sockets() <= before


async def test_what_is_left_in_its_middle_leaves_nothing_to_the_collector(client: AsyncClient) -> None:
    for _ in range(3):
        await client.append(Draft(kind="generator.left"))
    start = (await client.page(Filter(order="arrival"), newest_first=False, limit=1))["newer"]
    async with nothing_left_behind():
        async for _ in client.spans(Filter(kinds=("generator.left",))):
            break
        async with client.tail(after=start) as tail:
            async for _ in tail:
                break
        async with client.tail() as tail:
            with trio.move_on_after(0.05):
                await anext(tail)
        del tail


async def test_a_cancelled_program_closes_all_that_it_opened(node: Daemon) -> None:
    async with nothing_left_behind():
        with trio.CancelScope() as scope:
            async with connect_async(data_dir=node.data_dir) as client:
                start = (await client.page(Filter(order="arrival"), newest_first=False, limit=1))["newer"]
                await client.append(Draft(kind="program.cancelled"))
                tails = [client.tail(after=start) for _ in range(3)]
                for tail in tails:
                    await anext(tail)
                scope.cancel()
                await trio.sleep_forever()


async def test_lines_may_come_in_their_time(client: AsyncClient) -> None:
    async def lines() -> AsyncIterator[Draft | bytes]:
        for number in range(5):
            await trio.lowlevel.checkpoint()
            yield Draft(kind="line.awaited", title=str(number))

    answers = [answer async for answer in client.append_lines(lines())]

    assert [answer["appended"] for answer in answers] == [5]
    assert await titles(client, "line.awaited") == Counter(map(str, range(5)))


async def test_a_walk_whose_wait_was_cut_short_goes_on_where_it_was() -> None:
    async with stub(SILENCE, PAGE_OF_TWO) as node, connect_async(url=node.url) as client:
        spans = client.spans(limit=2)
        await cut_short(node, spans.__anext__)
        assert [span["id"] async for span in spans] == ["1", "2"]


def test_another_loop_is_refused_at_once(node: Daemon) -> None:
    client = connect_async(data_dir=node.data_dir)

    with pytest.raises(RuntimeError, match="trio only"):
        asyncio.run(client.stats())
