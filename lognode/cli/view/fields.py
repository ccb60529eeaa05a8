"""Chosen fields of spans, for programs that want no more than these."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from lognode.client.answers import Span
from lognode.core.errors import CallerError

USUAL_FIELDS: Final = ("id", "at", "kind", "title")
# A field ends at a tab and a span at a line feed; a backslash begins what stands for them.
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def parse_fields(text: str) -> tuple[str, ...]:
    """The names of `id,at,data.amount`. Raises CallerError("usage.invalid") for a field that no span has."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        field = name.partition(".")[0]
        if field not in Span.__annotations__:
            near = get_close_matches(field, Span.__annotations__, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise CallerError("usage.invalid", f"a span has no field {field!r:.80}{hint}", place="--fields")
    return names


def pick(span: Span, names: Sequence[str]) -> dict[str, Any]:
    """These fields by name; null where the span does not have one."""
    return {name: _at(span, name) for name in names}


def tsv_line(span: Span, names: Sequence[str]) -> str:
    r"""These fields with tabs between them: text as it is, other values as JSON, no value as nothing.

    Tabs, line ends and backslashes in a text are written as \t, \n, \r and \\.
    """
    return "\t".join(_plain(_at(span, name)).translate(_ESCAPES) for name in names)


def _at(span: Span, name: str) -> Any:
    found: Any = span
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
