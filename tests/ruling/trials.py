"""Back-tests on a node's engine, as its API runs them."""

from collections.abc import Sequence
from typing import Any

from lognode.engine.ruling.hindsight.tally import Outcome
from lognode.engine.service.ruling.hindsight.backtest import Backtest, Report, Scope, Tried
from lognode.rules.grammar.reading import read_rule_set
from lognode.timeline.record import TenantRef
from tests.engine.nodes import Engine, Wall


async def try_rules(
    engine: Engine,
    text: str,
    published: str | None = None,
    tenant: TenantRef | None = None,
    beside: Sequence[str] = (),
    **scope: Any,
) -> tuple[Report, list[Outcome]]:
    """What a trial reports, and what became of the spans that rules had to do with."""
    wanted = tenant or engine.tenant
    candidate = read_rule_set(text.encode(), is_json=False)
    before = read_rule_set(published.encode(), is_json=False) if published else None
    members = engine.standings.of(wanted.number)
    tried = Tried(candidate, before, tuple(read_rule_set(one.encode(), is_json=False) for one in beside))
    run = Backtest(wanted, engine.store.feeds, members, Wall().world(), tried, Scope(**scope))
    found: list[Outcome] = []
    try:
        while True:
            progress, outcomes = await engine.store.read(run.step)
            found += outcomes
            if progress.done == progress.total:
                return run.report(), found
    finally:
        run.close()
