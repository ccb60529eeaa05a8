"""What waits for approval in a tenant, wherever it waits, and saying what this node thinks of it.

Reads spans alone, so that each node shows the same of what it holds. Invariant: nobody says anything under this node's
name that would not count.
"""

import sqlite3
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from lognode.core.draft import Draft, idem_key
from lognode.core.errors import CallerError
from lognode.core.ids import LogLine, LogLineKind, SpanId, b32encode, logline, parse_span_id
from lognode.core.limits import APPROVALS_READ_MAX
from lognode.core.span import Body, decode_body
from lognode.core.world import World
from lognode.engine.commit import draft_of
from lognode.engine.receipt import AppendStopped, Receipt
from lognode.engine.ruling.approvals.counting import Answer, Asking, count, may_approve, may_deny
from lognode.engine.ruling.approvals.holding import HELD_TAG, content_of, is_as_shown
from lognode.engine.service.writer import Writer
from lognode.rules.records import APPROVE, DENY, FIRED, Fired, answer_data, note_of, parse_fired
from lognode.timeline.members import Membership
from lognode.timeline.query import Query, place_of
from lognode.timeline.record import FeedRef, Record, TenantRef, body_of, feed_of, header_of, id_of, origin_of
from lognode.timeline.store.database import Store
from lognode.timeline.store.read.lookup import find_span
from lognode.timeline.store.read.pages import select_page
from lognode.timeline.store.rules.held import answers_to, endings_of

State = Literal["waiting", "written", "denied", "expired", "rejected"]
_UNKNOWN: Final = "approval.unknown"


class Request(NamedTuple):
    """A draft that waits, or waited: who wants it, who said what, and what became of it.

    `counted` are the spans of the approvals that count; `span` is what was written in the end, which `end` tells.
    `is_sound` is false where something else is shown than would be written, or was, as far as that is held.
    """

    id: SpanId
    node_key: bytes
    visibility: int
    fired: Fired
    state: State
    answers: tuple[Answer, ...]
    counted: frozenset[SpanId]
    span: str | None
    end: SpanId | None
    is_sound: bool

    @property
    def asking(self) -> Asking:
        """Who asks whom."""
        assert self.fired.held is not None
        return Asking(self.node_key, self.fired.held.role, self.fired.held.of)


class RequestPage(NamedTuple):
    """Some requests, the newest first; behind `next` are older ones."""

    requests: list[Request]
    next: SpanId | None


class Answering:
    """What waits in the tenants of a node."""

    def __init__(self, store: Store, writer: Writer, world: World, node_key: bytes) -> None:
        self._store = store
        self._writer = writer
        self._members = writer.programs.members
        self._world = world
        self._node_key = node_key

    async def page(
        self, tenant: TenantRef, before: SpanId | None, limit: int, state: State | None = None
    ) -> RequestPage:
        """The newest requests before one, or those that are so; a page may be short, or empty, with others behind it.

        Raises CallerError("approval.unknown"), NodeFault("database.damaged").
        """
        return await self._store.read(self._page, tenant, before, limit, state)

    async def find(self, tenant: TenantRef, span: SpanId) -> Request:
        """A request by its id. Raises CallerError("approval.unknown"), NodeFault."""
        found = await self._store.read(self._find, tenant, span)
        if found is None:
            raise CallerError(_UNKNOWN, b32encode(span))
        return found

    async def answer(self, tenant: TenantRef, span: SpanId, note: str, *, is_denial: bool) -> tuple[Request, Receipt]:
        """Approve or deny what waits, in the name of this node; the request as it is then.

        A second time is a duplicate. Raises CallerError approval.unknown, approval.decided, approval.altered,
        approval.own, member.not_root, draft.invalid (the note) and NodeFault as appends do.
        """
        request, data = await self.find(tenant, span), answer_data(note)
        mine = [one for one in request.answers if one.node_key == self._node_key and one.is_denial == is_denial]
        if not mine:
            self._check(tenant, request, is_denial=is_denial)
        kind = DENY if is_denial else APPROVE
        me = LogLine(logline(LogLineKind.NODE, self._node_key))
        draft = Draft(
            kind=kind,
            data=data,
            visibility=request.visibility,
            caused_by=span,
            idem=idem_key(tenant.tenant_id, me, f"{kind} {b32encode(span)}"),
        )
        try:
            (receipt,) = await self._writer.append(tenant, [draft], wait=True)
        except AppendStopped as stopped:
            if stopped.error.code == "idempotency.mismatch":
                raise CallerError("approval.decided", "this node said so already, with another note") from stopped
            raise stopped.error from stopped
        return await self.find(tenant, span), receipt

    def _check(self, tenant: TenantRef, request: Request, *, is_denial: bool) -> None:
        """Refuse what would not count."""
        if request.state != "waiting":
            raise CallerError("approval.decided", f"it is {request.state}", extra={"state": request.state})
        if not request.is_sound and not is_denial:
            raise CallerError("approval.altered", f"by {b32encode(request.node_key)}")
        level = self._members(tenant).level(self._node_key)
        may = may_deny if is_denial else may_approve
        if may(request.asking, self._node_key, level):
            return
        if request.node_key == self._node_key and request.asking.of > 1:
            raise CallerError("approval.own", f"it takes {request.asking.of} others")
        raise CallerError("member.not_root", "only root members approve and deny")

    def _page(
        self, conn: sqlite3.Connection, tenant: TenantRef, before: SpanId | None, limit: int, state: State | None
    ) -> RequestPage:
        place, feeds = None, self._store.feeds
        if before is not None:
            record = find_span(conn, tenant, feeds, before)
            if record is None:
                raise CallerError(_UNKNOWN, b32encode(before))
            place = place_of(record, feeds, "timeline")
        found: list[Request] = []
        last: Record | None = None
        query = Query(kinds=(FIRED,), tags=(HELD_TAG,), limit=APPROVALS_READ_MAX)
        page = select_page(conn, tenant, feeds, query, before=place)
        for last in page.records:
            request = self._request(conn, tenant, last)
            found += [request] if request is not None and state in (None, request.state) else []
            if len(found) == limit:
                break
        is_more = last is not None and (page.is_cut or last is not page.records[-1])
        return RequestPage(found, id_of(last, feed_of(last, feeds).feed_id) if is_more and last else None)

    def _find(self, conn: sqlite3.Connection, tenant: TenantRef, span: SpanId) -> Request | None:
        record = find_span(conn, tenant, self._store.feeds, span)
        return None if record is None else self._request(conn, tenant, record)

    def _request(self, conn: sqlite3.Connection, tenant: TenantRef, record: Record) -> Request | None:
        return read_request(conn, tenant, self._store.feeds, self._members(tenant), record, self._world.now_ms())


