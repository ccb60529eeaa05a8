"""What the writer knows: where tenants and feeds stand, and what their control spans say.

Read from the database when asked for the first time, then kept. Invariant: it is what is committed; after a commit
whose end is unknown all of it is forgotten.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from lognode.core.clock import hlc_from_ms, is_ahead
from lognode.core.ids import FeedId
from lognode.core.limits import CLOCK_AHEAD_MS_MAX, LEDGER_FEEDS_MAX
from lognode.core.world import World
from lognode.engine.control.book import Book, empty_book
from lognode.engine.ingest.plan import Ground
from lognode.engine.service.standings import Standings
from lognode.timeline.agreement.merges import Merged
from lognode.timeline.agreement.news import Fresh
from lognode.timeline.record import TenantRef
from lognode.timeline.state import FeedState, Numbers, TenantState, WritePlan
from lognode.timeline.store.agreement.continuity import replace_ending
from lognode.timeline.store.controls import foretold_controls, held_controls, read_evidence
from lognode.timeline.store.database import Store
from lognode.timeline.store.write import find_newest_hlc, find_note, load_feed, load_numbers, load_tenant


class Step(NamedTuple):
    """Part of one commit, about one tenant: what to write, and what is so once that is committed."""

    write: WritePlan
    state: TenantState
    numbers: Numbers
    book: Book | None  # None: as before
    feeds: Sequence[FeedState]  # those that grew
    news: Mapping[FeedId, Fresh] = MappingProxyType({})  # what no merge names yet
    merged: Sequence[Merged] = ()  # what a merge in it names


class Ledger:
    """The state of every tenant."""

    def __init__(self, store: Store, world: World, standings: Standings, own_key: bytes) -> None:
        self._store = store
        self._world = world
        self._standings = standings
        self._own_key = own_key
        self._states: dict[int, TenantState] = {}
        self._books: dict[int, Book] = {}
        self._feeds: OrderedDict[FeedId, FeedState] = OrderedDict()  # the one used longest ago comes first
        self._feed_numbers: dict[FeedId, int] = {}
        self._numbers: Numbers | None = None

    async def state(self, tenant: TenantRef) -> TenantState:
        """Where a tenant stands; its time follows what is held of others, as far as that is not ahead of now."""
        state = self._states.get(tenant.number)
        now_ms = self._world.now_ms()
        if state is None or (is_ahead(state.hlc, now_ms) and state.head and not is_ahead(state.head.hlc, now_ms)):
            state = await self._store.write(load_tenant, tenant)
            beyond = hlc_from_ms(now_ms + CLOCK_AHEAD_MS_MAX)
            newest = await self._store.write(find_newest_hlc, tenant.number, beyond)
            state = self._states[tenant.number] = state._replace(hlc=max(state.hlc, newest))
        return state

    async def end_feed(self, tenant: TenantRef, reason: str | None) -> None:
        """Have the open feed of a tenant end for this reason, or for none, durably; for whoever has the turn."""
        state = await self.state(tenant)
        assert state.head is not None
        await self._store.write(replace_ending, state.head.feed.feed_id, state.ending, reason)
        self._states[tenant.number] = state._replace(ending=reason)

    async def book(self, tenant: TenantRef) -> Book:
        """The control spans of a tenant. Raises NodeFault("database.damaged")."""
        if tenant.number not in self._books:
            held = await self._store.write(held_controls, tenant, self._store.feeds)
            foretold = await self._store.write(foretold_controls, tenant, self._store.feeds)
            found = await self._store.write(read_evidence, tenant)
            book = empty_book(tenant.tenant_id).extended(held, foretold)
            book = book.proven({feed: proof.seq for feed, proof in found.items()})
            self._keep_book(tenant.number, book)
        return self._books[tenant.number]

    async def numbers(self) -> Numbers:
        """The next free numbers."""
        if self._numbers is None:
            self._numbers = await self._store.write(load_numbers)
        return self._numbers

    def use_up(self, numbers: Numbers) -> None:
        """Give no number below these again, also where a plan used them that is not committed yet."""
        self._numbers = numbers if self._numbers is None else Numbers(*map(max, self._numbers, numbers))

    async def ground(self, tenant: TenantRef, feeds: Collection[FeedId]) -> Ground:
        """What a batch that names these feeds is judged by. Raises NodeFault("database.damaged")."""
        state = await self.state(tenant)
        held: dict[FeedId, FeedState] = {}
        for feed_id in feeds:
            number = self.find_feed(tenant.number, feed_id)
            if number is None:
                continue
            if state.head and number == state.head.feed.number:
                held[feed_id] = state.head
            elif feed_id in self._feeds:
                self._feeds.move_to_end(feed_id)
                held[feed_id] = self._feeds[feed_id]
            else:
                held[feed_id] = await self._store.write(load_feed, self._store.feeds[number])
                self._keep_feed(held[feed_id])
        book = await self.book(tenant)
        now_ms = self._world.now_ms()
        return Ground(
            state,
            await self.numbers(),
            book,
            held,
            lambda feed_id: self.find_feed(tenant.number, feed_id),
            self._own_key,
            now_ms,
        )

    def find_feed(self, tenant: int, feed_id: FeedId) -> int | None:
        """The number of a feed of a tenant, if it is held."""
        feeds = self._store.feeds
        if len(self._feed_numbers) != len(feeds):
            self._feed_numbers = {feed.feed_id: number for number, feed in feeds.items()}
        number = self._feed_numbers.get(feed_id)
        return number if number is not None and feeds[number].tenant == tenant else None

    def keep(self, step: Step) -> None:
        """Adopt what a commit made."""
        state = step.state
        self._states[state.tenant.number] = state
        self.use_up(step.numbers)
        for feed in step.feeds:
            if state.head is None or feed.feed != state.head.feed:
                self._keep_feed(feed)
        if step.book is not None:
            self._keep_book(state.tenant.number, step.book)

    async def is_durable(self, write: WritePlan) -> bool:
        """Whether a COMMIT that reported an error took place all the same."""
        for feed, size, note in write.checkpoints:
            if await self._store.write(find_note, feed, size) != note:
                return False
        return bool(write.checkpoints)

    def _keep_book(self, tenant: int, book: Book) -> None:
        self._books[tenant] = book
        self._standings.publish(tenant, book.members)

    def _keep_feed(self, feed: FeedState) -> None:
        self._feeds[feed.feed.feed_id] = feed
        self._feeds.move_to_end(feed.feed.feed_id)
        if len(self._feeds) > LEDGER_FEEDS_MAX:
            self._feeds.popitem(last=False)

    def forget(self) -> None:
        """Read everything again when it is needed."""
        self._states.clear()
        self._books.clear()
        self._feeds.clear()
        self._feed_numbers.clear()
        self._numbers = None
