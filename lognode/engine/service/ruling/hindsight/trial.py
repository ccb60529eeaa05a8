"""One program tried on spans as they arrived: gate, annotations, reactions, and the spans that these emit in turn.

Writes nothing but into its sandbox. Invariant: a span is judged by what its own node had named of what passed before,
as gate and reactions judge it; a span that a rule emits is taken to stand right behind the one that caused it.
"""

from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import msgspec

from lognode.core.draft import Draft
from lognode.core.ids import KEY_BYTES, LogLine, LogLineKind, SpanId, b32encode, logline
from lognode.core.limits import TRIAL_CHAIN_MAX
from lognode.core.span import EXECUTED, PRIVATE, is_reserved
from lognode.engine.ruling.hindsight.drafts import facts_after
from lognode.engine.ruling.hindsight.tally import Outcome
from lognode.engine.ruling.judging import Judging
from lognode.engine.ruling.reacting import Subject, follow
from lognode.engine.ruling.strands import looked_at_max, measured
from lognode.rules.document import Last, Window, matches_kind
from lognode.rules.evaluation.decision import Decision
from lognode.rules.evaluation.facts import Facts, Writer
from lognode.rules.evaluation.program import Program
from lognode.rules.evaluation.samples import Sample, extract
from lognode.rules.evaluation.verdict import evaluate
from lognode.rules.records import FIRED
from lognode.timeline.agreement.rules.annotations import rules_in
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.rules.sandbox import Noted, Sandbox

_decoder = msgspec.msgpack.Decoder(Draft)


class Occurrence(NamedTuple):
    """A span of history: where it stands, and what it was before rules had their say.

    One that is not judged is only what others are judged by, and so is a copy that restores another.
    """

    draft: Draft
    id: SpanId
    feed: FeedRef
    seq: int
    hlc: int
    level: str
    is_judged: bool

    @property
    def place(self) -> tuple[int, int]:
        return self.feed.number, self.seq

    @property
    def writer(self) -> Writer:
        return Writer(LogLine(logline(LogLineKind.NODE, self.feed.node_key)), self.level)


