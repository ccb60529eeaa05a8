"""POST .../spans as NDJSON: what is in, whatever stops a stream."""

import gzip
import json
import math
import re
from collections.abc import AsyncIterator, Callable
from itertools import chain, repeat

import httpx
import pytest
import trio

from lognode.api.app import Caller
from lognode.api.server import connection
from lognode.api.services import Services
from lognode.api.spans import runs
from lognode.api.spans.upload import Upload
from lognode.core.access import Principal
from lognode.core.errors import NodeFault
from lognode.core.ids import LogLineKind, logline
from lognode.core.limits import DRAFT_LINE_BYTES_MAX
from tests.api.serving import (
    NDJSON,
    SPANS,
    code_of,
    held_disk,
    http_client,
    lines,
    serve,
    stored,
    tenant_of,
)


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(services) as url, http_client(services, url) as client:
        yield client


async def test_a_stream_is_in_whole_and_in_order(http: httpx.AsyncClient) -> None:
    answer = await http.post(SPANS, content=lines(0, 5000), headers=NDJSON)

    assert answer.status_code == 201
    told = answer.json()
    assert (told["lines"], told["appended"], told["duplicates"]) == (5000, 5000, 0)
    assert told["last"]["position"] - told["first"]["position"] == 4999
    assert told["checkpoint_size"] == told["last"]["checkpoint_size"] > told["last"]["seq"]
    assert await stored(http) == list(range(5000))


async def test_blank_lines_count_but_are_no_drafts(http: httpx.AsyncClient) -> None:
    body = b"\n  \r\n" + lines(0, 1).replace(b"\n", b"\r\n") + b"\n" + lines(1, 2).rstrip()
    answer = await http.post(SPANS, content=body, headers=NDJSON)
    bad = await http.post(SPANS, content=b"\n\n{}\n", headers=NDJSON)

    assert (answer.json()["lines"], answer.json()["appended"]) == (5, 2)
    assert (bad.json()["line"], bad.json()["place"]) == (3, "line 3")


async def test_an_empty_stream_appends_nothing(http: httpx.AsyncClient) -> None:
    answer = await http.post(SPANS, content=b"", headers=NDJSON)

    assert answer.status_code == 200
    assert answer.json() == {
        "lines": 0, "appended": 0, "duplicates": 0, "first": None, "last": None, "checkpoint_size": 0
    }  # fmt: skip


