"""The task that tells who listens of drafts that wait for approval: that one waits, what was said, what became of it.

It looks behind the writer at what arrived, whoever wrote it, so members tell of each other's drafts. Invariants: what
arrived before somebody listened is told to nobody; a tenant to which nobody listens costs no look at the database.
"""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import structlog

from lognode.core.clock import time_text
from lognode.core.errors import NodeFault
from lognode.core.ids import LogLine, LogLineKind, SpanId, b32encode, format_logline, logline
from lognode.core.limits import APPROVALS_TOLD_STEP
from lognode.core.world import World
from lognode.engine.service.heads import Heads
from lognode.engine.service.ruling.approvals.answering import Request, read_request
from lognode.engine.service.standings import Standings
from lognode.rules.records import APPROVE, DENY, FIRED
from lognode.timeline.query import Query
from lognode.timeline.record import Record, TenantRef, feed_of, header_of, id_of
from lognode.timeline.store.database import Store
from lognode.timeline.store.read.lookup import find_span
from lognode.timeline.store.read.pages import select_new

_log = structlog.get_logger(__name__)
_QUERY = Query(kinds=(FIRED, APPROVE, DENY))

EventName = Literal["approval.asked", "approval.answered", "approval.decided"]
Tell = Callable[[int, EventName, Mapping[str, object]], None]


class Event(NamedTuple):
    """What happened to a draft that waits, and what is to be said of it as JSON."""

    name: EventName
    content: Mapping[str, object]


class Announcing:
    """The task, for all tenants of a node.

    `is_heard` says whether anybody listens to a tenant, `tell` tells them; both take its number.
    """

    def __init__(
        self,
        store: Store,
        heads: Heads,
        standings: Standings,
        world: World,
        is_heard: Callable[[int], bool],
        tell: Tell,
    ) -> None:
        self._store = store
        self._heads = heads
        self._standings = standings
        self._world = world
        self._is_heard = is_heard
        self._tell = tell
        self._positions: dict[int, int] = {}

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            total = self._heads.total
            for tenant in sorted(set(self._store.tenants.values())):
                try:
                    await self.look(tenant)
                except NodeFault as fault:
                    # What is passed over here can be read all the same.
                    _log.warning("approvals_untold", tenant=b32encode(tenant.tenant_id), code=fault.code)
                    self._positions[tenant.number] = self._heads.position(tenant.number)
            await self._heads.wait_total(total)

    async def look(self, tenant: TenantRef) -> None:
        """Tell what arrived in a tenant since the last look; nothing the first time. Raises NodeFault."""
        newest = self._heads.position(tenant.number)
        position = self._positions.setdefault(tenant.number, newest)
        if not self._is_heard(tenant.number):
            self._positions[tenant.number] = newest
            return
        while position < newest:
            events, position = await self._store.read(self._step, tenant, position)
            self._positions[tenant.number] = position
            for event in events:
                self._tell(tenant.number, event.name, event.content)

    def _step(self, conn: sqlite3.Connection, tenant: TenantRef, position: int) -> tuple[list[Event], int]:
        records, position = select_new(conn, tenant, _QUERY, position, APPROVALS_TOLD_STEP)
        found = [self._event(conn, tenant, record) for record in records]
        return [event for event in found if event is not None], position

    def _event(self, conn: sqlite3.Connection, tenant: TenantRef, record: Record) -> Event | None:
        """What a span means for a draft that waits; None where it is about none, or does not count."""
        feeds, header = self._store.feeds, header_of(record)
        feed = feed_of(record, feeds)
        span = id_of(record, feed.feed_id)
        if header.kind == FIRED and (request := self._request(conn, tenant, span)) is not None:
            return Event("approval.asked", _asked(request))
        request = None if header.caused_by is None else self._request(conn, tenant, header.caused_by)
        if request is None:
            return None
        about = {"id": b32encode(request.id)}
        if header.kind != FIRED:
            answer = next((one for one in request.answers if one.span == span), None)
            if answer is None:
                return None
            says = "deny" if answer.is_denial else "approve"
            said = {"span": b32encode(span), "node": _node(answer.node_key), "says": says, "note": answer.note}
            return Event("approval.answered", {**about, **said, "counts": span in request.counted})
        # Only who wants a draft can say what became of it.
        if request.end != span:
            return None
        return Event("approval.decided", {**about, "state": request.state, "span": request.span})

    def _request(self, conn: sqlite3.Connection, tenant: TenantRef, span: SpanId) -> Request | None:
        feeds = self._store.feeds
        record = find_span(conn, tenant, feeds, span)
        if record is None:
            return None
        members = self._standings.of(tenant.number)
        return read_request(conn, tenant, feeds, members, record, self._world.now_ms())


def _asked(request: Request) -> Mapping[str, object]:
    held = request.fired.held
    assert held is not None
    return {
        "id": b32encode(request.id),
        "node": _node(request.node_key),
        "set": held.set,
        "rule": held.rule,
        "text": held.text,
        "role": held.role,
        "of": held.of,
        "until": time_text(held.until_ms),
    }


def _node(node_key: bytes) -> str:
    return format_logline(LogLine(logline(LogLineKind.NODE, node_key)))
