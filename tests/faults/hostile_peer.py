"""A member that lies: it holds keys that count, and says to an honest node whatever it likes.

It writes a feed by hand, calls the honest node's door with bytes of its own, and answers in its own way when it is
called. The door, the handler behind it, the store and the links of the honest nodes are the real ones.
"""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import trio

from lognode.core.access import Level
from lognode.core.clock import Clock
from lognode.core.errors import PeerError
from lognode.core.ids import SpanId, TenantId
from lognode.core.span import Range
from lognode.federation.sync.service.state.tie import TieStatus
from lognode.federation.transport.tls import TlsIdentity
from lognode.protocol.messages import (
    Answer,
    Controls,
    ControlsWanted,
    Expand,
    Expanded,
    Hello,
    Pull,
    Push,
    Pushed,
    Ranges,
    Refused,
    Request,
    Welcome,
)
from lognode.protocol.summary import Summary, View
from lognode.protocol.wire import decode_answer, decode_request, encode_answer, encode_request
from lognode.timeline.proof.checkpoint import parse_checkpoint
from tests.federation.linked import LinkedNode, open_node, wait_equal, wait_live, wait_until
from tests.federation.peers import LOOPBACK, Peer
from tests.timeline.pens import Pen, admitted

ALICE, BOB, MALLORY = 1, 2, 3
WAIT_S: Final = 30.0
_STATUS: Final = Path("/proc/self/status")


class Mallory:
    """The hostile member; its feed is `pen`."""

    def __init__(self, alice: LinkedNode, admission: SpanId, peer: Peer) -> None:
        self.alice = alice
        self.peer = peer
        self.tenant: TenantId = alice.tenant.tenant_id
        self.admission = admission
        self.pen = self.new_pen(0)

    @property
    def key(self) -> bytes:
        return self.peer.keys.public

    def new_pen(self, number: int) -> Pen:
        """Another feed of this member."""
        return Pen(self.peer.keys, self.tenant, [self.admission], number=number)

    async def push(self, *ranges: Range) -> list[int | str]:
        """What the honest node says to ranges."""
        answer = decode_answer(await self.ask(encode_request(Push(1, self.tenant, ranges, ()))))
        assert isinstance(answer, Pushed), answer
        return list(answer.outcomes)

    async def ask(self, body: bytes) -> bytes:
        async with self.peer.dialer() as dialer:
            return await dialer.ask(self.alice.peer.contact, body)

    async def say_equal(self) -> None:
        """Have the honest node believe that both hold the same."""
        summary = await self.alice.outside.held.summary(self.alice.tenant)
        await self.ask(encode_request(Hello(self.tenant, (1,), bytes(16), summary, (), b"")))

    @property
    def status(self) -> TieStatus:
        """What the honest node shows of this one."""
        (found,) = [tie for tie in self.alice.links.status(self.alice.tenant) if tie.node_key == self.key]
        return found

    @property
    def code(self) -> str | None:
        """The reason code that the honest node shows for this one."""
        error = self.status.error
        return error.code if error else None

    async def wait_code(self, code: str) -> None:
        """Return once the honest node shows this code."""

        async def is_shown() -> bool:
            return self.code == code

        await wait_until(is_shown)


@asynccontextmanager
async def stage(folder: Path, *, is_checked: bool = True) -> AsyncIterator[tuple[LinkedNode, LinkedNode, Mallory]]:
    """Two honest nodes that hold the same, and a hostile one that the first admitted.

    At the end the honest ones must still be of use to each other.
    """
    async with AsyncExitStack() as stack:
        alice, bob = [await stack.enter_async_context(open_node(folder, number)) for number in (ALICE, BOB)]
        await alice.admit(bob)
        bob.meet(alice)
        await wait_equal(alice, bob)
        await wait_live(bob, alice, "out")
        peer = Peer(MALLORY)
        tenant = alice.tenant
        receipt = await alice.writer.append_control(
            tenant,
            "member.admit",
            lambda _, after: admitted(peer.keys, alice.peer.keys, tenant.tenant_id, after, Level.TRUSTED),
        )
        mallory = Mallory(alice, receipt.id, peer)
        peer.knows(alice.peer)

        async def is_let_in() -> bool:
            return alice.peer.roster.node_of(peer.identity.certificate) == mallory.key

        await wait_until(is_let_in)
        yield alice, bob, mallory
        if is_checked:
            await check_honest(alice, bob)


