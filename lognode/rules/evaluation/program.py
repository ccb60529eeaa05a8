"""Rule sets made ready: in the order in which rules run, and found by kind.

Order: a rule after those that it depends on, else low priority first, then set, then id. Invariant: the order and all
else here are functions of the sets' texts, whatever the order in which they are handed in.
"""

from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from types import MappingProxyType
from typing import NamedTuple

from lognode.core.limits import KINDS_KEPT_MAX
from lognode.core.span import is_reserved
from lognode.rules.conditions.judging import Check, prepare
from lognode.rules.conditions.tracing import Leaves
from lognode.rules.document import ALL_BELOW, Last, Rule, RuleSet, Scalar, Window
from lognode.rules.evaluation.decision import Step


class Ready(NamedTuple):
    """A rule with what it may read by name, what judges it, and its step where its condition does not hold."""

    set: str
    rule: Rule
    variables: Mapping[str, Scalar]
    windows: Mapping[str, Window]
    last: Mapping[str, Last]
    check: Check
    passed: Step
    leaves: Leaves  # of its condition, as far as it was traced


class _Index:
    """Rules of one phase in their order, by kind. What was found for a kind is kept."""

    __slots__ = ("_named", "_ordered", "_patterns", "_unnamed", "found", "has_rules", "reads_last", "windows")

    def __init__(self, ordered: Sequence[Ready]) -> None:
        self._ordered = ordered
        self._unnamed: list[int] = []  # places of rules that name no kind
        self._named: dict[str, list[int]] = {}
        self._patterns: dict[str, list[int]] = {}  # by what a kind begins with
        self.found: dict[str, tuple[Ready, ...]] = {}
        self.has_rules = bool(ordered)
        self.reads_last = any(ready.rule.last for ready in ordered)
        windows = {window.digest: window for ready in ordered for window in ready.windows.values()}
        self.windows = tuple(windows[digest] for digest in sorted(windows))
        for place, ready in enumerate(ordered):
            if not ready.rule.kinds:
                self._unnamed.append(place)
            for kind in ready.rule.kinds:
                if kind.endswith(ALL_BELOW):
                    self._patterns.setdefault(kind[:-1], []).append(place)
                else:
                    self._named.setdefault(kind, []).append(place)

    def rules_for(self, kind: str) -> tuple[Ready, ...]:
        found = self.found.get(kind)
        if found is None:
            if len(self.found) >= KINDS_KEPT_MAX:
                self.found.clear()
            found = self.found[kind] = tuple(self._ordered[place] for place in sorted(self._places(kind)))
        return found

    def _places(self, kind: str) -> set[int]:
        places = set(self._named.get(kind, ()))
        end = kind.find(".")
        while end >= 0:
            places.update(self._patterns.get(kind[: end + 1], ()))
            end = kind.find(".", end + 1)
        if not is_reserved(kind):
            places.update(self._unnamed)
        return places


class Program:
    """Rule sets in force together. `hashes` names them: set -> SHA-256 of its text."""

    __slots__ = ("_gate", "_reactions", "hashes")

    def __init__(self, sets: Sequence[RuleSet]) -> None:
        self.hashes: Mapping[str, bytes] = MappingProxyType({one.name: one.hash for one in sets})
        rules = [ready for one in sets for ready in _ready(one)]
        self._gate = _Index(_ordered(ready for ready in rules if ready.rule.gate))
        self._reactions = _Index(_ordered(ready for ready in rules if not ready.rule.gate))

    def rules_for(self, kind: str, *, gate: bool) -> tuple[Ready, ...]:
        """The rules that look at spans of this kind, in the order in which they run."""
        index = self._gate if gate else self._reactions
        found = index.found.get(kind)
        return index.rules_for(kind) if found is None else found

    def windows(self, *, gate: bool) -> tuple[Window, ...]:
        """All windows that rules of this phase read, each once whatever its names."""
        return (self._gate if gate else self._reactions).windows

    def reads_last(self, *, gate: bool) -> bool:
        """Whether any rule of this phase reads the newest span of a subject."""
        return (self._gate if gate else self._reactions).reads_last

    @property
    def has_gates(self) -> bool:
        """Whether there are gate rules at all."""
        return self._gate.has_rules

    def is_for(self, kind: str, *, gate: bool) -> bool:
        """Whether any rule looks at spans of this kind."""
        return bool(self.rules_for(kind, gate=gate))


def compile_rules(sets: Iterable[RuleSet]) -> Program:
    """The program of sets that are in force together; their names differ. Large ones take a second."""
    return Program(sorted(sets, key=lambda one: one.name))


def _ready(one: RuleSet) -> Iterable[Ready]:
    for rule in one.rules:
        windows = {window.name: window for window in rule.windows}
        last = {last.name: last for last in rule.last}
        passed = Step(one.name, rule.id, "not")
        yield Ready(one.name, rule, one.variables, windows, last, prepare(rule.condition), passed, {})


def _ordered(rules: Iterable[Ready]) -> list[Ready]:
    """The rules of one phase in their order. A rule that depends on one that is not among them is last, and skipped."""
    by_name = {(ready.set, ready.rule.id): ready for ready in rules}
    waiting: dict[tuple[str, str], int] = {}
    followers: dict[tuple[str, str], list[tuple[str, str]]] = {}
    free: list[tuple[int, str, str]] = []
    for (name, rule_id), ready in by_name.items():
        needed = {(name, other) for other in ready.rule.depends_on} & by_name.keys()
        waiting[name, rule_id] = len(needed)
        for other in needed:
            followers.setdefault(other, []).append((name, rule_id))
        if not needed:
            heappush(free, (ready.rule.priority, name, rule_id))
    ordered = []
    while free:
        _, name, rule_id = heappop(free)
        ordered.append(by_name[name, rule_id])
        for follower in followers.get((name, rule_id), ()):
            waiting[follower] -= 1
            if not waiting[follower]:
                heappush(free, (by_name[follower].rule.priority, *follower))
    return ordered
