"""Restores own spans that a fork, or an invite used too often, left without effect, as copies in the open feed.

Watches the memberships, and copies what stands beyond the end of own feeds, in order, each span once: what was copied
is found by the id of its original. What another copy of this node wrote beyond a fork, and others gave, is copied once
that copy had time to do so itself. Invariant: a span is copied again only where the commit of its copy is known not to
have taken place.
Source: docs/protocol.md, Restoring.
"""

import sqlite3
from collections.abc import Callable
from typing import Final

import structlog
import trio

from lognode.core.access import Level
from lognode.core.draft import Draft
from lognode.core.errors import CallerError, LognodeError
from lognode.core.ids import SpanId, b32encode
from lognode.core.limits import GROUP_BYTES_MAX, RESTORE_LOOK_S, RESTORE_OTHERS_S
from lognode.core.span import is_control
from lognode.engine.receipt import AppendStopped
from lognode.engine.service.standings import Standings
from lognode.engine.service.writer import Writer
from lognode.timeline.agreement.restoring import STRANDING, renewed_data, restored_draft
from lognode.timeline.members import Membership
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.agreement.stranded import Part, read_stranded, read_stranded_branch
from lognode.timeline.store.database import Store
from lognode.timeline.store.read.ranges import read_tips

_log = structlog.get_logger(__name__)


Read = Callable[[sqlite3.Connection, TenantRef, FeedRef, int], Part]


def _branch(tip: bytes) -> Read:
    return lambda conn, tenant, feed, start: read_stranded_branch(conn, tenant, feed, tip, start)


class Restorer:
    """The task that restores, for all tenants of a node."""

    patience_s = float(RESTORE_OTHERS_S)

    def __init__(self, store: Store, writer: Writer, standings: Standings, own_key: bytes) -> None:
        self._store = store
        self._writer = writer
        self._standings = standings
        self._own_key: Final = own_key
        # By feed, or by the end of another history of it: the cut, and how far it was gone through beyond that.
        self._done: dict[bytes, tuple[int, int]] = {}
        self._seen: dict[bytes, float] = {}  # other histories: since when they are known, by trio's clock
        self._changed = trio.Event()

    async def run(self) -> None:
        """Restore until cancelled."""
        with self._standings.telling(self._heed):
            while True:
                self._changed = trio.Event()
                for tenant in sorted(set(self._store.tenants.values())):
                    try:
                        await self.restore(tenant)
                    except LognodeError as error:
                        _log.warning("restore_failed", tenant=b32encode(tenant.tenant_id), code=error.code)
                with trio.move_on_after(RESTORE_LOOK_S):
                    await self._changed.wait()

    def _heed(self) -> None:
        self._changed.set()

    async def restore(self, tenant: TenantRef) -> int:
        """How many spans of a tenant were restored now. Raises LognodeError."""
        members = self._standings.of(tenant.number)
        if members.level(self._own_key) < Level.TRUSTED:
            return 0
        restored = 0
        for feed in sorted(self._store.feeds.values()):
            cut = members.cuts.get(feed.feed_id) if feed.own and feed.tenant == tenant.number else None
            if cut is not None and cut.reason in STRANDING:
                restored += await self._restore_feed(tenant, feed, cut.size, feed.feed_id, read_stranded)
                for tip in await self._store.read(read_tips, feed):
                    if self._is_left(tip):
                        restored += await self._restore_feed(tenant, feed, cut.size, tip, _branch(tip))
        return restored

    def _is_left(self, tip: bytes) -> bool:
        """Whether the copy of this node that wrote another history had time to restore that itself."""
        now = trio.current_time()
        return now - self._seen.setdefault(tip, now) >= self.patience_s

    async def _restore_feed(self, tenant: TenantRef, feed: FeedRef, cut: int, name: bytes, read: Read) -> int:
        known_cut, start = self._done.get(name, (cut, cut))
        if known_cut != cut:
            start = cut
        restored = 0
        while True:
            part = await self._store.read(read, tenant, feed, start)
            if part.stop == start:
                break
            drafts = [restored_draft(tenant.tenant_id, stranded) for stranded in part.spans]
            restored += await self._append(tenant, [draft for draft in drafts if draft is not None])
            start = part.stop
            self._done[name] = cut, start
        if restored:
            detail = f"{restored:,} spans of feed {b32encode(feed.feed_id)} from entry {cut} on"
            await self._writer.alerts.tell(tenant, "feed.restored", detail, restored)
        return restored

    async def _append(self, tenant: TenantRef, drafts: list[Draft]) -> int:
        """How many of these were written."""
        written = weight = 0
        batch: list[Draft] = []
        for draft in drafts:
            if batch and (is_control(draft.kind) or weight + draft.content_bytes() > GROUP_BYTES_MAX):
                written += await self._append_batch(tenant, batch)
                batch, weight = [], 0
            if is_control(draft.kind):
                written += await self._append_control(tenant, draft)
            else:
                batch.append(draft)
                weight += draft.content_bytes()
        return written + (await self._append_batch(tenant, batch) if batch else 0)

    async def _append_batch(self, tenant: TenantRef, batch: list[Draft]) -> int:
        try:
            return len(await self._writer.append(tenant, batch, wait=True))
        except AppendStopped as stopped:
            raise stopped.error from stopped

    async def _append_control(self, tenant: TenantRef, draft: Draft) -> int:
        """1 where a control span was written again; 0 where it has no effect any longer."""

        def build(_members: Membership, after: list[SpanId]) -> bytes:
            return renewed_data(draft.data, after)

        try:
            await self._writer.append_control(tenant, draft.kind, build, like=draft)
        except CallerError as error:
            if error.code != "control.void":
                raise
            return 0
        return 1
