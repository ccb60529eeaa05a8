"""The task that has committed spans set off reactions.

It looks behind the writer, tenant by tenant, some spans at a time. Invariants: effects and how far it has looked are
one transaction, and effects have keys of their own, so that none is lost or doubled by a crash, a restore or a second
look; a span is judged by what its own node had named, not by what this node knows by now.
"""

import sqlite3
from collections.abc import Mapping
from math import inf
from typing import Final, NamedTuple

import structlog
import trio

from lognode.core.errors import NodeFault
from lognode.core.ids import b32encode
from lognode.core.limits import (
    GATE_S_MAX,
    REACTION_BYTES,
    REACTION_DRAFTS,
    REACTION_LACK_S_MAX,
    REACTIONS_WAIT_S,
)
from lognode.core.span import EXECUTED
from lognode.core.world import World
from lognode.engine.receipt import AppendStopped
from lognode.engine.ruling.hindsight.copies import copy_of, restores
from lognode.engine.ruling.reacting import Following, Subject, follow
from lognode.engine.service.heads import Heads
from lognode.engine.service.ruling.past import Ground, Past, facts_of
from lognode.engine.service.ruling.programs import Programs, Unread
from lognode.engine.service.standings import Standings
from lognode.engine.service.writer import Writer
from lognode.engine.service.writing.windows import Room
from lognode.engine.tasks.store import ScheduleRoom, schedule_rows, task_rows, waiting_room
from lognode.rules.evaluation.verdict import evaluate
from lognode.timeline.members import Membership
from lognode.timeline.record import FeedRef, Record, TenantRef, feed_of, header_of, id_of
from lognode.timeline.store.database import Store
from lognode.timeline.store.rules.cursors import cursor_row, next_arrivals, read_cursor
from lognode.timeline.store.rules.levels import level_named
from lognode.timeline.store.rules.pasts import Pasts
from lognode.timeline.store.rules.windows import load_kinds

_log = structlog.get_logger(__name__)
_MAY_NOT_WRITE: Final = frozenset({"member.observer", "member.removed"})
_NOTHING: Final = Following([], [], [])
_KEPT_SPANS: Final = 4096  # without effects, after which the cursor is kept all the same


class Looked(NamedTuple):
    """What some spans set off; `position` is that of the last of them, `is_behind` whether there are more."""

    following: list[Following]
    position: int
    is_behind: bool


