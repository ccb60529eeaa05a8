"""A session that this node began: from the first comparison with a peer until the connection breaks.

It compares, follows what the peer commits, pushes what this node commits, and compares again when something does not
fit, somebody asks, or some time has gone by. Invariant: what came is on the disk before the next but one is read, so a
session holds two messages of the peer, however fast that is.
"""

import math
from collections.abc import AsyncIterator, Callable, Sequence

import trio

from lognode.core.errors import ERRORS, PeerError
from lognode.core.ids import FeedId, b32encode
from lognode.core.limits import RESYNC_S, RESYNC_S_MIN
from lognode.core.span import Range
from lognode.federation.sync.service.intake import take
from lognode.federation.sync.service.linking.comparison import Comparison
from lognode.federation.sync.service.news import News
from lognode.federation.sync.service.outside import Outside
from lognode.federation.sync.service.state.tie import Tie
from lognode.federation.sync.service.state.ties import Ties
from lognode.federation.transport.contact import Contact
from lognode.protocol.messages import Answer, Follow, Pulse, Push, Pushed, Ranges, Refused, Request
from lognode.protocol.wire import decode_answer, encode_request


class Session:
    """One session with one peer in one tenant."""

    def __init__(self, tie: Tie, contact: Contact, ties: Ties, outside: Outside, met: Callable[[], None]) -> None:
        """`met` is called once the peer has answered."""
        self._tie = tie
        self._contact = contact
        self._ties = ties
        self._outside = outside
        self._met = met
        self._news = News(tie, outside.held, outside.heads)
        self._version = 0

    async def run(self) -> None:
        """Hold both nodes equal until that fails, with what is then raised."""
        await self._compare()
        self._met()
        request = encode_request(Follow(self._version, self._tie.tenant.tenant_id, self._outside.instance))
        async with self._outside.dialer.follow(self._contact, request) as frames:
            self._tie.open("out")
            try:
                async with trio.open_nursery() as nursery:
                    give, arriving = trio.open_memory_channel[Sequence[Range]](0)
                    nursery.start_soon(self._store, arriving)
                    nursery.start_soon(self._push)
                    nursery.start_soon(self._keep_equal)
                    await self._listen(frames, give)
            finally:
                self._tie.close("out")

    async def _compare(self) -> bool:
        """Whether both nodes held the same at the end of a comparison."""
        tie, outside = self._tie, self._outside
        tie.is_syncing = True
        try:
            await self._news.begin()
            report = await Comparison(tie, outside, self._ask).run(self._ties.told(tie.node_key))
        finally:
            tie.is_syncing = False
        if report.code == "identity.cloned":
            await outside.writer.note_clone(tie.tenant, "another member hears two processes of this node")
        if report.state == "refused":
            raise PeerError(_known(report.code or "peer.refused"))
        assert report.version is not None
        assert report.instance is not None
        self._version = report.version
        self._ties.hear(tie.node_key, report.instance, report.addresses)
        for feed, refusal in report.refusals.items():
            if not refusal.here:  # what was refused here is counted as it came
                tie.fail(PeerError(_known(refusal.code), f"the peer refuses feed {b32encode(feed)}"))
        if report.state == "unfinished":  # it ended at a bound, and another one goes on
            tie.asked.ring()
        tie.finish_round(is_equal=report.state == "equal", wants=report.wants)
        doubtful = {*report.refusals, *(want.feed for want in report.wants)}
        if report.state != "unfinished" and not self._own_feeds() & doubtful:
            await outside.writer.vouch(tie.tenant, tie.node_key)
        return report.state == "equal"

    def _own_feeds(self) -> set[FeedId]:
        number = self._tie.tenant.number
        return {feed.feed_id for feed in self._outside.store.feeds.values() if feed.own and feed.tenant == number}

    async def _ask(self, request: Request) -> Answer:
        return decode_answer(await self._outside.dialer.ask(self._contact, encode_request(request)))

    async def _listen(self, frames: AsyncIterator[bytes], give: trio.MemorySendChannel[Sequence[Range]]) -> None:
        """Take what the peer commits. Raises PeerError when it falls silent, hangs up or refuses."""
        async for frame in frames:
            answer = decode_answer(frame)
            self._tie.touch()
            match answer:
                case Ranges(ranges):
                    self._tie.count_received(ranges)
                    await give.send(ranges)
                case Pulse():
                    self._tie.asked.ring()  # where all is equal that is one request of some hundred bytes
                case Refused(code):
                    raise PeerError(_known(code))
                case _:
                    raise PeerError("message.malformed", "no frame of a session")
        raise PeerError("peer.unreachable", "it ended the session")

    async def _store(self, arriving: trio.MemoryReceiveChannel[Sequence[Range]]) -> None:
        async for ranges in arriving:
            outcomes = await take(self._tie, self._outside, ranges)
            if any(isinstance(outcome, PeerError) for outcome in outcomes):
                # It may be ahead of what a comparison is still bringing, or of an admission.
                self._tie.asked.ring()

    async def _push(self) -> None:
        """Tell the peer what is committed here."""
        tie = self._tie
        while True:
            ranges = await self._news.read()
            if not ranges:
                await self._news.wait(math.inf)
                continue
            tie.count_sent(ranges)
            answer = await self._ask(Push(self._version, tie.tenant.tenant_id, ranges, ()))
            if isinstance(answer, Refused):
                raise PeerError(_known(answer.code))
            if not isinstance(answer, Pushed) or len(answer.outcomes) != len(ranges):
                raise PeerError("message.malformed", "no answer to a push")
            if any(isinstance(outcome, str) for outcome in answer.outcomes):
                tie.asked.ring()

    async def _keep_equal(self) -> None:
        """Compare again when asked, and now and then; less often while that finds no agreement."""
        self._tie.asked.ring()  # for what was committed on either side before the session began
        pause_s = RESYNC_S_MIN
        while True:
            with trio.move_on_after(RESYNC_S):
                await self._tie.asked.wait()
            pause_s = RESYNC_S_MIN if await self._compare() else min(2 * pause_s, RESYNC_S)
            await trio.sleep(pause_s)


def _known(code: str) -> str:
    """A code of the peer's as one of ours; a newer peer may have others."""
    return code if code in ERRORS else "peer.refused"
