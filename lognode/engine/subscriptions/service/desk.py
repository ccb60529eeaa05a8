"""The named subscriptions of a node: making, finding and deleting them, and what they parked.

Invariant: of each there is one value while the node runs, however many ask for it at once.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog
import trio

from lognode.core.errors import CallerError, LognodeError
from lognode.core.ids import SpanId, parse_span_id
from lognode.core.limits.subscriptions import (
    SUBSCRIPTION_CALL_WAIT_S,
    SUBSCRIPTION_REPLAYED_MAX,
)
from lognode.core.world import World
from lognode.engine.service.heads import Heads
from lognode.engine.subscriptions.progress import Parked
from lognode.engine.subscriptions.service.sharing import Sharing, Standing
from lognode.engine.subscriptions.store import (
    called_subscriptions,
    delete_subscription,
    insert_subscription,
    list_parked,
    list_subscriptions,
    load_subscription,
    position_at,
)
from lognode.engine.subscriptions.subscription import Parameters, Terms, check_terms, new_subscription
from lognode.engine.tasks.service.webhooks import Webhooks
from lognode.timeline.query import lineage_of, parse_time
from lognode.timeline.record import TenantRef, feed_of, id_of
from lognode.timeline.store.database import Store
from lognode.timeline.store.read.lookup import find_place, find_span, records_at
from lognode.timeline.store.read.pages import select_new

BEGINNING: Final = "beginning"
NOW: Final = "now"
_log = structlog.get_logger(__name__)


class ParkedSpan(NamedTuple):
    """A span that is parked, by its id; None where it is not held any more."""

    id: SpanId | None
    parked: Parked
    is_again: bool


class Subscriptions:
    """The subscriptions of all tenants of a node."""

    def __init__(self, store: Store, heads: Heads, world: World, webhooks: Webhooks, node_public: bytes) -> None:
        self._store = store
        self._heads = heads
        self._world = world
        self._webhooks = webhooks
        self._node_public = node_public
        self._sharing: dict[tuple[int, str], Sharing] = {}
        self._finding = trio.Lock()
        self.changed = trio.Event()  # set once there is another one

    async def create(
        self,
        tenant: TenantRef,
        name: str,
        parameters: Parameters,
        *,
        start: str = NOW,
        webhook: str | None = None,
        terms: Terms | None = None,
    ) -> Sharing:
        """A new subscription.

        Raises CallerError subscription.invalid, subscription.exists, subscription.too_many, webhook.unknown,
        filter.invalid, search.off, or what a start does that is none.
        """
        if webhook is not None:
            self._webhooks.check_name(webhook)
        terms = terms or Terms()
        check_terms(terms)
        if webhook is not None:
            # A call ends by itself, perhaps after others that it has to wait for.
            terms = terms._replace(ack_wait_ms=1000 * SUBSCRIPTION_CALL_WAIT_S)
        checkpoint, now_ms = await self._find_start(tenant, start), self._world.now_ms()
        fresh = new_subscription(
            tenant.number, name, parameters, webhook=webhook, terms=terms, checkpoint=checkpoint, now_ms=now_ms
        )
        # Words are not looked for where there is no full text: that is said now, not to each who consumes it.
        await self._store.read(select_new, tenant, fresh.query, self._heads.position(tenant.number), 1)
        await self._store.write(insert_subscription, fresh)
        sharing = await self.find(tenant, name)
        self.changed.set()
        self.changed = trio.Event()
        return sharing

    async def find(self, tenant: TenantRef, name: str) -> Sharing:
        """A subscription by its name. Raises CallerError("subscription.unknown"), NodeFault("database.damaged")."""
        key = (tenant.number, name)
        async with self._finding:
            sharing = self._sharing.get(key)
            if sharing is None or sharing.ended.is_set():
                held, parked = await self._store.write(load_subscription, *key)
                sharing = Sharing(self._store, self._heads, self._world, tenant, held, parked)
                self._sharing[key] = sharing
        return sharing

    async def standings(self, tenant: TenantRef) -> list[Standing]:
        """How all subscriptions of a tenant are, by name. Raises NodeFault("database.damaged")."""
        names = [held.name for held in await self._store.read(list_subscriptions, tenant.number)]
        found = []
        for name in names:
            try:
                found.append((await self.find(tenant, name)).standing())
            except CallerError:
                _log.debug("subscription_deleted_meanwhile", name=name)
        return found

    async def called(self) -> list[tuple[TenantRef, str]]:
        """Tenant and name of those that call webhooks."""
        tenants = {tenant.number: tenant for tenant in self._store.tenants.values()}
        found = await self._store.read(called_subscriptions)
        return [(tenants[number], name) for number, name in found if number in tenants]

    async def delete(self, tenant: TenantRef, name: str) -> Standing:
        """The subscription that is no more, nor what it parked; it ends for all who consume it. Raises CallerError."""
        sharing = await self.find(tenant, name)
        standing = sharing.standing()
        async with self._finding:
            await self._store.write(delete_subscription, tenant.number, name)
            sharing.end(CallerError("subscription.unknown", f"{name!r}"))
            self._sharing.pop((tenant.number, name), None)
        return standing

    async def reset(self, tenant: TenantRef, name: str, start: str) -> Standing:
        """The subscription once it begins at another place. Raises as `create` and `find` do."""
        sharing = await self.find(tenant, name)
        await sharing.reset(await self._find_start(tenant, start))
        return sharing.standing()

    async def parked(self, tenant: TenantRef, name: str, after: int, limit: int) -> list[ParkedSpan]:
        """What a subscription parked, by arrival, behind a position. Raises as `find` does."""
        sharing = await self.find(tenant, name)
        await sharing.save()  # what a connection that ended left behind may be parked, and no row says so yet
        return await self._store.read(self._parked, tenant, name, after, limit)

    async def replay(self, tenant: TenantRef, name: str, spans: Sequence[str] | None) -> int:
        """How many parked spans are tried again: of these, or of all. Raises CallerError id.malformed and as `find`."""
        sharing = await self.find(tenant, name)
        if spans is None:
            return await sharing.replay(None)
        if len(spans) > SUBSCRIPTION_REPLAYED_MAX:
            raise CallerError("subscription.invalid", f"at most {SUBSCRIPTION_REPLAYED_MAX} at once", place="spans")
        wanted = [parse_span_id(text) for text in spans]
        return await sharing.replay(await self._store.read(self._positions, tenant, wanted))

    def _positions(self, conn: sqlite3.Connection, tenant: TenantRef, spans: Sequence[SpanId]) -> list[int]:
        found = [find_span(conn, tenant, self._store.feeds, span) for span in spans]
        return [record.position for record in found if record is not None]

    def _parked(
        self, conn: sqlite3.Connection, tenant: TenantRef, name: str, after: int, limit: int
    ) -> list[ParkedSpan]:
        found = []
        for row in list_parked(conn, tenant.number, name, after, limit):
            position = row.parked.position
            records = records_at(conn, tenant, position, position + 1)
            span = id_of(records[0], feed_of(records[0], self._store.feeds).feed_id) if records else None
            found.append(ParkedSpan(span, row.parked, row.is_again))
        return found

    async def _find_start(self, tenant: TenantRef, start: str) -> int:
        """The position behind which a subscription begins: a word, the id of the first span, a cursor, or a time.

        Raises CallerError("subscription.invalid"), "cursor.foreign" or "cursor.invalid".
        """
        if start == BEGINNING:
            return 0
        newest = self._heads.position(tenant.number)
        if start == NOW:
            return newest
        try:
            return await self._store.read(self._find_place, tenant, start, newest)
        except LognodeError as error:
            if error.code in {"cursor.foreign", "cursor.invalid", "subscription.invalid"}:
                raise type(error)(error.code, error.detail, place="start") from None
            raise

    def _find_place(self, conn: sqlite3.Connection, tenant: TenantRef, start: str, newest: int) -> int:
        try:
            record = find_span(conn, tenant, self._store.feeds, parse_span_id(start))
        except CallerError:
            record = None
        if record is not None:
            return record.position - 1
        try:
            return min(newest, position_at(conn, tenant, parse_time(start)))
        except CallerError:
            lineage = lineage_of(self._node_public, tenant, self._store.feeds)
        try:
            cursor = find_place(conn, lineage, start)
        except CallerError as error:
            if error.code == "cursor.foreign":
                raise
            detail = f"{start!r:.80} is none of {BEGINNING}, {NOW}, a span's id, a cursor of arrival order, a time"
            raise CallerError("subscription.invalid", detail) from None
        if cursor.order != "arrival":
            raise CallerError("cursor.invalid", "a subscription goes on from a cursor of arrival order")
        return min(newest, cursor.number)
