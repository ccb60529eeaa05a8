"""The gate: what a tenant's rules make of drafts before they are written.

Used by the writer alone, in its turn. Owns what this node has named of others, as the past by which its drafts are
judged. Invariant: a draft is judged by what is committed and by what stands before it in its own commit, nothing else,
so that whoever holds its feed can judge it again.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from lognode.core.access import Level
from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, LogLine
from lognode.core.limits import HELD_WAITING_MAX, SIZE_MAX
from lognode.core.span import is_reserved
from lognode.engine.commit import Chosen, Waiting, first_hlc
from lognode.engine.ruling.approvals.holding import held_key
from lognode.engine.ruling.gating import pass_gate
from lognode.engine.ruling.judging import Judging, Keeping, Teller
from lognode.engine.ruling.rejections import Rejecting, Rejections
from lognode.engine.service.meters import Meters
from lognode.engine.service.ruling.past import Ground, Past
from lognode.engine.service.ruling.programs import Programs, Unread
from lognode.rules.evaluation.decision import Effect
from lognode.rules.evaluation.facts import Writer as Author
from lognode.rules.records import Fired
from lognode.timeline.agreement.merges import Merged
from lognode.timeline.record import TenantRef
from lognode.timeline.state import TenantState
from lognode.timeline.store.database import Store
from lognode.timeline.store.rules.held import count_waiting
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
    ) -> None:
        self._store = store
        self._programs = programs
        self._find_feed = find_feed
        self._node = node
        self._meters = meters
        self._known: dict[int, _Known] = {}
        self.rejections = Rejections()

    def keys(self, tenant: TenantRef, calls: Sequence[Sequence[Draft]]) -> list[bytes]:
        """The idempotency keys of drafts, and those under which it is told that they wait for approval."""
        idems = [draft.idem for drafts in calls for draft in drafts if draft.idem is not None]
        return [*idems, *map(held_key, idems)] if self._programs.are_there(tenant) else idems

    async def judge(
        self, state: TenantState, chosen: Chosen, merged: Sequence[Merged], level: Level, now_ms: int
    ) -> Chosen:
        """What is left of a commit's drafts once the rules in force have judged them; `merged` is named first in it.

        Raises Unread where nothing may be judged yet, NodeFault("database.damaged").
        """
        self._add(state, merged)
        if not self._programs.are_there(state.tenant) or all(is_reserved(draft.kind) for draft in chosen.drafts):
            return chosen
        author = Author(self._node, level.name.lower())

        def tell(reason: Effect, draft: Draft, fired: Fired) -> Fired | None:
            by = Rejecting(state.tenant.number, reason.set, reason.rule, draft.actor, draft.visibility)
            return self.rejections.tell(by, now_ms, fired)

        try:
            passed, verdicts = await self._store.write(self._judge, state, chosen, merged, author, now_ms, tell)
        except Unread:
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
        passed, _ = await self._store.write(self._judge, state, chosen, (), author, now_ms, None)
        return [isinstance(place, Waiting) for place in passed.places[0]], passed.errors[0]

    def _judge(
        self,
        conn: sqlite3.Connection,
        state: TenantState,
        chosen: Chosen,
        merged: Sequence[Merged],
        author: Author,
        now_ms: int,
        tell: Teller | None,
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
        past = Past(Ground(conn, tenant, self._store.feeds, kinds, named, first_hlc(state, now_ms)))
        keeping = Keeping(tenant.number, now_ms, cache(lambda: HELD_WAITING_MAX - count_waiting(conn, tenant)))
        judging = Judging(program, past, author, first_hlc(state, now_ms), tell, keeping)
        return pass_gate(chosen, judging.judge), judging.verdicts

    def _add(self, state: TenantState, merged: Sequence[Merged]) -> None:
        """Take note of what the commit names before its drafts, where anybody has asked before."""
        known = self._known.get(state.tenant.number)
        if known is None:
            return
        for item in merged:
            number = self._find_feed(state.tenant.number, item.feed)
            assert number is not None, "what a node merges it holds"
            known.named[number] = max(known.named.get(number, 0), item.size)

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
        """Read everything again when it is needed."""
        self._known.clear()
