"""What a hostile member sends costs itself alone: no crash, bounded memory, a reason code, and honest peers go on."""

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final

import pytest
import trio

from lognode.core.limits import MESSAGE_BYTES_MAX
from lognode.federation.transport import calls
from lognode.federation.transport.frames import SIGN_OF_LIFE, frame
from lognode.federation.transport.tls import TlsIdentity, peer_client_context
from lognode.protocol.messages import (
    Pulse,
    Pushed,
    Welcome,
)
from lognode.protocol.wire import encode_answer
from tests.faults.hostile_peer import (
    BOB,
    MALLORY,
    Mallory,
    Memory,
    check_honest,
    raw_door,
    stage,
)
from tests.federation.linked import wait_until
from tests.federation.peers import Peer, connected
from tests.federation.test_strangers import Forger

MEMORY_MIB_MAX = 80  # some copies of one message of the largest size


async def write_for_ever(stream: trio.SSLStream[trio.SocketStream], head: bytes, part: bytes) -> None:
    """A head, then one part after the other, until the other side has enough."""
    await stream.send_all(head)
    while True:
        await stream.send_all(part)


OK: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = OK + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK: Final = b"10000\r\n" + bytes(65_536) + b"\r\n"
ENDLESS: Final[dict[str, tuple[bytes, bytes, str]]] = {
    "an answer in chunks": (CHUNKED, CHUNK, "message.too_large"),
    "an answer that is as long as it says": (
        OK + b"Content-Length: %d\r\n\r\n" % (1 << 50),
        CHUNK,
        "message.too_large",
    ),
    "a header": (OK + b"X-Long: ", b"x" * 65_536, "message.malformed"),
    "headers": (OK, b"X-More: x\r\n" * 5_000, "message.malformed"),
    "no HTTP": (b"", bytes(65_536), "message.malformed"),
    "words on the way": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000, "peer.slow"),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_an_endless_answer_ends_at_a_bound_with_its_reason(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "CALL_S_MAX", 1)
    head, part, code = ENDLESS[name]
    async with stage(tmp_path) as (_alice, _bob, mallory):
        memory = Memory()
        async with raw_door(mallory, lambda stream: write_for_ever(stream, head, part)):
            await mallory.wait_code(code)
        print(f"{name}: {memory.peak():.1f} MiB")
        assert memory.peak() < MEMORY_MIB_MAX


async def follow_with(
    mallory: Mallory, parts: AsyncGenerator[bytes], stream: trio.SSLStream[trio.SocketStream]
) -> None:
    """Say that both hold the same, and stream these parts to who then follows."""
    summary = await mallory.alice.outside.held.summary(mallory.alice.tenant)
    welcome = encode_answer(Welcome(1, bytes(16), summary, None, None), 1)
    await stream.send_all(OK + b"Content-Length: %d\r\n\r\n" % len(welcome) + welcome)
    await stream.receive_some(65_536)
    await stream.send_all(CHUNKED)
    async with aclosing(parts):
        async for part in parts:
            await stream.send_all(b"%x\r\n%b\r\n" % (len(part), part))


async def one_frame_without_end() -> AsyncGenerator[bytes]:
    yield MESSAGE_BYTES_MAX.to_bytes(4)
    while True:
        yield bytes(65_536)


async def a_frame_that_is_too_long() -> AsyncGenerator[bytes]:
    yield b"\xff" * 4
    while True:
        yield bytes(65_536)


async def frames_that_are_none() -> AsyncGenerator[bytes]:
    rng = random.Random(5)
    while True:
        yield frame(bytes(3) + rng.randbytes(300))


async def an_answer_to_something_else() -> AsyncGenerator[bytes]:
    while True:
        yield frame(encode_answer(Pushed((1,)), 1))


STREAMS: Final[dict[Callable[[], AsyncGenerator[bytes]], str]] = {
    one_frame_without_end: "message.malformed",
    a_frame_that_is_too_long: "message.too_large",
    frames_that_are_none: "message.malformed",
    an_answer_to_something_else: "message.malformed",
}


@pytest.mark.parametrize("make", STREAMS)
async def test_a_stream_that_is_none_ends_with_its_reason(
    make: Callable[[], AsyncGenerator[bytes]], tmp_path: Path
) -> None:
    async with stage(tmp_path) as (_alice, _bob, mallory):
        memory = Memory()
        async with raw_door(mallory, lambda stream: follow_with(mallory, make(), stream)):
            await mallory.wait_code(STREAMS[make])
        print(f"{make.__name__}: {memory.peak():.1f} MiB")
        assert memory.peak() < MEMORY_MIB_MAX


async def signs_of_life() -> AsyncGenerator[bytes]:
    while True:
        yield SIGN_OF_LIFE * 10_000


async def other_summaries() -> AsyncGenerator[bytes]:
    rng = random.Random(6)
    while True:
        yield frame(encode_answer(Pulse(rng.randbytes(32)), 1)) * 100


@pytest.mark.parametrize("make", [signs_of_life, other_summaries])
async def test_a_stream_that_says_nothing_without_end_holds_nobody_up(
    make: Callable[[], AsyncGenerator[bytes]], tmp_path: Path
) -> None:
    async with stage(tmp_path) as (alice, bob, mallory):
        memory = Memory()
        async with raw_door(mallory, lambda stream: follow_with(mallory, make(), stream)):

            async def is_live() -> bool:
                return mallory.status.state == "live"

            await wait_until(is_live)
            for _ in range(3):
                await check_honest(alice, bob)
        print(f"{make.__name__}: {memory.peak():.1f} MiB")
        assert memory.peak() < MEMORY_MIB_MAX


async def wait_for_ever(_stream: trio.SSLStream[trio.SocketStream]) -> None:
    await trio.sleep_forever()


def of_an_authority() -> TlsIdentity:
    """The member's own key and name, in a certificate that could sign others."""
    mallory = Forger(MALLORY)
    return mallory.certify(mallory.key, mallory.name, is_ca=True)


def of_another_name() -> TlsIdentity:
    mallory = Forger(MALLORY)
    return mallory.certify(mallory.key, Forger(BOB).name, is_ca=False)


def of_another_node() -> TlsIdentity:
    return Peer(9).identity


@pytest.mark.parametrize("identity", [of_an_authority, of_another_name, of_another_node])
async def test_a_certificate_that_is_not_the_members_is_told_in_the_status(
    identity: Callable[[], TlsIdentity], tmp_path: Path
) -> None:
    async with stage(tmp_path) as (_alice, _bob, mallory):
        async with raw_door(mallory, wait_for_ever, identity()):
            await mallory.wait_code("peer.untrusted")
        assert mallory.status.contact_ms is None


REQUESTS: Final = {
    b"Content-Length: %d" % (1 << 50): "message.too_large",
    b"Transfer-Encoding: chunked": "message.malformed",
}


@pytest.mark.parametrize("header", REQUESTS)
async def test_a_request_that_is_refused_before_it_is_read_is_told_in_the_status(header: bytes, tmp_path: Path) -> None:
    async with stage(tmp_path) as (alice, _bob, mallory):
        context = peer_client_context(mallory.peer.identity, alice.peer.identity.certificate)
        async with connected(alice.peer.address, context) as stream:
            await stream.send_all(b"POST /v1/peer HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % header)
            await mallory.wait_code(REQUESTS[header])
        assert [found.code for found in mallory.status.findings] == [REQUESTS[header]]
