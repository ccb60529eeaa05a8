"""What a node announces of itself by multicast DNS, and what it makes of the announcements of others.

Knows no sockets. Invariant: nothing of tenants and members is in an announcement, and nothing in one is trusted: it
names places where a node might be, whose key the handshake there must prove.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from lognode.core.ids import ALPHABET, b32encode
from lognode.federation.addresses.address import PORT_MAX, Address, Scope, scope_of

SERVICE_TYPE: Final = "_lognode._tcp.local."
VERSION: Final = 1
KEY_PREFIX_BYTES: Final = 10  # 16 characters; nobody makes a second key with them by chance
_PREFIX: Final = re.compile(f"[{ALPHABET}]{{16}}")
_PORT: Final = re.compile(rb"[1-9][0-9]{0,4}")


class Announcement(NamedTuple):
    """Who says where it is: the prefix of its key, hosts, port of the peer listener, and of the join listener if up."""

    prefix: str
    hosts: tuple[str, ...]
    peer_port: int
    join_port: int | None

    @property
    def peer_addresses(self) -> tuple[Address, ...]:
        """Where members reach it."""
        return tuple(Address(host, self.peer_port) for host in self.hosts)

    @property
    def join_addresses(self) -> tuple[Address, ...]:
        """Where one may join; none while it holds no live invite."""
        return () if self.join_port is None else tuple(Address(host, self.join_port) for host in self.hosts)


def key_prefix(node_key: bytes) -> str:
    """What an announcement says of a node key."""
    return b32encode(node_key[:KEY_PREFIX_BYTES])


def text_record(announcement: Announcement) -> dict[str, str]:
    """The TXT record."""
    text = {"v": str(VERSION), "k": announcement.prefix, "p": str(announcement.peer_port)}
    return text if announcement.join_port is None else {**text, "j": str(announcement.join_port)}


def read_record(text: Mapping[bytes, bytes | None], hosts: tuple[str, ...]) -> Announcement | None:
    """What another node announces, with the addresses from beside its TXT record; None where it makes no sense.

    Unknown names are for later versions, which go on announcing what this one understands. An address of loopback would
    lead to this machine, and one of a link in IPv6 nowhere without its zone: both are left out.
    """
    hosts = tuple(host for host in hosts if scope_of(host) >= (Scope.ROUTED if ":" in host else Scope.LINK))
    prefix = (text.get(b"k") or b"").decode("ascii", "replace")
    peer_port, join_port = _port(text.get(b"p")), _port(text.get(b"j"))
    version = text.get(b"v") or b""
    if not (version.isdigit() and int(version[:4]) >= VERSION and _PREFIX.fullmatch(prefix) and peer_port and hosts):
        return None
    return Announcement(prefix, hosts, peer_port, join_port)


def _port(text: bytes | None) -> int | None:
    if text is None or not _PORT.fullmatch(text) or int(text) > PORT_MAX:
        return None
    return int(text)
