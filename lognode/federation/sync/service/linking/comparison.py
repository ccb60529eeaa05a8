"""Carries a run of the protocol out: asks the peer, reads and writes the store, step by step.

Decides nothing of what is asked or kept. While a batch is being committed, the next is asked for already, so that a
first sync is as fast as the slower of peer and disk. Invariant: a run that is cut off anywhere leaves a sound store
behind, and two batches are in memory at most.
"""

from collections.abc import Awaitable, Callable, Sequence

import trio

from lognode.core.errors import PeerError
from lognode.federation.sync.service.intake import take
from lognode.federation.sync.service.outside import Outside
from lognode.federation.sync.service.state.tie import Tie
from lognode.protocol.messages import Answer, Push, Ranges, Request
from lognode.protocol.reconcile import reconcile
from lognode.protocol.steps import Ask, Call, Give, Keep, Look, Reply, Report, Step, Take, Taken, Weigh, Weighed
from lognode.protocol.summary import addresses_digest

AskPeer = Callable[[Request], Awaitable[Answer]]


class Comparison:
    """One run with one peer."""

    def __init__(self, tie: Tie, outside: Outside, ask: AskPeer) -> None:
        self._tie = tie
        self._outside = outside
        self._ask = ask
        self._early: tuple[Request, Answer | PeerError] | None = None  # what was asked ahead, and its answer

    async def run(self, told: Sequence[str]) -> Report:
        """What came of it; the peer told these addresses last.

        Raises PeerError where it does not hold to the protocol, or does not answer.
        """
        known, heard = addresses_digest(told), self._tie.heard
        run = reconcile(Call(self._tie.tenant.tenant_id, self._outside.presence, known, heard=heard))
        try:
            step = next(run)
            while True:
                step = run.send(await self._carry_out(step))
        except StopIteration as ended:
            report: Report = ended.value
            self._tie.heard.update(report.heard)
            return report
        finally:
            run.close()

    async def _carry_out(self, step: Step) -> Reply:
        match step:
            case Look():
                return await self._outside.held.view(self._tie.tenant)
            case Give():
                return await self._outside.held.give(self._tie.tenant, step)
            case Take():
                return await self._take(step)
            case Weigh():
                return await self._outside.held.weigh(self._tie.tenant, step)
            case Keep(ranges):
                proof = await self._outside.writer.forks.keep(self._tie.tenant, ranges[0].feed, ranges)
                return Weighed("forked", proof.seq) if proof else Weighed("unproven", 0)
            case Ask(request):
                early, self._early = self._early, None
                if early is None or early[0] != request:
                    return await self._answer(request)
                if isinstance(early[1], PeerError):
                    raise early[1]
                return early[1]

    async def _take(self, step: Take) -> Taken:
        taken: list[Taken] = []
        async with trio.open_nursery() as nursery:
            if step.ahead is not None:
                nursery.start_soon(self._ask_ahead, step.ahead)
            taken.append(await take(self._tie, self._outside, step.ranges, step.foretold))
        return taken[0]

    async def _ask_ahead(self, request: Request) -> None:
        try:
            self._early = request, await self._answer(request)
        except PeerError as error:
            self._early = request, error  # of no concern before it is asked for

    async def _answer(self, request: Request) -> Answer:
        if isinstance(request, Push):
            self._tie.count_sent(request.ranges)
        answer = await self._ask(request)
        if isinstance(answer, Ranges):
            self._tie.count_received(answer.ranges)
        return answer
