"""Multicast DNS by zeroconf, which has threads of its own.

Owns one opened Zeroconf. Everything that waits is called in a thread; what is heard comes back by a bounded queue and
a trio token. Invariant: nothing of zeroconf runs on trio's thread, and a flood of announcements fills the queue, not
the memory.
"""

import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final, NamedTuple, TypeVar

import trio
from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

from lognode.core.limits import CANDIDATE_HOSTS_MAX, CANDIDATES_MAX, DISCOVERY_STOP_S_MAX
from lognode.federation.addresses.announcement import SERVICE_TYPE, Announcement, read_record, text_record
from lognode.federation.addresses.interface import Interface

T = TypeVar("T")
_ASK_MS: Final = 1500  # for what an announcement left out; answers take tens of milliseconds
_TTL_S: Final = 120  # what mDNS has for host names: a node that vanished is forgotten by then


class Heard(NamedTuple):
    """A name that was announced, or taken back."""

    name: str
    is_gone: bool


class Multicast:
    """An opened Zeroconf: announces at most one node, and hears of others."""

    def __init__(self, opened: Zeroconf) -> None:
        self._zeroconf = opened
        self._token = trio.lowlevel.current_trio_token()
        self._queue = deque[Heard](maxlen=CANDIDATES_MAX)
        self._waiting = trio.Event()
        self._announced: ServiceInfo | None = None
        self._browser: ServiceBrowser | None = None

    async def announce(self, name: str, announcement: Announcement | None) -> None:
        """Announce this from now on, or nothing; `name` is one label that no other node has."""
        info = None if announcement is None else _service_info(name, announcement)
        before, self._announced = self._announced, info
        if before is not None:
            await _in_thread(self._zeroconf.unregister_service, before)
        if info is not None:
            # The name holds chance, so there is nothing to probe for: whoever answered probes could hold us up.
            await _in_thread(lambda: self._zeroconf.register_service(info, cooperating_responders=True))

    async def browse(self, *, is_on: bool) -> None:
        """Hear of others from now on, or no longer."""
        browser = self._browser
        if is_on and browser is None:
            self._browser = await _in_thread(ServiceBrowser, self._zeroconf, SERVICE_TYPE, [self._on_change])
        elif not is_on and browser is not None:
            self._browser = None
            await _in_thread(browser.cancel)

    async def heard(self) -> Heard:
        """Wait for the next name."""
        while not self._queue:
            self._waiting = trio.Event()
            if not self._queue:  # a thread may have added one before it could see the event
                await self._waiting.wait()
        return self._queue.popleft()

    def recall(self, name: str) -> Announcement | None:
        """What came with an announcement; None where it came without some of it. It does not wait."""
        info = ServiceInfo(SERVICE_TYPE, name)
        return _announcement_of(info) if info.load_from_cache(self._zeroconf) else None

    async def ask(self, name: str) -> Announcement | None:
        """What the network says of a name; None where nobody answers in time, or it makes no sense."""
        info = ServiceInfo(SERVICE_TYPE, name)
        is_known = await _in_thread(info.request, self._zeroconf, _ASK_MS)
        return _announcement_of(info) if is_known else None

    def close(self) -> None:
        """Take back what was announced and close all sockets; in a thread, where it takes half a second."""
        if self._browser is not None:
            self._browser.cancel()
        self._zeroconf.close()

    def _on_change(
        self,
        zeroconf: Zeroconf,  # noqa: ARG002 - zeroconf calls by these names
        service_type: str,  # noqa: ARG002
        name: str,
        state_change: ServiceStateChange,
    ) -> None:
        """In a thread of zeroconf's, which must not be ended by an exception of ours."""
        self._queue.append(Heard(name, state_change is ServiceStateChange.Removed))
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._wake, idempotent=True)

    def _wake(self) -> None:
        self._waiting.set()


@asynccontextmanager
async def open_multicast(interfaces: Sequence[Interface], told: Callable[[str], None]) -> AsyncIterator[Multicast]:
    """Multicast DNS on all hosts of these interfaces; says good-bye at the end.

    `told` is called on trio's thread with what fails at its sockets meanwhile. Raises OSError where none can be had.
    """
    places, version = _places(interfaces)
    with _complaints(told):
        opened = await trio.to_thread.run_sync(lambda: Zeroconf(interfaces=places, ip_version=version))
        multicast = Multicast(opened)
        try:
            yield multicast
        finally:
            # Good-byes are sent by a thread; one that hangs is left behind rather than waited for.
            with trio.CancelScope(shield=True), trio.move_on_after(DISCOVERY_STOP_S_MAX):
                await _in_thread(multicast.close)


@contextmanager
def _complaints(told: Callable[[str], None]) -> Iterator[None]:
    """While inside, hear what zeroconf logs of its sockets. Its log goes nowhere else: others can fill it."""
    token = trio.lowlevel.current_trio_token()
    logger = logging.getLogger("zeroconf")
    handler = _Complaints(lambda text: token.run_sync_soon(told, text))
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Complaints(logging.Handler):
    """Picks what is about sockets; the rest is about packets, which anyone may send."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OSError) or record.module == "net":
            with suppress(trio.RunFinishedError):
                self._tell(str(error) if isinstance(error, OSError) else record.getMessage())


def _places(interfaces: Sequence[Interface]) -> tuple[list[str | int], IPVersion]:
    """Interfaces as zeroconf takes them: IPv4 hosts, and the index of what has an IPv6 one."""
    v4 = [host for interface in interfaces for host in interface.hosts if ":" not in host]
    v6 = [interface.number for interface in interfaces if any(":" in host for host in interface.hosts)]
    version = IPVersion.All if v4 and v6 else IPVersion.V6Only if v6 else IPVersion.V4Only
    return [*v4, *v6], version


async def _in_thread(fn: Callable[..., T], *args: object) -> T:
    return await trio.to_thread.run_sync(lambda: fn(*args), abandon_on_cancel=True)


def _service_info(name: str, announcement: Announcement) -> ServiceInfo:
    return ServiceInfo(
        SERVICE_TYPE,
        f"{name}.{SERVICE_TYPE}",
        port=announcement.peer_port,
        properties=text_record(announcement),
        server=f"{name}.local.",
        parsed_addresses=list(announcement.hosts),
        host_ttl=_TTL_S,
        other_ttl=_TTL_S,
    )


def _announcement_of(info: ServiceInfo) -> Announcement | None:
    hosts = info.parsed_scoped_addresses(IPVersion.All)[:CANDIDATE_HOSTS_MAX]
    return read_record(info.properties, tuple(hosts))
