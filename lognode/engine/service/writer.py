"""The one writer: takes what waits, plans it, commits it, and only then answers.

Owns the state of every open feed. Invariants: one group is in flight at a time; nothing signed leaves memory
before COMMIT returned; after a COMMIT that failed, or whose end is unknown, the state is read from the
database again before anything else is signed.
"""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from itertools import compress, count

import structlog
import trio

from lognode.core.access import Level
from lognode.core.draft import Draft
from lognode.core.errors import CallerError, LognodeError, NodeFault, PeerError
from lognode.core.ids import SpanId, TenantId, b32encode
from lognode.core.limits import BUSY_RETRY_S, GROUP_BYTES_MAX, GROUP_SPANS_MAX
from lognode.core.span import Foretold, Range
from lognode.core.world import World
from lognode.engine.agreement.merging import with_merge
from lognode.engine.commit import AppendPlan, choose, plan_chosen
from lognode.engine.control.book import empty_book
from lognode.engine.control.opening import plan_adoption, plan_tenant
from lognode.engine.receipt import Receipt
from lognode.engine.service.agreement.alerts import Alerts
from lognode.engine.service.agreement.doubts import ORDINARY, Beginning, Doubts
from lognode.engine.service.agreement.forking import Forks, ForkWork
from lognode.engine.service.agreement.news import News
from lognode.engine.service.heads import Heads
from lognode.engine.service.meters import Meters
from lognode.engine.service.ruling.gate import Gate
from lognode.engine.service.ruling.programs import Programs, Unread
from lognode.engine.service.standings import Standings
from lognode.engine.service.writing.acts import Acts
from lognode.engine.service.writing.intake import Intake
from lognode.engine.service.writing.ledger import Ledger, Step
from lognode.engine.service.writing.mailbox import Beside, Job, Mailbox, Turn, fault_of
from lognode.engine.service.writing.milestones import sign_milestones
from lognode.engine.service.writing.openings import Openings, step_of
from lognode.engine.service.writing.seals import Seals
from lognode.identity.keys import KeyPair, NodeKeys
from lognode.timeline.members import Membership
from lognode.timeline.record import TenantRef
from lognode.timeline.state import joined
from lognode.timeline.store.database import Store
from lognode.timeline.store.write import apply_write, find_idems, newest_position

_log = structlog.get_logger(__name__)


