"""Writing a bundle: items to bytes, counted and hashed on the way, paths without what they share.

Knows no store and no keys: whoever holds them hands in spans with their audit paths and the signed seal.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from lognode.timeline.proof.bundle.frames import frame
from lognode.timeline.proof.bundle.items import Item, Seal, encode_item, pack_path


class Total(NamedTuple):
    """What a seal signs: how many items were written, and the SHA-256 of their bytes."""

    items: int
    digest: bytes


class BundleWriter:
    """A bundle as it grows. Every item must be kept in the order in which it was made."""

    def __init__(self) -> None:
        self._items = 0
        self._hash = sha256()
        self._paths: dict[int, Sequence[bytes]] = {}

    def share(self, feed: int, path: Sequence[bytes]) -> tuple[int, bytes]:
        """`shared` and `hashes` of an item whose leaf, in the bundle's feed number `feed`, has this audit path."""
        shared, hashes = pack_path(path, self._paths.get(feed, ()))
        self._paths[feed] = path
        return shared, hashes

    def add(self, item: Item) -> bytes:
        """The bytes of the next item."""
        raw = frame(encode_item(item))
        self._items += 1
        self._hash.update(raw)
        return raw

    def total(self) -> Total:
        """What was written so far."""
        return Total(self._items, self._hash.digest())

    def end(self, note: bytes) -> bytes:
        """The bytes of the seal, behind which nothing may stand."""
        return frame(encode_item(Seal(note)))
