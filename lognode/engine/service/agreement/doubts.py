"""Feeds of this node that may go on elsewhere, because it may be a copy of itself from another time.

Says after a start which own feeds are in doubt, and lifts a doubt once all other members have shown that they hold no
more of the feed than is here; a write waits for that for a moment only. Invariant: in a feed that is in doubt nothing
is written; the doubt is durable before the mark by which the next start would find nothing amiss.
Source: docs/protocol.md, Epochs.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, NamedTuple

import structlog
import trio

from lognode.core.access import Level
from lognode.core.clock import hlc_ms, is_ahead
from lognode.core.ids import FeedId, b32encode
from lognode.core.limits import DOUBT_S
from lognode.core.world import World
from lognode.engine.service.agreement.alerts import Alerts
from lognode.engine.service.writing.ledger import Ledger
from lognode.timeline.agreement.continuity import Continuity, ending_at_start
from lognode.timeline.members import Membership
from lognode.timeline.record import TenantRef
from lognode.timeline.state import CLONED, CONTINUITY, DOUBT
from lognode.timeline.store.agreement.continuity import write_mark
from lognode.timeline.store.database import Store
from lognode.timeline.store.write import newest_position

_log = structlog.get_logger(__name__)


FeedOpened = tuple[FeedId, int]  # a feed, and the HLC of its entry 0


class Beginning(NamedTuple):
    """How this process begins: what became of the node, the mark to leave once that is dealt with, patience."""

    continuity: Continuity = "plain"
    mark: bytes | None = None
    doubt_s: float = DOUBT_S  # so long a write waits for other members
    note: Callable[[int], None] = lambda _count: None  # told how many spans are committed


ORDINARY: Final = Beginning()


class Doubts:
    """The doubts of all tenants of a node."""

    def __init__(
        self, store: Store, ledger: Ledger, world: World, own_key: bytes, beginning: Beginning, alerts: Alerts
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._world = world
        self._own_key = own_key
        self._beginning = beginning
        self._alerts = alerts
        self._begun_ms = world.now_ms()
        self._opened = set[FeedId]()  # by this process, so that no other one writes there
        self._vouched: dict[int, set[bytes]] = {}  # by tenant: members that answered; no entry: nothing is in doubt
        self._lifted: dict[int, trio.Event] = {}
        self._unjudged = set[int]()
        self._positions: dict[int, int] = {}  # of the newest committed span, by tenant
        self._until = 0.0  # trio's clock

    async def begin(self, tenant: TenantRef) -> None:
        """Judge the open feed of a tenant at the start. Raises NodeFault, sqlite3.Error."""
        self._until = trio.current_time() + self._beginning.doubt_s
        self._unjudged.add(tenant.number)
        self._positions[tenant.number] = await self._store.write(newest_position, tenant.number)
        await self.ensure(tenant)

    async def ensure(self, tenant: TenantRef) -> None:
        """Judge the open feed of a tenant if that failed at the start. Raises NodeFault, sqlite3.Error."""
        if tenant.number in self._unjudged:
            await self._judge(tenant)
            self._unjudged.remove(tenant.number)

    async def _judge(self, tenant: TenantRef) -> None:
        state, members = await self._ledger.state(tenant), (await self._ledger.book(tenant)).members
        if state.head is None or state.ending not in {None, DOUBT}:
            return
        if self._beginning.continuity == "moved":
            feed = b32encode(state.head.feed.feed_id)
            # First, since a start that finds the feed ended tells nothing.
            await self._alerts.tell(tenant, "identity.copied", f"other files than at the last start; feed {feed} ends")
            await self._ledger.end_feed(tenant, CONTINUITY)
            return
        found, has_others = self._beginning.continuity, bool(_others(members, self._own_key))
        is_suspect = is_ahead(state.head.hlc, self._world.now_ms())
        ending = ending_at_start(state.ending, found, has_others=has_others, is_ahead=is_suspect)
        if ending != state.ending:
            await self._ledger.end_feed(tenant, ending)
            state = await self._ledger.state(tenant)
        if state.ending == DOUBT:
            self._vouched[tenant.number] = set()
            self._lifted[tenant.number] = trio.Event()

    def count(self, positions: Mapping[int, int]) -> None:
        """Count what is committed, now that tenants have come so far; for the writing connection's thread."""
        self._positions.update(positions)
        if not self._unjudged:
            self._beginning.note(sum(self._positions.values()))

    async def end_beginning(self) -> None:
        """Leave the mark of this start if all tenants were judged; else the next start judges them again."""
        if self._unjudged:
            return
        try:
            if self._beginning.mark is not None:
                await self._store.write(write_mark, self._beginning.mark)
        except sqlite3.Error as error:
            _log.warning("continuity_not_stored", error=str(error))
        else:
            self.count({})

    def is_in_doubt(self, tenant: TenantRef) -> bool:
        """Whether a tenant's feed is in doubt still."""
        return tenant.number in self._lifted

    async def wait(self, tenant: TenantRef) -> None:
        """Return once a tenant's feed is in no doubt, or nobody is waited for any longer."""
        lifted = self._lifted.get(tenant.number)
        if lifted is not None:
            with trio.move_on_at(self._until):
                await lifted.wait()

    async def vouch(
        self, tenant: TenantRef, node_key: bytes, take_turn: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
    ) -> None:
        """Take note that a member holds no more of this node's open feed than is here; it was asked since the start.

        `take_turn` does something between the writer's commits. Raises NodeFault.
        """
        vouched = self._vouched.get(tenant.number)
        if vouched is None or node_key in vouched:
            return
        vouched.add(node_key)

        async def lift() -> None:
            members = (await self._ledger.book(tenant)).members
            if _others(members, self._own_key) <= vouched:
                if (await self._ledger.state(tenant)).ending == DOUBT:
                    await self._ledger.end_feed(tenant, None)
                    _log.info("continuity_confirmed", tenant=b32encode(tenant.tenant_id), members=len(vouched))
                self.settle(tenant)

        await take_turn(lift)

    def note_opened(self, feed: FeedId) -> None:
        """This process opened a feed."""
        self._opened.add(feed)

    async def end_shared(self, tenant: TenantRef, detail: str) -> None:
        """Let nothing follow in the open feed, unless this process opened it: another one may write there too.

        For whoever has the turn. Raises NodeFault, sqlite3.Error.
        """
        state = await self._ledger.state(tenant)
        if state.head is not None and state.ending in {None, DOUBT} and state.head.feed.feed_id not in self._opened:
            await self._ledger.end_feed(tenant, CLONED)
        await self._alerts.tell(tenant, "identity.cloned", detail)

    async def judge_taken(
        self, tenant: TenantRef, before: str | None, after: str | None, opened: Iterable[FeedOpened]
    ) -> None:
        """Tell the owner what own feeds that came from others show: the open feed ended by them, or some are new."""
        if after == CLONED != before:
            await self._alerts.tell(tenant, "identity.cloned", "the feed that this node writes goes on elsewhere")
            return
        if after == CONTINUITY != before:
            await self._alerts.tell(tenant, "identity.copied", "others hold more of what this node wrote than it does")
        for feed, hlc in opened:
            if hlc_ms(hlc) > self._begun_ms:
                detail = f"feed {b32encode(feed)} was opened elsewhere while this process ran"
                await self._alerts.tell(tenant, "identity.cloned", detail)

    def settle(self, tenant: TenantRef) -> None:
        """Wait for nobody any longer: the doubt is lifted, or a new feed makes it no matter."""
        self._vouched.pop(tenant.number, None)
        lifted = self._lifted.pop(tenant.number, None)
        if lifted is not None:
            lifted.set()


def _others(members: Membership, own_key: bytes) -> set[bytes]:
    """The other members, all of which may hold spans."""
    return {key for key in members.members if key != own_key and members.level(key) >= Level.OBSERVER}