class Writer:
    """Appends drafts to tenants' timelines, and takes in what other nodes wrote, in groups of one fsync each."""

    def __init__(
        self,
        store: Store,
        keys: NodeKeys,
        world: World,
        heads: Heads,
        meters: Meters,
        standings: Standings,
        beginning: Beginning = ORDINARY,
    ) -> None:
        self._store = store
        self._keys = keys
        self._world = world
        self._heads = heads
        self._meters = meters
        self._mailbox = Mailbox()
        self.seals = Seals(keys)
        self._ledger = Ledger(store, world, standings, keys.public)
        self.alerts = Alerts(store, world)  # what the owner of the node is to know
        self._doubts = Doubts(store, self._ledger, world, keys.public, beginning, self.alerts)
        self._openings = Openings(store, self._ledger, self._doubts, keys, world, self._commit)
        self.news = News(store, self._ledger, world, keys)
        self.programs = Programs(store, standings)
        self.gate = Gate(store, self.programs, self._ledger.find_feed, keys.logline, meters, world)
        self._acts = Acts(self._openings, self._ledger, self._plan, self._commit)
        work = ForkWork(self._commit, self._acts.append, self._take_turn)
        self.forks = Forks(store, self._ledger, self.alerts, keys.public, work)
        self._intake = Intake(store, self._ledger, self._mailbox, self._commit, self._doubts, self.forks.tell)
        self._log_keys: dict[int, KeyPair] = {}
        self._is_broken = False
        self._is_stopping = False
        meters.mailbox_spans.set_function(lambda: self._mailbox.waiting_spans)
        meters.mailbox_bytes.set_function(lambda: self._mailbox.waiting_bytes)

    @property
    def waiting_spans(self) -> int:
        """Spans in the mailbox."""
        return self._mailbox.waiting_spans

    async def append(
        self, tenant: TenantRef, drafts: Sequence[Draft], *, beside: Beside | None = None, wait: bool = False
    ) -> list[Receipt]:
        """Receipts of `drafts`, in their order, once they are durable; they land in one transaction.

        So do the rows that `beside` makes of the receipts, unless a draft is refused; there may be such rows alone.
        At most GROUP_SPANS_MAX drafts and about GROUP_BYTES_MAX bytes. With `wait`, a full mailbox is waited for
        instead of answered with writer.busy. Cancelling may lose the reply, never the write. Raises AppendStopped,
        NodeFault writer.busy, writer.failed, disk.full, database.damaged, rule.not_ready or node.stopping.
        """
        assert (drafts or beside) and len(drafts) <= GROUP_SPANS_MAX  # noqa: PT018 - one idea, and few lines are left
        size, until_s = sum([draft.content_bytes() for draft in drafts]), self.gate.patience_s()
        assert size <= 2 * GROUP_BYTES_MAX
        job = Job(tenant, drafts, size, beside)
        while True:
            self._check_running()
            await self._doubts.wait(tenant)
            await self._mailbox.offer(job, wait=wait or bool(job.receipts))
            await job.done.wait()
            if not await self.gate.made_ready(tenant, job.error, until_s):
                return job.answer()
            job.reopen()

    async def ingest(
        self, tenant: TenantRef, ranges: Sequence[Range], foretold: Sequence[Foretold] = ()
    ) -> list[int | PeerError]:
        """The size of each range's feed once it is durable, or why the range was refused; that is nobody else's fault.

        Behind the outcomes of the ranges follows what else there is to tell: why control spans were refused (of one of
        them), and "clock.ahead" where a feed that grew ends ahead of now. It waits for room. Raises NodeFault as
        `append` does.
        """
        self._check_running()
        return await self._intake.take(tenant, ranges, foretold)

    async def rehearse(self, tenant: TenantRef, drafts: Sequence[Draft]) -> tuple[list[bool], CallerError | None]:
        """Of the drafts that gate rules let pass, which would wait; and why not the next. Raises NodeFault."""
        found: list[tuple[list[bool], CallerError | None]] = [([False] * len(drafts), None)]

        async def judge() -> None:
            state, level = await self._ledger.state(tenant), await self._level(tenant)
            found.append(await self.gate.rehearse(state, drafts, level, self._world.now_ms()))

        if self.programs.are_there(tenant):
            await self._take_turn(Turn(tenant, judge))
        return found[-1]

    async def append_control(
        self,
        tenant: TenantRef,
        kind: str,
        build: Callable[[Membership, list[SpanId]], bytes],
        *,
        like: Draft | None = None,
    ) -> Receipt:
        """The receipt of a control span, or of one by which rule sets are published, once it is durable.

        `build` makes its data from the membership at that moment and the newest control spans; nothing comes between.
        All else is as in `like`, if given.
        It may raise CallerError. So does this where the span would be void ("control.void") and where this node may not
        write (member.observer, member.removed); and NodeFault as `append` does.
        """
        self._check_running()
        await self._doubts.wait(tenant)
        receipts: list[Receipt] = []
        await self._take_turn(
            Turn(tenant, partial(self._acts.append, tenant, like or Draft(kind=kind), build, receipts))
        )
        return receipts[0]

    async def vouch(self, tenant: TenantRef, node_key: bytes) -> None:
        """Take note that a member, asked since the start, holds no more of this node's open feed than is here."""
        await self._doubts.vouch(tenant, node_key, lambda work: self._take_turn(Turn(tenant, work)))

    async def note_clone(self, tenant: TenantRef, detail: str) -> None:
        """Take note that another process of this node runs: it goes on in no feed that both may write to."""
        await self._take_turn(Turn(tenant, partial(self._doubts.end_shared, tenant, detail)))

    def is_in_doubt(self, tenant: TenantRef) -> bool:
        """Whether what is written waits for other members to show that they hold no more of the open feed."""
        return self._doubts.is_in_doubt(tenant)

    async def merge(self, tenant: TenantRef) -> bool:
        """Whether there was something to merge, and this node may write; then that is durable. Raises NodeFault."""
        self._check_running()
        written: list[TenantRef] = []
        await self._take_turn(Turn(tenant, partial(self._merge, tenant, written)))
        return bool(written)

    async def adopt_tenant(self, tenant_id: TenantId, alias: str) -> TenantRef:
        """A tenant that others founded, empty so far, called `alias` here. Raises CallerError("alias.taken").

        One that is there already stays as it is.
        """
        self._check_running()
        ref = TenantRef(-1, tenant_id, alias)
        await self._take_turn(Turn(ref, partial(self._adopt_tenant, ref)))
        return self._store.tenants[b32encode(tenant_id)]

    async def _take_turn(self, turn: Turn) -> None:
        until_s = self.gate.patience_s()
        while True:
            self._check_running()
            await self._mailbox.put(turn)
            await turn.done.wait()
            if not await self.gate.made_ready(turn.tenant, turn.error, until_s):
                break
            turn = Turn(turn.tenant, turn.work)
        if turn.error is not None:
            raise turn.error

    def _check_running(self) -> None:
        if self._is_stopping:
            raise NodeFault("node.stopping")

    async def create_tenant(self, alias: str) -> TenantRef:
        """A new tenant founded by this node. For start-up, before `run`: the writer has one user at a time."""
        plan = plan_tenant(self._keys, await self._ledger.numbers(), alias, self._openings.moment())
        await self._commit([self._openings.step(plan, empty_book(plan.state.tenant.tenant_id))])
        assert plan.state.head is not None
        self._doubts.note_opened(plan.state.head.feed.feed_id)
        return plan.state.tenant

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the mailbox until cancelled; then answer what waits with node.stopping.

        A group that has begun is finished first.
        """
        try:
            # A killed daemon may have left a commit whose fsync had failed: seen by now, but not on the disk.
            await self._recover()
            await self.alerts.load()
        except sqlite3.Error as error:
            _log.warning("start_not_durable", error=str(error))  # it is to be read all the same
            self._is_broken = True
        for tenant in set(self._store.tenants.values()):
            self._heads.publish(tenant.number, await self._store.write(newest_position, tenant.number))
            try:
                self._is_broken |= not await sign_milestones(self._store, self._keys, tenant)
                await self._doubts.begin(tenant)
            except sqlite3.Error as error:
                _log.warning("continuity_not_stored", error=str(error))  # before a write it is tried again
            except NodeFault as fault:
                # What it holds can still be read and verified; appends to it answer with this fault.
                _log.error("tenant_damaged", tenant=b32encode(tenant.tenant_id), detail=fault.detail)
        await self._doubts.end_beginning()
        task_status.started()
        try:
            while True:
                work = await self._mailbox.take()
                with trio.CancelScope(shield=True):
                    await (self._serve_turn(work) if isinstance(work, Turn) else self._serve(work))
        finally:
            self._is_stopping = True
            for job in self._mailbox.close():
                if isinstance(job, Turn):
                    job.finish(NodeFault("node.stopping"))
                else:
                    job.finish([], NodeFault("node.stopping"))

    async def _serve(self, group: list[Job]) -> None:
        """Commit a group, then answer its jobs; or answer each with what went wrong."""
        by_tenant: dict[int, list[Job]] = {}
        for job in group:
            by_tenant.setdefault(job.tenant.number, []).append(job)
        try:
            if self._is_broken:
                await self._recover()
            planned = [(jobs, await self._plan_sound(jobs)) for jobs in by_tenant.values()]
            await self._commit([step_of(plan) for _, plan in planned if plan is not None and not plan.write.is_empty])
        except Exception as error:
            self.gate.forget()
            fault = fault_of(error)
            for job in group:
                job.finish([], fault)
            if not isinstance(error, LognodeError | sqlite3.Error):
                raise
            return
        for jobs, plan in planned:
            if plan is not None:
                self._mailbox.settle(jobs, plan.outcomes)
                answered = [receipt for receipts, _ in plan.outcomes for receipt in receipts]
                self._meters.duplicate_spans.inc(sum([receipt.duplicate for receipt in answered]))

    async def _serve_turn(self, turn: Turn) -> None:
        """Do what waits for a turn of its own, and say how it went."""
        try:
            if self._is_broken:
                await self._recover()
            await turn.work()
        except (CallerError, Unread) as error:
            self.gate.forget()
            turn.finish(error)
        except Exception as error:
            self.gate.forget()
            turn.finish(fault_of(error))
            if not isinstance(error, LognodeError | sqlite3.Error):
                raise
        else:
            turn.finish(None)

    async def _plan_sound(self, jobs: list[Job]) -> AppendPlan | None:
        """The plan of one tenant's jobs; None where they are refused or what it builds on is damaged: they are told."""
        try:
            plan = await self._plan(jobs[0].tenant, [job.drafts for job in jobs], [bool(job.beside) for job in jobs])
        except (LognodeError, Unread) as error:
            if isinstance(error, NodeFault) and error.code not in {"database.damaged", "rule.not_ready"}:
                raise
            # No other tenant of the group has to do with it.
            for job in jobs:
                job.finish([], error)
            return None
        for job, outcome in zip(jobs, plan.outcomes, strict=True):
            plan.write.add(job.rows_beside(*outcome))
        return plan

    async def _plan(
        self, tenant: TenantRef, calls: Sequence[Sequence[Draft]], whole: Sequence[bool] | None = None
    ) -> AppendPlan:
        """The plan of one tenant's calls, behind a merge where one is due; those that are `whole` are not parted."""
        state = await self._openings.state(tenant)
        assert state.head is not None
        idems = self.gate.keys(tenant, calls)
        known, feed = await self._store.write(find_idems, tenant.number, idems) if idems else {}, state.head.feed
        if feed.number not in self._log_keys:
            self._log_keys[feed.number] = self._keys.log_key(feed.feed_id)
        merge, now_ms = await self.news.merge(tenant), self._world.now_ms()
        chosen = choose([[merge.draft], *calls] if merge else calls, known, self._store.feeds)
        level, unparted = await self._level(tenant), None if whole is None else {*compress(count(bool(merge)), whole)}
        plan = plan_chosen(
            state,
            await self._ledger.numbers(),
            await self.gate.judge(state, chosen, merge.merged if merge else (), level, now_ms, unparted),
            log_key=self._log_keys[feed.number],
            now_ms=now_ms,
            random_bytes=self._world.random_bytes,
        )
        self._ledger.use_up(plan.numbers)
        return with_merge(plan, merge, self._keys.public) if merge else plan

    async def _level(self, tenant: TenantRef) -> Level:
        """What this node may do in a tenant."""
        return (await self._ledger.book(tenant)).members.level(self._keys.public)

    async def _merge(self, tenant: TenantRef, written: list[TenantRef]) -> None:
        """Write a merge alone, if one is due; then the tenant is put into `written`."""
        with self.news.trying(tenant):
            if not self._doubts.is_in_doubt(tenant) and await self.news.merge(tenant):
                await self._commit([step_of(await self._plan(tenant, []))])
                written.append(tenant)

    async def _adopt_tenant(self, ref: TenantRef) -> None:
        """Make the row of a tenant that others founded."""
        tenants = self._store.tenants
        if b32encode(ref.tenant_id) in tenants:
            return
        if ref.alias in tenants:
            raise CallerError("alias.taken", f"{ref.alias} is another tenant of this node")
        numbers = await self._ledger.numbers()
        write, state, numbers = plan_adoption(ref, numbers)
        await self._commit([Step(write, state, numbers, empty_book(ref.tenant_id), ())])

    async def _commit(self, steps: Sequence[Step]) -> None:
        """Make plans durable in one transaction, and their states ours."""
        if not steps:
            return
        write = steps[0].write if len(steps) == 1 else joined([step.write for step in steps])
        for feed in (feed.feed for step in steps for feed in step.feeds):
            # Before anybody can read a span of it.
            self._store.feeds.setdefault(feed.number, feed)
        started_s = self._world.monotonic_s()
        try:
            positions = {step.state.tenant.number: step.state.position for step in steps}
            await self._store.write(apply_write, write, partial(self._doubts.count, positions))
        except sqlite3.Error as error:
            _log.error("commit_failed", error=str(error), code=getattr(error, "sqlite_errorname", None))
            self._meters.commit_errors.inc()
            self._is_broken = True
            try:
                await self._recover()
            except sqlite3.Error as later:
                detail = f"whether it was stored is known once the database can be opened again: {later}"
                raise NodeFault("writer.failed", detail, retry_after_s=BUSY_RETRY_S) from later
            if not await self._ledger.is_durable(write):
                raise
        self._meters.count_commit(write, self._world.monotonic_s() - started_s, self._world.now_ms())
        if "tenants" in write.rows:
            await self._store.refresh()
        for step in steps:
            self._ledger.keep(step)
            self.news.keep(step)
            self.programs.keep(step)
            self._heads.publish(step.state.tenant.number, step.state.position)

    async def _recover(self) -> None:
        """Forget what was planned, and learn from the database what is in it."""
        self._ledger.forget()
        self.news.forget()
        self.programs.forget()
        self.gate.forget()
        await self._store.reopen_writer()
        await self._store.refresh()
        self._is_broken = False
