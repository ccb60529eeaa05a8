"""How another node is reached, and known when it answers."""

import re
from typing import Final, NamedTuple

from lognode.core.errors import PeerError

_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]{1,15})?\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})")


class Contact(NamedTuple):
    """A node, the certificate that it shows, and where it may be found: each address is HOST:PORT."""

    node_key: bytes
    certificate: bytes
    addresses: tuple[str, ...]


def url_at(address: str, path: str) -> str:
    """The URL of `path` at HOST:PORT, where HOST is a name, an IPv4 address, or IPv6 in brackets, also with a zone.

    Addresses come from other nodes: what is none is never dialled. Raises PeerError("peer.unreachable").
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match[2]) <= 0xFFFF:
        raise PeerError("peer.unreachable", f"{address!r:.80} is not HOST:PORT")
    return f"https://{address}{path}"
