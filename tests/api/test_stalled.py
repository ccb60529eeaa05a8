"""Clients that stop reading, on a clock that stands still until the test moves it: what becomes of them, and when.

What they cost a real daemon is in tests/faults/test_stalled.py.
"""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

import h11
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from lognode.api.services import Services
from lognode.core.draft import parse_json_draft
from lognode.core.limits import KIB, TAIL_SEND_S_MAX
from tests.api.serving import EventClient, SocketClient, serve, tenant_of

BACKLOG: Final = 320  # spans, more than the buffers of any connection hold
DRAFT: Final = json.dumps({"kind": "big.one", "data": "x" * 64 * KIB}).encode()
RECEIVE_BYTES: Final = 4 * KIB  # few, so that receipts come to stand at the server soon
QUIET_S: Final = 0.5  # nothing happens on the server any more
FRAMES: Final = 100_000
ASKED: Final = 100  # of the frames that were sent


@pytest.fixture
async def url(services: Services) -> AsyncIterator[str]:
    async with serve(services) as served:
        yield served


async def make_backlog(services: Services) -> list[int]:
    """Positions of spans that were just appended."""
    draft, _ = parse_json_draft(DRAFT)
    made: list[int] = []
    while len(made) < BACKLOG:
        receipts = await services.writer.append(tenant_of(services), [draft] * 32, wait=True)
        made += [receipt.position for receipt in receipts]
    return made


class Reader:
    """A tail that is read when the test says so, over server-sent events or a WebSocket."""

    def __init__(self, services: Services, url: str, *, is_socket: bool) -> None:
        self._services, self._url, self._is_socket = services, url, is_socket
        self._client: Any = None
        self.cursor: str | None = None
        self.positions: list[int] = []

    async def connect(self) -> None:
        """Follow from the cursor on."""
        if self._is_socket:
            self._client = await SocketClient.connect(self._services, self._url)
            await self._client.ask(type="subscribe", after=self.cursor)
            self.cursor = (await self._client.receive())["cursor"]
        else:
            self._client = await EventClient.connect(self._services, self._url, self.cursor, {})
            self.cursor = (await self._client.next()).cursor

    async def read(self, count: int) -> bool:
        """Take so many spans in all; whether the connection lasted so long."""
        # AssertionError: of a WebSocket that ended without a word.
        with suppress(trio.BrokenResourceError, h11.RemoteProtocolError, AssertionError):
            while len(self.positions) < count:
                await self._take()
            return True
        return False

    async def _take(self) -> None:
        if self._is_socket:
            frame = await self._client.receive()
            self.cursor, span = frame["cursor"], frame["span"]
        else:
            self.cursor, span = await self._client.next_span()
        self.positions.append(span["position"])

    async def aclose(self) -> None:
        """Cut the connection."""
        if self._is_socket:
            await trio.aclose_forcefully(self._client.stream)
        else:
            await self._client.aclose()


@pytest.fixture(params=[False, True], ids=["events", "socket"])
async def reader(services: Services, url: str, request: pytest.FixtureRequest) -> AsyncIterator[Reader]:
    """A tail that has read nothing yet, to be connected again where a test was dropped."""
    reader = Reader(services, url, is_socket=request.param)
    await reader.connect()
    yield reader
    await reader.aclose()


async def stall(clock: MockClock, for_s: float) -> None:
    """Let time pass while nobody reads."""
    await wait_all_tasks_blocked(QUIET_S)
    clock.jump(for_s)
    await wait_all_tasks_blocked(QUIET_S)


async def stall_for_good(clock: MockClock) -> None:
    """Let more than a minute pass, and again, should the server have been busy when the first one began."""
    for _ in range(3):
        await stall(clock, TAIL_SEND_S_MAX + 1)


async def test_a_tail_that_is_read_again_within_a_minute_goes_on(
    services: Services, reader: Reader, mock_clock: MockClock
) -> None:
    made = await make_backlog(services)
    await stall(mock_clock, TAIL_SEND_S_MAX - 1)

    assert await reader.read(BACKLOG)
    assert reader.positions == made


async def test_a_tail_that_is_not_read_for_a_minute_is_dropped_and_misses_nothing_when_it_comes_back(
    services: Services, reader: Reader, mock_clock: MockClock
) -> None:
    made = await make_backlog(services)
    await stall_for_good(mock_clock)

    assert not await reader.read(BACKLOG)
    assert len(reader.positions) < BACKLOG
    await reader.aclose()
    await reader.connect()
    assert await reader.read(BACKLOG)
    assert reader.positions == made


async def test_an_appender_that_reads_no_receipt_for_a_minute_is_dropped_and_keeps_what_is_in(
    services: Services, url: str, mock_clock: MockClock
) -> None:
    def frame(number: int, ref: str) -> dict[str, Any]:
        return {"type": "append", "ref": ref, "draft": {"kind": "a.b"}, "idempotency_key": f"key {number}"}

    sent = 0

    async def send(client: SocketClient) -> None:
        nonlocal sent
        with suppress(trio.BrokenResourceError):
            while sent < FRAMES:
                await client.ask(**frame(sent, "x" * 240))  # which comes back, and makes receipts long
                sent += 1

    async with await SocketClient.connect(services, url, RECEIVE_BYTES) as client, trio.open_nursery() as nursery:
        nursery.start_soon(send, client)
        await stall_for_good(mock_clock)
        # The sender has met the end of its connection, else it would still wait.
    assert 0 < sent < FRAMES
    newest = services.heads.position(tenant_of(services).number)
    async with await SocketClient.connect(services, url) as client:
        for number in range(0, sent, 1 + sent // ASKED):
            await client.ask(**frame(number, "again"))
            receipt = (await client.receive())["receipt"]
            assert receipt["duplicate"] == (receipt["position"] <= newest)
