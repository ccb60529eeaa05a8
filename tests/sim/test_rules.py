"""Rules in the simulator: all find the same decisions, whoever alters one is named, and what is broken is found."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import pytest

from lognode.core.ids import IDEM_BYTES
from lognode.core.limits import SIZE_MAX
from lognode.engine.receipt import AppendStopped
from lognode.engine.service.agreement.news import News
from lognode.engine.service.ruling import reactions
from lognode.engine.service.ruling.gate import Gate
from lognode.engine.service.ruling.hindsight import rechecking
from lognode.engine.service.ruling.reactions import Looked, Reactions
from lognode.sim.machines.tampered import LIES
from lognode.sim.simulation import Scenario, chance, scenario_of, simulate
from lognode.timeline.record import POSITION_MASK, TenantRef
from lognode.timeline.state import TenantState
from lognode.timeline.store.rules import cursors
from lognode.timeline.store.rules.cursors import cursor_row
from tests.sim.worlds import faults_in, is_found

Patch = pytest.MonkeyPatch
# Worlds in which something once went wrong.
REGRESSIONS: Final = [
    # Spans that knew a publication arrived before it, and nobody reacted to them.
    Scenario(3, 7, rules=True),
    Scenario(13, 9, copies=True, rules=True),
    # Who reacted to a span that a cut took, before it knew that, was named for it.
    Scenario(23, 3, rules=True),
    # A node had named one history of a feed, and was judged by the other one.
    Scenario(79, 7, "forks", copies=True, rules=True),
    # What was published beyond a fork was in force, until the fork was known.
    Scenario(117, 6, "withholds", copies=True, rules=True),
    Scenario(122, 4, recoveries=True, copies=True, rules=True),
    # Who was put back to a backup had its own spans again before those that they had counted, and reacted.
    Scenario(12, 5, copies=True, rules=True),
    # Who knew that a set was disabled was expected to have reacted by it, once the disabling did not count any more.
    Scenario(200957, 3, recoveries=True, rules=True),
]


def test_decisions_are_the_same_on_all_nodes_whatever_happens() -> None:
    decided = Counter[str]()
    for seed in range(1000, 1008):
        outcome = simulate(scenario_of(seed)._replace(rules=True, tampers=None))
        assert not outcome.verdict.faults, (seed, outcome.verdict.faults)
        decided.update(outcome.decided)
    assert decided["same"] > 200, decided
    assert not decided["altered"]


@pytest.mark.parametrize("scenario", REGRESSIONS, ids=str)
def test_what_once_went_wrong_does_not_again(scenario: Scenario) -> None:
    assert not faults_in([scenario])


@pytest.mark.parametrize("lie", LIES)
def test_a_node_that_alters_its_decisions_is_found_and_named_for_just_these(lie: str) -> None:
    altered = 0
    for seed in range(2, 20):
        outcome = simulate(Scenario(seed, 4, rules=True, tampers=lie))
        assert not outcome.verdict.faults, (seed, outcome.verdict.faults)
        altered += outcome.decided.get("altered", 0)
        if altered >= 2:
            break
    assert altered >= 2


def judge_by_all_that_is_held(patch: Patch) -> None:
    """A gate decides by what has arrived, where its node does not name all of that before it writes."""
    merge, random = News.merge, chance(1)

    async def late(news: News, tenant: TenantRef) -> Any:
        return await merge(news, tenant) if random.random() < 0.5 else None

    def named(made: Gate, _conn: Any, state: TenantState) -> dict[int, int]:
        feeds = made._store.feeds.values()
        return {feed.number: SIZE_MAX for feed in feeds if feed.tenant == state.tenant.number}

    patch.setattr(News, "merge", late)
    patch.setattr(Gate, "_named", named)


def forget_the_merge_before(patch: Patch) -> None:
    """A gate does not count as named what the merge in front of its own commit names."""
    patch.setattr(Gate, "_add", lambda _gate, _state, _merged: None)


def move_the_cursor_first(patch: Patch) -> None:
    """How far reactions have looked is stored before what follows is."""
    whole = Reactions._write

    async def write(made: Reactions, tenant: TenantRef, looked: Looked) -> bool:
        rows = {"rule_cursors": cursor_row(tenant, looked.position)}
        try:
            await made._writer.append(tenant, [], beside=lambda _: rows, wait=True)
        except AppendStopped:
            return False
        return await whole(made, tenant, looked)

    patch.setattr(Reactions, "_write", write)


def begin_where_the_first_set_arrived(patch: Patch) -> None:
    """Reactions look at what arrived behind the first publication, not at what had arrived already and knew it."""
    whole = cursors.read_cursor

    def read(conn: Any, tenant: TenantRef) -> int | None:
        position = whole(conn, tenant)
        first = conn.execute("SELECT min(row) FROM publications WHERE tenant = ?", (tenant.number,)).fetchone()[0]
        return None if position is None else max(position, (first & POSITION_MASK) - 1)

    patch.setattr(reactions, "read_cursor", read)


def react_without_keys(patch: Patch) -> None:
    """What follows has keys that differ each time, so that who looks again writes it again."""
    numbers = iter(range(10**9))
    patch.setattr("lognode.engine.ruling.reacting._id", lambda *_: next(numbers).to_bytes(IDEM_BYTES, "big"))
    move = cursors.cursor_row
    patch.setattr(reactions, "cursor_row", lambda tenant, position: move(tenant, max(0, position - 3)))


def find_nothing(patch: Patch) -> None:
    """Whoever looks again at what a span notes finds nothing wrong with it."""
    patch.setattr(rechecking, "differing_notes", lambda _said, _due: [])


VARIANTS: dict[str, tuple[Callable[[Patch], None], list[Scenario]]] = {
    "judge by all that is held": (judge_by_all_that_is_held, [Scenario(seed, 5, rules=True) for seed in range(10)]),
    "forget the merge before": (forget_the_merge_before, [Scenario(seed, 5, rules=True) for seed in range(20)]),
    "move the cursor first": (move_the_cursor_first, [Scenario(seed, 5, rules=True) for seed in range(7, 30)]),
    "begin where the first set arrived": (
        begin_where_the_first_set_arrived,
        [Scenario(3, 7, rules=True), *[Scenario(seed, 7, rules=True) for seed in range(10)]],
    ),
    "react without keys": (react_without_keys, [Scenario(seed, 4, rules=True) for seed in range(20)]),
    "find nothing": (find_nothing, [Scenario(seed, 4, rules=True, tampers="unmarks") for seed in range(2, 20)]),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_broken_variant_is_found(name: str, monkeypatch: Patch) -> None:
    breaks, scenarios = VARIANTS[name]
    assert not faults_in(scenarios[:2]), "nothing is broken yet"
    breaks(monkeypatch)
    assert is_found(scenarios)
