"""Ten thousand malformed frames before a handshake, and as many after it: nothing breaks, grows or stops for others."""

import random
import resource
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Final

import h11
import pytest
import trio

from lognode.federation.transport.doors import budget
from lognode.federation.transport.doors.budget import Budgets
from lognode.federation.transport.tls import peer_client_context
from lognode.protocol.messages import Refused
from lognode.protocol.wire import decode_answer, encode_request
from tests.federation.linked import LinkedNode, open_node, wait_equal
from tests.federation.peers import Echo, Peer, connected
from tests.protocol.samples import REQUESTS

FRAMES: Final = 10_000
SEED: Final = 20_261_126
GROWTH_KIB_MAX: Final = 64 * 1024
CONNECTIONS: Final = 500
PIPELINED: Final = 50
REFUSALS: Final = ("message.malformed", "message.too_large", "range.too_large", "version.unsupported")
HEAD: Final = b"POST /v1/peer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


def client_hello() -> bytes:
    """The first bytes of a handshake as a peer begins it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


def spoilt(good: bytes, chance: random.Random) -> bytes:
    """Bytes that were good, with some changed, cut off, put in or repeated."""
    bad = bytearray(good)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(bad) + 1)
        match chance.randrange(4):
            case 0 if at < len(bad):
                bad[at] ^= chance.randint(1, 255)
            case 1:
                del bad[at:]
            case 2:
                bad[at:at] = chance.randbytes(chance.randint(1, 64))
            case _:
                bad += bad[:at]
    return bytes(bad) or b"\x00"


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def test_before_the_handshake() -> None:
    chance, hello = random.Random(SEED), client_hello()
    alice, bob = Peer(1), Peer(2)
    alice.knows(bob)
    before = peak_kib()
    async with alice.serving(Echo()), bob.dialer() as dialer:
        host, port = alice.address.split(":")
        for _ in range(CONNECTIONS):
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(b"".join(spoilt(hello, chance) for _ in range(FRAMES // CONNECTIONS)))
                    await stream.send_eof()
                    while await stream.receive_some():
                        pass
        assert await dialer.ask(alice.contact, b"hello") == bob.keys.public + b"hello"
    assert alice.refusals == ["handshake"] * CONNECTIONS
    assert peak_kib() - before < GROWTH_KIB_MAX


async def test_after_the_handshake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "Budgets", lambda: Budgets(calls_s=1e9, bytes_s=1e12))
    chance, good = random.Random(SEED), [encode_request(request) for request in REQUESTS.values()]
    async with open_node(tmp_path, 1) as node, open_node(tmp_path, 2) as honest, open_node(tmp_path, 3) as hostile:
        await node.admit(honest)
        await node.admit(hostile)
        honest.meet(node)
        before = peak_kib()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_meanwhile, node)
            answers = await bombard(node, hostile, [spoilt(chance.choice(good), chance) for _ in range(FRAMES)])
        await wait_equal(node, honest)
        error = node.status(hostile).error
        assert error is not None
        assert error.code in REFUSALS
        assert node.status(honest).error is None

    assert len(answers) == FRAMES
    codes = {refused.code for answer in answers if isinstance(refused := decode_answer(answer), Refused)}
    assert "message.malformed" in codes
    assert codes <= {*REFUSALS, "peer.refused"}
    assert peak_kib() - before < GROWTH_KIB_MAX


async def write_meanwhile(node: LinkedNode) -> None:
    for number in range(20):
        await node.append(f"honest.{'x' * (number + 1)}")
        await trio.sleep(0.05)


async def bombard(node: LinkedNode, hostile: LinkedNode, bodies: list[bytes]) -> list[bytes]:
    """What comes back when all of these are sent, many at once."""
    context = peer_client_context(hostile.peer.identity, node.peer.identity.certificate)
    answers: list[bytes] = []
    async with connected(node.peer.address, context) as stream:
        reader = Reader(stream)
        for start in range(0, len(bodies), PIPELINED):
            batch = bodies[start : start + PIPELINED]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, b"".join(HEAD % len(body) + body for body in batch))
                answers += [await reader.next_answer() for _ in batch]
    return answers


class Reader:
    """Reads answers off a connection on which many requests were sent at once, as no client of ours does."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self._left = b""

    async def next_answer(self) -> bytes:
        """The body of the next one."""
        http = h11.Connection(h11.CLIENT)
        http.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
        http.send(h11.EndOfMessage())
        if self._left:
            http.receive_data(self._left)
        body = b""
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await self._stream.receive_some()))
            elif isinstance(event, h11.Data):
                body += event.data
        self._left = http.trailing_data[0]
        return body
