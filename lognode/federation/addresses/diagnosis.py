"""Why multicast finds nobody here, as codes of the table of errors with what to do instead.

Knows no system calls: it judges what it is shown. A finding is no failure. Nodes reach each other by the addresses in
invites, by those that members tell, and by the setting `peers`.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Final, NamedTuple

from lognode.core.errors import ERRORS
from lognode.federation.addresses.interface import Interface, multicast_of

# What container engines give the networks that they make; an ordinary one may lie there too, hence `is_container`.
BRIDGES: Final = tuple(ip_network(text) for text in ("172.16.0.0/12", "192.168.0.0/16", "10.88.0.0/16"))


class Finding(NamedTuple):
    """One reason, by its code, and what was seen."""

    code: str
    detail: str

    @property
    def title(self) -> str:
        """What is the matter."""
        return ERRORS[self.code].title

    @property
    def hint(self) -> str:
        """What to do instead."""
        return ERRORS[self.code].hint


def diagnose(
    interfaces: Sequence[Interface], *, is_on: bool, is_container: bool, failure: str | None
) -> tuple[Finding, ...]:
    """Why nothing may be found; nothing where discovery can work. `failure` is what a socket said last."""
    if not is_on:
        return (Finding("discovery.off", "discovery = false"),)
    usable = [interface for interface in interfaces if interface.is_usable]
    if not interfaces and failure is not None:
        return (Finding("discovery.socket", failure),)
    if not usable:
        return (Finding("discovery.no_interface", "no interface but loopback is up and has an address"),)
    found = []
    capable = multicast_of(usable)
    if not capable:
        names = ", ".join(interface.name for interface in usable)
        found.append(Finding("discovery.no_multicast", f"multicast is off on {names}"))
    elif is_container and all(_is_bridged(interface) for interface in capable):
        shown = ", ".join(f"{interface.name} ({interface.hosts[0]})" for interface in capable)
        found.append(Finding("discovery.bridge", f"this is a container, and has only {shown}"))
    if failure is not None:
        found.append(Finding("discovery.socket", failure))
    return tuple(found)


def _is_bridged(interface: Interface) -> bool:
    """Whether an interface looks like the inside of a container's bridge."""
    routed = [ip for ip in map(ip_address, interface.hosts) if isinstance(ip, IPv4Address) and not ip.is_link_local]
    return bool(routed) and all(any(ip in bridge for bridge in BRIDGES) for ip in routed)