async def check_honest(alice: LinkedNode, bob: LinkedNode) -> None:
    """Pass if honest nodes still bring their spans to each other."""
    before = await alice.kinds(), await bob.kinds()
    await bob.append("from.bob")
    await alice.append("from.alice")
    await wait_equal(alice, bob)
    for node, kinds in zip((alice, bob), before, strict=True):
        now = await node.kinds()
        assert now["from.bob"] == kinds["from.bob"] + 1
        assert now["from.alice"] == kinds["from.alice"] + 1


async def silence() -> AsyncGenerator[bytes]:
    """A stream on which nothing comes."""
    await trio.Event().wait()
    yield b""


@dataclass
class Mask:
    """The handler of a hostile door: what it answers to each request, and what it streams."""

    answer_to: Callable[[Request], Answer | bytes]
    stream: Callable[[], AsyncGenerator[bytes]] = silence
    asked: list[Request] = field(default_factory=list)

    async def answer(self, _peer: bytes, body: bytes) -> bytes:
        request = decode_request(body)
        self.asked.append(request)
        answer = self.answer_to(request)
        return answer if isinstance(answer, bytes) else encode_answer(answer, 1)

    async def follow(self, _peer: bytes, _body: bytes) -> AsyncGenerator[bytes]:
        async for message in self.stream():
            yield message

    def allows(self, _peer: bytes, _body: bytes) -> bool:
        return True

    def blame(self, _peer: bytes, _error: PeerError) -> None: ...


def lure(alice: LinkedNode, mallory: Mallory) -> None:
    """Have the honest node dial the hostile one, again and again without delay."""
    alice.outside.directory.note(mallory.key, [mallory.peer.address], "invite")
    alice.links.ask(alice.tenant, mallory.key)


# Memory


class Memory:
    """The resident memory of this process, in MiB."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self.before = _status("VmRSS")

    def peak(self) -> float:
        """How far it rose since this was made."""
        return _status("VmHWM") - self.before


def _status(name: str) -> float:
    (line,) = [line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) / 1024


# Doors that answer as they like


@asynccontextmanager
async def answering(mallory: Mallory, mask: Mask) -> AsyncIterator[None]:
    """The hostile member's door is open, with this handler; the honest node is sent there."""
    async with mallory.peer.serving(mask):
        lure(mallory.alice, mallory)
        yield


async def lying(mallory: Mallory, *ranges: Range) -> Mask:
    """A handler that holds all that the honest node has and a feed besides, of which it gives these ranges."""
    pen = mallory.pen
    head = parse_checkpoint(pen.note())
    clock = Clock({**await mallory.alice.clock(), pen.feed_id: (head.size, head.root)})
    summary = Summary(View(clock, {}))

    def answer(request: Request) -> Answer:
        match request:
            case Hello():
                return Welcome(1, bytes(16), summary.value, None, summary.node(""))
            case Expand(_, _, prefixes):
                return Expanded(tuple([summary.node(prefix) for prefix in prefixes]))
            case ControlsWanted():
                return Controls((), more=False)
            case Pull():
                return Ranges(ranges)
            case Push():
                return Pushed(tuple([part.stop for part in request.ranges]))
            case _:
                return Refused("peer.refused")

    return Mask(answer)


@asynccontextmanager
async def raw_door(
    mallory: Mallory,
    script: Callable[[trio.SSLStream[trio.SocketStream]], Awaitable[None]],
    identity: TlsIdentity | None = None,
) -> AsyncIterator[None]:
    """A door that does the handshake and then whatever a script does, which the honest node is sent to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (identity or mallory.peer.identity).load_into(context)

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.receive_some(65_536)
            await script(stream)

    async with trio.open_nursery() as nursery:
        listen = partial(trio.serve_ssl_over_tcp, serve, 0, context, host=LOOPBACK)
        (listener,) = await nursery.start(listen)
        port = listener.transport_listener.socket.getsockname()[1]
        mallory.peer.address = f"{LOOPBACK}:{port}"
        lure(mallory.alice, mallory)
        yield
        nursery.cancel_scope.cancel()
