"""The server on real sockets: listening, what is no HTTP, readers that stop, and an orderly end."""

import math
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx
import pytest
import trio
import trio.testing

from lognode.api.about import routes as about
from lognode.api.app import ApiApp, create_app
from lognode.api.server import client as client_module
from lognode.api.server import serve
from lognode.api.server.sockets import open_listening
from lognode.api.services import Services
from lognode.core.errors import CallerError, NodeFault
from lognode.core.limits import MIB
from tests.api.sample import LOOPBACK, Sample, connect, head, receive_until, send_for_ever, serving

UPGRADE: Final = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Extensions: permessage-deflate",
)


@pytest.fixture
def sample() -> Sample:
    return Sample()


@pytest.fixture
def app(services: Services, sample: Sample) -> ApiApp:
    return create_app(services, [about.register, sample.register])


async def test_port_0_takes_a_free_port_and_the_url_says_which(app: ApiApp) -> None:
    async with serving(app) as url, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{url}/livez")

    assert answer.status_code == 200
    assert "server" not in answer.headers


async def test_a_taken_port_is_refused_with_a_way_out(app: ApiApp) -> None:
    async with serving(app) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(NodeFault) as refused:
            open_listening(LOOPBACK, port)

    assert refused.value.code == "listen.taken"
    assert f"{LOOPBACK}:{port}" in refused.value.detail
    assert "--listen" in refused.value.spec.hint


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours_is_refused(host: str) -> None:
    with pytest.raises(CallerError) as refused:
        open_listening(host, 0)

    assert refused.value.code == "listen.invalid"


async def test_a_unix_socket_is_for_its_owner_and_goes_with_the_server(app: ApiApp, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    async with serving(app, unix_socket=path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, trust_env=False) as http:
            assert (await http.get("http://localhost/livez")).status_code == 200
            assert (await http.get("http://evil.example/livez")).status_code == 403

    assert not path.exists()


async def test_a_socket_that_nobody_serves_is_replaced(app: ApiApp, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))

    async with serving(app, unix_socket=path), await trio.open_unix_socket(path):
        pass


async def test_the_socket_of_a_running_node_is_left_alone(app: ApiApp, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    async with serving(app, unix_socket=path):
        with pytest.raises(NodeFault) as refused:
            open_listening(LOOPBACK, 0, path)
        async with await trio.open_unix_socket(path):
            pass

    assert refused.value.code == "listen.taken"


def test_a_file_in_the_place_of_the_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("content")
    with pytest.raises(CallerError) as refused:
        open_listening(LOOPBACK, 0, path)

    assert refused.value.code == "listen.invalid"
    assert path.read_text() == "content"


@pytest.mark.parametrize("path", ["no/such/folder/api.sock", "long" * 40])
def test_a_socket_that_cannot_be_made_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(CallerError) as refused:
        open_listening(LOOPBACK, 0, tmp_path / path)

    assert refused.value.code == "listen.invalid"


async def test_one_connection_serves_thousands_of_requests(app: ApiApp) -> None:
    async with serving(app) as url, await connect(url) as stream:
        for _ in range(1500):
            await stream.send_all(head(url, "GET /livez", {}))
            assert b"alive" in await receive_until(stream, b"}")


async def test_what_is_no_http_ends_its_own_connection_alone(app: ApiApp) -> None:
    garbage = [b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"x" * 100_000, b"\x16\x03\x01\x02\x00"]
    async with serving(app) as url:
        for data in garbage:
            async with await connect(url) as stream:
                with suppress(trio.BrokenResourceError):  # it may be closed before all was sent
                    await stream.send_all(data)
                    await stream.send_eof()
                answer = await receive_until(stream, b"never")
                assert not answer or answer.startswith(b"HTTP/1.1 4")
                assert b"<" not in answer
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"{url}/livez")).status_code == 200


async def test_http_2_is_not_spoken(app: ApiApp) -> None:
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
    async with serving(app) as url:
        async with await connect(url) as stream:
            await stream.send_all(head(url, "GET /livez", {}, *offer))
            assert (await receive_until(stream, b"}")).startswith(b"HTTP/1.1 200")
        async with await connect(url) as stream:
            await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert b" 4" in await receive_until(stream, b"\r\n\r\n")


