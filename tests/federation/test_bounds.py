"""What a member, or a node that is called, may cost at most: bytes, time, memory, connections."""

import gzip
import math
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import pytest
import trio
import trio.testing

from lognode.core.errors import PeerError
from lognode.core.limits import MESSAGE_BYTES_MAX, PEER_CONNECTIONS_EACH_MAX
from lognode.federation.transport import calls, dialer
from lognode.federation.transport.contact import Contact
from lognode.federation.transport.doors import intake, peer_app
from lognode.federation.transport.tls import peer_client_context, peer_server_context
from tests.federation.peers import LOOPBACK, Echo, Peer, connected

HEAD: Final = b"POST /v1/peer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
UPGRADE: Final = (
    b"GET /v1/peer HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
OK: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def alice() -> Peer:
    return Peer(1)


@pytest.fixture
def bob() -> Peer:
    return Peer(2)


def context_of(bob: Peer, alice: Peer) -> ssl.SSLContext:
    return peer_client_context(bob.identity, alice.identity.certificate)


async def until_closed(stream: trio.abc.ReceiveStream) -> bytes:
    """All that comes until the other side closes, in whatever way."""
    received = b""
    with suppress(trio.BrokenResourceError):
        while part := await stream.receive_some():
            received += part
    return received


# What a member may send.


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (HEAD % (MESSAGE_BYTES_MAX + 1), b" 413 "),
        (HEAD % 10**15, b" 413 "),
        (b"POST /v1/peer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", b" 400 "),
        (b"GET /v1/peer HTTP/1.1\r\nHost: x\r\n\r\n", b" 404 "),
        (b"POST /v1/tenants HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b" 404 "),
        (b"POST /v1/join HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b" 404 "),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b" 4"),
        (b"x" * 100_000, b" 4"),
        (UPGRADE, b" 403 "),
    ],
)
async def test_what_no_client_of_ours_sends_is_refused(
    alice: Peer, bob: Peer, monkeypatch: pytest.MonkeyPatch, request_head: bytes, status: bytes
) -> None:
    monkeypatch.setattr(intake, "DRAIN_S_MAX", 0.1)
    alice.knows(bob)
    echo = Echo()
    async with alice.serving(echo):
        async with connected(alice.address, context_of(bob, alice)) as stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(request_head)
            assert status in (await stream.receive_some())[:16]
        async with bob.dialer() as caller:
            assert await caller.ask(alice.contact, b"hello") == bob.keys.public + b"hello"
    assert len(echo.asked) == 1


BOTH: Final = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("path", [b"/v1/peer", b"/v1/join"])
async def test_a_body_that_goes_on_behind_the_length_that_was_told_is_not_taken(
    alice: Peer, bob: Peer, monkeypatch: pytest.MonkeyPatch, path: bytes
) -> None:
    """HTTP lets chunks outdo a length, so that five bytes, of a stranger even, could have no end."""
    monkeypatch.setattr(intake, "DRAIN_S_MAX", 0.1)
    alice.knows(bob)

    async def answer(body: bytes) -> bytes:
        raise AssertionError(body)

    async with alice.serving(Echo()), alice.joinable(answer) as join_address:
        at = join_address if path == b"/v1/join" else alice.address
        async with connected(at, context_of(bob, alice)) as stream:
            await stream.send_all(BOTH % path + 3 * b"5\r\nhello\r\n")
            with trio.fail_after(5):
                assert b" 400 " in (await stream.receive_some())[:16]


async def test_a_body_that_trickles_is_given_up(alice: Peer, bob: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "CALL_S_MAX", 0.3)
    monkeypatch.setattr(intake, "DRAIN_S_MAX", 0.1)
    alice.knows(bob)
    async with alice.serving(Echo()), connected(alice.address, context_of(bob, alice)) as stream:
        await stream.send_all(HEAD % 100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle, stream)
            answer = await until_closed(stream)
            nursery.cancel_scope.cancel()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert answer.endswith(b"peer.slow")


async def trickle(stream: trio.abc.SendStream) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while True:
            await stream.send_all(b"x")
            await trio.sleep(0.02)


async def test_a_member_has_so_many_connections_and_no_more(alice: Peer, bob: Peer) -> None:
    alice.knows(bob, Peer(3))
    async with alice.serving(Echo()), AsyncExitStack() as stack:
        for _ in range(PEER_CONNECTIONS_EACH_MAX):
            await stack.enter_async_context(connected(alice.address, context_of(bob, alice)))
        await trio.testing.wait_all_tasks_blocked()
        async with connected(alice.address, context_of(bob, alice)) as stream:
            assert await until_closed(stream) == b""
        assert alice.refusals == ["crowded"]
        async with Peer(3).dialer() as caller:
            assert await caller.ask(alice.contact, b"hello")


async def test_a_handler_that_fails_costs_its_own_call(alice: Peer, bob: Peer) -> None:
    class Failing(Echo):
        async def answer(self, peer: bytes, body: bytes) -> bytes:
            if body == b"fail":
                raise ValueError(body)
            if body == b"refuse":
                raise PeerError("version.unsupported")
            return await super().answer(peer, body)

    alice.knows(bob)
    async with alice.serving(Failing()), bob.dialer() as caller:
        for body, said in ((b"fail", "status 503"), (b"refuse", "it answers version.unsupported")):
            with pytest.raises(PeerError, match=said) as refused:
                await caller.ask(alice.contact, body)
            assert refused.value.code == "peer.refused"
        assert await caller.ask(alice.contact, b"hello")


async def test_a_stream_that_fails_does_not_look_whole(alice: Peer, bob: Peer) -> None:
    class Failing(Echo):
        async def follow(self, peer: bytes, body: bytes) -> AsyncGenerator[bytes, None]:
            yield peer
            raise ValueError(body)

    alice.knows(bob)
    async with alice.serving(Failing()), bob.dialer() as caller, caller.follow(alice.contact, b"news") as frames:
        assert await anext(frames) == bob.keys.public
        with pytest.raises(PeerError) as ended:
            await anext(frames)
    assert ended.value.code == "peer.unreachable"


async def test_a_silent_stream_shows_signs_of_life(alice: Peer, bob: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_app, "TAIL_HEARTBEAT_S", 0.05)
    monkeypatch.setattr(dialer, "FOLLOW_SILENCE_S_MAX", 1.5)
    alice.knows(bob)
    echo = Echo()

    async def put_late() -> None:
        await trio.sleep(2)
        await echo.put.send(b"one")

    async with (
        alice.serving(echo),
        bob.dialer() as caller,
        caller.follow(alice.contact, b"news") as frames,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(put_late)
        assert await anext(frames) == b"one"


async def test_a_member_that_takes_little_of_an_answer_is_cut_off(
    alice: Peer, bob: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "CALL_S_MAX", 1)
    monkeypatch.setattr(intake, "CALL_BYTES_S_MIN", 1e9)
    alice.knows(bob)
    async with alice.serving(Large()), connected(alice.address, context_of(bob, alice)) as stream:
        await stream.send_all(HEAD % 1 + b"x")
        with trio.fail_after(30):
            while alice.door._sessions:  # noqa: ASYNC110 - it has no event of its own
                await trio.sleep(0.01)


class Large(Echo):
    """Answers more than fits into buffers."""

    async def answer(self, peer: bytes, body: bytes) -> bytes:
        await super().answer(peer, body)
        return bytes(16_000_000)


# What a removal ends.


async def test_an_answer_on_its_way_is_cut_off_by_a_removal(alice: Peer, bob: Peer) -> None:
    alice.knows(bob)
    async with alice.serving(Large()), connected(alice.address, context_of(bob, alice)) as stream:
        await stream.send_all(HEAD % 1 + b"x")
        assert await stream.receive_some(16)
        await trio.testing.wait_all_tasks_blocked(0.1)  # what fits into buffers is on its way, the rest waits
        alice.knows()
        with trio.fail_after(30):
            assert len(await until_closed(stream)) < 8_000_000


async def test_a_call_ends_that_its_peer_may_no_more_make(alice: Peer, bob: Peer) -> None:
    alice.knows(bob)
    echo = Echo()
    async with (
        alice.serving(echo) as app,
        bob.dialer() as caller,
        caller.follow(alice.contact, b"one") as one,
        caller.follow(alice.contact, b"two") as two,
    ):
        echo.forbidden.add((bob.keys.public, b"one"))
        app.recheck()
        await echo.ended.wait()
        await echo.put.send(b"news")
        assert await anext(two) == b"news"
        with pytest.raises(PeerError):
            await anext(one)


# What a node that is called may answer.


@asynccontextmanager
async def answering(
    alice: Peer, bob: Peer, reply: Callable[[trio.SSLStream[trio.SocketStream]], Awaitable[None]]
) -> AsyncIterator[Contact]:
    """A node with alice's certificate that answers as no lognode would."""
    context = peer_server_context(alice.identity, [bob.identity.certificate])

    async def serve(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with secure:
                await secure.receive_some()
                await reply(secure)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host=LOOPBACK))
        host, port = listeners[0].socket.getsockname()
        yield alice.contact._replace(addresses=(f"{host}:{port}",))
        nursery.cancel_scope.cancel()


def saying(*parts: bytes, again: bytes = b"", pause_s: float = math.inf) -> Callable[[Any], Awaitable[None]]:
    """A reply of these parts, then the last one again and again, or silence."""

    async def reply(stream: trio.SSLStream[trio.SocketStream]) -> None:
        for part in parts:
            await stream.send_all(part)
        while again:
            await stream.send_all(again)
            await trio.sleep(0 if pause_s == math.inf else pause_s)
        await trio.sleep_forever()

    return reply


async def hang_up(stream: Any) -> None:
    """End the connection without a word of TLS, as a process that is killed does."""
    await stream.transport_stream.aclose()


CHUNK: Final = b"10000\r\n" + bytes(0x10000) + b"\r\n"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (saying(CHUNKED, again=CHUNK), "message.too_large"),
        (saying(OK + b"Content-Length: 99999999\r\n\r\n", again=bytes(0x10000)), "message.too_large"),
        (saying(again=b"HTTP/1.1 100 Continue\r\nx: " + b"y" * 50_000 + b"\r\n\r\n"), "peer.slow"),
        (saying(OK, again=b"x: " + b"y" * 500 + b"\r\n"), "message.malformed"),
        (saying(b"SSH-2.0-lognode\r\n\r\n"), "message.malformed"),
        (saying(OK + b"Content-Length: 100\r\n\r\n", again=b"x", pause_s=0.02), "peer.slow"),
        (saying(), "peer.slow"),
        (saying(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), "peer.refused"),
        (saying(b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n", again=CHUNK), "peer.refused"),
        (hang_up, "peer.unreachable"),
        (saying(b"HTTP/1.1 429 x\r\nContent-Length: 0\r\n\r\n"), "peer.busy"),
        (saying(b"HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n"), "message.too_large"),
    ],
)
async def test_an_answer_has_bounds(
    alice: Peer, bob: Peer, monkeypatch: pytest.MonkeyPatch, reply: Callable[[Any], Awaitable[None]], code: str
) -> None:
    monkeypatch.setattr(calls, "CALL_S_MAX", 1.5)
    async with answering(alice, bob, reply) as contact, bob.dialer() as caller:
        with trio.fail_after(60), pytest.raises(PeerError) as refused:
            await caller.ask(contact, b"hello")
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (saying(CHUNKED + b"4\r\n\xff\xff\xff\xff\r\n"), "message.too_large"),
        (saying(CHUNKED, again=b"1\r\n\x01\r\n", pause_s=0.02), "peer.slow"),
        (saying(CHUNKED + b"5\r\n\x00\x00\x00\x02x\r\n0\r\n\r\n"), "peer.unreachable"),
        (saying(CHUNKED), "peer.slow"),
    ],
)
async def test_a_streamed_answer_has_bounds(
    alice: Peer, bob: Peer, monkeypatch: pytest.MonkeyPatch, reply: Callable[[Any], Awaitable[None]], code: str
) -> None:
    monkeypatch.setattr(dialer, "FOLLOW_SILENCE_S_MAX", 1.5)
    async with answering(alice, bob, reply) as contact, bob.dialer() as caller, caller.follow(contact, b"x") as frames:
        with trio.fail_after(60), pytest.raises(PeerError) as refused:
            await anext(frames)
    assert refused.value.code == code