def read_request(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feeds: Mapping[int, FeedRef],
    members: Membership,
    record: Record,
    now_ms: int,
) -> Request | None:
    """What a firing tells of a draft that waits, with what followed; None where it tells of none, or does not count.

    Raises NodeFault("database.damaged").
    """
    feed = feed_of(record, feeds)
    fired = _fired(record)
    cut = members.cuts.get(feed.feed_id)
    if fired is None or fired.held is None or (cut is not None and record.seq >= cut.size):
        return None
    if origin_of(record) is not None:
        return None  # a copy of one that lost its effect: its draft waits under no id any more
    span = id_of(record, feed.feed_id)
    answers = tuple(
        Answer(id_of(one, feeds[one.feed].feed_id), feeds[one.feed].node_key, _kind(one) == DENY, note_of(body.data))
        for one in answers_to(conn, tenant, span, (APPROVE, DENY))
        if (body := _body(one)) is not None
    )
    counted = count(Asking(feed.node_key, fired.held.role, fired.held.of), answers, members.level)
    told = [(one, _fired(one)) for one in endings_of(conn, tenant, span, feed.node_key, FIRED)]
    ends = ((one, fired) for one, fired in told if fired is not None and fired.outcome is not None)
    ended, end = next(ends, (None, None))
    state: State = "waiting"
    if end is not None and end.outcome is not None:
        state = end.outcome
    elif now_ms >= fired.held.until_ms:
        state = "expired"
    spans = frozenset(one.span for one in counted.approvals)
    told_by = None if ended is None else id_of(ended, feed_of(ended, feeds).feed_id)
    written = end.span if end else None
    is_sound = is_as_shown(fired.held) and _is_as_signed(conn, tenant, feeds, written, fired.held.signed)
    return Request(span, feed.node_key, record.visibility, fired, state, answers, spans, written, told_by, is_sound)


def _is_as_signed(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], written: str | None, signed: str
) -> bool:
    """Whether what was written is what it was said to be; also true where it is not held."""
    record = None if written is None else find_span(conn, tenant, feeds, parse_span_id(written))
    if record is None or _body(record) is None:
        return True
    return content_of(draft_of(record)) == signed


def _kind(record: Record) -> str:
    return header_of(record).kind


def _body(record: Record) -> Body | None:
    raw = body_of(record, header_of(record))
    try:
        return decode_body(raw) if raw else None
    except CallerError:
        return None


def _fired(record: Record) -> Fired | None:
    """What a node tells in a firing; None where a span is none."""
    header, body = header_of(record), _body(record)
    if header.kind != FIRED or header.actor is not None or body is None:
        return None
    try:
        return parse_fired(body.data)
    except CallerError:
        return None
