"""Decisions recomputed from what is stored: whether they are what they had to be, and why they came out so.

Owns the way from a span to the past and the rules that it was judged by. Invariant: what was decided is called altered
only where all that the decision read is held here, so that no honest node is accused.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

import msgspec

from lognode.core.access import Level
from lognode.core.clock import hlc_ms
from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.ids import LogLine, LogLineKind, SpanId, b32encode, logline, parse_span_id
from lognode.core.limits import FOLLOWERS_LOOKED_MAX
from lognode.core.span import EXECUTED, SIMULATED, STATUSES, Body, Header, decode_body, is_reserved
from lognode.engine.ruling.approvals.holding import approval_in, approved
from lognode.engine.ruling.gating import Judged
from lognode.engine.ruling.hindsight.comparing import (
    Answer,
    Deviation,
    Told,
    differing_firings,
    differing_notes,
)
from lognode.engine.ruling.hindsight.copies import Copy, copy_of, restores
from lognode.engine.ruling.hindsight.drafts import draft_before
from lognode.engine.ruling.hindsight.followers import Followers, emitted_otherwise
from lognode.engine.ruling.hindsight.reasons import (
    FORKED,
    HELD_LESS,
    LOST,
    MALFORMED,
    NO_BODY,
    NOT_WHOLE,
    TOO_MANY_FOLLOW,
    TWICE,
    UNSHOWN,
    UNTOLD,
)
from lognode.engine.ruling.hindsight.refusals import accounts_of, refusal_in, why_not_told
from lognode.engine.ruling.judging import Judging
from lognode.engine.ruling.reacting import Subject, follow
from lognode.engine.ruling.telling import is_told
from lognode.engine.service.ruling.hindsight.approved import Written, missing_approvals
from lognode.engine.service.ruling.hindsight.looking import Lookback
from lognode.engine.service.ruling.past import Ground, facts_of
from lognode.engine.service.ruling.programs import Programs, Ruled
from lognode.rules.evaluation.decision import Decision, Notes
from lognode.rules.evaluation.explain import Account, why, why_not
from lognode.rules.evaluation.facts import Facts, Writer
from lognode.rules.evaluation.verdict import evaluate
from lognode.rules.records import FIRED, Fired
from lognode.timeline.record import FeedRef, Record, TenantRef, body_of, feed_of, header_of, id_of
from lognode.timeline.store.database import Store
from lognode.timeline.store.read.lookup import find_span
from lognode.timeline.store.rules.levels import level_named
from lognode.timeline.store.rules.looking import names_strangers, spans_caused
from lognode.timeline.store.rules.pasts import is_whole, named_past
from lognode.timeline.store.rules.windows import load_kinds

NOTHING_DECIDED: Final = Decision("allow", (), (), Notes(), 0)


class Rechecked(NamedTuple):
    """What a recheck came to. `altered` has by node key what that node said otherwise; `lacks` why it is not told."""

    span: SpanId
    answer: Answer
    altered: dict[bytes, list[Deviation]]
    lacks: tuple[str, ...]
    sets: dict[str, bytes]  # the rule sets in force for the span


class Decided(NamedTuple):
    """Why rules did what they did to a span: what the gate decided and what reactions did, None where none looked."""

    span: SpanId
    gate: Decision | None
    reactions: Decision | None
    lacks: tuple[str, ...]
    sets: dict[str, bytes]
    refusal: Fired | None = None  # what the span tells of a draft that was refused, of which no other span came

    @property
    def verdict(self) -> str | None:
        """The gate's verdict; None where no gate rule looked."""
        if self.refusal is not None:
            return self.refusal.verdict
        return self.gate.verdict if self.gate is not None else None

    @property
    def accounts(self) -> list[tuple[str, Account]]:
        """In their order, each with whether it was on the draft or on the commit."""
        told = [("draft", account) for account in accounts_of(self.refusal)] if self.refusal is not None else []
        found = (("draft", self.gate), ("commit", self.reactions))
        return told + [(on, account) for on, decision in found if decision is not None for account in why(decision)]


