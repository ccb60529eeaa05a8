"""This machine as the network sees it: its interfaces, and whether it is a container.

Asks the system anew each time, in the caller's thread: it takes a millisecond. Decides nothing.
"""

import fcntl
import socket
import struct
from pathlib import Path
from typing import Final

import ifaddr

from lognode.federation.addresses.interface import Interface

# ioctl(2), netdevice(7).
_SIOCGIFFLAGS: Final = 0x8913
_IFF_UP: Final = 0x1
_IFF_LOOPBACK: Final = 0x8
_IFF_MULTICAST: Final = 0x1000
# What Docker, Podman and systemd-nspawn leave in their containers.
_CONTAINER_MARKS: Final = ("/.dockerenv", "/run/.containerenv", "/run/host/container-manager")


def read_interfaces() -> tuple[Interface, ...]:
    """The interfaces of this network namespace that have an index, by it. Raises OSError."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for adapter in ifaddr.get_adapters(include_unconfigured=True):
            flags = _flags(sock, adapter.name)
            if adapter.index is None or flags is None:
                continue
            hosts = [address.ip if isinstance(address.ip, str) else address.ip[0] for address in adapter.ips]
            found.append(
                Interface(
                    adapter.name,
                    adapter.index,
                    tuple(dict.fromkeys(host.partition("%")[0] for host in hosts)),
                    is_up=bool(flags & _IFF_UP),
                    is_loopback=bool(flags & _IFF_LOOPBACK),
                    has_multicast=bool(flags & _IFF_MULTICAST),
                )
            )
    return tuple(sorted(found, key=lambda interface: interface.number))


def is_container() -> bool:
    """Whether this process runs in a container that says so."""
    return any(Path(mark).exists() for mark in _CONTAINER_MARKS)


def _flags(sock: socket.socket, name: str) -> int | None:
    """The flags of an interface; None where it has just gone."""
    request = struct.pack("16sH14x", name.encode()[:15], 0)
    try:
        answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, request)
    except OSError:
        return None
    return int(struct.unpack("16sH14x", answer)[1])
