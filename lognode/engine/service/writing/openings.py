"""Opens feeds of this node: whether it may write, whether it may go on where it was, and why not.

Invariant: a feed is opened by a commit of its own, so that whatever is planned next follows what is durable.
"""

from collections.abc import Awaitable, Callable, Sequence

from lognode.core.access import Level
from lognode.core.clock import hlc_from_ms, is_ahead
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId
from lognode.core.limits import CLOCK_AHEAD_MS_MAX
from lognode.core.world import World
from lognode.engine.commit import AppendPlan
from lognode.engine.control.book import Book
from lognode.engine.control.opening import NONCES_BYTES, Moment, controls_of, plan_feed
from lognode.engine.service.agreement.doubts import Doubts
from lognode.engine.service.writing.ledger import Ledger, Step
from lognode.identity.keys import NodeKeys
from lognode.timeline.agreement.continuity import reason_to_open
from lognode.timeline.record import TenantRef
from lognode.timeline.state import TenantState
from lognode.timeline.store.database import Store
from lognode.timeline.store.write import find_newest_hlc


class Openings:
    """The open feeds of all tenants, opened when something is to be written."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        doubts: Doubts,
        keys: NodeKeys,
        world: World,
        commit: Callable[[Sequence[Step]], Awaitable[None]],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._doubts = doubts
        self._keys = keys
        self._world = world
        self._commit = commit

    async def state(self, tenant: TenantRef) -> TenantState:
        """The state of a tenant in whose open feed this node may write, opened where there is none.

        Raises CallerError member.observer or member.removed.
        """
        await self._doubts.ensure(tenant)
        state, book = await self._ledger.state(tenant), await self._ledger.book(tenant)
        level = book.members.level(self._keys.public)
        if level is Level.OBSERVER:
            raise CallerError("member.observer")
        if level < Level.TRUSTED:
            raise CallerError("member.removed")
        if state.head is None:
            return await self._open(state, "first")
        if state.ending:
            self._doubts.settle(tenant)
        is_cut, is_late = state.head.feed.feed_id in book.members.cuts, is_ahead(state.hlc, self._world.now_ms())
        reason = reason_to_open(state.ending, is_cut=is_cut, is_ahead=is_late)
        return await self._open(state, reason) if reason else state

    async def _open(self, state: TenantState, reason: str) -> TenantState:
        """The tenant's state in a new feed of this node."""
        now_ms = self._world.now_ms()
        beyond = hlc_from_ms(now_ms + CLOCK_AHEAD_MS_MAX)
        # It goes on from what is known to be sound, so that nothing comes before what others have seen settled.
        hlc = await self._store.write(find_newest_hlc, state.tenant.number, beyond)
        book, numbers = await self._ledger.book(state.tenant), await self._ledger.numbers()
        plan = plan_feed(self._keys, state._replace(hlc=hlc), numbers, book.after(None), reason, self.moment())
        await self._commit([self.step(plan, book)])
        assert plan.state.head is not None
        self._doubts.note_opened(plan.state.head.feed.feed_id)
        return plan.state

    def step(self, plan: AppendPlan, book: Book) -> Step:
        """A plan of control spans alone, with what follows from these."""
        assert plan.state.head is not None
        number, feed = plan.state.tenant.number, plan.state.head.feed
        book = book.extended(controls_of(plan, self._keys.public))

        def find_feed(feed_id: FeedId) -> int | None:
            return feed.number if feed_id == feed.feed_id else self._ledger.find_feed(number, feed_id)

        verdicts = book.verdicts(number, find_feed)
        return step_of(plan._replace(write=plan.write._replace(verdicts=[verdicts])), book)

    def moment(self) -> Moment:
        """What a plan needs of the world."""
        return Moment(self._world.now_ms(), self._world.random_bytes(NONCES_BYTES))


def step_of(plan: AppendPlan, book: Book | None = None) -> Step:
    """A plan as a part of one commit, with the book that it changes."""
    assert plan.state.head is not None
    return Step(plan.write, plan.state, plan.numbers, book, [plan.state.head], merged=plan.merged)