class _Seen:
    """What became of a span and of all that followed from it, as far as rules of the set `name` had to do with it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.verdict = "allow"
        self.fired: list[str] = []
        self.failed: list[str] = []
        self.emits: list[str] = []
        self.refused = 0
        self.later = 0

    def note(self, decision: Decision) -> None:
        own = [step for step in decision.steps if step.set == self.name]
        self.fired += [step.rule for step in own if step.outcome == "fired"]
        self.failed += [step.rule for step in own if step.outcome == "failed"]

    def is_own(self, draft: Draft) -> bool:
        """Whether a rule of the set emitted it."""
        by = rules_in(draft.annotations).get("by")
        return isinstance(by, list) and by[:1] == [self.name]


class Trial:
    """A program over the spans of a tenant, of which the set `name` is on trial and others stand beside it."""

    def __init__(self, tenant: TenantRef, name: str, program: Program, sandbox: Sandbox) -> None:
        self._tenant = tenant
        self._name = name
        self._program = program
        self._sandbox = sandbox
        windows = {one.digest: one for gate in (True, False) for one in program.windows(gate=gate)}
        self._windows = tuple(windows.values())
        self._reads_last = program.reads_last(gate=True) or program.reads_last(gate=False)
        self.evaluations = 0

    def judges(self, kind: str) -> bool:
        """Whether any rule of the set looks at spans of this kind."""
        return any(one.set == self._name for gate in (True, False) for one in self._program.rules_for(kind, gate=gate))

    def wants(self, kind: str) -> bool:
        """Whether spans of this kind make any difference."""
        if self._reads_last or any(self._program.is_for(kind, gate=gate) for gate in (True, False)):
            return True
        return any(matches_kind(window.kinds, kind) for window in self._windows)

    def take(self, found: Occurrence, named: Mapping[int, int]) -> Outcome:
        """What becomes of a span, given what its node had named; what passes is what the next ones are judged by."""
        seen, is_cut = _Seen(self._name), False
        waiting = deque([(found, False)])
        taken = 0
        while waiting:
            one, is_emitted = waiting.popleft()
            taken += 1
            if taken > TRIAL_CHAIN_MAX:
                is_cut = True
                break
            past = {**named, one.feed.number: one.seq + 1} if is_emitted else named
            waiting += [(follower, True) for follower in self._take(one, past, seen, is_emitted=is_emitted)]
        return Outcome(
            b32encode(found.id),
            seen.verdict,
            tuple(seen.fired),
            tuple(seen.failed),
            tuple(seen.emits),
            seen.refused,
            seen.later,
            is_cut,
        )

    def _take(self, one: Occurrence, named: Mapping[int, int], seen: _Seen, *, is_emitted: bool) -> list[Occurrence]:
        context = _Past(self._sandbox, named)
        draft: Draft | None = one.draft
        if one.is_judged:
            draft = self._gate(one, context, seen, is_emitted=is_emitted)
        if draft is None:
            return []
        if is_emitted and seen.is_own(draft):
            seen.emits.append(draft.kind)
        followers = self._react(one, draft, context, seen)
        self._note(one, draft)  # behind, since nothing is in its own past
        return followers

    def _react(self, one: Occurrence, draft: Draft, context: "_Past", seen: _Seen) -> list[Occurrence]:
        """The spans that reactions emit for one that passed."""
        if not one.is_judged or draft.status != EXECUTED or not self._program.is_for(draft.kind, gate=False):
            return []
        self.evaluations += 1
        facts = facts_after(draft, one.writer, one.hlc)
        decision = evaluate(self._program, facts, context, gate=False)
        seen.note(decision)
        subject = Subject(self._tenant.number, self._tenant.tenant_id, one.id, draft.visibility, one.feed.node_key)
        following = follow(subject, decision, self._program.hashes, facts.time_ms)
        own = {(step.set, step.rule) for step in decision.steps if step.set == self._name}
        later = follow(subject, decision.part_of(own), self._program.hashes, facts.time_ms)
        seen.later += len(later.tasks) + len(later.schedules)
        return [one._replace(draft=emitted) for emitted in following.drafts if emitted.kind != FIRED]

    def _gate(self, one: Occurrence, context: "_Past", seen: _Seen, *, is_emitted: bool) -> Draft | None:
        """The draft as gate rules let it pass; None where they do not."""
        draft = one.draft
        if is_reserved(draft.kind) or not self._program.is_for(draft.kind, gate=True):
            return draft
        self.evaluations += 1
        decision = evaluate(self._program, Facts.of_draft(draft, one.writer, hlc=one.hlc), context, gate=True)
        seen.note(decision)
        judged = Judging(self._program, context, one.writer, one.hlc).outcome(draft, decision)
        verdict = decision.verdict if judged.draft is not None or decision.verdict == "hold" else "reject"
        if is_emitted:
            seen.refused += judged.draft is None and seen.is_own(draft)
        else:
            seen.verdict = verdict
        return judged.draft

    def _note(self, one: Occurrence, draft: Draft) -> None:
        """Have those that follow be judged by it; nothing private is."""
        if draft.visibility == PRIVATE:
            return
        facts = Facts.of_draft(draft, one.writer, hlc=one.hlc)
        for window in self._windows:
            if sample := extract(window, facts):
                self._sandbox.add_sample(window.digest, sample.key, sample.at_ms, one.place, sample.value)
        if self._reads_last and draft.subject is not None and draft.status == EXECUTED:
            content = one.feed.node_key + msgspec.msgpack.encode(draft)
            self._sandbox.add_subject(draft.subject, Noted(draft.kind, one.hlc, *one.place, content))


class _Past:
    """What rules on trial ask of the past: a Context."""

    def __init__(self, sandbox: Sandbox, named: Mapping[int, int]) -> None:
        self._sandbox = sandbox
        self._named = named

    def window(self, window: Window, sample: Sample) -> int | float:
        """The measure over this window. Raises Unclear."""
        start_ms = sample.at_ms - window.over_ms
        values = self._sandbox.within(
            window.digest, sample.key, start_ms, sample.at_ms, self._named, looked_at_max(window)
        )
        return measured(window, sample, values)

    def last(self, last: Last, subject: str) -> Facts | None:
        """The newest span of these kinds about a subject."""
        noted = self._sandbox.newest(subject, partial(matches_kind, last.kinds), self._named)
        if noted is None:
            return None
        node_key, content = noted.content[:KEY_BYTES], noted.content[KEY_BYTES:]
        writer = Writer(LogLine(logline(LogLineKind.NODE, node_key)), "")
        return Facts.of_draft(_decoder.decode(content), writer, hlc=noted.hlc)

    def note(self, facts: Facts, windows: tuple[Window, ...]) -> None:
        """Nothing: a trial notes what passed by itself."""
