"""A rule set tried on what is stored: what it would have done, had it been in force from the beginning.

Reads a tenant some spans at a time, in the order of arrival, and writes nothing. Invariants: memory is bounded, however
long the history is; a span is judged once all is judged that its node had named, as far as that is held here.
"""

import sqlite3
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from lognode.core.clock import hlc_ms
from lognode.core.errors import CallerError
from lognode.core.limits import TRIAL_SPANS
from lognode.core.span import decode_body
from lognode.core.world import World
from lognode.engine.ruling.hindsight.copies import copy_of, restores
from lognode.engine.ruling.hindsight.drafts import draft_before
from lognode.engine.ruling.hindsight.tally import Changes, ChangeTally, Outcome, RuleTally, Tally, by_name
from lognode.engine.service.ruling.hindsight.trial import Occurrence, Trial
from lognode.rules.document import RuleSet, matches_kind
from lognode.rules.evaluation.program import Program, compile_rules
from lognode.timeline.agreement.rules.annotations import rules_in
from lognode.timeline.members import Membership
from lognode.timeline.record import FeedRef, Record, TenantRef, body_of, feed_of, header_of, id_of
from lognode.timeline.store.rules.looking import arrival, arrivals, is_any_between
from lognode.timeline.store.rules.pasts import Pasts
from lognode.timeline.store.rules.sandbox import Sandbox
from lognode.timeline.store.write import newest_position


class Scope(NamedTuple):
    """Which spans are judged: from a time on, before another, and of these kinds; all others are the past of these."""

    since_ms: int | None = None
    until_ms: int | None = None
    kinds: tuple[str, ...] = ()

    def has(self, kind: str, at_ms: int) -> bool:
        """Whether a span of this kind and time is to be judged."""
        if self.kinds and not matches_kind(self.kinds, kind):
            return False
        return (self.since_ms is None or at_ms >= self.since_ms) and (self.until_ms is None or at_ms < self.until_ms)


class Tried(NamedTuple):
    """What is tried: a rule set, in place of the published version of its name, beside others that are in force."""

    candidate: RuleSet
    published: RuleSet | None = None
    beside: tuple[RuleSet, ...] = ()

    def programs(self) -> Iterator[Program]:
        """That with the candidate, and that with the published version, if there is one."""
        for one in (self.candidate, self.published):
            if one is not None:
                yield compile_rules([one, *self.beside])


def others(sets: Mapping[str, RuleSet], name: str) -> tuple[RuleSet, ...]:
    """The rule sets in force beside the one of this name."""
    return tuple(rules for other, rules in sorted(sets.items()) if other != name)


class Progress(NamedTuple):
    """How many of how many spans have been looked at."""

    done: int
    total: int


class Report(msgspec.Struct, frozen=True):
    """What a trial came to.

    `spans` counts those that its rules, or those of the published version, looked at, by the verdict of all rules in
    `verdicts`, `beside` are the other rule sets that judged with it; `emits` what its reactions would write, by kind;
    `refused` what of it gate rules would keep out, which is not among `emits`; `later` tasks and schedules; `cut` spans
    from which more followed than was followed. `against` is the version in force of this name, with which `changes`
    compares. `evaluations` took `evaluating_s`.
    """

    name: str
    version: str
    beside: list[str]
    spans: int
    verdicts: dict[str, int]
    rules: list[RuleTally]
    emits: dict[str, int]
    refused: int
    later: int
    cut: int
    against: str | None
    changes: list[ChangeTally]
    evaluations: int
    evaluating_s: float


