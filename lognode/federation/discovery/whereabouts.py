"""Where this node listens, and what it tells others of it: in invites, to members, and by announcement.

Told by the listeners; asks the machine for its interfaces, no more often than every few seconds. Invariant: where
nothing listens, nothing is told.
"""

from collections.abc import Sequence
from typing import Final, Literal

from lognode.core.limits import ADDRESSES_MAX, INTERFACES_LOOK_S
from lognode.core.world import World
from lognode.federation.addresses.address import Address, Scope, parse_address, scope_of
from lognode.federation.addresses.announcement import Announcement, key_prefix
from lognode.federation.addresses.interface import Interface, own_addresses, own_hosts
from lognode.federation.discovery.directory import Directory
from lognode.federation.discovery.machine import read_interfaces

Door = Literal["peer", "join"]
DOORS: Final[tuple[Door, ...]] = ("peer", "join")


class Whereabouts:
    """The addresses of this node."""

    def __init__(self, directory: Directory, world: World, node_key: bytes, advertise: Sequence[str] = ()) -> None:
        """`advertise` are addresses that a person set, of the peer listener; they have been checked."""
        self._directory = directory
        self._world = world
        self._prefix = key_prefix(node_key)
        self._advertise = tuple(parse_address(text) for text in advertise)
        self._listening: dict[Door, Address] = {}
        self._interfaces: tuple[Interface, ...] = ()
        self._looked_s = float("-inf")
        self.failure: str | None = None  # why the machine does not tell its interfaces

    def listen(self, door: Door, host: str, port: int) -> None:
        """That a listener is up there."""
        self._listening[door] = Address(host, port)
        own = self.addresses("peer")
        self._directory.least = min(map(scope_of_text, own), default=Scope.ROUTED)
        self._directory.tell()

    def advertise(self, addresses: Sequence[str]) -> None:
        """That a person set these addresses of the peer listener; they have been checked."""
        self._advertise = tuple(parse_address(text) for text in addresses)
        self._directory.tell()

    def close(self, door: Door) -> None:
        """That a listener is down."""
        if self._listening.pop(door, None) is not None:
            self._directory.tell()

    @property
    def is_listening(self) -> bool:
        """Whether any listener is up."""
        return bool(self._listening)

    def listening(self, door: Door) -> str | None:
        """Host and port that a listener is bound to; None while it is down."""
        at = self._listening.get(door)
        return None if at is None else str(at)

    def addresses(self, door: Door) -> tuple[str, ...]:
        """Where others reach a listener, HOST:PORT, best first; none while it is down."""
        at = self._listening.get(door)
        if at is None:
            return ()
        advertised = self._advertise if door == "peer" else [Address(place.host, at.port) for place in self._advertise]
        own = own_addresses(own_hosts(self.interfaces(), at.host), at.port, advertised)
        return tuple(map(str, own[:ADDRESSES_MAX]))

    def announcement(self) -> Announcement | None:
        """What to announce; None while no listener can be reached by the link."""
        peer, join = self._listening.get("peer"), self._listening.get("join")
        hosts = () if peer is None else own_hosts(self.interfaces(), peer.host)
        hosts = tuple(host for host in hosts if scope_of(host) != Scope.LOOPBACK)
        if peer is None or not hosts:
            return None
        return Announcement(self._prefix, hosts, peer.port, None if join is None else join.port)

    def interfaces(self) -> tuple[Interface, ...]:
        """The machine's interfaces, as they were some seconds ago at most; none where it does not tell them."""
        now_s = self._world.monotonic_s()
        if now_s - self._looked_s >= INTERFACES_LOOK_S:
            self._looked_s = now_s
            try:
                self._interfaces, self.failure = read_interfaces(), None
            except OSError as error:
                self._interfaces, self.failure = (), f"the system tells no interfaces: {error}"
        return self._interfaces


def scope_of_text(address: str) -> Scope:
    """How far a HOST:PORT reaches."""
    return scope_of(parse_address(address).host)
