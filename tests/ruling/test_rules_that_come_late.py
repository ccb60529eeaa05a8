"""A node that gets a span before the rule set that the span knew reacts to it all the same, once that came."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from lognode.core.clock import Clock
from lognode.core.draft import Draft
from lognode.core.limits import REACTION_LACK_S_MAX
from lognode.core.span import decode_header
from lognode.core.world import World
from lognode.engine.service.ruling.reactions import Reactions
from lognode.timeline.record import Record, TenantRef
from tests.engine.nodes import Engine, run_engine
from tests.engine.pairs import admit, hand_over, ranges_of, two_nodes
from tests.ruling.published import find, publish

EACH = """
rules: {0}
do:
  - id: see
    on: commit
    run: each
    kinds: [{1}]
    then: [{{emit: {{kind: seen}}}}]
"""


class Late(NamedTuple):
    """A node that holds a span and, of the two rule sets that this one knew, the first; and who has the other."""

    founder: Engine
    node: Engine
    tenant: TenantRef
    reactions: Reactions

    async def react(self) -> int:
        """How many reactions there are once all was looked at that can be."""
        self.reactions.is_waiting = False
        while await self.reactions.react(self.tenant):
            pass
        return len(await find(self.node, _is_seen, self.tenant))


def _is_seen(record: Record) -> bool:
    return decode_header(record.header).kind == "seen"


@asynccontextmanager
async def late_rules(folder: Path, monotonic_s: Callable[[], float]) -> AsyncIterator[Late]:
    """A node to which a span came before what the span knew."""
    (folder / "c").mkdir()
    seed = bytes(range(2, 34))
    async with two_nodes(folder) as (one, other, theirs), run_engine(folder / "c", seed=seed) as third:
        ours = await third.writer.adopt_tenant(one.tenant.tenant_id, "theirs")
        await admit(one, other)
        await admit(one, third)
        await publish(one, EACH.format("first", "logout"))
        await hand_over(one, third, one.tenant, ours)
        await hand_over(one, other, one.tenant, theirs)
        await other.writer.append(theirs, [Draft(kind="note")])
        await publish(one, EACH.format("second", "login"))
        await hand_over(one, other, one.tenant, theirs)
        (receipt,) = await other.writer.append(theirs, [Draft(kind="login")])
        ranges = [part for part in await ranges_of(other, theirs, Clock({})) if part.feed == receipt.feed]
        await third.writer.ingest(ours, ranges)
        world = World(lambda: 0, monotonic_s, bytes)
        parts = (third.store, third.writer, third.heads, third.standings)
        yield Late(one, third, ours, Reactions(*parts, world, third.keys.public))


async def test_a_span_waits_for_the_rule_set_that_it_knew_where_others_are_in_force_already(tmp_path: Path) -> None:
    async with late_rules(tmp_path, lambda: 0) as late:
        assert await late.react() == 0
        assert late.reactions.is_waiting
        await hand_over(late.founder, late.node, late.founder.tenant, late.tenant)
        assert await late.react() == 1


async def test_it_does_not_wait_for_ever_whatever_came_before_it(tmp_path: Path) -> None:
    now_s = 0.0
    async with late_rules(tmp_path, lambda: now_s) as late:
        await late.react()
        assert late.reactions.is_waiting
        now_s += REACTION_LACK_S_MAX
        await late.react()
        assert not late.reactions.is_waiting
