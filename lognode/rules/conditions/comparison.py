"""When two JSON values are equal, and what counts as a number.

Numbers are equal by what they are worth, exactly: 1 and 1.0, but not 2**53 + 1 and 2.0**53. Truth is no number. Texts
are equal code point by code point. Invariant: comparing is symmetric, and costs what the smaller value holds.
"""

from collections.abc import Callable
from typing import Any, Final

from lognode.core.limits import COMPARED_PARTS_COST

_NUMBERS: Final = (int, float)


def is_number(value: Any) -> bool:
    """Whether the value is a number, which True and False are not."""
    return value.__class__ in _NUMBERS


def same(one: Any, other: Any, charge: Callable[[float], None]) -> bool:
    """Whether two JSON values are equal. `charge` is told what comparing long ones costs, before it is spent."""
    kind = one.__class__
    if kind is not other.__class__:
        return kind in _NUMBERS and other.__class__ in _NUMBERS and one == other
    if kind is not dict and kind is not list:
        if kind is str and len(one) == len(other) > _LONG:
            charge(len(one) / 8)
        return bool(one == other)
    if len(one) != len(other):
        return False
    charge(COMPARED_PARTS_COST * len(one))
    if kind is list:
        return all(same(item, beside, charge) for item, beside in zip(one, other, strict=True))
    return all(key in other and same(item, other[key], charge) for key, item in one.items())


_LONG: Final = 1024
