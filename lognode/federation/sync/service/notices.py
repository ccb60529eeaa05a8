"""What happens between nodes, told to whoever listens at that moment.

Owns the short queues of listeners. Knows nothing of links or sockets. Invariants: telling never waits; nothing is
kept for who comes later; a listener that does not take loses the oldest of its own and costs bounded memory.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, NamedTuple

import trio

from lognode.core.limits import NOTICES_WAITING_MAX

NoticeName = Literal[
    "peer.up",
    "peer.down",
    "sync.progress",
    "member.admitted",
    "alert",
    "conflict.opened",
    "conflict.resolved",
    "approval.asked",
    "approval.answered",
    "approval.decided",
]


class Notice(NamedTuple):
    """One thing that happened, and what is to be said of it as JSON."""

    name: NoticeName
    content: Mapping[str, object]


class Listener:
    """The notices of one tenant that wait for one who listens."""

    def __init__(self) -> None:
        self._waiting = deque[Notice](maxlen=NOTICES_WAITING_MAX)
        self._arrived = trio.Event()

    def take(self) -> list[Notice]:
        """All that wait, oldest first; none are left."""
        taken = list(self._waiting)
        self._waiting.clear()
        self._arrived = trio.Event()
        return taken

    async def wait(self) -> None:
        """Return once something waits."""
        await self._arrived.wait()

    def hear(self, notice: Notice) -> None:
        """Keep a notice, in the place of the oldest where too many wait."""
        self._waiting.append(notice)
        self._arrived.set()


class Notices:
    """The notices of all tenants of a node."""

    def __init__(self) -> None:
        self._listeners: dict[int, set[Listener]] = {}

    def tell(self, tenant: int, name: NoticeName, **content: object) -> None:
        """Tell all who listen to a tenant now."""
        for listener in self._listeners.get(tenant, ()):
            listener.hear(Notice(name, content))

    def is_heard(self, tenant: int) -> bool:
        """Whether anybody listens to a tenant now."""
        return tenant in self._listeners

    @contextmanager
    def listen(self, tenant: int) -> Iterator[Listener]:
        """While inside, what happens in a tenant comes to this listener."""
        listener = Listener()
        listeners = self._listeners.setdefault(tenant, set())
        listeners.add(listener)
        try:
            yield listener
        finally:
            listeners.remove(listener)
            if not listeners:
                self._listeners.pop(tenant, None)