async def test_an_answer_is_neither_inflated_nor_are_its_cookies_kept(alice: Peer, bob: Peer) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    head = OK + b"Set-Cookie: a=b\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with answering(alice, bob, saying(head, bomb)) as contact, bob.dialer() as caller:
        assert await caller.ask(contact, b"hello") == bomb
        assert not list(caller._clients[contact.certificate, bob.identity.certificate].cookies.jar)


async def test_the_address_that_answered_is_tried_first(alice: Peer, bob: Peer) -> None:
    alice.knows(bob)
    async with alice.serving(Echo()), bob.dialer() as caller:
        contact = alice.contact._replace(addresses=(f"{LOOPBACK}:1", "no address", alice.address))
        await caller.ask(contact, b"hello")
        assert caller._good == {contact.certificate: alice.address}
        assert await caller.ask(contact, b"hello")


async def test_what_its_user_does_with_a_stream_is_not_blamed_on_the_peer(alice: Peer, bob: Peer) -> None:
    alice.knows(bob)
    async with alice.serving(Echo()), bob.dialer() as caller:

        async def be_impatient() -> None:
            async with caller.follow(alice.contact, b"news") as frames:
                with trio.fail_after(0.05):
                    await anext(frames)

        with pytest.raises(trio.TooSlowError):
            await be_impatient()


async def test_a_call_may_be_cancelled_at_any_moment(alice: Peer, bob: Peer) -> None:
    alice.knows(bob)
    echo = Echo()
    async with alice.serving(echo), bob.dialer() as caller:
        for milliseconds in range(1, 40, 3):
            with trio.move_on_after(milliseconds / 1000):
                async with caller.follow(alice.contact, bytes(100_000)) as frames:
                    await anext(frames)
        assert await caller.ask(alice.contact, b"hello")
