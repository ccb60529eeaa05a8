"""Takes in what other nodes sent: part by part, each in a turn of the writer and a commit of its own.

Decides nothing about what is right: `engine.ingest` does. Invariant: an answer is given once what it says is durable.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

import structlog

from lognode.core.errors import NodeFault, PeerError
from lognode.core.limits import GROUP_BYTES_MAX, GROUP_SPANS_MAX
from lognode.core.span import Foretold, Range
from lognode.engine.ingest.plan import Ground, IngestPlan, Outcome, plan_ingest
from lognode.engine.service.agreement.doubts import Doubts
from lognode.engine.service.writing.ledger import Ledger, Step
from lognode.engine.service.writing.mailbox import Mailbox, Turn
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store

_log = structlog.get_logger(__name__)


class Intake:
    """What the writer does for other nodes."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        mailbox: Mailbox,
        commit: Callable[[Sequence[Step]], Awaitable[None]],
        doubts: Doubts,
        tell_forks: Callable[[TenantRef], Awaitable[None]],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._mailbox = mailbox
        self._commit = commit
        self._doubts = doubts
        self._tell_forks = tell_forks

    async def take(self, tenant: TenantRef, ranges: Sequence[Range], foretold: Sequence[Foretold]) -> list[Outcome]:
        """The size of each range's feed once it is durable, or why it was refused. Raises NodeFault.

        Behind these follows what else there is to tell, as in a plan.
        """
        outcomes, refused = await self._take_parts(tenant, ranges, foretold)
        waiting = [at for at, outcome in enumerate(outcomes) if _is_unadmitted(outcome)]
        if waiting and len(waiting) < len(outcomes):
            # What came behind them may have admitted who writes them.
            again, _ = await self._take_parts(tenant, [ranges[at] for at in waiting], ())
            for at, outcome in zip(waiting, again, strict=True):
                outcomes[at] = outcome
        return [*outcomes, *refused]

    async def _take_parts(
        self, tenant: TenantRef, ranges: Sequence[Range], foretold: Sequence[Foretold]
    ) -> tuple[list[Outcome], list[PeerError]]:
        outcomes: list[Outcome] = []
        refused: list[PeerError] = []
        for part, weight in _parts(ranges):
            plans: list[IngestPlan] = []
            work = partial(self._work, tenant, part, foretold, plans)
            spans = max(1, sum([len(found.entries) for found in part]) + len(foretold))
            turn = Turn(tenant, work, spans, weight + sum([span.entry.weight for span in foretold]))
            await self._mailbox.put_ingest(turn)
            await turn.done.wait()
            if turn.error is not None:
                raise turn.error
            if "evidence" in plans[0].write.rows:
                await self._tell_forks(tenant)
            outcomes += plans[0].outcomes[: len(part)]
            refused += [outcome for outcome in plans[0].outcomes[len(part) :] if isinstance(outcome, PeerError)]
            foretold = ()
        return outcomes, refused

    async def _work(
        self, tenant: TenantRef, ranges: Sequence[Range], foretold: Sequence[Foretold], plans: list[IngestPlan]
    ) -> None:
        """Plan and commit one part; the plan is put into `plans`."""
        ground = await self._ledger.ground(
            tenant, [*(found.feed for found in ranges), *(span.feed for span in foretold)]
        )
        # In the thread of the writing connection, which waits for it: tails and other peers are served meanwhile.
        try:
            plan = await self._store.write(_plan, ground, ranges, foretold)
        except Exception as error:
            # Nothing is committed, and what a stranger sent must not end the writer.
            _log.exception("ingest_failed")
            raise NodeFault("node.internal", type(error).__name__) from error
        if plan.write.rows or plan.write.verdicts:
            await self._commit([Step(plan.write, plan.state, plan.numbers, plan.book, plan.feeds, plan.news)])
            own = {head.feed.feed_id for head in plan.feeds if head.feed.own}
            opened = [(found.feed, found.entries[0].hlc) for found in ranges if found.feed in own and not found.start]
            await self._doubts.judge_taken(tenant, ground.state.ending, plan.state.ending, opened)
        plans.append(plan)


def _plan(
    _conn: sqlite3.Connection, ground: Ground, ranges: Sequence[Range], foretold: Sequence[Foretold]
) -> IngestPlan:
    return plan_ingest(ground, ranges, foretold)


def _parts(ranges: Sequence[Range]) -> Iterator[tuple[Sequence[Range], int]]:
    """The ranges in parts that are worth a commit each, with what they weigh; one part where there are none."""
    part: list[Range] = []
    spans = weight = 0
    for found in ranges:
        part.append(found)
        spans += len(found.entries)
        weight += sum([len(header) + (len(body) if body else 0) for _, _, header, body in found.entries])
        if spans >= GROUP_SPANS_MAX or weight >= GROUP_BYTES_MAX:
            yield part, weight
            part, spans, weight = [], 0, 0
    if part or not ranges:
        yield part, weight


def _is_unadmitted(outcome: Outcome) -> bool:
    return isinstance(outcome, PeerError) and outcome.code == "feed.unadmitted"
