"""Waiting for the first of several things."""

from collections.abc import Awaitable, Callable

import trio


async def wait_any(*waits: Callable[[], Awaitable[object]]) -> None:
    """Return once one of them has; the others are cancelled."""
    async with trio.open_nursery() as nursery:

        async def wait(one: Callable[[], Awaitable[object]]) -> None:
            await one()
            nursery.cancel_scope.cancel()

        for one in waits:
            nursery.start_soon(wait, one)


class Bell:
    """Wakes the one who waits for it or, rung before, the next who does."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    @property
    def is_rung(self) -> bool:
        """Whether nobody has waited since it was rung."""
        return self._rung.is_set()

    def ring(self) -> None:
        """Wake who waits."""
        self._rung.set()

    def still(self) -> None:
        """Take the ringing back: it was answered."""
        self._rung = trio.Event()

    async def wait_rung(self) -> None:
        """Return once it is rung, and leave it so."""
        await self._rung.wait()

    async def wait(self) -> None:
        """Return once it is rung, and still it."""
        await self._rung.wait()
        self.still()