async def chunks_of(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_stream_stops_at_a_bad_line_and_keeps_what_precedes_it(
    http: httpx.AsyncClient, *, is_chunked: bool
) -> None:
    body = lines(1, 5000, title="x" * 300) + b'{"kind": \n' + lines(5001, 10_001, title="x" * 300)
    answer = await http.post(SPANS, content=chunks_of(body, 50_000) if is_chunked else body, headers=NDJSON)

    assert (answer.status_code, code_of(answer)) == (400, "json.malformed")
    told = answer.json()
    assert (told["line"], told["place"], told["appended"], told["duplicates"]) == (5000, "line 5000", 4999, 0)
    assert await stored(http) == list(range(1, 5000))
    last = (await http.get(f"{SPANS}/{told['last']['id']}")).json()
    assert last["data"] == {"n": 4999}


async def test_an_endless_sender_is_answered_and_cut_off(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "DRAIN_S_MAX", 0.2)
    body = chain([lines(0, 3) + b"nonsense\n"], repeat(lines(0, 1000)))

    def post() -> httpx.Response:
        headers = {**NDJSON, "Authorization": http.headers["Authorization"]}
        return httpx.post(f"{http.base_url}{SPANS}", content=body, headers=headers, timeout=60, trust_env=False)

    answer = await trio.to_thread.run_sync(post)

    assert code_of(answer) == "json.malformed"
    assert answer.json()["line"] == 4
    assert await stored(http) == [0, 1, 2]


async def test_a_slow_producer_sees_its_lines_committed(services: Services, http: httpx.AsyncClient) -> None:
    number = tenant_of(services).number

    async def slow() -> AsyncIterator[bytes]:
        for line in range(5):
            before = services.heads.position(number)
            yield lines(line, line + 1)
            await services.heads.wait_beyond(number, before)

    answer = await http.post(SPANS, content=slow(), headers=NDJSON)

    assert answer.json()["appended"] == 5


async def test_a_stream_sent_again_adds_what_was_missing(http: httpx.AsyncClient) -> None:
    headers = {**NDJSON, "Idempotency-Key": "import 1"}
    await http.post(SPANS, content=lines(0, 1500), headers=headers)
    again = await http.post(SPANS, content=lines(0, 2500), headers=headers)
    third = await http.post(SPANS, content=lines(0, 2500), headers=headers)

    assert again.status_code == 201
    assert (again.json()["appended"], again.json()["duplicates"]) == (1000, 1500)
    assert third.status_code == 200
    assert (third.json()["appended"], third.json()["duplicates"]) == (0, 2500)
    assert await stored(http) == list(range(2500))


async def test_lines_may_bring_keys_of_their_own(http: httpx.AsyncClient) -> None:
    body = b"".join(lines(number, number + 1, idempotency_key=f"key {number % 3}") for number in (0, 1, 2))
    first = await http.post(SPANS, content=body, headers={**NDJSON, "Idempotency-Key": "one"})
    again = await http.post(SPANS, content=body, headers={**NDJSON, "Idempotency-Key": "two"})
    other = await http.post(
        SPANS, content=lines(5, 9) + lines(3, 4, idempotency_key="key 0") + lines(9, 12), headers=NDJSON
    )

    assert first.json()["appended"] == 3
    assert again.json()["duplicates"] == 3
    assert (code_of(other), other.json()["line"], other.json()["appended"]) == ("idempotency.mismatch", 5, 4)
    assert await stored(http) == [0, 1, 2, 5, 6, 7, 8]


async def test_a_stream_at_a_stopping_node_says_where_to_go_on(services: Services, http: httpx.AsyncClient) -> None:
    number = tenant_of(services).number

    async def body() -> AsyncIterator[bytes]:
        before = services.heads.position(number)
        yield lines(0, 3)
        await services.heads.wait_beyond(number, before)
        services.writer._is_stopping = True
        yield lines(3, 6)

    answer = await http.post(SPANS, content=body(), headers=NDJSON)

    assert (answer.status_code, code_of(answer)) == (503, "node.stopping")
    assert (answer.json()["line"], answer.json()["appended"]) == (4, 3)


async def test_a_bad_line_that_comes_as_earlier_ones_fail_does_not_hide_them(services: Services) -> None:
    admin = Principal.admin(logline(LogLineKind.NODE, services.node_public))
    upload = Upload(Caller(services, admin, tenant_of(services)), None, is_gzip=False, runs=None)

    async def body() -> AsyncIterator[bytes]:
        services.writer._is_stopping = True
        yield lines(0, 3)
        while trio.current_effective_deadline() > -math.inf:
            # As if the next chunk came in the moment of the failure, too late to be cancelled.
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
        yield b"nonsense\n"

    with pytest.raises(NodeFault) as caught:
        await upload.run(body())

    assert (caught.value.code, caught.value.place) == ("node.stopping", "line 1")


async def test_a_sender_who_leaves_keeps_the_lines_that_were_whole(services: Services, http: httpx.AsyncClient) -> None:
    number = tenant_of(services).number
    before = services.heads.position(number)

    async def body() -> AsyncIterator[bytes]:
        yield lines(0, 3) + b'{"kind":"test.line"'
        await services.heads.wait_beyond(number, before + 2)
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await http.post(SPANS, content=body(), headers=NDJSON)

    assert await stored(http) == [0, 1, 2]


async def test_a_sender_is_slowed_down_to_the_disks_pace(services: Services, http: httpx.AsyncClient) -> None:
    size = 64 << 20
    head = f"POST {SPANS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {http.headers['Authorization']}\r\n"
    head += f"Content-Type: application/x-ndjson\r\nContent-Length: {size}\r\n\r\n"
    part = lines(0, 16, title="x" * 4000)

    async with held_disk(services), await trio.open_tcp_stream("127.0.0.1", http.base_url.port or 0) as stream:
        await stream.send_all(head.encode())
        sent = 0
        with trio.move_on_after(1):
            while sent < size:
                await stream.send_all(part)
                sent += len(part)
        # A batch in flight, one that waits, the server's queue, and the kernel's buffers.
        assert sent < size // 2


@pytest.mark.parametrize("members", [1, 7])
async def test_a_stream_may_be_gzip_of_several_members(http: httpx.AsyncClient, members: int) -> None:
    size = -(-3000 // members)
    body = b"".join(gzip.compress(lines(start, min(start + size, 3000))) for start in range(0, 3000, size))
    answer = await http.post(SPANS, content=body, headers={**NDJSON, "Content-Encoding": "gzip"})

    assert answer.json()["appended"] == 3000
    assert await stored(http) == list(range(3000))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda body: body[:-9], "request.malformed"),
        (lambda body: body + b"more", "request.malformed"),
        (lambda body: body + gzip.compress(b" " * (DRAFT_LINE_BYTES_MAX + 1)), "draft.too_large"),
        (lambda body: body + gzip.compress(b"\x00" * (64 << 20)), "draft.too_large"),
    ],
)
async def test_a_spoilt_gzip_stream_stops_after_its_good_lines(
    http: httpx.AsyncClient, spoil: Callable[[bytes], bytes], code: str
) -> None:
    body = spoil(gzip.compress(lines(0, 3)))
    answer = await http.post(SPANS, content=body, headers={**NDJSON, "Content-Encoding": "gzip"})

    assert (code_of(answer), answer.json()["line"], answer.json()["appended"]) == (code, 4, 3)
    assert await stored(http) == [0, 1, 2]


