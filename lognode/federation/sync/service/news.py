"""What a peer lacks of a tenant, read from the store as it is committed.

Serves both directions: what the peer follows, and what is pushed to it. Holds no queue, so a slow peer costs one batch.
"""

from collections.abc import Awaitable, Callable, Sequence

import trio

from lognode.core.span import Range
from lognode.engine.service.heads import Heads
from lognode.federation.sync.service.holdings import HeldSpans
from lognode.federation.sync.service.state.tie import Tie
from lognode.federation.sync.service.waiting import wait_any
from lognode.protocol.summary import Summary


class News:
    """The news of one tie."""

    def __init__(self, tie: Tie, held: HeldSpans, heads: Heads) -> None:
        self._tie = tie
        self._held = held
        self._heads = heads
        self._seen = 0

    async def begin(self) -> bytes:
        """From now on: what is held now is for comparisons to equal. Gives its summary."""
        self._seen = self._heads.growth(self._tie.tenant.number)
        view = await self._held.view(self._tie.tenant)
        self._tie.known.rebase(view.clock)
        return Summary(view).value

    async def read(self) -> Sequence[Range]:
        """The next batch of ranges that the peer lacks; none when it lacks nothing."""
        self._seen = self._heads.growth(self._tie.tenant.number)
        return await self._held.lacking(self._tie.tenant, self._tie.known)

    async def wait(self, until: float, *others: Callable[[], Awaitable[object]]) -> None:
        """Return after a commit that `read` has not seen, at a time of trio's clock, or when one of `others` does."""
        number = self._tie.tenant.number
        with trio.move_on_at(until):
            await wait_any(lambda: self._heads.wait_growth(number, self._seen), *others)
