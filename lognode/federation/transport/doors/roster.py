"""Who may connect: the certificates of all members of all tenants, as of now.

Must not know tenants or levels: who is in is decided elsewhere and put in here. Invariant: whoever waits for a change
misses none.
"""

from collections.abc import Mapping
from types import MappingProxyType

import trio


class Roster:
    """The other nodes by certificate, and whether strangers may ask to join."""

    def __init__(self) -> None:
        self.peers: Mapping[bytes, bytes] = MappingProxyType({})  # certificate in DER -> node key
        self.is_joinable = False  # a live invite is known
        self.version = 0
        self._changed = trio.Event()

    def update(self, peers: Mapping[bytes, bytes], *, is_joinable: bool) -> None:
        """From now on these are the members and no others."""
        if (peers, is_joinable) != (self.peers, self.is_joinable):
            self.peers, self.is_joinable = MappingProxyType(dict(peers)), is_joinable
            self.version += 1
            self._changed.set()
            self._changed = trio.Event()

    def node_of(self, certificate: bytes) -> bytes | None:
        """The node key of the member with this certificate, byte for byte; None for anybody else."""
        return self.peers.get(certificate)

    async def wait_change(self, seen: int) -> int:
        """The version, once it is another than `seen`."""
        while self.version == seen:
            await self._changed.wait()
        return self.version
