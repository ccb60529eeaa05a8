"""Whom a webhook may reach: URLs and addresses, judged without asking anybody.

Pure. Owns the reading of URLs, which is stricter than any client's, so that nobody reads another host there than was
judged. Invariant: whatever is not plainly a public address is refused, unless the node's owner allows it.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import urljoin

from lognode.core.errors import CallerError
from lognode.core.limits import WEBHOOK_URL_CHARS_MAX

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
PORTS: Final = {"http": 80, "https": 443}
PORT_UNPRIVILEGED: Final = 1024  # below, services that may believe what they are sent: mail, remote shells
MOVED: Final = frozenset({307, 308})  # the redirections that keep method and body
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,254})(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[!$-;=?-Z_a-z~%&'()*+,\[\]]*)?",
    re.ASCII,
)
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)  # a host that ends in one is an address to many programs
_PRIVATE_4: Final = tuple(
    map(
        IPv4Network,
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
        "192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4".split(),
    )
)
_GLOBAL_6: Final = IPv6Network("2000::/3")  # all else is loopback, mapped, link-local, multicast or not given out
_PRIVATE_6: Final = tuple(map(IPv6Network, "2001::/23 2001:db8::/32 2002::/16 3fff::/20".split()))
_NAT64: Final = IPv6Network("64:ff9b::/96")  # an IPv4 address stands at its end


class Target(NamedTuple):
    """Where a request goes: `host` in lower case, without brackets; `path` with its query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """Scheme, host and port, as in a URL and in a Host header's place."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port, the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def address(self) -> Address | None:
        """The address that stands in place of a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None


class Allowed(NamedTuple):
    """What the node's owner allows besides public addresses: networks, and names with whatever they resolve to."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Allowed":
        """What these texts allow: networks, addresses and names. Raises ValueError for what is none of them."""
        networks = list[Network]()
        hosts = set[str]()
        for text in texts:
            try:
                networks.append(ip_network(text))
            except ValueError:
                if not _is_name(text.lower()):
                    raise
                hosts.add(text.lower())
        return cls(tuple(networks), frozenset(hosts))


def read_url(text: str) -> Target:
    """The target of a URL. Raises CallerError("webhook.forbidden") for whatever two readers could take differently."""
    found = _URL.fullmatch(text) if len(text) <= WEBHOOK_URL_CHARS_MAX else None
    if found is None:
        raise _forbidden("it is not http(s)://HOST[:PORT][/PATH] in plain characters, without user or fragment")
    port = int(found["port"] or PORTS[found["scheme"]])
    if port not in PORTS.values() and not PORT_UNPRIVILEGED <= port <= 0xFFFF:
        raise _forbidden(f"port {port}: it may be 80, 443, or {PORT_UNPRIVILEGED} and above")
    return Target(found["scheme"], _read_host(found["host"].lower()), port, found["path"] or "/")


def follow(target: Target, location: str) -> Target:
    """The target that an answer refers to. Raises CallerError("webhook.forbidden")."""
    try:
        moved = read_url(urljoin(f"{target.origin}{target.path}", location))
    except ValueError:
        raise _forbidden("it refers to what is no URL") from None
    if (target.scheme, moved.scheme) == ("https", "http"):
        raise _forbidden("it refers from https to http")
    return moved


def check_addresses(target: Target, found: Sequence[str], allowed: Allowed) -> list[Address]:
    """The addresses to try. Raises CallerError("webhook.forbidden") if one of those that were found may not be reached.

    A name with public and private addresses is one that somebody wants us to mix up.
    """
    addresses = list(dict.fromkeys(map(ip_address, found)))
    if target.host not in allowed.hosts:
        for address in addresses:
            if not is_public(address) and not any(address in network for network in allowed.networks):
                raise _forbidden(f"{target.host} is at {address}, which is no public address")
    return addresses


def is_public(address: Address) -> bool:
    """Whether anybody on the Internet may have this address."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _PRIVATE_4)
    if address in _NAT64:
        return is_public(IPv4Address(address.packed[-4:]))
    return address in _GLOBAL_6 and not any(address in network for network in _PRIVATE_6) and not address.scope_id


def _read_host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError:
            raise _forbidden(f"{text} is no IPv6 address") from None
    name = text.removesuffix(".")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        try:
            return str(IPv4Address(text))  # four decimal numbers without leading zeros, nothing else
        except ValueError:
            raise _forbidden(f"{text} is not an IPv4 address as it is usually written") from None
    if not _is_name(name):
        raise _forbidden(f"{text} is no host name")
    return name


def _is_name(text: str) -> bool:
    labels = text.split(".")
    return len(text) <= 253 and all(map(_LABEL.fullmatch, labels)) and not _NUMBER.fullmatch(labels[-1])


def _forbidden(why: str) -> CallerError:
    return CallerError("webhook.forbidden", why)
