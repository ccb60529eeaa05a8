"""What gate rules make of one draft after the other, and the spans that tell of it.

Pure. Invariants: what an author said is never changed, but that a trial may be made of it; a draft whose rules did
nothing is written as it came, and nothing tells of that.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from lognode.core.draft import Draft, annotations_of
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId, parse_span_id
from lognode.core.limits import BODY_BYTES_MAX, HELD_WAITING_MAX
from lognode.core.span import SIMULATED, is_reserved
from lognode.engine.commit import is_restored
from lognode.engine.ruling.approvals.holding import (
    HELD_TAG,
    Approval,
    approval_in,
    ending,
    held_key,
    held_of,
    held_row,
    hold_of,
)
from lognode.engine.ruling.gating import Judged
from lognode.engine.ruling.telling import annotations_said, firing_of, is_told
from lognode.rules.document import Reject, RequireApproval, Simulate, Window
from lognode.rules.evaluation.context import Context
from lognode.rules.evaluation.decision import Decision, Effect
from lognode.rules.evaluation.facts import Facts, Writer
from lognode.rules.evaluation.program import Program
from lognode.rules.evaluation.verdict import evaluate
from lognode.rules.records import FIRED, Fired, fired_data
from lognode.timeline.agreement.rules.annotations import with_rules

# Given what a rule rejected and what is to be told of it: that, or None where it is gathered with others.
Teller = Callable[[Effect, Draft, Fired], Fired | None]


class Past(Context, Protocol):
    """What rules ask of the past, to which the spans of the commit are added as they pass."""

    def note(self, facts: Facts, windows: tuple[Window, ...]) -> None:
        """A span of the commit, and the windows that it may be counted in."""


class Keeping(NamedTuple):
    """Where drafts are kept that wait: in which tenant, since when, and how many more there may be."""

    tenant: int
    now_ms: int
    room: Callable[[], int]


class Judging:
    """The drafts of one commit, in their order; the first gets the time `hlc`, each that passes is one tick later."""

    def __init__(
        self,
        program: Program,
        past: Past,
        author: Writer,
        hlc: int,
        tell: Teller | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        self._program = program
        self._past = past
        self._author = author
        self._hlc = hlc
        self._windows = program.windows(gate=True)
        self._is_noted = bool(self._windows) or program.reads_last(gate=True)
        self._tell = tell
        self._keeping = keeping
        self._kept = 0
        self._known: dict[Any, bytes | None] = {}  # notes that were encoded before
        self.verdicts: Counter[str] = Counter()

    def judge(self, draft: Draft, before: int) -> Judged:
        """What a draft comes to that is to stand behind so many of the commit."""
        # What this node writes by itself, and what it restores as it was, is nobody's to judge.
        is_judged = not is_reserved(draft.kind) and not is_restored(draft)
        approval = approval_in(draft.annotations) if is_judged and draft.annotations else None
        if not is_judged or not self._program.is_for(draft.kind, gate=True):
            if self._is_noted:
                self._past.note(self._facts(draft, before), self._windows)
            return Judged(draft, None, None, ending=_ending(draft, approval))
        facts = self._facts(draft, before, approval.roles if approval else ())
        decision = evaluate(self._program, facts, self._past, gate=True)
        self.verdicts[decision.verdict] += 1
        judged = self._outcome(draft, decision, approval)
        if self._is_noted and judged.draft is not None:
            self._past.note(facts if judged.draft is draft else self._facts(judged.draft, before), self._windows)
        return judged

    def _facts(self, draft: Draft, before: int, roles: Sequence[str] = ()) -> Facts:
        return Facts.of_draft(draft, self._author, hlc=self._hlc + before, approvals=roles)

    def _outcome(self, draft: Draft, decision: Decision, approval: Approval | None) -> Judged:
        if decision.verdict == "hold" and approval is None and self._keeping is not None:
            try:
                return self._held(draft, decision, self._keeping)
            except CallerError as error:
                return Judged(None, error, None)
        judged = self.outcome(draft, decision)
        if approval is None or judged.draft is None:
            return judged
        return judged._replace(ending=_ending(draft, approval))

    def _held(self, draft: Draft, decision: Decision, keeping: Keeping) -> Judged:
        """Have a draft wait. Raises CallerError draft.too_large, draft.invalid or approval.too_many."""
        hold = hold_of(decision, keeping.now_ms)
        fired = firing_of(decision, self._program.hashes, is_gate=True, has_grounds=True)
        fired = msgspec.structs.replace(fired, held=held_of(draft, hold))
        if self._kept >= keeping.room():
            raise CallerError("approval.too_many", f"{HELD_WAITING_MAX:,} wait already")
        self._kept += 1
        idem = None if draft.idem is None else held_key(draft.idem)
        title = f"{draft.kind} waits for approval"
        firing = Draft(FIRED, title, fired_data(fired), (HELD_TAG,), visibility=draft.visibility, idem=idem)
        return Judged(None, None, firing, row=held_row(keeping.tenant, draft, hold, keeping.now_ms))

    def outcome(self, draft: Draft, decision: Decision) -> Judged:
        """What a draft comes to by a decision about it."""
        if not is_told(decision):
            return Judged(draft, None, None)
        refusal = self._refusal(draft, decision)
        firing = self._firing(draft, decision, is_refused=refusal is not None)
        if refusal is not None:
            return Judged(None, refusal, firing)
        noted = self._noted(draft, decision)
        if noted is None:
            return Judged(draft, None, firing)
        status = SIMULATED if decision.verdict == "simulate" else draft.status
        if draft.content_bytes() + len(noted) > BODY_BYTES_MAX:
            return Judged(None, CallerError("draft.too_large", "with what rules note beside it"), None)
        return Judged(msgspec.structs.replace(draft, annotations=noted, status=status), None, firing)

    def _noted(self, draft: Draft, decision: Decision) -> bytes | None:
        """A draft's annotations with what rules noted; None where that is nothing to be kept."""
        held, notes, key = draft.annotations or annotations_of(draft.origin), decision.notes, None
        if not held and not notes.metadata:
            fired = tuple((step.set, step.rule) for step in decision.steps if step.outcome == "fired")
            key = (fired, notes.tags, notes.notes, notes.processed, decision.verdict, draft.status)
            if key in self._known:
                return self._known[key]
        said = annotations_said(decision, self._program.hashes)
        if draft.status == SIMULATED:
            said.pop("verdict", None)  # its author made the trial, and sends it again as one
        is_kept = any(said.get(name) for name in ("tags", "metadata", "notes", "processed", "verdict"))
        noted = with_rules(held, said) if is_kept else None
        if key is not None:
            self._known[key] = noted
        return noted

    def _refusal(self, draft: Draft, decision: Decision) -> CallerError | None:
        reason = decision.reason
        if reason is None or decision.verdict not in {"reject", "hold", "simulate"}:
            return None
        extra = {"set": reason.set, "rule": reason.rule}
        place = f"{reason.set}/{reason.rule}"
        assert isinstance(reason.deed, Reject | RequireApproval | Simulate)
        text = str(reason.deed.text)
        if decision.verdict == "reject":
            return CallerError("rule.rejected", text, place=place, extra=extra)
        if decision.verdict == "hold":
            return CallerError("rule.held", text, place=place, extra=extra | {"of": hold_of(decision, 0).of})
        if draft.actor_signature is not None and draft.status != SIMULATED:
            # The signature covers the status, and is worth more than a trial.
            detail = f"{text} (it would be simulated only, and its actor signed it as executed)"
            return CallerError("rule.rejected", detail, place=place, extra=extra)
        return None

    def _firing(self, draft: Draft, decision: Decision, *, is_refused: bool) -> Draft | None:
        fired: Fired | None = firing_of(decision, self._program.hashes, is_gate=True, has_grounds=is_refused)
        if is_refused and self._tell is not None and decision.reason is not None and fired is not None:
            fired = self._tell(decision.reason, draft, fired)
        return Draft(kind=FIRED, data=fired_data(fired), visibility=draft.visibility) if fired else None


def _ending(draft: Draft, approval: Approval | None) -> Callable[[SpanId], Draft] | None:
    """What tells that a draft which waited is written, given its span; None where it did not wait."""
    if approval is None:
        return None
    firing = parse_span_id(approval.of)

    def tell(span: SpanId) -> Draft:
        return ending(firing, "written", draft.visibility, approval.by, span)

    return tell
