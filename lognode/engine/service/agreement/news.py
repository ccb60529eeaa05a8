"""What came from others and is named in no merge of this node yet, tenant by tenant.

The writer asks it before each commit of own spans, and tells it what each commit brought; who waits for news waits
here. Used between the writer's commits only, but for `due` and `wait_change`. Invariant: it is what is committed; after
a commit whose end is unknown it is forgotten.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import trio

from lognode.core.access import Level
from lognode.core.ids import FeedId
from lognode.core.limits import MERGE_FEEDS_MAX, MERGE_IDLE_S, MERGE_RETRY_S, SIZE_MAX
from lognode.core.world import World
from lognode.engine.agreement.merging import Merge, sign_merge
from lognode.engine.service.writing.ledger import Ledger, Step
from lognode.identity.keys import KeyPair, NodeKeys
from lognode.timeline.agreement.news import Fresh
from lognode.timeline.members import Membership
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.agreement.news import find_news, line_of, named_size, newest_sound
from lognode.timeline.store.database import Store

_NOTHING: Final[Mapping[FeedId, Fresh]] = {}


class News:
    """The news of all tenants."""

    def __init__(self, store: Store, ledger: Ledger, world: World, keys: NodeKeys) -> None:
        self._store = store
        self._ledger = ledger
        self._world = world
        self._keys = keys
        self._own_key = keys.public
        self._witness_keys: dict[int, KeyPair] = {}
        self._fresh: dict[int, dict[FeedId, Fresh]] = {}
        self._members: dict[int, Membership] = {}  # as of the last look
        self._cut: dict[int, dict[FeedId, int]] = {}  # how much of own feeds counted then
        self._heads: dict[int, FeedRef | None] = {}  # the feed that was open then
        self._due: dict[int, float] = {}  # tenant -> when a merge is due that no own span brings, on trio's clock
        self._changed = trio.Event()

    async def merge(self, tenant: TenantRef) -> Merge | None:
        """The merge that is called for, which becomes true with its commit; None where this node may write none.

        Raises NodeFault("database.damaged").
        """
        members = (await self._ledger.book(tenant)).members
        trees = await self._trees(tenant, members) if members.level(self._own_key) >= Level.TRUSTED else None
        if not trees:
            return None
        if tenant.number not in self._witness_keys:
            self._witness_keys[tenant.number] = self._keys.witness_key(tenant.tenant_id)
        return sign_merge(self._witness_keys[tenant.number], tenant.tenant_id, trees, self._world.now_ms())

    async def _trees(self, tenant: TenantRef, members: Membership) -> Mapping[FeedId, Fresh]:
        if members is not self._members.get(tenant.number):
            # What merges of this node had named may count no more.
            self._members[tenant.number] = members
            own = {feed: size for feed, size in _sizes(members).items() if self._is_own(tenant, feed)}
            if own != self._cut.get(tenant.number):
                self._cut[tenant.number] = own
                self._fresh.pop(tenant.number, None)
        open_feed = (await self._ledger.state(tenant)).head
        head = open_feed.feed if open_feed else None
        if head != self._heads.get(tenant.number):
            self._heads[tenant.number] = head
            self._fresh.pop(tenant.number, None)
        if tenant.number not in self._fresh:
            cuts = _sizes(members)
            self._fresh[tenant.number] = await self._store.write(find_news, tenant, self._own_key, head, cuts)
        fresh = self._fresh[tenant.number]
        return await self._choose(tenant, members, fresh) if fresh else _NOTHING

    def _is_own(self, tenant: TenantRef, feed: FeedId) -> bool:
        number = self._ledger.find_feed(tenant.number, feed)
        return number is not None and self._store.feeds[number].node_key == self._own_key

    async def _choose(
        self, tenant: TenantRef, members: Membership, fresh: dict[FeedId, Fresh]
    ) -> Mapping[FeedId, Fresh]:
        now_ms = self._world.now_ms()
        chosen: dict[FeedId, Fresh] = {}
        for feed_id, tree in list(fresh.items()):
            if len(chosen) == MERGE_FEEDS_MAX:
                break
            if tree.not_before_ms > now_ms:
                continue
            number = self._ledger.find_feed(tenant.number, feed_id)
            assert number is not None, "news is of feeds that are held"
            cut = members.cuts.get(feed_id)
            sound = tree if tree.is_sound(now_ms, cut.size if cut else None) else None
            if self._store.feeds[number].node_key not in members.members:
                fresh[feed_id] = tree.waiting(now_ms)
                continue
            if sound is None:
                fresh[feed_id] = tree.waiting(now_ms)
                line = await self._store.write(line_of, self._heads.get(tenant.number), _sizes(members))
                named = await self._store.write(named_size, line, feed_id)
                size_max = min(tree.size, cut.size if cut else SIZE_MAX)
                sound = await self._store.write(newest_sound, number, named, size_max, now_ms)
            if sound is not None:
                chosen[feed_id] = sound
        return chosen

    def keep(self, step: Step) -> None:
        """Adopt what a commit brought and named."""
        tenant = step.state.tenant.number
        fresh = self._fresh.get(tenant)
        if step.news:
            if fresh is not None:
                fresh.update(step.news)
            if tenant not in self._due:
                self._due[tenant] = trio.current_time() + MERGE_IDLE_S
                self._wake()
        if step.merged and fresh is not None:
            for item in step.merged:
                if item.feed in fresh and fresh[item.feed].size <= item.size:
                    del fresh[item.feed]
            if not fresh:
                self._due.pop(tenant, None)

    @contextmanager
    def trying(self, tenant: TenantRef) -> Iterator[None]:
        """While inside, a merge is tried for its own sake; with what is left afterwards that is done again later."""
        try:
            yield
        finally:
            if self._fresh.get(tenant.number):
                self._due[tenant.number] = trio.current_time() + MERGE_RETRY_S
            else:
                self._due.pop(tenant.number, None)

    def expect(self, tenant: int) -> None:
        """Say that nobody knows yet whether there are news of a tenant."""
        self._due.setdefault(tenant, trio.current_time() + MERGE_IDLE_S)
        self._wake()

    def due(self) -> tuple[float, int] | None:
        """When, on trio's clock, the next merge is due, and in which tenant; None where none is."""
        return min(((at, tenant) for tenant, at in self._due.items()), default=None)

    async def wait_change(self) -> None:
        """Return when a merge is due that was not before."""
        await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def forget(self) -> None:
        """Read everything again when it is needed."""
        self._fresh.clear()


def _sizes(members: Membership) -> dict[FeedId, int]:
    return {feed: cut.size for feed, cut in members.cuts.items()}
