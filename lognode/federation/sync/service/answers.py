"""Answers what peers ask, and tells those who follow what is new.

The peer listener has proven who asks; here it is checked what it may have, anew for each request and each frame.
Invariants: an unknown tenant and one that the asking node is no member of get the same bytes; nothing of a span leaves
once the removal of the asking node is committed.
"""

import time
from collections.abc import AsyncGenerator
from typing import Final

import trio

from lognode.core.errors import LognodeError, PeerError
from lognode.core.limits import PULSE_S
from lognode.federation.sync.service.intake import take
from lognode.federation.sync.service.news import News
from lognode.federation.sync.service.outside import Outside
from lognode.federation.sync.service.state.tie import Tie
from lognode.federation.sync.service.state.ties import Ties
from lognode.federation.transport.doors.budget import Allowance
from lognode.protocol.messages import (
    VERSIONS,
    Answer,
    Follow,
    Hello,
    Pull,
    Pulse,
    Push,
    Pushed,
    Ranges,
    Refused,
    Request,
    Welcome,
)
from lognode.protocol.wire import decode_request, encode_answer

NOT_A_MEMBER: Final = "peer.refused"


class Answers:
    """The handler of the peer listener."""

    def __init__(self, ties: Ties, outside: Outside) -> None:
        self._ties = ties
        self._outside = outside
        # By tenant, so that all its members together leave room for other tenants; by node, for reading what it says.
        self._allowance = Allowance()

    async def answer(self, node_key: bytes, body: bytes) -> bytes:
        """The answer to one request of a node."""
        try:
            request = await self._read(node_key, body)
            self._admit(node_key, request)
            async with self._allowance.calling(request.tenant, len(body)) as held:
                encoded = await self._answer(node_key, request)
                self._allowance.give(request.tenant, held, len(body) + len(encoded))
                return encoded
        except LognodeError as error:
            return self._refuse(node_key, error)

    async def _answer(self, node_key: bytes, request: Request) -> bytes:
        tie = self._admit(node_key, request)
        answer = await self._reply(tie, request)
        # Membership may have changed while the answer was made.
        self._admit(node_key, request)
        if isinstance(answer, Ranges):
            tie.count_sent(answer.ranges)
        return encode_answer(answer, _version_of(request))

    def allows(self, node_key: bytes, body: bytes) -> bool:
        """Whether a node may still have what it asked for."""
        try:
            return self._ties.admit(node_key, decode_request(body).tenant) is not None
        except PeerError:
            return True  # it gets no more than a refusal

    def blame(self, node_key: bytes, error: PeerError) -> None:
        """A request of a node was refused before there was a message in it."""
        self._ties.fail(node_key, error)

    async def follow(self, node_key: bytes, body: bytes) -> AsyncGenerator[bytes]:
        """What is new in a tenant, as it is committed, until the peer hangs up or may not have it any longer."""
        try:
            request = await self._read(node_key, body)
            tie = self._admit(node_key, request)
            if not isinstance(request, Follow):
                raise PeerError("message.malformed", "only Follow is answered with a stream")
        except LognodeError as error:
            yield self._refuse(node_key, error)
            return
        self._ties.hear(node_key, request.instance)
        tie.open("in")
        try:
            news = News(tie, self._outside.held, self._outside.heads)
            answer: Answer | None = Pulse(await news.begin())
            beat_at = trio.current_time() + PULSE_S
            while self._ties.admit(node_key, request.tenant) is tie:
                if answer is not None:
                    encoded = encode_answer(answer, request.version)
                    yield encoded
                    await self._allowance.take(request.tenant, len(encoded))
                    beat_at = trio.current_time() + PULSE_S
                answer = await self._next(news, tie, beat_at)
            yield _refused("peer.refused")
        finally:
            tie.close("in")

    async def _read(self, node_key: bytes, body: bytes) -> Request:
        """The request, once the node's turn has come: what is long to read counts, whether or not it can be read."""
        await self._allowance.wait_turn(node_key)
        begun_s = time.thread_time()
        try:
            return decode_request(body)
        finally:
            self._allowance.charge(node_key, time.thread_time() - begun_s)

    async def _next(self, news: News, tie: Tie, beat_at: float) -> Answer | None:
        """The next frame of a session; None where it is to be looked again."""
        if ranges := await news.read():
            tie.count_sent(ranges)
            return Ranges(ranges)
        if trio.current_time() >= beat_at or tie.called.is_rung:
            tie.called.still()
            return Pulse(await self._outside.held.summary(tie.tenant))
        await news.wait(beat_at, tie.called.wait_rung)
        return None

    def _admit(self, node_key: bytes, request: Request) -> Tie:
        """The tie that a request belongs to. Raises PeerError("peer.refused")."""
        tie = self._ties.admit(node_key, request.tenant)
        if tie is None:
            raise PeerError("peer.refused")
        return tie

    async def _reply(self, tie: Tie, request: Request) -> Answer:
        tie.touch()
        if isinstance(request, Push):
            return await self._take(tie, request)
        if isinstance(request, Pull):
            for want in request.wants:
                tie.known.note(want.feed, want.start)
        elif isinstance(request, Hello):
            self._ties.hear(tie.node_key, request.instance, request.addresses)
            if self._ties.is_to_be_told(tie.node_key, request.instance):
                raise PeerError("identity.cloned", "two processes speak with this key")
        elif isinstance(request, Follow):
            raise PeerError("message.malformed", "Follow is answered with a stream")
        answer = await self._outside.held.answer(tie.tenant, request, self._outside.presence)
        if isinstance(answer, Welcome):
            tie.finish_round(is_equal=answer.root is None)
            if answer.root is None:
                await self._outside.writer.vouch(tie.tenant, tie.node_key)
        return answer

    async def _take(self, tie: Tie, push: Push) -> Pushed:
        tie.count_received(push.ranges)
        outcomes = await take(tie, self._outside, push.ranges, push.foretold)
        return Pushed(tuple([outcome if isinstance(outcome, int) else outcome.code for outcome in outcomes]))

    def _refuse(self, node_key: bytes, error: LognodeError) -> bytes:
        """What an asking node is told instead of an answer; faults of this node are not its business."""
        if not isinstance(error, PeerError):
            return _refused("peer.busy")
        if error.code not in {"peer.refused", "peer.busy"}:
            self._ties.fail(node_key, error)
        return _refused(error.code)


def _version_of(request: Request) -> int:
    return VERSIONS[0] if isinstance(request, Hello) else request.version


def _refused(code: str) -> bytes:
    return encode_answer(Refused(code), 0)