async def test_an_endless_line_is_refused_as_it_comes(http: httpx.AsyncClient) -> None:
    answer = await http.post(SPANS, content=lines(0, 2) + b"x" * (3 << 20), headers=NDJSON)

    assert (code_of(answer), answer.json()["line"]) == ("draft.too_large", 3)
    assert await stored(http) == [0, 1]


async def test_all_receipts_come_in_the_order_of_the_lines(http: httpx.AsyncClient) -> None:
    headers = {**NDJSON, "Idempotency-Key": "stream"}
    await http.post(SPANS, content=lines(0, 70), headers=headers)
    answer = await http.post(SPANS, params={"receipts": "all"}, content=lines(0, 1500), headers=headers)

    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    receipts = [json.loads(line) for line in answer.content.splitlines()]
    assert [receipt["duplicate"] for receipt in receipts] == [True] * 70 + [False] * 1430
    page = (
        await http.get(SPANS, params={"kind": "test.line", "order": "arrival", "sort": "asc", "limit": "1000"})
    ).json()
    for receipt, span in zip(receipts, page["spans"], strict=False):
        assert {name: span[name] for name in ("id", "feed", "seq", "position", "leaf")}.items() <= receipt.items()
    assert all(receipt["checkpoint_size"] > receipt["seq"] for receipt in receipts)


async def test_receipts_too_scattered_to_remember_stop_the_stream(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "RUNS_MAX", 2)
    keyed = [lines(number, number + 1, idempotency_key=f"{number}") for number in range(9)]
    await http.post(SPANS, content=b"".join(keyed), headers=NDJSON)
    answer = await http.post(SPANS, params={"receipts": "all"}, content=b"".join(keyed[::-1]), headers=NDJSON)
    other = await http.post(SPANS, params={"receipts": "some"}, content=b"", headers=NDJSON)

    assert (code_of(answer), answer.json()["duplicates"]) == ("request.too_large", 9)
    assert (code_of(other), other.json()["place"]) == ("filter.invalid", "receipts")


async def test_a_place_names_the_line_and_the_field(http: httpx.AsyncClient) -> None:
    answer = await http.post(SPANS, content=lines(0, 1) + b'{"kind":"a.b","status":"ghost"}', headers=NDJSON)

    assert re.fullmatch(r"line 2: status", answer.json()["place"])
