"""Notices conflicts as they come and go, and tells them; and has subjects that are in none disputed no more.

It looks behind the writer, at what commits hint at. Invariants: a subject in conflict stays disputed; looking takes a
tenth of the time at most, and none at all where nothing is written.
"""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple

import structlog
import trio

from lognode.core.errors import NodeFault
from lognode.core.ids import SpanId, b32encode
from lognode.core.limits import (
    CONFLICTS_LOOK_S,
    CONFLICTS_SLOW_S,
    CONFLICTS_STEP_SUBJECTS,
    CONFLICTS_WATCHED_MAX,
    HEADS_SHOWN_MAX,
)
from lognode.engine.service.heads import Heads
from lognode.engine.service.standings import Standings
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.agreement.disputes import next_disputes
from lognode.timeline.store.agreement.subjects import Registers, settle_disputes
from lognode.timeline.store.database import Store

_log = structlog.get_logger(__name__)
_SHARE: Final = 9  # times as long as a look took nothing is looked at

EventName = Literal["conflict.opened", "conflict.resolved"]
Tell = Callable[[int, EventName, Mapping[str, object]], None]


class Seen(NamedTuple):
    """A conflict: ids of some heads, and of the one that holds."""

    heads: tuple[SpanId, ...]
    holds: SpanId | None


class Step(NamedTuple):
    """What some disputed subjects came to; `next` is the last of them, None where there are no more."""

    conflicts: dict[str, Seen]
    over: list[str]
    waiting: list[str]  # in no conflict, by claims that may turn out to be false
    next: str | None


class Conflicts:
    """The task, for all tenants of a node. `tell` takes a tenant's number, an event, and what is to be said."""

    def __init__(self, store: Store, heads: Heads, standings: Standings, tell: Tell) -> None:
        self._store = store
        self._heads = heads
        self._standings = standings
        self._tell = tell
        self._grown: dict[int, int] = {}
        self._watched: dict[int, dict[str, Seen]] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            total, started_s = self._heads.total, trio.current_time()
            for tenant in sorted(set(self._store.tenants.values())):
                growth = self._heads.growth(tenant.number)
                if growth != self._grown.get(tenant.number):
                    try:
                        await self.look(tenant)
                    except NodeFault as fault:
                        _log.warning("conflicts_unseen", tenant=b32encode(tenant.tenant_id), detail=fault.detail)
                    self._grown[tenant.number] = growth
            await trio.sleep(max(CONFLICTS_LOOK_S, _SHARE * (trio.current_time() - started_s)))
            await self._heads.wait_total(total)

    async def look(self, tenant: TenantRef) -> None:
        """Look at all disputed subjects of a tenant once; nothing is told the first time."""
        before, found = self._watched.get(tenant.number), dict[str, Seen]()
        policies, after = self._standings.of(tenant.number).policies, None
        while True:
            started_s = trio.current_time()
            step = await self._store.read(_look, tenant, self._store.feeds, policies, after)
            # Subjects with a long history that was taken back may be slow to read: the writer is not kept waiting.
            is_slow = trio.current_time() - started_s > CONFLICTS_SLOW_S
            found.update(step.conflicts)
            found.update({subject: before[subject] for subject in step.waiting if before and subject in before})
            width = 1 if is_slow else CONFLICTS_STEP_SUBJECTS
            for at in range(0, len(step.over), width):
                over = step.over[at : at + width]
                await self._store.write(settle_disputes, tenant, self._store.feeds, policies, over)
            for subject in step.over:
                if before and subject in before:
                    holds = await self._store.read(_holding, tenant, self._store.feeds, policies, subject)
                    self._tell(tenant.number, "conflict.resolved", {"subject": subject, "holds": holds})
            after = step.next
            if after is None:
                break
        if before is not None:
            for subject, seen in found.items():
                if subject not in before:
                    self._tell(tenant.number, "conflict.opened", _opened(subject, seen))
        self._watched[tenant.number] = dict(list(found.items())[:CONFLICTS_WATCHED_MAX])


def _opened(subject: str, seen: Seen) -> dict[str, object]:
    heads = [b32encode(head) for head in seen.heads]
    return {"subject": subject, "heads": heads, "holds": b32encode(seen.holds) if seen.holds else None}


def _look(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feeds: Mapping[int, FeedRef],
    policies: Mapping[str, str],
    after: str | None,
) -> Step:
    registers = Registers(conn, tenant, feeds, policies)
    subjects = next_disputes(conn, tenant, after, CONFLICTS_STEP_SUBJECTS)
    conflicts, over, waiting = {}, [], []
    for subject in subjects:
        fold = registers.read(subject).fold
        if fold.is_conflict:
            heads = tuple(head.span.id for head in fold.heads[:HEADS_SHOWN_MAX])
            conflicts[subject] = Seen(heads, fold.value.means.id if fold.value else None)
        elif registers.may_change():
            waiting.append(subject)
        else:
            over.append(subject)
    return Step(conflicts, over, waiting, subjects[-1] if len(subjects) == CONFLICTS_STEP_SUBJECTS else None)


def _holding(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feeds: Mapping[int, FeedRef],
    policies: Mapping[str, str],
    subject: str,
) -> str | None:
    value = Registers(conn, tenant, feeds, policies).read(subject).fold.value
    return b32encode(value.means.id) if value else None
