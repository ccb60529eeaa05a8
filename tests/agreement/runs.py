"""Runs of the protocol between two nodes without threads, network or writer: what is found of forks is kept."""

from collections.abc import Callable

from lognode.core.errors import PeerError
from lognode.engine.service.agreement.forking import plan_kept, weigh_range
from lognode.federation.sync.service.holdings import Snapshot
from lognode.protocol.messages import Answer, Push, Pushed, Ranges, Request
from lognode.protocol.reconcile import reconcile
from lognode.protocol.serve import Presence, answer
from lognode.protocol.steps import Ask, Call, Give, Keep, Look, Reply, Report, Step, Take, Weigh, Weighed, give
from lognode.timeline.state import WritePlan
from lognode.timeline.store.controls import read_evidence
from lognode.timeline.store.write import apply_write, load_feeds
from tests.engine.receivers import Receiver

PRESENCE = Presence(b"i" * 16, ())
Twist = Callable[[Answer], Answer]


def run(dialer: Receiver, answerer: Receiver, twist: Twist = lambda said: said) -> Report:
    """What comes of a run; `twist` is what a peer that lies makes of its answers."""
    steps = reconcile(Call(dialer.tenant.tenant_id, PRESENCE))
    try:
        step = next(steps)
        while True:
            step = steps.send(_carry_out(step, dialer, answerer, twist))
    except StopIteration as end:
        report: Report = end.value
        return report


def _carry_out(step: Step, dialer: Receiver, answerer: Receiver, twist: Twist) -> Reply:
    held = Snapshot(dialer.conn, dialer.tenant)
    match step:
        case Look():
            return held.view()
        case Give():
            return give(step, held)
        case Take(ranges, foretold, _):
            return dialer.take(*ranges, foretold=foretold)[: len(ranges)]
        case Weigh(found):
            return Weighed(*weigh_range(dialer.conn, dialer.tenant, found)[:2])
        case Keep(parts):
            kept = plan_kept(dialer.conn, dialer.tenant, parts)
            if kept is None:
                return Weighed("unproven", 0)
            apply_write(dialer.conn, kept[1])
            numbers = {feed.feed_id: feed.number for feed in load_feeds(dialer.conn)}
            apply_write(dialer.conn, WritePlan({}, [], [], [], verdicts=[dialer.book.verdicts(0, numbers.get)]))
            return Weighed("forked", kept[0].seq)
        case Ask(request):
            return twist(_answer(request, answerer))


def _answer(request: Request, node: Receiver) -> Answer:
    if isinstance(request, Push):
        outcomes = node.take(*request.ranges, foretold=request.foretold)[: len(request.ranges)]
        return Pushed(tuple(found.code if isinstance(found, PeerError) else found for found in outcomes))
    return answer(request, Snapshot(node.conn, node.tenant), PRESENCE)  # type: ignore[arg-type]


def found(node: Receiver) -> dict[bytes, int]:
    """Where feeds fork, by the proofs that a node found itself."""
    return {feed: proof.seq for feed, proof in read_evidence(node.conn, node.tenant).items()}


def ranges_changed(change: Callable[[Ranges], Ranges]) -> Twist:
    """A peer that changes the ranges that it gives."""
    return lambda said: change(said) if isinstance(said, Ranges) else said
