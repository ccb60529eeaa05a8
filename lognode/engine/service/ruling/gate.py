"""The gate: what a tenant's rules make of drafts before they are written.

Used by the writer alone, in its turn. Owns what this node has named of others, as the past by which its drafts are
judged. Invariant: a draft is judged by what is committed and by what stands before it in its own commit, nothing else,
so that whoever holds its feed can judge it again.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from typing import NamedTuple

import trio

from lognode.core.access import Level
from lognode.core.draft import Draft
from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import FeedId, LogLine
from lognode.core.limits import GATE_S_MAX, HELD_WAITING_MAX, SIZE_MAX, WINDOW_WAIT_S_MAX
from lognode.core.span import is_reserved
from lognode.core.world import World
from lognode.engine.commit import Chosen, Waiting, first_hlc
from lognode.engine.ruling.approvals.holding import held_key
from lognode.engine.ruling.gating import Patience, pass_gate
from lognode.engine.ruling.judging import Judging, Keeping, Teller
from lognode.engine.ruling.rejections import Rejecting, Rejections
from lognode.engine.service.meters import Meters
from lognode.engine.service.ruling.past import CommitPast, Ground, Past, measure
from lognode.engine.service.ruling.programs import Programs, Unread
from lognode.engine.service.writing.windows import NOT_READY, Room, Span, Windows
from lognode.rules.evaluation.decision import Effect
from lognode.rules.evaluation.facts import Writer as Author
from lognode.rules.evaluation.program import Program
from lognode.rules.records import Fired
from lognode.timeline.agreement.merges import Merged
from lognode.timeline.record import TenantRef
from lognode.timeline.state import TenantState
from lognode.timeline.store.database import Store
from lognode.timeline.store.rules.held import count_waiting
from lognode.timeline.store.rules.levels import level_named
from lognode.timeline.store.rules.pasts import named_past
from lognode.timeline.store.rules.windows import load_kinds


class _Known(NamedTuple):
    """What a node had named, as of its newest merge in an open feed."""

    feed: int
    named: dict[int, int]


class Gate:
    """The gate rules of all tenants."""

    def __init__(
        self,
        store: Store,
        programs: Programs,
        find_feed: Callable[[int, FeedId], int | None],
        node: LogLine,
        meters: Meters,
        world: World,
    ) -> None:
        self._store = store
        self._world = world
        self._programs = programs
        self._find_feed = find_feed
        self._node = node
        self._meters = meters
        self._known: dict[int, _Known] = {}
        self._grown: defaultdict[int, dict[int, None]] = defaultdict(dict)  # feeds of which more is named, by tenant
        self.windows = Windows(store, partial(measure, store.feeds))
        self.rejections = Rejections()

    def keys(self, tenant: TenantRef, calls: Sequence[Sequence[Draft]]) -> list[bytes]:
        """The idempotency keys of drafts, and those under which it is told that they wait for approval."""
        idems = [draft.idem for drafts in calls for draft in drafts if draft.idem is not None]
        return [*idems, *map(held_key, idems)] if self._programs.are_there(tenant) else idems

    async def judge(
        self,
        state: TenantState,
        chosen: Chosen,
        merged: Sequence[Merged],
        level: Level,
        now_ms: int,
        whole: Collection[int] | None = None,
    ) -> Chosen:
        """What is left of a commit's drafts once the rules in force have judged them; `merged` is named first in it.

        After GATE_S_MAX, calls are left unfinished, but those that are `whole` only where nothing is done of them;
        where that is None, all are finished. Raises Unread or NodeFault("rule.not_ready") where nothing may be judged
        yet, and NodeFault("database.damaged").
        """
        self._add(state, merged)
        if not self._programs.are_there(state.tenant) or all(is_reserved(draft.kind) for draft in chosen.drafts):
            return chosen
        author = Author(self._node, level.name.lower())

        def tell(reason: Effect, draft: Draft, fired: Fired) -> Fired | None:
            by = Rejecting(state.tenant.number, reason.set, reason.rule, draft.actor, draft.visibility)
            return self.rejections.tell(by, now_ms, fired)

        patience = None
        if whole is not None:
            until_s = self._world.monotonic_s() + GATE_S_MAX
            patience = Patience(lambda: self._world.monotonic_s() > until_s, whole)
        try:
            passed, verdicts = await self._store.write(
                self._judge, state, chosen, merged, author, now_ms, tell, patience
            )
        except Exception:
            self._known.pop(state.tenant.number, None)  # what was to be named with these drafts is not yet
            raise
        self._meters.count_judged(verdicts)
        return passed

    async def rehearse(
        self, state: TenantState, drafts: Sequence[Draft], level: Level, now_ms: int
    ) -> tuple[list[bool], CallerError | None]:
        """Of each draft that would pass, were it written now, whether it would wait; and why the next would not pass.

        Nobody is told. Raises Unread as `judge` does, NodeFault("database.damaged").
        """
        if state.head is None or not self._programs.are_there(state.tenant):
            return [False] * len(drafts), None
        chosen, author = Chosen(list(drafts), [range(len(drafts))], [None]), Author(self._node, level.name.lower())
        passed, _ = await self._store.write(self._judge, state, chosen, (), author, now_ms, None, None)
        return [isinstance(place, Waiting) for place in passed.places[0]], passed.errors[0]

    def patience_s(self) -> float:
        """Until when, on trio's clock, who asks now waits for windows to be filled."""
        return trio.current_time() + WINDOW_WAIT_S_MAX

    async def made_ready(self, tenant: TenantRef, error: Exception | None, until_s: float) -> bool:
        """Whether it went wrong since rules or what windows count were not read yet, and they are by now: to try again.

        That is done here, not in the writer's turn. Raises NodeFault("database.damaged").
        """
        if isinstance(error, Unread):
            await self._programs.read_ahead(error)
            return True
        if not isinstance(error, NodeFault) or error.code != NOT_READY:
            return False
        with trio.move_on_at(until_s) as scope:
            await self.windows.fill(tenant)
        return not scope.cancelled_caught

    def _judge(
        self,
        conn: sqlite3.Connection,
        state: TenantState,
        chosen: Chosen,
        merged: Sequence[Merged],
        author: Author,
        now_ms: int,
        tell: Teller | None,
        patience: Patience | None,
    ) -> tuple[Chosen, Mapping[str, int]]:
        tenant, kinds = state.tenant, state.kinds
        if tell is None:
            # Whoever has not the writer's turn may know less than is stored by now, and leaves nothing behind.
            named, kinds = self._found(conn, state), load_kinds(conn, tenant)
        else:
            named = self._named(conn, state)
            self._add(state, merged)
        program = self._programs.program(conn, tenant, named)
        if program is None or not program.has_gates:
            return chosen, {}
        members = self._programs.members(tenant)
        level = level_named(conn, tenant, self._store.feeds, members, self._node[1:], named)
        author = author._replace(level=level.name.lower())
        hlc = first_hlc(state, now_ms)
        ground = Ground(conn, tenant, self._store.feeds, kinds, named, hlc)
        keeping = Keeping(tenant.number, now_ms, cache(lambda: HELD_WAITING_MAX - count_waiting(conn, tenant)))
        if tell is None or not program.windows(gate=True):
            judging = Judging(program, Past(ground, self.windows, Room()), author, hlc, tell, keeping)
            return pass_gate(chosen, judging.judge, patience), judging.verdicts
        past = self._commit_past(state, ground, program)
        judging = Judging(program, past, author, hlc, tell, keeping)
        passed = pass_gate(chosen, judging.judge, patience)
        past.finish(len(passed.drafts) + len(passed.firings))
        return passed, judging.verdicts

    def _commit_past(self, state: TenantState, ground: Ground, program: Program) -> CommitPast:
        assert state.head is not None
        number, head = state.tenant.number, state.head
        span = Span(head.feed.number, head.border.size, ground.hlc, state.position)
        grown, self._grown[number] = self._grown[number], {}
        in_force = (program, [*program.windows(gate=True), *program.windows(gate=False)])
        line = self.windows.begin(ground.conn, state.tenant, span, ground.named, grown, in_force)
        return CommitPast(ground, self.windows, Room(), line)

    def _add(self, state: TenantState, merged: Sequence[Merged]) -> None:
        """Take note of what the commit names before its drafts, where anybody has asked before."""
        known = self._known.get(state.tenant.number)
        if known is None:
            return
        for item in merged:
            number = self._find_feed(state.tenant.number, item.feed)
            assert number is not None, "what a node merges it holds"
            if item.size > known.named.get(number, 0):
                known.named[number] = item.size
                self._grown[state.tenant.number][number] = None

    def _named(self, conn: sqlite3.Connection, state: TenantState) -> dict[int, int]:
        assert state.head is not None
        feed, known = state.head.feed.number, self._known.get(state.tenant.number)
        if known is None or known.feed != feed:
            known = self._known[state.tenant.number] = _Known(feed, self._found(conn, state))
        return known.named

    def _found(self, conn: sqlite3.Connection, state: TenantState) -> dict[int, int]:
        assert state.head is not None
        feed = state.head.feed.number
        return {**named_past(conn, self._store.feeds, feed, state.head.border.size), feed: SIZE_MAX}

    def forget(self) -> None:
        """Read everything again when it is needed, since what was judged last is not committed."""
        self._known.clear()
        self.windows.forget_commits()
