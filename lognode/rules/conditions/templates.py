"""Texts and values of rules with what they refer to filled in.

Invariant: however long what a span holds is, a text that is filled in has bounded size; only a whole-text reference
gives the value itself, which whoever asks has to bound.
"""

from typing import Any, Final, Protocol

import msgspec

from lognode.core.limits import TEMPLATE_VALUE_CHARS_MAX, TEXT_BYTES_MAX
from lognode.rules.conditions.trace import CUT, shortened
from lognode.rules.document import Path, Template, Text, Value

_CUT_BYTES: Final = len(CUT.encode())


class Values(Protocol):
    """What stands at paths."""

    def read(self, path: Path) -> Any:
        """The JSON value at the path, None where there is none."""


def fill_text(text: Text, values: Values) -> str:
    """The text with its references filled in, cut to TEXT_BYTES_MAX bytes."""
    if isinstance(text, Template):
        text = "".join(
            part if isinstance(part, str) else _cut(text_of(values.read(part)), TEMPLATE_VALUE_CHARS_MAX)
            for part in text.parts
        )
    encoded = text.encode()
    if len(encoded) <= TEXT_BYTES_MAX:
        return text
    return encoded[: TEXT_BYTES_MAX - _CUT_BYTES].decode(errors="ignore") + CUT


def fill_value(value: Value, values: Values) -> Any:
    """The value with its references filled in; a text that is one reference becomes what stands there."""
    if value.__class__ is Template:
        assert isinstance(value, Template)
        return fill_text(value, values) if value.whole is None else values.read(value.whole)
    if isinstance(value, dict):
        return {key: fill_value(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_value(item, values) for item in value]
    return value


def text_of(value: Any) -> str:
    """A value as text: null is nothing, lists and maps are JSON, shortened."""
    if value.__class__ is str:
        return str(value)
    return "" if value is None else msgspec.json.encode(shortened(value)).decode()


def written(text: Value) -> str:
    """A value as a document has it: JSON, with references in braces."""
    return msgspec.json.encode(_plain(text)).decode()


def _plain(value: Value) -> Any:
    if isinstance(value, Template):
        return "".join(part if isinstance(part, str) else f"{{{part}}}" for part in value.parts)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[:chars_max] + CUT