class Backtest:
    """One run over a tenant, step by step; to be closed."""

    def __init__(
        self,
        tenant: TenantRef,
        feeds: Mapping[int, FeedRef],
        members: Membership,
        world: World,
        tried: Tried,
        scope: Scope,
    ) -> None:
        self._tenant = tenant
        self._feeds = feeds
        self._members = members
        self._world = world
        self._tried = tried
        self._names = {one.name for one in (tried.candidate, *tried.beside)}
        self._scope = scope
        self._tally = Tally(tried.candidate)
        self._changes = Changes()
        programs = list(tried.programs())
        self._sandboxes = [Sandbox() for _ in programs]
        self._trials = [
            Trial(tenant, tried.candidate.name, program, sandbox)
            for program, sandbox in zip(programs, self._sandboxes, strict=True)
        ]
        self._pasts = Pasts()
        self._position = 0
        self._newest: int | None = None
        self._passed: dict[int, int] = {}  # feed -> how many of its entries have been looked at
        self._parked: dict[int, deque[int]] = {}  # feed -> positions of spans that wait for what their node had named
        self._wanted: dict[str, bool] = {}
        self._evaluating_s = 0.0
        self._spans = 0

    def close(self) -> None:
        """Forget all that was read."""
        for sandbox in self._sandboxes:
            sandbox.close()

    def step(self, conn: sqlite3.Connection) -> tuple[Progress, list[Outcome]]:
        """Look at the next spans; how far it is then, and what the candidate made of those that it had to do with.

        Done once `done` is `total`. Raises NodeFault("database.damaged").
        """
        if self._newest is None:
            self._newest = newest_position(conn, self._tenant.number)
        outcomes: list[Outcome] = []
        records = arrivals(conn, self._tenant, (self._position, self._newest), TRIAL_SPANS)
        for record in records:
            self._arrive(conn, record, outcomes)
            self._position = record.position
        if len(records) < TRIAL_SPANS:
            # Whatever still waits for what never came is judged as it is.
            for position in sorted(position for parked in self._parked.values() for position in parked):
                self._look(conn, arrival(conn, self._tenant, position), outcomes)
            self._parked.clear()
            self._position = self._newest
        return Progress(self._position, self._newest), outcomes

    def report(self) -> Report:
        """What it came to."""
        tally, (candidate, published, beside) = self._tally, self._tried
        return Report(
            name=candidate.name,
            version=candidate.hash.hex(),
            beside=[one.name for one in beside],
            spans=self._spans,
            verdicts=by_name(tally.verdicts),
            rules=list(tally.rules.values()),
            emits=by_name(tally.emits),
            refused=tally.refused,
            later=tally.later,
            cut=tally.cut,
            against=published.hash.hex() if published else None,
            changes=self._changes.tallies(),
            evaluations=self._trials[0].evaluations,
            evaluating_s=self._evaluating_s,
        )

    def _arrive(self, conn: sqlite3.Connection, record: Record, outcomes: list[Outcome]) -> None:
        parked = self._parked.get(record.feed)
        if parked:
            parked.append(record.position)
            return
        if not self._is_ready(conn, record):
            self._parked[record.feed] = deque([record.position])
            return
        self._look(conn, record, outcomes)
        if self._parked:
            self._unpark(conn, outcomes)

    def _unpark(self, conn: sqlite3.Connection, outcomes: list[Outcome]) -> None:
        """Look at all that waits no more."""
        is_any = True
        while is_any:
            is_any = False
            for feed, parked in list(self._parked.items()):
                while parked and self._is_ready(conn, record := arrival(conn, self._tenant, parked[0])):
                    parked.popleft()
                    self._look(conn, record, outcomes)
                    is_any = True
                if not parked:
                    del self._parked[feed]

    def _is_ready(self, conn: sqlite3.Connection, record: Record) -> bool:
        """Whether all is looked at that the span's node had named, as far as it is held."""
        feed = feed_of(record, self._feeds)
        for other, size in self._pasts.before(conn, self._feeds, record, feed).items():
            passed = self._passed.get(other, 0)
            if passed < size and other != record.feed:
                if is_any_between(conn, other, passed, size):
                    return False
                self._passed[other] = size
        return True

    def _look(self, conn: sqlite3.Connection, record: Record, outcomes: list[Outcome]) -> None:
        self._passed[record.feed] = max(self._passed.get(record.feed, 0), record.seq + 1)
        found = self._occurrence(record)
        if found is None:
            return
        named = dict(self._pasts.before(conn, self._feeds, record, found.feed))
        begun_s = self._world.monotonic_s()
        outcome = self._trials[0].take(found, named)
        self._evaluating_s += self._world.monotonic_s() - begun_s
        before = [trial.take(found, named) for trial in self._trials[1:]]
        if not found.is_judged or not any(trial.judges(found.draft.kind) for trial in self._trials):
            return
        self._spans += 1
        self._tally.add(outcome)
        for other in before:
            self._changes.add(other, outcome)
        if outcome.fired or outcome.failed:
            outcomes.append(outcome)

    def _occurrence(self, record: Record) -> Occurrence | None:
        """A span as rules on trial see it; None where it makes no difference."""
        header = header_of(record)
        kind = header.kind
        if kind not in self._wanted:
            self._wanted[kind] = any(trial.wants(kind) for trial in self._trials)
        raw = body_of(record, header) if self._wanted[kind] else None
        if raw is None:
            return None
        try:
            body = decode_body(raw)
        except CallerError:
            return None
        by = rules_in(body.annotations).get("by")
        if isinstance(by, list) and by and by[0] in self._names:
            return None  # it would not be there, or will be made again
        feed = feed_of(record, self._feeds)
        cut = self._members.cuts.get(feed.feed_id)
        copy = copy_of(self._tenant.tenant_id, record, feed, self._feeds, self._members)
        is_inert = (cut is not None and record.seq >= cut.size) or restores(copy) is not None
        return Occurrence(
            draft_before(header, body, record.visibility),
            id_of(record, feed.feed_id),
            feed,
            record.seq,
            record.hlc,
            self._members.level(feed.node_key).name.lower(),
            self._scope.has(kind, hlc_ms(record.hlc)) and not is_inert,
        )
