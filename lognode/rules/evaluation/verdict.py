"""The decision on one span: rules in their order, until one rejects.

Reject beats hold, hold beats simulate, simulate beats allow; where no rule says anything, the span is allowed. Later
rules see what earlier ones noted. A rule whose condition cannot be told fails alone: its step says why, and neither
the span nor another rule is touched; but where that is since there is too much to read, one that is to keep the draft
from being written as it is does so, be it this one or one that depends on it. Invariant: a pure function of program,
facts and context, bounded in time and size by what core/limits.py says of rules.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from lognode.core.limits import TRACE_TEXT_CHARS_MAX, TRACED_CONDITIONS_MAX
from lognode.rules.conditions.trace import Trace
from lognode.rules.conditions.tracing import trace
from lognode.rules.conditions.unclear import Unclear
from lognode.rules.document import Reject, RequireApproval, Simulate
from lognode.rules.evaluation.context import Context
from lognode.rules.evaluation.decision import Decision, Effect, Notes, Step, Verdict
from lognode.rules.evaluation.effects import Dropped, Room, noted
from lognode.rules.evaluation.facts import Facts
from lognode.rules.evaluation.program import Program, Ready
from lognode.rules.evaluation.reading import Reading, Span

_NO_NOTES: Final = Notes()
_CLOSING: Final = (Reject, RequireApproval, Simulate)  # what keeps a draft from being written as it is


def evaluate(program: Program, facts: Facts, context: Context, *, gate: bool, traces: bool = False) -> Decision:
    """What the gate rules, or the reactions, of a program come to for one draft or span.

    A step has its trace where the rule fired or failed, as long as these hold no more than TRACED_CONDITIONS_MAX
    conditions together; with `traces`, wherever the rule was judged.
    """
    rules = program.rules_for(facts.kind, gate=gate)
    if not rules:
        return Decision("allow", (), (), _NO_NOTES, facts.hops + 1)
    return _Evaluation(facts, context, traces=traces).decide(rules)


class _Evaluation:
    def __init__(self, facts: Facts, context: Context, *, traces: bool) -> None:
        self._facts = facts
        self._span = Span(facts, context)
        self._room = Room(_NO_NOTES)
        self._traces = traces
        self._told = 0  # conditions in the traces so far
        self._fired: set[tuple[str, str]] = set()
        self._untold: set[tuple[str, str]] = set()  # those that might have, were there not too much to read
        self._effects: list[Effect] = []

    def decide(self, rules: Sequence[Ready]) -> Decision:
        steps = []
        reading = Reading(self._span, rules[0])
        for ready in rules:
            reading.turn(ready)
            step = self._step(ready, reading)
            steps.append(step)
            if step.outcome == "fired" and any(isinstance(action, Reject) for action in ready.rule.actions):
                break
        notes, hops = self._room.notes, self._facts.hops + 1
        return Decision(_verdict(self._effects, self._facts), tuple(self._effects), tuple(steps), notes, hops)

    def _step(self, ready: Ready, reading: Reading) -> Step:
        rule = ready.rule
        closes = any(isinstance(action, _CLOSING) for action in rule.actions)
        for needed in rule.depends_on:
            if (ready.set, needed) in self._untold:
                if closes:
                    continue
                self._untold.add((ready.set, rule.id))
            if (ready.set, needed) not in self._fired:
                return Step(ready.set, rule.id, "skipped", None, f"{needed}, on which it depends, did not fire")
        try:
            if ready.check(reading):
                told = self._retold(ready, reading)
                return Step(ready.set, rule.id, "fired", told, self._fire(ready, reading))
        except Unclear as unclear:
            why, is_closed = str(unclear)[:TRACE_TEXT_CHARS_MAX], reading.is_crowded
            told = self._retold(ready, reading)
            if not is_closed or not closes:
                self._untold.update([(ready.set, rule.id)] if is_closed else ())
                return Step(ready.set, rule.id, "failed", told, why)
            # Nobody gets past a limit by going far beyond it.
            return Step(ready.set, rule.id, "fired", told, "; ".join(filter(None, (why, self._fire(ready, reading)))))
        if self._traces:
            return msgspec.structs.replace(ready.passed, trace=self._retold(ready, reading))
        return ready.passed

    def _retold(self, ready: Ready, reading: Reading) -> Trace | None:
        """The trace of the rule that was just judged; None where enough is told and nobody asked for more."""
        if self._told > TRACED_CONDITIONS_MAX and not self._traces:
            return None
        reading.retell()
        told = trace(ready.rule.condition, reading, ready.leaves)
        self._told += sum(1 for _ in told.leaves())
        return told

    def _fire(self, ready: Ready, reading: Reading) -> str:
        """Do what the rule says; which of its actions were dropped, and why."""
        self._fired.add((ready.set, ready.rule.id))
        dropped = []
        for place, action in enumerate(ready.rule.actions):
            before = self._room.notes
            try:
                deed = self._room.deed(action, reading, self._facts)
            except Dropped as reason:
                dropped.append(f"action {place + 1} was dropped: {reason}")
                continue
            self._effects.append(Effect(ready.set, ready.rule.id, place, deed))
            # Where the span came without notes, those of the rules are all.
            self._span.notes = self._room.notes if self._span.notes is before else noted(self._span.notes, deed)
        return "; ".join(dropped)[: 4 * TRACE_TEXT_CHARS_MAX]


def _verdict(effects: list[Effect], facts: Facts) -> Verdict:
    if not effects:
        return "allow"
    deeds = [deed for effect in effects if isinstance(deed := effect.deed, _CLOSING)]
    if not deeds:
        return "allow"
    if any(isinstance(deed, Reject) for deed in deeds):
        return "reject"
    if any(isinstance(deed, RequireApproval) and facts.approvals.count(deed.role) < deed.of for deed in deeds):
        return "hold"
    return "simulate" if any(isinstance(deed, Simulate) for deed in deeds) else "allow"
