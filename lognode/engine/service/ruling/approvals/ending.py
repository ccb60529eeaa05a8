"""The task that ends the waiting of drafts: writes what enough have approved, and tells what was denied or expired.

It looks when something was committed, when a membership changed, and at deadlines. Invariants: a draft is written in
the transaction that says that it waits no more, so that it is there once, whatever happens meanwhile; what is written
was judged anew, by the rules in force by then.
"""

import sqlite3
from typing import Final, NamedTuple

import structlog
import trio

from lognode.core.draft import Draft
from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import SpanId, b32encode
from lognode.core.limits import APPROVALS_WAIT_S
from lognode.core.world import World
from lognode.engine.receipt import AppendStopped
from lognode.engine.ruling.approvals.counting import Asking, count
from lognode.engine.ruling.approvals.holding import approved, decode_held, ending
from lognode.engine.service.heads import Heads
from lognode.engine.service.ruling.approvals.answering import Request, read_request
from lognode.engine.service.standings import Standings
from lognode.engine.service.writer import Writer
from lognode.rules.records import APPROVE, DENY, Outcome
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store
from lognode.timeline.store.read.lookup import find_span
from lognode.timeline.store.rules.held import HeldDraft, answered_since, held_rows, next_deadline, read_waiting

_log = structlog.get_logger(__name__)
_FOREVER: Final = float("inf")


class _Case(NamedTuple):
    """A draft that waits, and what is known of it."""

    held: HeldDraft
    request: Request | None
    draft: Draft


class _Seen(NamedTuple):
    """As of when a tenant was looked at: its position, its holds, its membership, and the next deadline."""

    position: int
    holds: int
    standing: int
    deadline_ms: float


class Waiting:
    """The drafts that wait on a node."""

    def __init__(
        self, store: Store, writer: Writer, heads: Heads, standings: Standings, world: World, node_key: bytes
    ) -> None:
        self._store = store
        self._writer = writer
        self._heads = heads
        self._standings = standings
        self._world = world
        self._node_key = node_key
        self._holds = writer.programs.holds
        self._seen: dict[int, _Seen] = {}
        self._damaged: set[SpanId] = set()  # drafts of which a row cannot be read; the others go on

    async def run(self) -> None:
        """End what waits no more, until cancelled."""
        while True:
            total, failed = self._heads.total, False
            for tenant in sorted(set(self._store.tenants.values())):
                try:
                    await self.look(tenant)
                except (NodeFault, AppendStopped) as stopped:
                    # Other tenants have nothing to do with it; this one is tried again later.
                    fault = stopped.error if isinstance(stopped, AppendStopped) else stopped
                    _log.warning("approvals_failed", tenant=b32encode(tenant.tenant_id), code=fault.code)
                    failed = True
            # Wall time may be set, so the time to a deadline is asked for again and again.
            with trio.move_on_after(APPROVALS_WAIT_S):
                if failed:
                    await trio.sleep_forever()
                await self._heads.wait_total(total)

    async def look(self, tenant: TenantRef) -> None:
        """End what waits no more in a tenant, but for what is damaged, of which the log tells once.

        Raises NodeFault, and AppendStopped where this node may not write.
        """
        position, standing = self._heads.position(tenant.number), self._standings.version(tenant.number)
        seen, now_ms, holds = self._seen.get(tenant.number), self._world.now_ms(), self._holds(tenant)
        if seen is not None and seen.standing == standing and now_ms < seen.deadline_ms:
            if seen.holds == holds and (seen.position == position or seen.deadline_ms == _FOREVER):
                return  # nothing new, or nothing waits: so most tenants cost no look at the database
            if not await self._store.read(answered_since, tenant, seen.position, (APPROVE, DENY)):
                deadline_ms = await self._store.read(next_deadline, tenant, self._damaged)
                self._seen[tenant.number] = _Seen(position, holds, standing, deadline_ms or _FOREVER)
                return
        known_damage = len(self._damaged)
        for case in await self._store.read(self._cases, tenant, now_ms):
            await self._end(tenant, case, now_ms)
        if len(self._damaged) > known_damage:
            _log.error("approval_damaged", hint="'lognode verify' names the rows", drafts=len(self._damaged))
        deadline_ms = await self._store.read(next_deadline, tenant, self._damaged)
        self._seen[tenant.number] = _Seen(position, holds, standing, deadline_ms or _FOREVER)

    def _cases(self, conn: sqlite3.Connection, tenant: TenantRef, now_ms: int) -> list[_Case]:
        members, found = self._standings.of(tenant.number), []
        for held in read_waiting(conn, tenant, self._damaged):
            try:
                record = find_span(conn, tenant, self._store.feeds, SpanId(held.span))
                request = record and read_request(conn, tenant, self._store.feeds, members, record, now_ms)
                draft = decode_held(held.draft)
            except (NodeFault, CallerError):
                self._damaged.add(held.span)
                continue
            found.append(_Case(held, request, draft))
        return found

    async def _end(self, tenant: TenantRef, case: _Case, now_ms: int) -> None:
        """End the waiting of one draft, if it is time."""
        held, request, draft = case
        if request is None:
            # The firing does not count, so nobody can approve it; that may change in time.
            if now_ms >= held.expires_ms:
                await self._write(tenant, held.ended("expired", now_ms), [])
            return
        if request.state not in {"waiting", "expired"}:
            # It was told already, before this database was set back to an earlier state.
            await self._write(tenant, held.ended(request.state, now_ms), [])
            return
        firing, visibility = SpanId(held.span), request.visibility
        counted = count(
            Asking(self._node_key, held.role, held.needed), request.answers, self._standings.of(tenant.number).level
        )
        by = [answer.span for answer in counted.approvals]
        stands = counted.stands(held.needed)
        if stands == "denied" and counted.denial is not None:
            told = ending(firing, "denied", visibility, [b32encode(counted.denial.span)])
            await self._write(tenant, held.ended("denied", now_ms), [told])
        elif now_ms >= held.expires_ms:
            told = ending(firing, "expired", visibility, [b32encode(span) for span in by[: held.needed]])
            await self._write(tenant, held.ended("expired", now_ms), [told])
        elif stands == "approved":
            await self._write_approved(tenant, held, draft, visibility, by[: held.needed], now_ms)

    async def _write_approved(
        self, tenant: TenantRef, held: HeldDraft, kept: Draft, visibility: int, by: list[SpanId], now_ms: int
    ) -> None:
        """Write a draft that enough have approved, unless rules say otherwise by now."""
        draft = approved(kept, SpanId(held.span), by, held.role)
        try:
            await self._write(tenant, held.ended("written", now_ms), [draft])
        except AppendStopped as stopped:
            if stopped.error.code == "rule.held":
                needed = stopped.error.extra["of"]
                assert isinstance(needed, int)
                await self._write(tenant, held._replace(needed=needed), [])
                return
            _log.info("approved_and_refused", code=stopped.error.code, detail=stopped.error.detail)
            outcome: Outcome = "rejected"
            told = ending(SpanId(held.span), outcome, visibility, [b32encode(span) for span in by])
            await self._write(tenant, held.ended(outcome, now_ms), [told])

    async def _write(self, tenant: TenantRef, held: HeldDraft, drafts: list[Draft]) -> None:
        await self._writer.append(tenant, drafts, beside=lambda _: held_rows([held]), wait=True)
