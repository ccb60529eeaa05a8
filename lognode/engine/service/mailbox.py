"""The writer's mailbox: bounded in spans and bytes, fair between tenants.

Owns waiting work, knows nothing of what it is. Invariant: what it holds never exceeds its bounds by more than
one job, and a tenant with a long queue delays another tenant's job by one job a round.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.limits import (
    BUSY_RETRY_S,
    GROUP_BYTES_MAX,
    GROUP_SPANS_MAX,
    MAILBOX_BYTES_MAX,
    MAILBOX_SPANS_MAX,
)
from lognode.engine.receipt import Receipt
from lognode.timeline.record import TenantRef


@dataclass(slots=True, eq=False)
class Job:
    """One call of append, and its answer once `done` is set."""

    tenant: TenantRef
    drafts: Sequence[Draft]
    size_bytes: int
    done: trio.Event = field(default_factory=trio.Event)
    receipts: list[Receipt] = field(default_factory=list)
    error: Exception | None = None

    def finish(self, receipts: list[Receipt], error: Exception | None) -> None:
        """Give the answer."""
        self.receipts = receipts
        self.error = error
        self.done.set()


class Mailbox:
    """Jobs that wait for the writer."""

    def __init__(self) -> None:
        self._queues: OrderedDict[int, deque[Job]] = OrderedDict()
        self._spans = 0
        self._bytes = 0
        self._filled = trio.Event()
        self._producers = trio.lowlevel.ParkingLot()

    @property
    def waiting_spans(self) -> int:
        """Drafts that wait."""
        return self._spans

    def put_nowait(self, job: Job) -> None:
        """Queue a job. Raises CallerError("writer.busy") when there is no room."""
        if not self._has_room() or len(self._producers):
            raise CallerError("writer.busy", f"{self._spans} spans wait for the writer", retry_after_s=BUSY_RETRY_S)
        self._add(job)

    async def put(self, job: Job) -> None:
        """Queue a job as soon as there is room, first come, first served."""
        if len(self._producers) or not self._has_room():
            await self._producers.park()
        self._add(job)
        self._wake_producer()

    async def take_group(self) -> list[Job]:
        """What one transaction should hold: whole jobs, one of each tenant in turn; waits for the first."""
        while not self._queues:
            self._filled = trio.Event()
            await self._filled.wait()
        group: list[Job] = []
        spans = size_bytes = 0
        while self._queues:
            tenant, queue = next(iter(self._queues.items()))
            job = queue[0]
            spans += len(job.drafts)
            size_bytes += job.size_bytes
            if group and (spans > GROUP_SPANS_MAX or size_bytes > GROUP_BYTES_MAX):
                break
            queue.popleft()
            self._queues.move_to_end(tenant)
            if not queue:
                del self._queues[tenant]
            self._spans -= len(job.drafts)
            self._bytes -= job.size_bytes
            group.append(job)
        self._wake_producer()
        return group

    def drain(self) -> list[Job]:
        """Everything that waits, taken out."""
        jobs = [job for queue in self._queues.values() for job in queue]
        self._queues.clear()
        self._spans = self._bytes = 0
        self._producers.unpark_all()
        return jobs

    def _has_room(self) -> bool:
        return self._spans < MAILBOX_SPANS_MAX and self._bytes < MAILBOX_BYTES_MAX

    def _add(self, job: Job) -> None:
        self._queues.setdefault(job.tenant.number, deque()).append(job)
        self._spans += len(job.drafts)
        self._bytes += job.size_bytes
        self._filled.set()

    def _wake_producer(self) -> None:
        # One at a time: each adds its job and wakes the next, so together they overshoot by one job at most.
        if self._has_room():
            self._producers.unpark()
