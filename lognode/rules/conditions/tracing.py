"""The tree that says how a condition came to its result.

Invariant: it comes to what judging comes to, and is bounded in size whatever the span holds.
"""

from typing import Any, NamedTuple

import msgspec

from lognode.core.limits import TRACE_BYTES_MAX, TRACE_CONDITIONS_MAX
from lognode.rules import document
from lognode.rules.conditions.cel.expression import BadExpression, compile_expression
from lognode.rules.conditions.judging import Check, Reader, prepare
from lognode.rules.conditions.templates import written
from lognode.rules.conditions.trace import CUT, Trace, shortened
from lognode.rules.conditions.unclear import Unclear
from lognode.rules.document import Condition, Path, value_paths


class Leaf(NamedTuple):
    """What is told of a condition whatever it comes to, and what judges it."""

    text: str
    paths: tuple[tuple[str, Path], ...]
    check: Check


# By condition, told apart by identity: those of one rule, which outlive it.
Leaves = dict[int, Leaf]


def trace(condition: Condition, reader: Reader, leaves: Leaves | None = None) -> Trace:
    """The condition's result and how it came about. `leaves` keeps what is the same each time."""
    return _Tracing(reader, {} if leaves is None else leaves).trace(condition)


def condition_text(condition: Condition) -> str:
    """The condition in the words of a document, in one line; of one with others inside, its name."""
    match condition:
        case document.Always():
            return "always"
        case document.All():
            return "all"
        case document.Any():
            return "any"
        case document.Not():
            return "not"
        case document.Exists(path):
            return f"exists {path}"
        case document.Missing(path):
            return f"missing {path}"
        case document.ContainsTag(tag):
            return f"contains_tag {written(tag)}"
        case document.Cel(expression):
            return f"when {expression}"
        case document.Equals(path, said):
            return f"equals {path}: {written(said)}"
        case document.NotEquals(path, said):
            return f"not_equals {path}: {written(said)}"
        case document.ContainsText(path, said):
            return f"contains_text {path}: {written(said)}"
        case document.GreaterThan(path, said):
            return f"greater_than {path}: {written(said)}"
        case document.LessThan(path, said):
            return f"less_than {path}: {written(said)}"


def condition_paths(condition: Condition) -> tuple[Path, ...]:
    """The paths that a condition without others inside reads, in the order in which they stand there."""
    match condition:
        case document.Equals(path, said) | document.NotEquals(path, said) | document.ContainsText(path, said):
            return (path, *value_paths(said))
        case document.GreaterThan(path, said) | document.LessThan(path, said):
            return (path, *value_paths(said))
        case document.Exists(path) | document.Missing(path):
            return (path,)
        case document.ContainsTag(tag):
            return (Path(("tags",)), *value_paths(tag))
        case document.Cel(expression):
            try:
                return tuple(map(Path, compile_expression(expression).reads))
            except BadExpression:
                return ()
        case _:
            return ()


class _Tracing:
    """One trace in the making, with the room that is left for it."""

    def __init__(self, reader: Reader, leaves: Leaves) -> None:
        self._reader = reader
        self._leaves = leaves
        self._conditions = TRACE_CONDITIONS_MAX
        self._bytes = TRACE_BYTES_MAX

    def trace(self, condition: Condition) -> Trace:
        self._conditions -= 1
        if not isinstance(condition, document.All | document.Any | document.Not):
            leaf = self._leaf(condition)
            text = self._shown(leaf.text)
            result, error = self._judged(leaf.check)
            values = {name: self._shown(self._value(path)) for name, path in leaf.paths}
            return Trace(text, result, values, (), error)
        text = self._shown(condition_text(condition))
        if isinstance(condition, document.Not):
            inner = self.trace(condition.of)
            return Trace(text, None if inner.result is None else not inner.result, {}, (inner,), inner.error)
        return self._several(condition, text)

    def _several(self, condition: document.All | document.Any, text: str) -> Trace:
        is_any = isinstance(condition, document.Any)
        parts: list[Trace] = []
        error = ""
        for part in condition.of:
            if self._conditions > 0:
                inner = self.trace(part)
                parts.append(inner)
                result, why = inner.result, inner.error
            else:
                result, why = self._judged(prepare(part))
            if result is is_any:
                return Trace(text, is_any, {}, tuple(parts))
            error = error or why
        return Trace(text, None if error else not is_any, {}, tuple(parts), error)

    def _leaf(self, condition: Condition) -> Leaf:
        leaf = self._leaves.get(id(condition))
        if leaf is None:
            paths = tuple((str(path), path) for path in condition_paths(condition))
            leaf = self._leaves[id(condition)] = Leaf(condition_text(condition), paths, prepare(condition))
        return leaf

    def _judged(self, check: Check) -> tuple[bool | None, str]:
        try:
            return check(self._reader), ""
        except Unclear as unclear:
            return None, str(unclear)

    def _value(self, path: Path) -> Any:
        try:
            return self._reader.read(path)
        except Unclear as unclear:
            return f"unclear: {unclear}"

    def _shown(self, value: Any) -> Any:
        shown = shortened(value)
        self._bytes -= len(msgspec.json.encode(shown))
        return shown if self._bytes >= 0 else CUT
