"""The machine's network interfaces as values, and which addresses a node gives others as its own.

Knows no system calls. Invariant: an address that would lead others to themselves is given out only where none but
nodes of this machine are listened to.
"""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import NamedTuple

from lognode.federation.addresses.address import Address, Scope, scope_of


class Interface(NamedTuple):
    """A network interface: its name, number, hosts (IPv6 without zone), and what the system says it can do."""

    name: str
    number: int  # as the system counts them, and as IPv6 zones have it
    hosts: tuple[str, ...]
    is_up: bool
    is_loopback: bool
    has_multicast: bool

    @property
    def is_usable(self) -> bool:
        """Whether anything may be found by it."""
        return self.is_up and not self.is_loopback and bool(self.hosts)


def multicast_of(interfaces: Iterable[Interface]) -> list[Interface]:
    """The interfaces that can find nodes."""
    return [interface for interface in interfaces if interface.is_usable and interface.has_multicast]


def own_hosts(interfaces: Sequence[Interface], listen_host: str) -> tuple[str, ...]:
    """Hosts under which others may reach what listens on `listen_host`, IPv4 first.

    Those of the link serve only where there is no routed one, and IPv4 ones alone, since an IPv6 one means nothing
    without the zone of whoever uses it. A listener on loopback is for nodes of this machine.
    """
    if listen_host == "localhost":
        return ("127.0.0.1",)
    listening = ip_address(listen_host.partition("%")[0])
    if listening.is_loopback:
        return (listen_host,)
    hosts = [
        host
        for interface in interfaces
        if interface.is_usable
        for host in interface.hosts
        if _accepts(listening.version, listen_host, host, is_any=listening.is_unspecified)
    ]
    routed = [host for host in hosts if scope_of(host) == Scope.ROUTED]
    link = [host for host in hosts if scope_of(host) == Scope.LINK and ":" not in host]
    return tuple(sorted(dict.fromkeys(routed or link), key=lambda host: ":" in host))


def own_addresses(hosts: Iterable[str], port: int, advertised: Iterable[Address]) -> tuple[Address, ...]:
    """What a node says of where it is: what a person set, or else the machine's own hosts."""
    return tuple(advertised) or tuple(Address(host, port) for host in hosts)


def _accepts(version: int, listen_host: str, host: str, *, is_any: bool) -> bool:
    """Whether a listener takes connections to `host`; one on :: takes those of both versions."""
    if not is_any:
        return ip_address(host) == ip_address(listen_host.partition("%")[0])
    return version == 6 or ":" not in host
