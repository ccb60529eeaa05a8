"""How much one peer, or one tenant, may ask for: calls, bytes and work a second, and memory at once.

A call waits for its turn, so that a fast peer is slowed down and not turned away; one that would wait too long is
refused. Invariants: nobody's spending delays another, save that of large calls there are so many at once; what is kept
for those who come is bounded, and forgotten once it says nothing any more.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from lognode.core.errors import PeerError
from lognode.core.limits import (
    PEER_BURST_S,
    PEER_BYTES_S,
    PEER_CALL_BYTES_SMALL,
    PEER_CALLS_S,
    PEER_HELD_BYTES_MAX,
    PEER_WAIT_S_MAX,
    PEER_WORK_S,
    PEERS_HELD_BYTES_MAX,
)


class Rate:
    """So much a second, of which some seconds' worth may come at once. Spending beyond that is a debt."""

    def __init__(self, amount_s: float, burst_s: float = PEER_BURST_S) -> None:
        self._amount_s = amount_s
        self._burst_s = burst_s
        self._free_at_s = 0.0  # when all that was spent will have been earned

    def spend(self, amount: float, now_s: float) -> float:
        """Seconds until this much, and all before it, is within the rate."""
        self._free_at_s = max(self._free_at_s, now_s) + amount / self._amount_s
        return self.debt_s(now_s)

    def debt_s(self, now_s: float) -> float:
        """Seconds until nothing is owed."""
        return max(0.0, self._free_at_s - now_s - self._burst_s)

    def is_idle(self, now_s: float) -> bool:
        """Whether it is as if nothing had ever been spent."""
        return self._free_at_s <= now_s


class Budgets:
    """The rates of everybody, by their key: a node's, a tenant's, an address."""

    def __init__(
        self, calls_s: float = PEER_CALLS_S, bytes_s: float = PEER_BYTES_S, work_s: float = PEER_WORK_S
    ) -> None:
        self._amounts_s = calls_s, bytes_s, work_s
        self._rates: dict[bytes, tuple[Rate, Rate, Rate]] = {}
        self._tidy_at = 64

    async def wait_turn(self, key: bytes) -> None:
        """Return when another call of `key` is due. Raises PeerError("peer.busy") when that is too far off."""
        now_s = trio.current_time()
        rates = self._of(key, now_s)
        wait_s = max(rate.debt_s(now_s) for rate in rates)
        if wait_s > PEER_WAIT_S_MAX:
            raise PeerError("peer.busy", f"the next call is due in {wait_s:.0f} seconds")
        rates[0].spend(1, now_s)
        if wait_s:
            await trio.sleep(wait_s)

    async def spend_bytes(self, key: bytes, size: int) -> None:
        """Return when so many bytes more are within the rate of `key`."""
        if wait_s := self._of(key, trio.current_time())[1].spend(size, trio.current_time()):
            await trio.sleep(wait_s)

    def spend_bytes_nowait(self, key: bytes, size: int) -> None:
        """Count bytes for which the next call of `key` will have to wait."""
        self._of(key, trio.current_time())[1].spend(size, trio.current_time())

    def spend_work_nowait(self, key: bytes, work_s: float) -> None:
        """Count seconds of work for which the next call of `key` will have to wait."""
        self._of(key, trio.current_time())[2].spend(work_s, trio.current_time())

    def _of(self, key: bytes, now_s: float) -> tuple[Rate, Rate, Rate]:
        if key not in self._rates:
            if len(self._rates) >= self._tidy_at:
                busy = {key: each for key, each in self._rates.items() if not all(rate.is_idle(now_s) for rate in each)}
                self._rates = busy
                self._tidy_at = max(64, 2 * len(busy))
            calls_s, bytes_s, work_s = self._amounts_s
            self._rates[key] = Rate(calls_s), Rate(bytes_s), Rate(work_s)
        return self._rates[key]


class Held:
    """Bytes that one call has in memory."""

    def __init__(self) -> None:
        self.size = 0


class Memory:
    """Bytes of calls under way: so many of one peer, so many of all."""

    def __init__(self, each_max: int = PEER_HELD_BYTES_MAX, all_max: int = PEERS_HELD_BYTES_MAX) -> None:
        self._each_max = each_max
        self._all_max = all_max
        self._held: dict[bytes, int] = {}
        self._freed = trio.Event()

    async def wait_room(self, key: bytes, size: int) -> None:
        """Return when `size` more bytes fit. Raises PeerError("peer.busy") when they do not in time."""
        with trio.move_on_after(PEER_WAIT_S_MAX):
            while not self._fits(key, size):
                await self._freed.wait()
            return
        raise PeerError("peer.busy", "too many bytes are under way")

    @contextmanager
    def holding(self, key: bytes, size: int) -> Iterator[Held]:
        """Count `size` bytes while inside, and what is added to them."""
        held = Held()
        self.add(key, held, size)
        try:
            yield held
        finally:
            self._held[key] -= held.size
            if not self._held[key]:
                del self._held[key]
            self._freed.set()
            self._freed = trio.Event()

    def add(self, key: bytes, held: Held, size: int) -> None:
        """Count more bytes for a call that has begun; those that begin wait for them."""
        held.size += size
        self._held[key] = self._held.get(key, 0) + size

    def _fits(self, key: bytes, size: int) -> bool:
        own, total = self._held.get(key, 0), sum(self._held.values())
        # A call that is alone fits always: else one that is larger than the bounds would wait for nothing.
        if own and own + size > self._each_max:
            return False
        return not total or size <= PEER_CALL_BYTES_SMALL or total + size <= self._all_max


class Allowance:
    """What calls may cost, by the key of whom they are counted for."""

    def __init__(self) -> None:
        self._budgets = Budgets()
        self._memory = Memory()

    @asynccontextmanager
    async def calling(self, key: bytes, size: int) -> AsyncIterator[Held]:
        """Begin a call with a body of `size` bytes when it is due. Raises PeerError("peer.busy")."""
        await self._budgets.wait_turn(key)
        await self._memory.wait_room(key, size)
        with self._memory.holding(key, size) as held:
            yield held

    async def wait_turn(self, key: bytes) -> None:
        """Return when another call is due. Raises PeerError("peer.busy") when that is too far off."""
        await self._budgets.wait_turn(key)

    def charge(self, key: bytes, work_s: float) -> None:
        """Count seconds of work, for which the next call will have to wait."""
        self._budgets.spend_work_nowait(key, work_s)

    async def take(self, key: bytes, size: int) -> None:
        """Return when so many bytes more are within the rate."""
        await self._budgets.spend_bytes(key, size)

    def give(self, key: bytes, held: Held, size: int) -> None:
        """Count an answer, for which the next call will have to wait."""
        self._memory.add(key, held, size)
        self._budgets.spend_bytes_nowait(key, size)
