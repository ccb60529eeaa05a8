"""What was used lately, kept within bounds.

Used from several threads. Invariant: what is kept never weighs more than it may, but for one value that alone weighs
more; what was asked for longest ago goes first.
"""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values by key, `weight_max` of them together."""

    def __init__(self, weight_max: int) -> None:
        self._weight_max = weight_max
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._weight = 0
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """The value under a key; None where none is kept any more."""
        with self._lock:
            found = self._held.get(key)
            if found is None:
                return None
            self._held.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, weight: int) -> None:
        """Keep a value, in place of what was under its key."""
        with self._lock:
            _, before = self._held.pop(key, (None, 0))
            self._held[key] = (value, weight)
            self._weight += weight - before
            while self._weight > self._weight_max and len(self._held) > 1:
                _, (_, gone) = self._held.popitem(last=False)
                self._weight -= gone

    def values(self) -> list[V]:
        """All that is kept, in no order that counts."""
        with self._lock:
            return [value for value, _ in self._held.values()]
