"""Errors of addresses, and reasons why nodes are not found."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "address.malformed",
        "caller",
        422,
        False,
        "Address malformed",
        "Write HOST:PORT, as in node.example:7481 or [2001:db8::7]:7481.",
    ),
    (
        "discovery.off",
        "node",
        503,
        False,
        "Discovery is switched off",
        "Set discovery = true in lognode.toml, or name addresses of other nodes there: peers = ['HOST:PORT'].",
    ),
    (
        "discovery.no_interface",
        "node",
        503,
        True,
        "No network",
        "Connect an interface; it is noticed within seconds.",
    ),
    (
        "discovery.no_multicast",
        "node",
        503,
        True,
        "No multicast here",
        "Switch it on ('ip link set IFACE multicast on'), use the addresses in invites, or set peers = [...].",
    ),
    (
        "discovery.bridge",
        "node",
        503,
        False,
        "Multicast ends at the container's bridge",
        "Publish the peer and join ports and set advertise to the host's address, or use the host's network.",
    ),
    (
        "discovery.socket",
        "node",
        503,
        True,
        "Multicast does not work",
        "Allow UDP port 5353 in the firewall; until then use the addresses in invites, or set peers = [...].",
    ),
)
