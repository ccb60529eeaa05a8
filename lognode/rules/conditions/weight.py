"""How many bytes a value takes, counted no further than anybody wants to know."""

from collections.abc import Mapping
from typing import Any, Final

_SMALL: Final = frozenset({int, float, bool, type(None)})
_HEAD = 9  # of any value: what its type and length take at most


def weight_of(value: Any, bytes_max: int) -> int:
    """About the bytes of a value's CBOR, rather more than less; of more than `bytes_max`, any number above that."""
    size, waiting = 0, [value]
    while waiting and size <= bytes_max:
        found = waiting.pop()
        size += _HEAD
        if found.__class__ is str:
            size += len(found) if found.isascii() or size + len(found) > bytes_max else len(found.encode())
        elif found.__class__ is list or found.__class__ is tuple:
            size += len(found)
            if size <= bytes_max:
                waiting += found
        elif found.__class__ not in _SMALL and isinstance(found, Mapping):
            size += len(found)
            if size <= bytes_max:
                waiting += found
                waiting += found.values()
    return size
