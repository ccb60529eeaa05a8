"""Following a path into a JSON value.

Invariant: a path that leads nowhere reads as None, which is what null reads as; nothing raises.
"""

from collections.abc import Sequence
from typing import Any


def follow(value: Any, segments: Sequence[str | int]) -> Any:
    """What stands below `value`: text leads into maps, numbers into lists, and anything else nowhere."""
    for segment in segments:
        if value.__class__ is dict:
            value = value.get(segment) if segment.__class__ is str else None
        elif value.__class__ is list and segment.__class__ is int:
            value = value[segment] if 0 <= segment < len(value) else None
        else:
            return None
    return value
