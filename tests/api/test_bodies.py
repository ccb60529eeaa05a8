"""Request bodies on real sockets: they press back, end, and never cost a client its answer."""

from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from lognode.api.about import routes as about
from lognode.api.app import ApiApp, create_app
from lognode.api.server import body, connection
from lognode.api.services import Services
from lognode.core.limits import MIB
from tests.api.sample import Sample, connect, head, receive_until, send_for_ever, serving


@pytest.fixture
def sample() -> Sample:
    return Sample()


@pytest.fixture
def app(services: Services, sample: Sample) -> ApiApp:
    return create_app(services, [about.register, sample.register])


async def test_an_unread_body_presses_back(app: ApiApp, token: dict[str, str], sample: Sample) -> None:
    size = 64 * MIB
    async with serving(app) as url, await connect(url) as stream:
        await stream.send_all(head(url, "POST /v1/count_bytes", token, f"Content-Length: {size}"))
        await sample.begun.wait()
        sent = 0
        with trio.move_on_after(1):  # until nothing more goes out
            while sent < size:
                sent += await stream.socket.send(bytes(min(MIB, size - sent)))
        assert sent < size // 2  # the rest is in the kernel's buffers, and nothing of it here
        sample.may_go_on.set()
        await stream.send_all(bytes(size - sent))
        assert str(size).encode() in await receive_until(stream, str(size).encode())


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_refused_upload_gets_its_answer(app: ApiApp, token: dict[str, str], *, chunked: bool) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(256 * 1024)

    async with serving(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        for headers, status in (({}, 401), (token, 422)):
            content = parts() if chunked else bytes(16 * MIB)
            answer = await http.post("/v1/refuse", headers=headers, content=content)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"


async def test_a_client_that_reads_before_it_has_sent_all_has_its_answer(
    app: ApiApp, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "DRAIN_S_MAX", 0.2)
    async with serving(app) as url, await connect(url) as stream:
        await stream.send_all(head(url, "POST /v1/refuse", token, "Content-Length: 1000000") + bytes(1000))
        assert b"draft.invalid" in await receive_until(stream, b"}")
        assert await stream.receive_some() == b""  # what never came was not waited for


async def test_an_endless_upload_that_is_refused_ends(
    app: ApiApp, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "DRAIN_S_MAX", 0.2)
    async with serving(app) as url, await connect(url) as stream:
        await stream.send_all(head(url, "POST /v1/refuse", token, "Transfer-Encoding: chunked"))
        await send_for_ever(stream, b"10000\r\n" + bytes(0x10000) + b"\r\n")


async def test_a_client_that_leaves_in_the_middle_of_its_body_hurts_nobody(
    app: ApiApp, token: dict[str, str], sample: Sample
) -> None:
    sample.may_go_on.set()
    async with serving(app) as url:
        async with await connect(url) as stream:
            await stream.send_all(head(url, "POST /v1/count_bytes", token, "Content-Length: 1000") + b"x")
            await sample.begun.wait()
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"{url}/livez")).status_code == 200


async def test_a_body_that_stops_coming_is_given_up(
    app: ApiApp, token: dict[str, str], sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "TAIL_SEND_S_MAX", 0.2)
    monkeypatch.setattr(connection, "DRAIN_S_MAX", 0.2)
    sample.may_go_on.set()
    async with serving(app) as url, await connect(url) as stream:
        await stream.send_all(head(url, "POST /v1/count_bytes", token, "Content-Length: 1000") + b"x")
        answer = await receive_until(stream, b"never")

    assert answer.startswith(b"HTTP/1.1 400")
    assert b"request.malformed" in answer


async def test_requests_sent_at_once_are_answered_in_turn(app: ApiApp, token: dict[str, str], sample: Sample) -> None:
    sample.may_go_on.set()
    async with serving(app) as url, await connect(url) as stream:
        for size in (5, 0, 7):
            await stream.send_all(head(url, "POST /v1/count_bytes", token, f"Content-Length: {size}") + bytes(size))
        await stream.send_all(head(url, "HEAD /livez", {}) + head(url, "GET /livez", {}, "Connection: close"))
        answers = await receive_until(stream, b"never")

    assert [answer[-1:] for answer in answers.split(b"HTTP/1.1 200")[1:4]] == [b"5", b"0", b"7"]
    assert answers.count(b"HTTP/1.1 200") == 5
    assert answers.count(b"alive") == 1  # HEAD has no body