@dataclass
class _Case:
    """A span with all that its judgement needs."""

    record: Record
    feed: FeedRef
    header: Header
    body: Body | None
    ground: Ground
    ruled: Ruled
    level: Level
    is_void: bool
    is_contested: bool  # whether any act about members is void
    lacks: dict[str, None]  # why nothing can be told
    copy: Copy | None
    waits: dict[str, None] = field(default_factory=dict)  # what is not told yet

    @property
    def id(self) -> SpanId:
        return id_of(self.record, self.feed.feed_id)

    @property
    def levels(self) -> Sequence[Level]:
        """The level of its node by what that had named, the likeliest first: acts of then may not count any more."""
        return tuple(dict.fromkeys((self.level, *Level))) if self.is_contested else (self.level,)

    @property
    def sets(self) -> dict[str, bytes]:
        return {name: rules.hash for name, rules in self.ruled.sets.items()}

    @property
    def refusal(self) -> Fired | None:
        """What it tells of a draft that was refused, or had to wait."""
        return None if self.body is None else refusal_in(self.header, self.body, self.record.visibility)

    @property
    def reacts(self) -> bool:
        """Whether the span may set anything off."""
        program = self.ruled.program
        if program is None or self.header.status != EXECUTED or self.is_void:
            return False
        return program.is_for(self.header.kind, gate=False)

    def part(self, decision: Decision, node_key: bytes) -> Decision:
        """The part of a decision about the committed span that a node acts by."""
        assert self.ruled.program is not None
        is_author = node_key == self.feed.node_key
        rules = self.ruled.program.rules_for(self.header.kind, gate=False)
        return decision.part_of({(one.set, one.rule.id) for one in rules if is_author or one.rule.run == "each"})

    def following(self, decision: Decision, node_key: bytes) -> list[Draft]:
        """The spans that a node writes by a decision."""
        assert self.ruled.program is not None
        tenant = self.ground.tenant
        what = (self.id, self.record.visibility, node_key, restores(self.copy))
        subject = Subject(tenant.number, tenant.tenant_id, *what)
        return follow(subject, decision, self.ruled.program.hashes, hlc_ms(self.record.hlc)).drafts

    def writer(self, level: Level) -> Writer:
        return Writer(LogLine(logline(LogLineKind.NODE, self.feed.node_key)), level.name.lower())