async def test_names_are_checked_before_a_socket_upgrade(app: ApiApp, token: dict[str, str]) -> None:
    async with serving(app) as url:
        for more, status in (
            ((), b"101"),
            ((f"Origin: {url}",), b"101"),
            (("Origin: http://evil.example",), b"403"),
            (("Origin: null",), b"403"),
        ):
            async with await connect(url) as stream:
                await stream.send_all(head(url, "GET /v1/echo", token, *UPGRADE, *more))
                answer = await receive_until(stream, b"\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 " + status)
                assert b"permessage-deflate" not in answer


async def test_a_frame_that_is_too_large_ends_its_socket(app: ApiApp, token: dict[str, str], sample: Sample) -> None:
    async with serving(app) as url, await connect(url) as stream:
        await stream.send_all(head(url, "GET /v1/echo", token, *UPGRADE))
        await receive_until(stream, b"\r\n\r\n")
        await stream.send_all(b"\x81\x85\0\0\0\0hello")
        assert await receive_until(stream, b"hello") == b"\x81\x05hello"
        # Fragments without end: what is beyond the bound is neither kept nor waited for.
        fragment = b"\xff" + MIB.to_bytes(8, "big") + bytes(4 + MIB)
        await stream.send_all(b"\x02" + fragment)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_for_ever, stream, b"\x00" + fragment)
            closed = await receive_until(stream, b"never")
            nursery.cancel_scope.cancel()
        await sample.ended.wait()

    assert closed == b"\x88\x02\x03\xf1"  # 1009, message too big


async def test_a_stream_ends_when_its_client_leaves(app: ApiApp, token: dict[str, str], sample: Sample) -> None:
    async with serving(app) as url:
        async with await connect(url) as stream:
            await stream.send_all(head(url, "POST /v1/stream", token, "Content-Length: 0"))
            await receive_until(stream, b"xxx")
        await sample.ended.wait()


async def test_a_reader_that_stops_reading_is_dropped(
    app: ApiApp, token: dict[str, str], sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "TAIL_SEND_S_MAX", 0.2)
    async with serving(app) as url, await connect(url) as stream:
        await stream.send_all(head(url, "POST /v1/stream", token, "Content-Length: 0"))
        await sample.ended.wait()


async def test_an_idle_connection_is_closed_in_the_end(app: ApiApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "IDLE_S_MAX", 1.0)
    async with serving(app) as url:
        async with await connect(url) as stream:
            assert await stream.receive_some() == b""
        async with await connect(url) as stream:
            await stream.send_all(head(url, "GET /livez", {}) + b"GET /livez HTTP/1.1\r\nHost:")
            assert b"alive" in await receive_until(stream, b"never")


async def test_stopping_answers_what_has_begun_and_closes_what_waits(
    app: ApiApp, token: dict[str, str], sample: Sample
) -> None:
    async with serving(app) as url, await connect(url) as idle, await connect(url) as busy:
        await idle.send_all(head(url, "GET /livez", {}))
        await receive_until(idle, b"}")
        await busy.send_all(head(url, "POST /v1/wait", token, "Content-Length: 0"))
        await sample.begun.wait()
        app.services.stopping.set()
        assert await idle.receive_some() == b""
        with pytest.raises(OSError, match="all attempts to connect"):
            await connect(url)
        sample.may_go_on.set()
        assert (await receive_until(busy, b"never")).endswith(b"done")


async def test_stopping_does_not_wait_for_a_request_that_came_early(
    app: ApiApp, token: dict[str, str], sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a client sends its next one that got its answer a moment before the server looks for more."""
    monkeypatch.setattr(serve, "STOP_S_MAX", math.inf)
    async with serving(app) as url, await connect(url) as stream:
        early = head(url, "GET /livez", {})
        await stream.send_all(head(url, "POST /v1/wait", token, "Content-Length: 0") + early)
        await sample.begun.wait()
        app.services.stopping.set()
        await trio.testing.wait_all_tasks_blocked()
        sample.may_go_on.set()
        assert (await receive_until(stream, b"never")).endswith(b"done")


async def test_stopping_does_not_wait_for_ever(
    app: ApiApp, token: dict[str, str], sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "STOP_S_MAX", 0.2)
    async with serving(app) as url, await connect(url) as unread, await connect(url) as waiting:
        await waiting.send_all(head(url, "POST /v1/wait", token, "Content-Length: 0"))
        await unread.send_all(head(url, "POST /v1/stream", token, "Content-Length: 0"))
        await sample.begun.wait()
        app.services.stopping.set()
        assert await waiting.receive_some() == b""
        await sample.ended.wait()
