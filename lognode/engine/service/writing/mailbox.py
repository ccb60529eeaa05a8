"""The writer's mailbox: bounded in spans and bytes, fair between tenants.

Owns waiting work, knows nothing of what it is. Appends have one lane, what other nodes sent another, so that neither
fills up the other. Invariants: in a lane each tenant has a share that nobody else can fill; beyond their shares all
tenants together stay within the bounds, by one job at most; a tenant with a long queue delays another tenant's job by
one job a round; what other nodes sent waits for one group of appends at most.
"""

import sqlite3
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from lognode.core.draft import Draft
from lognode.core.errors import CallerError, NodeFault
from lognode.core.limits import (
    BUSY_RETRY_S,
    GROUP_BYTES_MAX,
    GROUP_SPANS_MAX,
    MAILBOX_BYTES_MAX,
    MAILBOX_SPANS_MAX,
)
from lognode.engine.receipt import AppendStopped, Receipt
from lognode.timeline.record import TenantRef

# Rows of other tables that a call's transaction holds besides its spans, by table and flat, once their receipts are
# known: what was done about what is written with it, or not at all.
Beside = Callable[[Sequence[Receipt]], Mapping[str, Sequence[Any]]]


@dataclass(slots=True, eq=False)
class Job:
    """One call of append, and its answer once `done` is set."""

    tenant: TenantRef
    drafts: Sequence[Draft]
    size_bytes: int
    beside: Beside | None = None
    done: trio.Event = field(default_factory=trio.Event)
    receipts: list[Receipt] = field(default_factory=list)
    error: Exception | None = None

    @property
    def spans(self) -> int:
        """How many it brings; one that only changes rows counts as one."""
        return len(self.drafts) or 1

    def finish(self, receipts: list[Receipt], error: Exception | None) -> None:
        """Give the answer; `receipts` are those of what was left."""
        self.receipts = [*self.receipts, *receipts]
        self.error = error
        self.done.set()

    def is_done(self, receipts: Sequence[Receipt], error: Exception | None) -> bool:
        """Whether nothing is left of it to do once these receipts are given, or that error."""
        return error is not None or len(receipts) == len(self.drafts)

    def rest(self, receipts: Sequence[Receipt]) -> "Job":
        """It, with what is left of it once these receipts are given."""
        self.size_bytes -= self.size_bytes * len(receipts) // len(self.drafts)
        self.receipts = [*self.receipts, *receipts]
        self.drafts = self.drafts[len(receipts) :]
        return self

    def rows_beside(self, receipts: Sequence[Receipt], error: Exception | None) -> Mapping[str, Sequence[Any]]:
        """The rows that its transaction holds besides; none where a draft was refused."""
        if self.beside is None or error is not None or not self.is_done(receipts, error):
            return {}
        return self.beside(receipts)

    def reopen(self) -> None:
        """Have what is left of it be done by whoever is asked next, with no answer so far."""
        self.error, self.done = None, trio.Event()

    def answer(self) -> list[Receipt]:
        """The receipts. Raises AppendStopped where a draft was refused, else what went wrong."""
        if isinstance(self.error, CallerError):
            raise AppendStopped(self.receipts, self.error)
        if self.error is not None:
            raise self.error
        return self.receipts


@dataclass(slots=True, eq=False)
class Turn:
    """Something that the writer does alone, between two groups of appends; `work` gives its own answers."""

    tenant: TenantRef
    work: Callable[[], Awaitable[None]]
    spans: int = 1
    size_bytes: int = 0
    done: trio.Event = field(default_factory=trio.Event)
    error: Exception | None = None

    def finish(self, error: Exception | None) -> None:
        """Say that it is done, or why not."""
        self.error = error
        self.done.set()


class _Queue:
    """What waits of one tenant, and who waits to add to it."""

    def __init__(self) -> None:
        self.jobs: deque[Job | Turn] = deque()
        self.spans = 0
        self.bytes = 0
        self.producers = trio.lowlevel.ParkingLot()


