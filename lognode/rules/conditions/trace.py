"""How a condition came to its result: a tree that says what was looked at, and which values stood there.

Knows no rule. Invariant: a trace is JSON of bounded size, whatever the span holds.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from lognode.core.limits import TRACE_ITEMS_MAX, TRACE_TEXT_CHARS_MAX

CUT = "…"  # stands for what was left out


class Trace(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a condition came to: None where it could not be told, and then `error` says why.

    `values` are those that were read, by path. `of` are the conditions inside, as far as they were needed.
    """

    condition: str
    result: bool | None
    values: Mapping[str, Any] = {}
    of: tuple["Trace", ...] = ()
    error: str = ""

    def leaves(self) -> Iterator["Trace"]:
        """The conditions that read values, in the order in which they were judged."""
        if not self.of:
            yield self
        for part in self.of:
            yield from part.leaves()


def shortened(value: Any, depth: int = 2) -> Any:
    """The value as far as a trace shows it: texts, lists, maps and nesting are cut, and where they are, CUT stands."""
    if value.__class__ is str:
        return value if len(value) <= TRACE_TEXT_CHARS_MAX else value[:TRACE_TEXT_CHARS_MAX] + CUT
    if value.__class__ is not dict and value.__class__ is not list:
        return value
    if not depth:
        return CUT
    if value.__class__ is list:
        items = [shortened(item, depth - 1) for item in value[:TRACE_ITEMS_MAX]]
        return items if len(value) <= TRACE_ITEMS_MAX else [*items, CUT]
    assert isinstance(value, dict)
    shown = {shortened(key): shortened(item, depth - 1) for key, item in islice(value.items(), TRACE_ITEMS_MAX)}
    return shown if len(value) <= TRACE_ITEMS_MAX else {**shown, CUT: CUT}