class Patience:
    """How long it is waited for what a node named and is not held, before its spans are judged without.

    Whoever names what never comes is waited for once, not for each of its spans.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._since: dict[tuple[int, bytes], tuple[int, float]] = {}

    def is_over(self, feed: FeedRef) -> bool:
        """Whether what the node of a feed named has been waited for long enough."""
        begun = (feed.number, self._world.monotonic_s())
        _, begun_s = self._since.setdefault((feed.tenant, feed.node_key), begun)
        return self._world.monotonic_s() - begun_s >= REACTION_LACK_S_MAX

    def note_whole(self, feed: FeedRef) -> None:
        """Take note that all is held that was named in a feed; what another feed of its node named may still lack."""
        key = (feed.tenant, feed.node_key)
        if key in self._since and self._since[key][0] == feed.number:
            del self._since[key]


class Reactions:
    """The reactions of all tenants of a node."""

    def __init__(
        self, store: Store, writer: Writer, heads: Heads, standings: Standings, world: World, node_key: bytes
    ) -> None:
        self._store = store
        self._writer = writer
        self._programs: Programs = writer.programs
        self._heads = heads
        self._standings = standings
        self._world = world
        self._node_key = node_key
        self._positions: dict[int, int] = {}
        self._kept: dict[int, int] = {}
        self._pasts = Pasts()
        self._patience = Patience(world)
        self.is_waiting = False  # for what is not held, in any tenant

    async def run(self) -> None:
        """React until cancelled."""
        while True:
            total, is_behind, self.is_waiting = self._heads.total, False, False
            for tenant in sorted(set(self._store.tenants.values())):
                try:
                    is_behind |= await self.react(tenant)
                except NodeFault as fault:
                    # Other tenants have nothing to do with it; this one is tried again later.
                    _log.warning("reactions_failed", tenant=b32encode(tenant.tenant_id), code=fault.code)
                    await trio.sleep(REACTIONS_WAIT_S)
                    is_behind = True
            if not is_behind:
                # What is waited for may never arrive, nor anything else.
                with trio.move_on_after(REACTIONS_WAIT_S if self.is_waiting else inf):
                    await self._heads.wait_total(total)

    async def react(self, tenant: TenantRef) -> bool:
        """Look at the next spans of a tenant, and have written what follows; whether there are more of them.

        Raises NodeFault.
        """
        # Who is what may not be known yet after a start that failed: then nothing would be in force.
        if not self._programs.are_there(tenant) or not self._standings.version(tenant.number):
            return False
        try:
            looked = await self._store.write(self._look, tenant)
        except (Unread, NodeFault) as error:
            if not await self._writer.gate.made_ready(tenant, error, inf):
                raise
            return True
        if looked is None:
            return False
        kept = self._kept.get(tenant.number, 0)
        if looked.following or looked.position - kept >= _KEPT_SPANS:
            if not await self._write(tenant, looked):
                return False
            self._kept[tenant.number] = looked.position
        self._positions[tenant.number] = looked.position
        return looked.is_behind

    async def _write(self, tenant: TenantRef, looked: Looked) -> bool:
        """Write what follows, in one transaction, but for what gate rules refuse: of that they tell themselves.

        False where this node may not write at all: then it is looked at again once it may.
        """
        pending = [draft for following in looked.following for draft in following.drafts]
        rows = {
            **task_rows([task for following in looked.following for task in following.tasks]),
            **schedule_rows([schedule for following in looked.following for schedule in following.schedules]),
            "rule_cursors": cursor_row(tenant, looked.position),
        }
        while True:
            try:
                await self._writer.append(tenant, pending, beside=lambda _: rows, wait=True)
            except AppendStopped as stopped:
                if stopped.error.code in _MAY_NOT_WRITE:
                    return False
                # What came before it is in under its keys, and is no more when it comes again.
                pending = pending[len(stopped.receipts) + 1 :]
            else:
                return True

    def _look(self, conn: sqlite3.Connection, tenant: TenantRef) -> Looked | None:
        position = self._positions.get(tenant.number)
        if position is None:
            position = read_cursor(conn, tenant)
            if position is None:
                return None
            self._kept[tenant.number] = position
        if waiting_room(conn, tenant.number) <= 0:  # until some that wait are done
            self.is_waiting = True
            return None
        records, is_behind = next_arrivals(conn, tenant, position)
        members, now_ms = self._standings.of(tenant.number), self._world.now_ms()
        following: list[Following] = []
        schedules = ScheduleRoom(conn, tenant.number)
        drafts, size, until_s = 0, 0, self._world.monotonic_s() + GATE_S_MAX
        for record in records:
            feed = feed_of(record, self._store.feeds)
            named = self._pasts.before(conn, self._store.feeds, record, feed)
            try:
                found = self._judge(conn, tenant, record, feed, members, named, now_ms, schedules)
            except (Unread, NodeFault):
                if record is records[0]:
                    raise
                return Looked(following, position, is_behind=True)
            if found is None:  # until it can be judged as its own node did
                self.is_waiting = True
                # What comes before it is not looked at again: it would be whole, and the waiting begin anew.
                return None if record is records[0] else Looked(following, position, is_behind=False)
            position = record.position
            following += [found] if found.drafts else []
            drafts += len(found.drafts) + len(found.tasks)
            size += sum([draft.content_bytes() for draft in found.drafts])
            size += sum([len(task.payload) for task in found.tasks])
            if drafts > REACTION_DRAFTS or size > REACTION_BYTES or self._world.monotonic_s() > until_s:
                return Looked(following, position, is_behind=True)
        return Looked(following, position, is_behind) if records else None

    def _judge(
        self,
        conn: sqlite3.Connection,
        tenant: TenantRef,
        record: Record,
        feed: FeedRef,
        members: Membership,
        named: Mapping[int, int],
        now_ms: int,
        schedules: ScheduleRoom,
    ) -> Following | None:
        """What a span sets off here; None where what its node had named is not all held yet."""
        cut = members.cuts.get(feed.feed_id)
        header = header_of(record)
        if header.status != EXECUTED or (cut is not None and record.seq >= cut.size):
            return _NOTHING
        # Nor is it known which rule sets it knew while something lacks that its node had named; this node's own spans
        # may lack something where it goes on from a backup.
        if self._pasts.is_whole(conn, feed):
            self._patience.note_whole(feed)
        elif not self._patience.is_over(feed):
            return None
        program = self._programs.program(conn, tenant, named)
        rules = program.rules_for(header.kind, gate=False) if program else ()
        mine = {(ready.set, ready.rule.id) for ready in rules if feed.own or ready.rule.run == "each"}
        if program is None or not mine:
            return _NOTHING
        level = level_named(conn, tenant, self._store.feeds, members, feed.node_key, named)
        facts = facts_of(record, feed, level.name.lower())
        ground = Ground(conn, tenant, self._store.feeds, load_kinds(conn, tenant), named, record.hlc)
        past = Past(ground, self._writer.gate.windows, Room())
        decision = evaluate(program, facts, past, gate=False)
        original = restores(copy_of(tenant.tenant_id, record, feed, self._store.feeds, members))
        what = (id_of(record, feed.feed_id), record.visibility, self._node_key, original)
        subject = Subject(tenant.number, tenant.tenant_id, *what)
        return follow(subject, decision.part_of(mine), program.hashes, now_ms, schedules.has_room)
