"""What plain text of YAML and numbers of JSON stand for, by YAML 1.2's core schema and within JSON's types.

Invariant: `yes`, `no`, `on` and `off` are texts, as are dates and numbers with `_` or `:`, whatever older YAML made
of them; and what readers of older YAML take for another number is refused.
"""

import re
from math import isfinite
from typing import Final

from lognode.core.codec import INT_MAX, INT_MIN
from lognode.rules.document import Scalar

_WORDS: Final[dict[str, Scalar]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INT: Final = re.compile(r"[-+]?[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_OTHER: Final = re.compile(
    r"[-+]?0[0-9_]+|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?0b[01_]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_DIGITS_MAX: Final = 400  # of a number: longer ones are no doubles, and Python is slow with them


class NotAScalar(ValueError):
    """Its text says why, and what to write."""


def plain_scalar(text: str) -> Scalar:
    """The value of unquoted text. Raises NotAScalar for numbers that JSON has not, or of which readers disagree."""
    if text in _WORDS:
        return _WORDS[text]
    if _OTHER.fullmatch(text):
        raise NotAScalar(f"{text:.40} is no number here; write it in decimal, or in quotes for a text")
    if _FLOAT.fullmatch(text):
        return number(text)
    return text


def number(text: str) -> int | float:
    """The number of a text that is one. Raises NotAScalar where it does not fit 64 bits."""
    if len(text) > _DIGITS_MAX:
        raise NotAScalar(f"{text:.20}... has {len(text)} digits; send it as text")
    if _INT.fullmatch(text):
        whole = int(text)
        if not INT_MIN <= whole <= INT_MAX:
            raise NotAScalar(f"{text:.40} does not fit 64 bits with sign; send it as text")
        return whole
    value = float(text)
    if not isfinite(value):
        raise NotAScalar(f"{text:.40} is too large; send it as text")
    return value
