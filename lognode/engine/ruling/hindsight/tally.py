"""What a trial of rules came to, counted: by rule, and beside the version that is published.

Pure. Invariant: bounded, however long the history is: examples are the first few, all else is counts.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from lognode.rules.document import RuleSet

EXAMPLES_MAX: Final = 10  # of each rule and of each change: enough to look at some


class Outcome(msgspec.Struct, frozen=True):
    """What rules made of one span: the verdict of the gate, which rules fired or failed, and what would follow.

    `fired` and `failed` are ids of rules. `emits` are kinds of spans that reactions would write, with those that
    such spans set off in turn; `refused` those that gate rules would not let in; `later` counts tasks and schedules.
    """

    span: str
    verdict: str
    fired: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    emits: tuple[str, ...] = ()
    refused: int = 0
    later: int = 0
    is_cut: bool = False


class RuleTally(msgspec.Struct):
    """How often a rule did what, with the first spans for which it fired."""

    rule: str
    on: str
    fired: int = 0
    failed: int = 0
    examples: list[str] = []


class ChangeTally(msgspec.Struct):
    """For how many spans something is decided otherwise than by the published version, with the first of them."""

    change: str
    count: int
    examples: list[str]


class Tally:
    """Outcomes of one program, counted."""

    def __init__(self, rules: RuleSet) -> None:
        self.rules = {one.id: RuleTally(one.id, "draft" if one.gate else "commit") for one in rules.rules}
        self.verdicts: Counter[str] = Counter()
        self.emits: Counter[str] = Counter()
        self.refused = 0
        self.later = 0
        self.cut = 0

    def add(self, outcome: Outcome) -> None:
        """Count what became of a span."""
        self.verdicts[outcome.verdict] += 1
        self.emits.update(outcome.emits)
        self.refused += outcome.refused
        self.later += outcome.later
        self.cut += outcome.is_cut
        for rule in outcome.fired:
            tally = self.rules[rule]
            tally.fired += 1
            if len(tally.examples) < EXAMPLES_MAX and outcome.span not in tally.examples[-1:]:
                tally.examples.append(outcome.span)
        for rule in outcome.failed:
            self.rules[rule].failed += 1


class Changes:
    """How two programs differ about the same spans."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, before: Outcome, after: Outcome) -> None:
        """Compare what became of one span."""
        for change in _changes(before, after):
            self._counts[change] += 1
            if len(self._examples[change]) < EXAMPLES_MAX:
                self._examples[change].append(after.span)

    def tallies(self) -> list[ChangeTally]:
        """All changes by their words."""
        return [ChangeTally(name, count, self._examples[name]) for name, count in sorted(self._counts.items())]


def _changes(before: Outcome, after: Outcome) -> Iterable[str]:
    if before.verdict != after.verdict:
        yield f"verdict: {before.verdict} -> {after.verdict}"
    fired, now = Counter(before.fired), Counter(after.fired)
    for rule in sorted(fired.keys() | now.keys()):
        if fired[rule] != now[rule]:
            yield f"{rule}: " + ("fires no more" if fired[rule] > now[rule] else "fires now")
    if Counter(before.emits) != Counter(after.emits):
        yield "emits otherwise"


def by_name(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts in the order of their names."""
    return dict(sorted(counts.items()))
