"""How subjects look in JSON: their values, their conflicts, and how far they are settled."""

import sqlite3
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType

from lognode.core.clock import hlc_ms, time_text
from lognode.core.ids import b32encode
from lognode.core.limits import HEADS_SHOWN_MAX, PAGE_BYTES_MAX
from lognode.timeline.agreement.subjects import Fold, Head
from lognode.timeline.control.policies import MANUAL
from lognode.timeline.members import Membership
from lognode.timeline.record import FeedRef, TenantRef, feed_of, span_json
from lognode.timeline.store.agreement.settling import settled_hlc
from lognode.timeline.store.agreement.subjects import Registers, State


class SaidJson(msgspec.Struct, frozen=True):
    """What one span says of a subject. `resolution` is the span by which somebody chose it, null where nobody did.

    `value` is missing where the body is, or where a list has no room for it.
    """

    span: str
    kind: str
    at: str
    node: str
    actor: str | None
    title: str | None
    resolution: str | None
    value: Any | UnsetType = UNSET


class ConflictJson(msgspec.Struct, frozen=True):
    """Spans of which none is known to another. `open` says that nothing holds until somebody decides.

    Of many `heads` the first are shown, the one with the greatest id first; `count` is how many there are.
    """

    policy: Literal["latest", "manual"]
    open: bool
    count: int
    heads: list[SaidJson]


class SubjectJson(msgspec.Struct, frozen=True):
    """What the spans about a subject come to. `holds` is null where nothing does.

    `settled`: nothing that is still to come can be sorted in before it. `local` is the newest private span of this node
    about it, which changes nothing of the rest. `history` is where all spans about it are.
    """

    subject: str
    holds: SaidJson | None
    settled: bool
    conflict: ConflictJson | None
    local: SaidJson | None
    history: str


class SubjectView:
    """The subjects of a tenant as JSON, in one snapshot. Bodies are shown as long as they weigh PAGE_BYTES_MAX."""

    def __init__(
        self, conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], members: Membership
    ) -> None:
        self.registers = Registers(conn, tenant, feeds, members.policies)
        self._conn = conn
        self._tenant = tenant
        self._feeds = feeds
        self._members = members
        self._settled: int | None = None
        self._room = PAGE_BYTES_MAX

    def show(self, state: State) -> SubjectJson:
        """A subject. Raises NodeFault("database.damaged")."""
        value, local = state.fold.value, state.local
        return SubjectJson(
            subject=state.subject,
            holds=self._said(value) if value else None,
            settled=self._is_settled(state.fold),
            conflict=self._conflict(state.fold) if state.fold.is_conflict else None,
            local=self._said(local) if local else None,
            history=f"/v1/tenants/{b32encode(self._tenant.tenant_id)}/spans?subject={quote(state.subject, safe='')}",
        )

    def _conflict(self, fold: Fold) -> ConflictJson:
        shown = [self._said(head) for head in fold.heads[:HEADS_SHOWN_MAX]]
        is_manual = any(self._members.policies.get(head.means.kind) == MANUAL for head in fold.heads)
        return ConflictJson("manual" if is_manual else "latest", fold.value is None, len(fold.heads), shown)

    def _is_settled(self, fold: Fold) -> bool:
        if self._settled is None:
            self._settled = settled_hlc(self._conn, self._tenant, self._feeds, self._members)
        newest = max((int.from_bytes(head.span.id[:8], "big") for head in fold.heads), default=0)
        return bool(fold.heads) and newest <= self._settled

    def _said(self, head: Head) -> SaidJson:
        record = self.registers.record(head.means)
        shown = span_json(record, feed_of(record, self._feeds), self._tenant.tenant_id)
        is_fitting = self._room >= record.weight or self._room == PAGE_BYTES_MAX
        self._room -= record.weight if is_fitting else 0
        return SaidJson(
            span=shown["id"],
            kind=shown["kind"],
            at=time_text(hlc_ms(record.hlc)),
            node=shown["node"],
            actor=shown["actor"],
            title=shown.get("title"),
            resolution=None if head.span is head.means else b32encode(head.span.id),
            value=shown.get("data", UNSET) if is_fitting else UNSET,
        )