class Lane:
    """Jobs of one sort that wait for the writer."""

    def __init__(self) -> None:
        self._queues: OrderedDict[int, _Queue] = OrderedDict()  # by tenant; the first one is served next
        self._spans = 0
        self._bytes = 0
        self._is_closed = False

    @property
    def waiting_spans(self) -> int:
        """Spans that wait."""
        return self._spans

    @property
    def waiting_bytes(self) -> int:
        """What they weigh."""
        return self._bytes

    def put_nowait(self, job: Job | Turn) -> None:
        """Queue a job. Raises NodeFault writer.busy when there is no room, or node.stopping."""
        queue = self._queues.setdefault(job.tenant.number, _Queue())
        if not self._has_room(queue) or len(queue.producers):
            raise NodeFault("writer.busy", "the writer has more than it can do", retry_after_s=BUSY_RETRY_S)
        self._add(queue, job)

    def put_back(self, job: Job) -> None:
        """Queue what is left of a job before all else of its tenant, behind other tenants."""
        queue = self._queues.setdefault(job.tenant.number, _Queue())
        self._add(queue, job)
        queue.jobs.rotate(1)

    async def put(self, job: Job | Turn) -> None:
        """Queue a job as soon as there is room, first come, first served. Raises NodeFault("node.stopping")."""
        queue = self._queues.setdefault(job.tenant.number, _Queue())
        if len(queue.producers) or not self._has_room(queue):
            await queue.producers.park()
        self._add(queue, job)
        self._wake_producer(queue)

    def take_group(self) -> list[Job] | Turn | None:
        """What one transaction should hold: whole jobs, one of each tenant in turn, or a turn; None: nothing waits."""
        group: list[Job] = []
        spans = size_bytes = 0
        turn = None
        while self._spans and turn is None:
            tenant, queue = next(iter(self._queues.items()))
            if queue.jobs:
                job = queue.jobs[0]
                spans += job.spans
                size_bytes += job.size_bytes
                is_full = spans > GROUP_SPANS_MAX or size_bytes > GROUP_BYTES_MAX
                if group and (is_full or isinstance(job, Turn)):
                    break
                self._take(queue)
                if isinstance(job, Turn):
                    turn = job
                else:
                    group.append(job)
            self._queues.move_to_end(tenant)
        for queue in list(self._queues.values()):
            self._wake_producer(queue)
        return turn or group or None

    def close(self) -> list[Job | Turn]:
        """Everything that waits, taken out; nothing more is let in."""
        self._is_closed = True
        jobs = [job for queue in self._queues.values() for job in queue.jobs]
        for queue in self._queues.values():
            queue.producers.unpark_all()
        self._queues.clear()
        self._spans = self._bytes = 0
        return jobs

    def _has_room(self, queue: _Queue) -> bool:
        # A share of one group: what other tenants queue cannot keep a tenant from being heard.
        is_within_share = queue.spans < GROUP_SPANS_MAX and queue.bytes < GROUP_BYTES_MAX
        return is_within_share or (self._spans < MAILBOX_SPANS_MAX and self._bytes < MAILBOX_BYTES_MAX)

    def _add(self, queue: _Queue, job: Job | Turn) -> None:
        if self._is_closed:
            raise NodeFault("node.stopping")
        queue.jobs.append(job)
        queue.spans += job.spans
        queue.bytes += job.size_bytes
        self._spans += job.spans
        self._bytes += job.size_bytes

    def _take(self, queue: _Queue) -> None:
        job = queue.jobs.popleft()
        queue.spans -= job.spans
        queue.bytes -= job.size_bytes
        self._spans -= job.spans
        self._bytes -= job.size_bytes

    def _wake_producer(self, queue: _Queue) -> None:
        # One at a time: each adds its job and wakes the next, so together they overshoot by one job at most.
        if self._has_room(queue):
            queue.producers.unpark()


class Mailbox:
    """All that waits for the writer."""

    def __init__(self) -> None:
        self.appends = Lane()
        self.ingests = Lane()
        self._filled = trio.Event()
        self._is_append_next = True

    def put_nowait(self, job: Job) -> None:
        """Queue a call of append. Raises NodeFault writer.busy when there is no room, or node.stopping."""
        self.appends.put_nowait(job)
        self._filled.set()

    async def offer(self, job: Job, *, wait: bool) -> None:
        """Queue a call of append, as `put` or as `put_nowait` does."""
        if wait:
            await self.put(job)
        else:
            self.put_nowait(job)

    def settle(self, jobs: Sequence[Job], outcomes: Sequence[tuple[list[Receipt], CallerError | None]]) -> None:
        """Answer jobs of one tenant, in their order, that a group has served; those that it left undone wait again."""
        left = []
        for job, (receipts, error) in zip(jobs, outcomes, strict=True):
            if job.is_done(receipts, error):
                job.finish(receipts, error)
            else:
                left.append(job.rest(receipts))
        for job in reversed(left):
            self.appends.put_back(job)
            self._filled.set()

    async def put(self, job: Job | Turn) -> None:
        """Queue an append, or a turn beside appends, as soon as there is room. Raises NodeFault("node.stopping")."""
        await self.appends.put(job)
        self._filled.set()

    async def put_ingest(self, turn: Turn) -> None:
        """Queue what another node sent, as soon as there is room. Raises NodeFault("node.stopping")."""
        await self.ingests.put(turn)
        self._filled.set()

    @property
    def waiting_spans(self) -> int:
        """Spans that wait."""
        return self.appends.waiting_spans + self.ingests.waiting_spans

    @property
    def waiting_bytes(self) -> int:
        """What they weigh."""
        return self.appends.waiting_bytes + self.ingests.waiting_bytes

    async def take(self) -> list[Job] | Turn:
        """What the writer does next; waits until there is something."""
        while True:
            lanes = (self.appends, self.ingests) if self._is_append_next else (self.ingests, self.appends)
            for lane in lanes:
                if group := lane.take_group():
                    self._is_append_next = lane is self.ingests
                    return group
            self._is_append_next = True
            self._filled = trio.Event()
            await self._filled.wait()

    def close(self) -> list[Job | Turn]:
        """Everything that waits, taken out; nothing more is let in."""
        return self.appends.close() + self.ingests.close()


def fault_of(error: Exception) -> NodeFault:
    """What waiting work is told when its commit failed."""
    if isinstance(error, NodeFault):
        return error
    if isinstance(error, sqlite3.Error):
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            return NodeFault("disk.full", "nothing of this commit was stored", retry_after_s=BUSY_RETRY_S)
        return NodeFault("writer.failed", str(error), retry_after_s=BUSY_RETRY_S)
    return NodeFault("node.internal", type(error).__name__)