class Rechecking:
    """Decisions of all tenants of a node, looked at again; synchronous, for a reader's thread."""

    def __init__(self, store: Store, programs: Programs) -> None:
        self._store = store
        self._programs = programs

    def _case(self, conn: sqlite3.Connection, tenant: TenantRef, span: SpanId) -> _Case:
        feeds = self._store.feeds
        record = find_span(conn, tenant, feeds, span)
        if record is None:
            raise CallerError("span.unknown", b32encode(span))
        feed, header = feed_of(record, feeds), header_of(record)
        named = named_past(conn, feeds, record.feed, record.seq)
        ground = Ground(conn, tenant, feeds, load_kinds(conn, tenant), named)
        lacks: dict[str, None] = {}
        if not is_whole(conn, named) or names_strangers(conn, feeds, record.feed, named):
            lacks[NOT_WHOLE] = None
        raw, body = body_of(record, header), None
        try:
            body = decode_body(raw) if raw is not None else None
        except CallerError:
            lacks[MALFORMED] = None
        if raw is None:
            lacks[NO_BODY] = None
        members = self._programs.members(tenant)
        forks = members.forks
        if any(
            number != record.feed and size > forks.get(feeds[number].feed_id, size) for number, size in named.items()
        ):
            lacks[FORKED] = None  # which of them it had, and which of them is held here, is not looked at
        ruled = self._programs.ruled(conn, tenant, named)
        cut = members.cuts.get(feed.feed_id)
        is_void = cut is not None and record.seq >= cut.size
        copy = copy_of(tenant.tenant_id, record, feed, feeds, members) if body is not None else None
        level = level_named(conn, tenant, feeds, members, feed.node_key, named)
        return _Case(record, feed, header, body, ground, ruled, level, is_void, bool(members.voids), lacks, copy)

    def recheck(self, conn: sqlite3.Connection, tenant: TenantRef, span: SpanId) -> Rechecked:
        """Whether what is said of the decision about a span is what it had to be.

        Raises CallerError("span.unknown"), NodeFault("database.damaged").
        """
        case = self._case(conn, tenant, span)
        altered: dict[bytes, list[Deviation]] = {}
        if not case.lacks and case.body is not None:
            feeds, members = self._store.feeds, self._programs.members(tenant)
            followers = Followers(
                feeds,
                spans_caused(conn, tenant, span, FOLLOWERS_LOOKED_MAX),
                lambda record, feed: restores(copy_of(tenant.tenant_id, record, feed, feeds, members)),
            )
            case.lacks |= {TOO_MANY_FOLLOW: None} if followers.are_cut else {}
            case.lacks |= {NO_BODY: None} if followers.are_unread else {}
            case.waits |= {TWICE: None} if followers.are_twice else {}
            self._altered_gate(case, followers, altered)
            for node_key in followers.gating - {case.feed.node_key}:  # nobody's gate judges what others write
                altered[node_key] = differing_firings(followers.told(node_key, "draft"), None)
            self._altered_reactions(case, followers, altered)
        if (altered or UNTOLD in case.waits) and self._programs.lost(conn, tenant, case.ground.named):
            case.lacks[LOST] = None
        answer: Answer = "withheld" if case.lacks or case.waits else "same"
        if altered and not case.lacks:
            answer = "altered"
        return Rechecked(span, answer, {} if case.lacks else altered, (*case.lacks, *case.waits), case.sets)

    def _altered_gate(self, case: _Case, followers: Followers, altered: dict[bytes, list[Deviation]]) -> None:
        """Add how what is told of the draft differs from what is due, in the way that is closest to it."""
        body = case.body
        assert body is not None
        if is_reserved(case.header.kind) or restores(case.copy):
            return
        if case.copy is not None and case.copy.state == "open":
            case.lacks[UNSHOWN] = None
            return
        told = followers.told(case.feed.node_key, "draft")
        draft = draft_before(case.header, body, case.record.visibility)
        draft = msgspec.structs.replace(draft, origin=None if case.copy else draft.origin)
        approval = approval_in(body.annotations)
        if approval is not None and not is_reserved(case.header.kind):
            members = self._programs.members(case.ground.tenant)
            written = Written(case.record, case.feed, draft, approval)
            if faults := missing_approvals(case.ground, members, written):
                altered.setdefault(case.feed.node_key, []).extend(faults)
                return
            by = [parse_span_id(one) for one in approval.by]
            draft = approved(draft, parse_span_id(approval.of), by, approval.roles[0])
        # The status that it was sent with is not told: any that fits will do.
        statuses = dict.fromkeys((draft.status, case.header.status))
        tried = []
        for level in case.levels:
            for status in statuses:
                found = self._differing_gate(case, msgspec.structs.replace(draft, status=status), level, told)
                if not found:
                    return
                tried.append(found)
        altered.setdefault(case.feed.node_key, []).extend(tried[0])

    def _differing_gate(self, case: _Case, draft: Draft, level: Level, told: Told) -> list[Deviation]:
        assert case.body is not None
        judged, lookback = Judged(draft, None, None), Lookback(case.ground, case.record.hlc)
        if case.ruled.program is not None:
            judging = Judging(case.ruled.program, lookback, case.writer(level), case.record.hlc)
            judged = judging.judge(draft, 0)
        case.lacks |= lookback.lacks
        if judged.draft is None:
            assert judged.refusal is not None
            return [Deviation("verdict", "written", f"{judged.refusal.code} by {judged.refusal.place}")]
        found = differing_notes(case.body.annotations, judged.draft.annotations)
        if judged.draft.status != case.header.status:
            found.append(Deviation("status", STATUSES[case.header.status], STATUSES[judged.draft.status]))
        return found + differing_firings(told, judged.firing.data if judged.firing else None)

    def _altered_reactions(self, case: _Case, followers: Followers, altered: dict[bytes, list[Deviation]]) -> None:
        """Add how what nodes tell that they did about a committed span differs from what is due."""
        if case.is_void:
            return  # who reacted could not know that yet; that it should not have, nobody can say
        decisions = _Decisions(partial(self._reaction, case, traces=False), case.levels) if case.reacts else None
        for node_key in sorted({*followers.reacting, case.feed.node_key}):
            told, emitted = followers.told(node_key, "commit"), followers.emitted(node_key)
            if told == ((), ()) and not emitted:
                is_author = node_key == case.feed.node_key and case.copy is None
                if is_author and decisions is not None and is_told(case.part(decisions.likeliest, node_key)):
                    case.waits[UNTOLD] = None
                continue
            tried = []
            every: Iterable[Decision | None] = decisions if decisions is not None else (None,)
            for decision in every:
                part = case.part(decision, node_key) if decision is not None else None
                drafts = case.following(part, node_key) if part is not None else []
                due = next((draft.data for draft in drafts if draft.kind == FIRED), None)
                found = differing_firings(told, due) + emitted_otherwise(emitted, part, drafts)
                tried.append(found)
                if not found:
                    break
            if all(tried) and node_key != case.feed.node_key:
                # It waits for what the span's node had named, and at last judges without.
                case.waits[HELD_LESS] = None
            elif all(tried):
                altered.setdefault(node_key, []).extend(tried[0])

    def _reaction(self, case: _Case, level: Level, *, traces: bool) -> Decision:
        assert case.ruled.program is not None
        lookback = Lookback(case.ground, case.record.hlc)
        facts = facts_of(case.record, case.feed, level.name.lower())
        decision = evaluate(case.ruled.program, facts, lookback, gate=False, traces=traces)
        case.lacks |= lookback.lacks
        return decision

    def decided(self, conn: sqlite3.Connection, tenant: TenantRef, span: SpanId) -> Decided:
        """What rules decide about a span by its past, and why. Raises as `recheck` does."""
        case = self._case(conn, tenant, span)
        gate, reactions = self._decisions(case)
        return Decided(span, gate, reactions, tuple(case.lacks), case.sets, case.refusal)

    def _decisions(self, case: _Case) -> tuple[Decision | None, Decision | None]:
        """What gate rules and reactions come to, each with its traces; None where they do not look at such spans."""
        program, gate, reactions = case.ruled.program, None, None
        if program is None or case.body is None:
            return None, None
        is_judged = not is_reserved(case.header.kind) and not restores(case.copy)
        if is_judged and program.is_for(case.header.kind, gate=True):
            draft, lookback = draft_before(case.header, case.body, case.record.visibility), self._lookback(case)
            approval = approval_in(case.body.annotations)
            roles = approval.roles if approval is not None else ()
            facts = Facts.of_draft(draft, case.writer(case.level), hlc=case.record.hlc, approvals=roles)
            gate = evaluate(program, facts, lookback, gate=True, traces=True)
            case.lacks |= lookback.lacks
        if case.header.status != SIMULATED and program.is_for(case.header.kind, gate=False):
            reactions = self._reaction(case, case.level, traces=True)
        return gate, reactions

    def _lookback(self, case: _Case) -> Lookback:
        return Lookback(case.ground, case.record.hlc)

    def why_not(self, conn: sqlite3.Connection, tenant: TenantRef, span: SpanId, name: str, rule: str) -> Account:
        """Why a rule of the set `name` did not fire for a span; if it did, why it did. Raises as `recheck` does."""
        case = self._case(conn, tenant, span)
        rules = case.ruled.sets.get(name)
        if rules is None:
            said = "was disabled" if name in case.ruled.words else "had not been published"
            sentence = f"Rule {rule} of {name} was not in force: {name} {said}, as far as the span's node knew."
            return Account(name, rule, "unseen", sentence)
        found = next((one for one in rules.rules if one.id == rule), None)
        if found is None:
            sentence = f"The version of {name} in force then, {rules.hash.hex()[:12]}, has no rule {rule}."
            return Account(name, rule, "unseen", sentence)
        if case.body is None:
            raise CallerError("rule.unclear", "; ".join(case.lacks), place=b32encode(span))
        if case.refusal is not None and found.gate:
            return why_not_told(case.refusal, name, rule)
        gate, reactions = self._decisions(case)
        decision = gate if found.gate else reactions
        if decision is None and found.gate and restores(case.copy):
            return Account(name, rule, "unseen", "The span is a copy of one that had been judged already.")
        if decision is None and not found.gate and case.header.status == SIMULATED:
            return Account(name, rule, "unseen", "The span is simulated, and sets nothing off.")
        return why_not(decision or NOTHING_DECIDED, name, found, case.header.kind)


class _Decisions:
    """Decisions by each level that the node of a span may have had, made as they are asked for; the likeliest first."""

    def __init__(self, decide: Callable[[Level], Decision], levels: Sequence[Level]) -> None:
        self._decide = decide
        self._levels = levels
        self._made: list[Decision] = []

    def __iter__(self) -> Iterator[Decision]:
        return map(self._at, range(len(self._levels)))

    @property
    def likeliest(self) -> Decision:
        """By the level that the node has now."""
        return self._at(0)

    def _at(self, place: int) -> Decision:
        while place >= len(self._made):
            self._made.append(self._decide(self._levels[len(self._made)]))
        return self._made[place]
