"""What machines say of causal order is what happened, and the simulator's truth finds who says something else."""

from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any, Final

import msgspec
import pytest

from lognode.sim.simulation import Scenario, scenario_of, simulate
from lognode.sim.verdicts import questions
from lognode.sim.verdicts.questions import KNOWN
from lognode.timeline.query import Query
from lognode.timeline.record import Record
from lognode.timeline.store.agreement.pasts import compare_spans, resolved

DECIDED: Final = 1_000
ASKED: Final = 100  # in each world
WORLDS: Final = [Scenario(seed, 5) for seed in range(4)]

Patch = pytest.MonkeyPatch


def test_a_thousand_random_questions_of_each_kind_are_answered_as_it_happened() -> None:
    """Of relations, and of what nodes knew; in every world of the first seeds until the truth has decided so many."""
    answers = Counter[str]()
    for seed in count():
        outcome = simulate(scenario_of(seed), questions=ASKED)
        assert not outcome.verdict.faults, seed
        answers.update(outcome.answers)
        if answers[KNOWN] >= DECIDED and answers.total() >= DECIDED + answers[KNOWN]:
            break
    assert min(answers[name] for name in ("before", "after", "concurrent")) > DECIDED // 10


def answer_by_time(patch: Patch) -> None:
    """What was written earlier is taken for known."""

    def compare(_conn: Any, _tenant: Any, _feeds: Any, one: Record, other: Record) -> Any:
        return "before" if one.hlc < other.hlc else "after", []

    patch.setattr(questions, "compare_spans", compare)


def know_nothing_of_others(patch: Patch) -> None:
    """Spans of different feeds are taken for concurrent."""

    def compare(conn: Any, tenant: Any, feeds: Any, one: Record, other: Record) -> Any:
        return compare_spans(conn, tenant, feeds, one, other) if one.feed == other.feed else ("concurrent", [])

    patch.setattr(questions, "compare_spans", compare)


def know_an_entry_more(patch: Patch) -> None:
    """Of each feed that a node knew, it is said to have known one entry more."""
    know(patch, lambda size: size + 1)


def know_an_entry_less(patch: Patch) -> None:
    """Of each feed that a node knew, it is said to have known one entry less."""
    know(patch, lambda size: size - 1)


def know(patch: Patch, change: Callable[[int], int]) -> None:
    def changed(conn: Any, tenant: Any, feeds: Any, query: Query) -> Query:
        found = resolved(conn, tenant, feeds, query)
        known = tuple([(feed, change(size)) for feed, size in found.known or ()])
        return msgspec.structs.replace(found, known=known)

    patch.setattr(questions, "resolved", changed)


VARIANTS: Final = [answer_by_time, know_nothing_of_others, know_an_entry_more, know_an_entry_less]


@pytest.mark.parametrize("breaks", VARIANTS, ids=lambda breaks: breaks.__name__)
def test_wrong_answers_are_found_in_most_worlds(breaks: Callable[[Patch], None], monkeypatch: Patch) -> None:
    breaks(monkeypatch)
    found = [bool(simulate(scenario, questions=ASKED // 2).verdict.faults) for scenario in WORLDS]
    assert sum(found) > len(WORLDS) // 2  # in some hardly anybody hears of others
