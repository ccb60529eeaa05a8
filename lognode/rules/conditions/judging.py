"""Whether a condition holds, in one place for all its forms, and the tree that says how it came to that.

A condition is true, false or unclear: an expression that errs, or costs more than it may, is unclear. `any` is true
where one of its conditions is, `all` false where one is not, whatever is unclear beside it; `not` of what is unclear is
unclear. Invariant: `trace` comes to what `holds` comes to. The table of what each condition means is in docs/rules.md.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

from lognode.core.limits import TRACE_BYTES_MAX, TRACE_CONDITIONS_MAX
from lognode.rules import document
from lognode.rules.conditions.cel.expression import BadExpression, Expression, compile_expression
from lognode.rules.conditions.comparison import is_number, same
from lognode.rules.conditions.templates import fill_text, fill_value, written
from lognode.rules.conditions.trace import CUT, Trace, shortened
from lognode.rules.conditions.unclear import Unclear
from lognode.rules.document import Condition, Path, Template, value_paths

_SEARCH_COST: Final = 1.0  # of a character, at worst


class Reader(Protocol):
    """What a condition reads of one span, and what that may cost."""

    def read(self, path: Path) -> Any:
        """The JSON value at the path, None where there is none. Raises Unclear where the past cannot tell."""

    def has_tag(self, tag: str) -> bool:
        """Whether the span has the tag, from its author or from a rule before."""

    def charge(self, cost: float) -> None:
        """Count work of about `cost` nanoseconds before it is done. Raises Unclear where that is too much."""

    def evaluate(self, expression: Expression) -> bool:
        """What the expression comes to. Raises Unclear."""


def holds(condition: Condition, reader: Reader) -> bool:
    """Whether the condition holds. Raises Unclear."""
    leaf = _LEAVES.get(condition.__class__)
    if leaf is not None:
        return leaf(condition, reader)
    if isinstance(condition, document.Not):
        return not holds(condition.of, reader)
    assert isinstance(condition, document.All | document.Any)
    is_any = isinstance(condition, document.Any)
    unclear: Unclear | None = None
    for part in condition.of:
        try:
            if holds(part, reader) is is_any:
                return is_any
        except Unclear as error:
            unclear = unclear or error
    if unclear is not None:
        raise unclear
    return not is_any


def trace(condition: Condition, reader: Reader) -> Trace:
    """The condition's result and how it came about, bounded in size."""
    return _Tracing(reader).trace(condition)


def _equals(condition: document.Equals, reader: Reader) -> bool:
    return same(reader.read(condition.path), fill_value(condition.value, reader), reader.charge)


def _not_equals(condition: document.NotEquals, reader: Reader) -> bool:
    return not same(reader.read(condition.path), fill_value(condition.value, reader), reader.charge)


def _contains_text(condition: document.ContainsText, reader: Reader) -> bool:
    text = reader.read(condition.path)
    wanted = fill_value(condition.text, reader)
    if text.__class__ is not str or wanted.__class__ is not str:
        return False
    reader.charge(_SEARCH_COST * len(text))
    return wanted in text


def _contains_tag(condition: document.ContainsTag, reader: Reader) -> bool:
    return reader.has_tag(fill_text(condition.tag, reader))


def _exceeds(condition: document.GreaterThan | document.LessThan, reader: Reader) -> bool:
    value = reader.read(condition.path)
    bound = fill_value(condition.bound, reader) if isinstance(condition.bound, Template) else condition.bound
    if not is_number(value) or not is_number(bound):
        return False
    return bool(value > bound if isinstance(condition, document.GreaterThan) else value < bound)


def _when(condition: document.Cel, reader: Reader) -> bool:
    try:
        expression = compile_expression(condition.expression)
    except BadExpression as error:
        raise Unclear(f"not understood here: {error}") from None
    return reader.evaluate(expression)


_LEAVES: Final[Mapping[type, Callable[[Any, Reader], bool]]] = {
    document.Always: lambda _, __: True,
    document.Equals: _equals,
    document.NotEquals: _not_equals,
    document.Exists: lambda condition, reader: reader.read(condition.path) is not None,
    document.Missing: lambda condition, reader: reader.read(condition.path) is None,
    document.ContainsText: _contains_text,
    document.ContainsTag: _contains_tag,
    document.GreaterThan: _exceeds,
    document.LessThan: _exceeds,
    document.Cel: _when,
}


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

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._conditions = TRACE_CONDITIONS_MAX
        self._bytes = TRACE_BYTES_MAX

    def trace(self, condition: Condition) -> Trace:
        self._conditions -= 1
        text = self._shown(condition_text(condition))
        leaf = _LEAVES.get(condition.__class__)
        if leaf is not None:
            result, error = self._judged(condition)
            values = {str(path): self._shown(self._value(path)) for path in condition_paths(condition)}
            return Trace(text, result, values, (), error)
        if isinstance(condition, document.Not):
            inner = self.trace(condition.of)
            return Trace(text, None if inner.result is None else not inner.result, {}, (inner,), inner.error)
        assert isinstance(condition, document.All | document.Any)
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
                result, why = self._judged(part)
            if result is is_any:
                return Trace(text, is_any, {}, tuple(parts))
            error = error or why
        return Trace(text, None if error else not is_any, {}, tuple(parts), error)

    def _judged(self, condition: Condition) -> tuple[bool | None, str]:
        try:
            return holds(condition, self._reader), ""
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
