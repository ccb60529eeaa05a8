"""The one writer: takes what waits, plans it, commits it, and only then answers.

Owns the state of every open feed. Invariants: one group is in flight at a time; nothing signed leaves memory
before COMMIT returned; after a COMMIT that failed, or whose end is unknown, the state is read from the
database again before anything else is signed.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

import structlog
import trio

from lognode.core.clock import hlc_from_ms, is_ahead
from lognode.core.draft import Draft
from lognode.core.errors import CallerError, LognodeError, NodeFault
from lognode.core.ids import b32encode
from lognode.core.limits import BUSY_RETRY_S, CLOCK_AHEAD_MS_MAX, GROUP_BYTES_MAX, GROUP_SPANS_MAX
from lognode.core.world import World
from lognode.engine.commit import AppendPlan, plan_append
from lognode.engine.opening import NONCES_BYTES, Moment, newest_control, plan_feed, plan_tenant
from lognode.engine.receipt import AppendStopped, Receipt
from lognode.engine.service.heads import Heads
from lognode.engine.service.mailbox import Job, Mailbox
from lognode.engine.service.meters import Meters
from lognode.identity.keys import KeyPair, NodeKeys
from lognode.timeline.bundle.seal import sign_seal
from lognode.timeline.bundle.writer import Total
from lognode.timeline.proof.checkpoint import sign_checkpoint
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.state import Numbers, TenantState, WritePlan
from lognode.timeline.store.database import Store
from lognode.timeline.store.read.ranges import missing_milestones
from lognode.timeline.store.write import (
    apply_write,
    find_control,
    find_idems,
    find_newest_hlc,
    find_note,
    load_numbers,
    load_tenant,
    newest_position,
)

_log = structlog.get_logger(__name__)


class Writer:
    """Appends drafts to tenants' timelines, in groups of one fsync each."""

    def __init__(self, store: Store, keys: NodeKeys, world: World, heads: Heads, meters: Meters) -> None:
        self._store = store
        self._keys = keys
        self._world = world
        self._heads = heads
        self._meters = meters
        self._mailbox = Mailbox()
        self._states: dict[int, TenantState] = {}
        self._log_keys: dict[int, KeyPair] = {}
        self._numbers: Numbers | None = None
        self._is_broken = False
        self._is_stopping = False
        meters.mailbox_spans.set_function(lambda: self._mailbox.waiting_spans)
        meters.mailbox_bytes.set_function(lambda: self._mailbox.waiting_bytes)

    @property
    def waiting_spans(self) -> int:
        """Drafts in the mailbox."""
        return self._mailbox.waiting_spans

    async def append(self, tenant: TenantRef, drafts: Sequence[Draft], *, wait: bool = False) -> list[Receipt]:
        """Receipts of `drafts`, in their order, once they are durable; they land in one transaction.

        At most GROUP_SPANS_MAX drafts and about GROUP_BYTES_MAX bytes. With `wait`, a full mailbox is waited for
        instead of answered with writer.busy. Cancelling may lose the reply, never the write.
        Raises AppendStopped, NodeFault writer.busy, writer.failed, disk.full, database.damaged or node.stopping.
        """
        assert 0 < len(drafts) <= GROUP_SPANS_MAX
        if self._is_stopping:
            raise NodeFault("node.stopping")
        job = Job(tenant, drafts, sum([draft.content_bytes() for draft in drafts]))
        assert job.size_bytes <= 2 * GROUP_BYTES_MAX
        if wait:
            await self._mailbox.put(job)
        else:
            self._mailbox.put_nowait(job)
        await job.done.wait()
        if isinstance(job.error, CallerError):
            raise AppendStopped(job.receipts, job.error)
        if job.error is not None:
            raise job.error
        return job.receipts

    def seal_bundle(self, tenant: TenantRef, feed: FeedRef, total: Total) -> bytes:
        """The seal of a bundle that this node made of a tenant, by the log key of an own feed of it."""
        assert feed.own
        log_key = self._keys.log_key(feed.feed_id)
        return sign_seal(log_key, tenant.tenant_id, feed.feed_id, total.items, total.digest)

    async def create_tenant(self, alias: str) -> TenantRef:
        """A new tenant founded by this node. For start-up, before `run`: the writer has one user at a time."""
        plan = plan_tenant(self._keys, await self._load_numbers(), alias, self._moment())
        await self._commit([plan])
        return plan.state.tenant

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the mailbox until cancelled; then answer what waits with node.stopping.

        A group that has begun is finished first.
        """
        try:
            # A killed daemon may have left a commit whose fsync had failed: seen by now, but not on the disk.
            await self._recover()
        except sqlite3.Error as error:
            _log.warning("start_not_durable", error=str(error))  # it is to be read all the same
            self._is_broken = True
        for tenant in set(self._store.tenants.values()):
            self._heads.publish(tenant.number, await self._store.write(newest_position, tenant.number))
            try:
                await self._sign_milestones(tenant)
                await self._state(tenant)
            except NodeFault as fault:
                # What it holds can still be read and verified; appends to it answer with this fault.
                _log.error("tenant_damaged", tenant=b32encode(tenant.tenant_id), detail=fault.detail)
        task_status.started()
        try:
            while True:
                group = await self._mailbox.take_group()
                with trio.CancelScope(shield=True):
                    await self._serve(group)
        finally:
            self._is_stopping = True
            for job in self._mailbox.close():
                job.finish([], NodeFault("node.stopping"))

    async def _sign_milestones(self, tenant: TenantRef) -> None:
        """Give the feeds that an earlier version wrote the checkpoints that others get them by, part by part."""
        for feed in [feed for feed in self._store.feeds.values() if feed.own and feed.tenant == tenant.number]:
            found = await self._store.write(missing_milestones, feed)
            if found:
                key = self._keys.log_key(feed.feed_id)
                notes = [
                    (feed.number, size, sign_checkpoint(key, tenant.tenant_id, feed.feed_id, size, root))
                    for size, root in found
                ]
                try:
                    await self._store.write(apply_write, WritePlan({}, [], notes, []))
                except sqlite3.Error as error:  # the next start signs the same again
                    _log.warning("milestones_not_stored", error=str(error))
                    self._is_broken = True

    async def _serve(self, group: list[Job]) -> None:
        """Commit a group, then answer its jobs; or answer each with what went wrong."""
        by_tenant: dict[int, list[Job]] = {}
        for job in group:
            by_tenant.setdefault(job.tenant.number, []).append(job)
        try:
            if self._is_broken:
                await self._recover()
            planned = [(jobs, await self._plan_sound(jobs)) for jobs in by_tenant.values()]
            await self._commit([plan for _, plan in planned if plan is not None and plan.write.checkpoints])
        except Exception as error:
            fault = _fault(error)
            for job in group:
                job.finish([], fault)
            if not isinstance(error, LognodeError | sqlite3.Error):
                raise
            return
        for jobs, plan in planned:
            if plan is not None:
                for job, (receipts, refused) in zip(jobs, plan.outcomes, strict=True):
                    job.finish(receipts, refused)
                answered = sum(len(receipts) for receipts, _ in plan.outcomes)
                self._meters.duplicate_spans.inc(answered - len(plan.write.bodies))

    async def _plan_sound(self, jobs: list[Job]) -> AppendPlan | None:
        """The plan of one tenant's jobs; None where what it builds on is damaged, which they are told."""
        try:
            return await self._plan(jobs)
        except NodeFault as fault:
            if fault.code != "database.damaged":
                raise
            # No other tenant of the group has to do with it.
            for job in jobs:
                job.finish([], fault)
            return None

    async def _plan(self, jobs: list[Job]) -> AppendPlan:
        """The plan of one tenant's jobs, at the head of a feed that is open."""
        tenant = jobs[0].tenant
        state = await self._state(tenant)
        if state.head is None or state.ending or is_ahead(state.hlc, self._world.now_ms()):
            state = await self._open_feed(state)
        assert state.head is not None
        idems = [draft.idem for job in jobs for draft in job.drafts if draft.idem is not None]
        known = await self._store.write(find_idems, tenant.number, idems) if idems else {}
        feed = state.head.feed
        if feed.number not in self._log_keys:
            self._log_keys[feed.number] = self._keys.log_key(feed.feed_id)
        plan = plan_append(
            state,
            await self._load_numbers(),
            [job.drafts for job in jobs],
            known,
            self._store.feeds,
            log_key=self._log_keys[feed.number],
            now_ms=self._world.now_ms(),
            random_bytes=self._world.random_bytes,
        )
        self._numbers = plan.numbers
        return plan

    async def _open_feed(self, state: TenantState) -> TenantState:
        """The tenant's state in a new feed of this node, opened by a commit of its own."""
        now_ms = self._world.now_ms()
        reason = "first" if state.head is None else state.ending or "clock"
        beyond = hlc_from_ms(now_ms + CLOCK_AHEAD_MS_MAX)
        # After a clock that ran ahead the new feed starts at now; else it goes on from what is known to be sound.
        hlc = 0 if reason == "clock" else await self._store.write(find_newest_hlc, state.tenant.number, beyond)
        after = newest_control(await self._store.write(find_control, state.tenant), self._store.feeds)
        numbers = await self._load_numbers()
        plan = plan_feed(self._keys, state._replace(hlc=hlc), numbers, after, reason, self._moment())
        await self._commit([plan])
        return plan.state

    async def _commit(self, plans: list[AppendPlan]) -> None:
        """Make plans durable in one transaction, and their states ours."""
        if not plans:
            return
        write = plans[0].write if len(plans) == 1 else _joined([plan.write for plan in plans])
        for plan in plans:
            if plan.state.head is not None:
                # Before anybody can read a span of it.
                self._store.feeds.setdefault(plan.state.head.feed.number, plan.state.head.feed)
        started_s = self._world.monotonic_s()
        try:
            await self._store.write(apply_write, write)
        except sqlite3.Error as error:
            _log.error("commit_failed", error=str(error), code=getattr(error, "sqlite_errorname", None))
            self._meters.commit_errors.inc()
            self._is_broken = True
            try:
                await self._recover()
            except sqlite3.Error as later:
                detail = f"whether it was stored is known once the database can be opened again: {later}"
                raise NodeFault("writer.failed", detail, retry_after_s=BUSY_RETRY_S) from later
            if not await self._is_durable(write):
                raise
        self._meters.count_commit(write, self._world.monotonic_s() - started_s, self._world.now_ms())
        if "tenants" in write.rows:
            await self._store.refresh()
        for plan in plans:
            self._adopt(plan)

    async def _recover(self) -> None:
        """Forget what was planned, and learn from the database what is in it."""
        self._states.clear()
        self._numbers = None
        await self._store.reopen_writer()
        await self._store.refresh()
        self._is_broken = False

    async def _is_durable(self, write: WritePlan) -> bool:
        """Whether a COMMIT that reported an error took place all the same."""
        for feed, size, note in write.checkpoints:
            if await self._store.write(find_note, feed, size) != note:
                return False
        return True

    def _adopt(self, plan: AppendPlan) -> None:
        self._states[plan.state.tenant.number] = plan.state
        self._numbers = plan.numbers if self._numbers is None else _later(self._numbers, plan.numbers)
        self._heads.publish(plan.state.tenant.number, plan.state.position)

    async def _state(self, tenant: TenantRef) -> TenantState:
        if tenant.number not in self._states:
            self._states[tenant.number] = await self._store.write(load_tenant, tenant)
        return self._states[tenant.number]

    async def _load_numbers(self) -> Numbers:
        if self._numbers is None:
            self._numbers = await self._store.write(load_numbers)
        return self._numbers

    def _moment(self) -> Moment:
        return Moment(self._world.now_ms(), self._world.random_bytes(NONCES_BYTES))


def _later(one: Numbers, other: Numbers) -> Numbers:
    return Numbers(*map(max, one, other))


def _joined(writes: list[WritePlan]) -> WritePlan:
    rows: dict[str, list[Any]] = {}
    for write in writes:
        for table, values in write.rows.items():
            rows.setdefault(table, []).extend(values)
    tiles = [row for write in writes for row in write.tiles]
    notes = [row for write in writes for row in write.checkpoints]
    return WritePlan(rows, tiles, notes, [row for write in writes for row in write.dropped])


def _fault(error: Exception) -> NodeFault:
    """What a group's jobs are told when its commit failed."""
    if isinstance(error, NodeFault):
        return error
    if isinstance(error, sqlite3.Error):
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            return NodeFault("disk.full", "nothing of this commit was stored", retry_after_s=BUSY_RETRY_S)
        return NodeFault("writer.failed", str(error), retry_after_s=BUSY_RETRY_S)
    return NodeFault("node.internal", type(error).__name__)
