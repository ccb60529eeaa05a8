"""Carries a run of the protocol out: asks the peer, reads and writes the store, step by step.

Decides nothing of what is asked or kept. Invariant: a step has ended before the run is told of it, so a run that is
cut off anywhere leaves a sound store behind.
"""

from collections.abc import Awaitable, Callable, Sequence

from lognode.federation.sync.service.intake import take
from lognode.federation.sync.service.outside import Outside
from lognode.federation.sync.service.state.tie import Tie
from lognode.protocol.messages import Answer, Push, Ranges, Request
from lognode.protocol.reconcile import reconcile
from lognode.protocol.steps import Ask, Call, Give, Look, Reply, Report, Step, Take
from lognode.protocol.summary import addresses_digest

AskPeer = Callable[[Request], Awaitable[Answer]]


async def compare(tie: Tie, told: Sequence[str], outside: Outside, ask: AskPeer) -> Report:
    """What came of a run with the peer, which told these addresses last.

    Raises PeerError where it does not hold to the protocol, or does not answer.
    """
    run = reconcile(Call(tie.tenant.tenant_id, outside.presence, addresses_digest(told)))
    try:
        step = next(run)
        while True:
            step = run.send(await _carry_out(step, tie, outside, ask))
    except StopIteration as ended:
        report: Report = ended.value
        return report
    finally:
        run.close()


async def _carry_out(step: Step, tie: Tie, outside: Outside, ask: AskPeer) -> Reply:
    match step:
        case Look():
            return await outside.held.view(tie.tenant)
        case Give():
            return await outside.held.give(tie.tenant, step)
        case Take(ranges, foretold):
            return await take(tie, outside, ranges, foretold)
        case Ask(request):
            if isinstance(request, Push):
                tie.count_sent(request.ranges)
            answer = await ask(request)
            if isinstance(answer, Ranges):
                tie.count_received(answer.ranges)
            return answer
