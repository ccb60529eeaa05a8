"""One named subscription while a node runs, shared by all who consume it.

It reads behind the timeline, woken by commits, no further than its consumers have room. Invariants: nobody is told that
something is settled before rows say so; once rows could not be written, or it is deleted, it does nothing more.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import NamedTuple

import msgspec
import trio

from lognode.core.errors import CallerError
from lognode.core.limits import (
    TAIL_BATCH_BYTES_MAX,
)
from lognode.core.limits.subscriptions import (
    SUBSCRIPTION_CONSUMERS_MAX,
    SUBSCRIPTION_LOOK_S,
    SUBSCRIPTION_STEP_SPANS,
)
from lognode.core.span import PRIVATE
from lognode.core.world import World
from lognode.engine.service.heads import Heads
from lognode.engine.subscriptions.progress import Handed, Outcome, Progress
from lognode.engine.subscriptions.store import ask_again, next_again, read_spans, save_changes, save_reset
from lognode.engine.subscriptions.subscription import Subscription
from lognode.timeline.record import FeedRef, Record, TenantRef, feed_of, span_json
from lognode.timeline.store.database import Store
from lognode.timeline.store.read.pages import select_new

_encode = msgspec.json.Encoder().encode
Change = Callable[[Progress, int], Outcome]  # given the time


class Offer(NamedTuple):
    """A span on its way to a consumer; `span` is its JSON."""

    handed: Handed
    span: bytes


class Standing(NamedTuple):
    """How a subscription is: what `held` says, and what happens now. `behind` counts spans that do not match, too."""

    held: Subscription
    behind: int
    under_way: int
    waiting: int
    parked: int
    consumers: int


class Sharing:
    """A subscription and its consumers."""

    def __init__(
        self, store: Store, heads: Heads, world: World, tenant: TenantRef, held: Subscription, parked: int
    ) -> None:
        """Raises NodeFault("database.damaged") for a row that says nothing."""
        self.tenant = tenant
        self.held = held
        self.ended = trio.Event()  # set once it does nothing more
        self._store = store
        self._heads = heads
        self._world = world
        self._progress = Progress(held, parked)
        self._query = held.query
        self._taking = trio.Lock()
        self._saving = trio.Lock()
        self._changed = trio.Event()
        self._holders = count(1)
        self._consumers = 0
        self._may_replay = True
        self._fault: Exception | None = None

    def standing(self) -> Standing:
        """How it is."""
        progress, newest = self._progress, self._heads.position(self.tenant.number)
        behind = max(0, newest - progress.checkpoint)
        return Standing(self.held, behind, progress.under_way, progress.waiting, progress.parked, self._consumers)

    @contextmanager
    def join(self) -> Iterator[int]:
        """While inside, somebody consumes it; what it holds in the end is due again at once.

        Raises CallerError subscription.busy or subscription.unknown.
        """
        self._check()
        if self._consumers >= SUBSCRIPTION_CONSUMERS_MAX:
            raise CallerError("subscription.busy", f"it has {self._consumers}")
        holder = next(self._holders)
        self._consumers += 1
        try:
            yield holder
        finally:
            self._consumers -= 1
            self._progress.release(holder, self._world.now_ms())
            self._wake()

    def drop(self, holder: int) -> None:
        """Have what a consumer holds be due again, which is no failure: it could not be tried."""
        self._progress.release(holder, self._world.now_ms(), is_failure=False)
        self._wake()

    def holds(self, holder: int) -> int:
        """How many spans a consumer has that are not settled yet."""
        return self._progress.held_by(holder)

    @property
    def is_idle(self) -> bool:
        """Whether all that is committed was looked at, or nothing more is handed out since too much is parked."""
        return self._progress.is_full or self._heads.position(self.tenant.number) <= self._progress.looked

    async def take(self, holder: int, wanted: int) -> list[Offer]:
        """Up to so many spans that are due, which the holder has from now on; none where it is to wait.

        Raises CallerError subscription.unknown or search.off, NodeFault.
        """
        wanted = min(wanted, SUBSCRIPTION_STEP_SPANS)
        async with self._taking:
            self._check()
            await self._find_replayed()
            progress, now_ms, spans = self._progress, self._world.now_ms(), dict[int, bytes]()
            handed = progress.hand_out(holder, now_ms, wanted)
            room = min(wanted - len(handed), progress.room())
            if room > 0 and self._heads.position(self.tenant.number) > progress.looked:
                spans, looked = await self._store.read(self._look, progress.looked, room)
                progress.saw(spans, looked)
                handed += progress.hand_out(holder, now_ms, wanted - len(handed))
            lacking = [one.delivery.position for one in handed if one.delivery.position not in spans]
            if lacking:
                found, unread = await self._store.read(self._read, lacking)
                spans |= found
                progress.put_back([one.delivery for one in handed if one.delivery.position in unread])
                progress.skip([position for position in lacking if position not in spans and position not in unread])
            if progress.is_changed:
                await self.save()
        return [Offer(one, spans[one.delivery.position]) for one in handed if one.delivery.position in spans]

    def watch(self) -> trio.Event:
        """What is set once something changes. Ask for it before `take`, or what changes meanwhile is missed."""
        return self._changed

    async def wait(self, changed: trio.Event, *others: Callable[[], object], has_room: bool = True) -> None:
        """Return once there may be something to take, or one of `others`, which wait, has returned."""
        self._check()
        progress, now_ms = self._progress, self._world.now_ms()
        next_ms = progress.next_ms(now_ms)
        pause_s = float("inf") if next_ms is None else min(SUBSCRIPTION_LOOK_S, (next_ms - now_ms) / 1000)
        with trio.move_on_after(pause_s):
            async with trio.open_nursery() as nursery:

                async def wait(one: Callable[[], object]) -> None:
                    await one()  # type: ignore[misc]
                    nursery.cancel_scope.cancel()

                for one in (changed.wait, self.ended.wait, *others):
                    nursery.start_soon(wait, one)
                if has_room and progress.room() and not progress.is_full:
                    await self._heads.wait_beyond(self.tenant.number, progress.looked)
                    nursery.cancel_scope.cancel()

    async def settle(self, change: Change) -> Outcome:
        """What became of deliveries, once rows say so. Raises CallerError, NodeFault."""
        (outcome,) = await self.settle_all([change])
        if isinstance(outcome, CallerError):
            raise outcome
        return outcome

    async def settle_all(self, changes: Sequence[Change]) -> list[Outcome | CallerError]:
        """What became of deliveries by several changes, once rows say so. Raises CallerError, NodeFault."""
        self._check()
        outcomes: list[Outcome | CallerError] = []
        for change in changes:
            try:
                outcomes.append(change(self._progress, self._world.now_ms()))
            except CallerError as error:
                outcomes.append(error)
        self._wake()
        await self.save()
        return outcomes

    async def replay(self, positions: Sequence[int] | None) -> int:
        """How many parked spans are tried again, of those at these positions, or of all. Raises as `settle` does."""
        async with self._taking:
            await self.save()
            found = await self._store.write(ask_again, self.held, positions)
            self._may_replay = True
        self._wake()
        return found

    async def reset(self, checkpoint: int) -> None:
        """Begin behind a position; what is under way counts no more. Raises as `settle` does."""
        with trio.CancelScope(shield=True):
            async with self._taking, self._saving:
                self._check()
                run = max(self.held.run + 1, self._world.now_ms())
                with self._ending_on_failure():
                    await self._reset(checkpoint, run)
                self._may_replay = True
        self._wake()

    def end(self, fault: Exception) -> None:
        """Have it do nothing more: whoever asks gets this error."""
        self._fault = self._fault or fault
        self.ended.set()
        self._wake()

    async def _reset(self, checkpoint: int, run: int) -> None:
        while True:
            changes = self._progress.take_changes()
            self.held, parked = await self._store.write(save_reset, self.held, run, checkpoint, changes)
            if not self._progress.is_changed:  # by who had a word meanwhile about what lies before
                break
        self._progress.reset(checkpoint, run, parked)

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def save(self) -> None:
        """Return once rows say all that became of spans before; several who wait share a transaction."""
        with trio.CancelScope(shield=True):  # what is begun is not left half done
            async with self._saving:
                self._check()
                if not self._progress.is_changed:
                    return
                changes = self._progress.take_changes()
                with self._ending_on_failure():
                    self.held = await self._store.write(save_changes, self.held, changes)
                self._progress.saved()

    @contextmanager
    def _ending_on_failure(self) -> Iterator[None]:
        """Have this end where rows could not be written, whatever the reason: what was to be written is gone."""
        try:
            yield
        except Exception as error:
            self.end(error)
            raise

    async def _find_replayed(self) -> None:
        progress = self._progress
        room = progress.room()
        if not self._may_replay or not room:
            return
        key = (self.tenant.number, self.held.name)
        found = await self._store.read(next_again, *key, progress.replaying, room)
        progress.saw_again(found)
        self._may_replay = len(found) == room

    def _look(self, conn: sqlite3.Connection, position: int, limit: int) -> tuple[dict[int, bytes], int]:
        """Spans that match behind a position, and up to where all were looked at."""
        records, looked = select_new(conn, self.tenant, self._query, position, limit, TAIL_BATCH_BYTES_MAX)
        # Whoever a webhook calls is on no node of the tenant.
        is_told = self.held.webhook is None
        return self._json([one for one in records if is_told or one.visibility != PRIVATE]), looked

    def _read(self, conn: sqlite3.Connection, positions: Sequence[int]) -> tuple[dict[int, bytes], set[int]]:
        """Spans that were looked at before, and those that the others left no room for."""
        records, unread = read_spans(conn, self.tenant, positions, TAIL_BATCH_BYTES_MAX)
        return self._json(records), unread

    def _json(self, records: Sequence[Record]) -> dict[int, bytes]:
        feeds: Mapping[int, FeedRef] = self._store.feeds
        tenant_id = self.tenant.tenant_id
        return {one.position: _encode(span_json(one, feed_of(one, feeds), tenant_id)) for one in records}
