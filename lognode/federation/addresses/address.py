"""A network address as text: HOST:PORT, and how far it reaches.

Knows no sockets and looks no name up. Invariant: what `parse_address` takes, `str` gives back in one form, so that
equal addresses are equal text.
"""

import re
from collections.abc import Iterable
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

from lognode.core.errors import CallerError
from lognode.core.limits import ADDRESS_CHARS_MAX

PORT_MAX: Final = 0xFFFF
_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?")
_ZONE: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")


class Scope(IntEnum):
    """Who can use an address: this machine, its link, whoever has a route."""

    LOOPBACK = 0
    LINK = 1
    ROUTED = 2


class Address(NamedTuple):
    """A host, an IPv6 one without its brackets, and a TCP port from 1."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address of `192.0.2.7:7481`, `[2001:db8::7]:7481` or `node.example:7481`.

    Raises CallerError("address.malformed").
    """
    host, colon, port = text.rpartition(":")
    if len(text) > ADDRESS_CHARS_MAX or not colon or not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > PORT_MAX:
        raise CallerError("address.malformed", f"{text!r:.80} is not HOST:PORT with a port from 1 to {PORT_MAX}")
    if host.startswith("[") and host.endswith("]"):
        inner, percent, zone = host[1:-1].partition("%")
        if (percent and not _ZONE.fullmatch(zone)) or not isinstance(ip := _ip(inner), IPv6Address):
            raise CallerError("address.malformed", f"{host!r:.80} is no IPv6 address")
        return Address(f"{ip}{percent}{zone}", int(port))
    if (ip := _ip(host)) is not None:
        if ip.version == 6:
            raise CallerError("address.malformed", f"{text!r:.80} needs brackets around its IPv6 address")
        return Address(str(ip), int(port))
    if not _NAME.fullmatch(host.lower()) or re.fullmatch(r"[0-9.]+", host):
        raise CallerError("address.malformed", f"{host!r:.80} is neither an IP address nor a name")
    return Address(host.lower(), int(port))


def parse_told(texts: Iterable[str], count_max: int, least: Scope) -> tuple[Address, ...]:
    """What is well-formed among addresses that another node told, each once, at most `count_max`.

    Another node's mistake costs it the address, nothing else. An address that reaches less far than `least` says
    nothing on this machine, and is left out too.
    """
    found = dict[Address, None]()
    for text in texts:
        try:
            address = parse_address(text)
        except CallerError:
            continue
        if scope_of(address.host) >= least:
            found[address] = None
        if len(found) == count_max:
            break
    return tuple(found)


def scope_of(host: str) -> Scope:
    """How far an address reaches; a name counts as routed, save `localhost`."""
    if host == "localhost" or host.endswith(".localhost"):
        return Scope.LOOPBACK
    ip = _ip(host.partition("%")[0])
    if ip is None:
        return Scope.ROUTED
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_loopback or ip.is_unspecified or ip.is_multicast:
        return Scope.LOOPBACK
    return Scope.LINK if ip.is_link_local else Scope.ROUTED


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
