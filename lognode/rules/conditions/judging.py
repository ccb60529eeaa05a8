"""Whether a condition holds, in one place for all its forms, and the tree that says how it came to that.

A condition is true, false or unclear: an expression that errs, or costs more than it may, is unclear. `any` is true
where one of its conditions is, `all` false where one is not, whatever is unclear beside it; `not` of what is unclear is
unclear. Invariant: `trace` comes to what `prepare` makes. The table of what each condition means is in docs/rules.md.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from lognode.rules import document
from lognode.rules.conditions.cel.expression import BadExpression, Expression, compile_expression
from lognode.rules.conditions.comparison import is_number, same
from lognode.rules.conditions.paths import follow
from lognode.rules.conditions.templates import fill_text, fill_value
from lognode.rules.conditions.unclear import Unclear
from lognode.rules.document import SPAN_FACTS, Condition, Path, value_paths

_SEARCH_COST: Final = 1.0  # of a character, at worst


class SpanFacts(Protocol):
    """The facts of a span itself."""

    def fact(self, name: str) -> Any:
        """The JSON value of a fact, None where the span has none."""


class Reader(Protocol):
    """What a condition reads of one span, and what that may cost."""

    @property
    def facts(self) -> SpanFacts:
        """The facts of the span itself."""

    def read(self, path: Path) -> Any:
        """The JSON value at the path, None where there is none. Raises Unclear where the past cannot tell."""

    def has_tag(self, tag: str) -> bool:
        """Whether the span has the tag, from its author or from a rule before."""

    def charge(self, cost: float) -> None:
        """Count work of about `cost` nanoseconds before it is done. Raises Unclear where that is too much."""

    def evaluate(self, expression: Expression) -> bool:
        """What the expression comes to. Raises Unclear."""


# Whether a condition holds; raises Unclear. Made once for each condition, called for each span.
Check = Callable[[Reader], bool]
Get = Callable[[Reader], Any]


def prepare(condition: Condition) -> Check:
    """What judges the condition."""
    leaf = _LEAVES.get(condition.__class__)
    if leaf is not None:
        return leaf(condition)
    if isinstance(condition, document.Not):
        inner = prepare(condition.of)
        return lambda reader: not inner(reader)
    assert isinstance(condition, document.All | document.Any)
    return _several(tuple(map(prepare, condition.of)), is_any=isinstance(condition, document.Any))


def _several(checks: Sequence[Check], *, is_any: bool) -> Check:
    """What judges several conditions of which any, or all, have to hold."""

    def check(reader: Reader) -> bool:
        unclear: Unclear | None = None
        for part in checks:
            try:
                if part(reader) is is_any:
                    return is_any
            except Unclear as error:
                unclear = unclear or error
        if unclear is not None:
            raise unclear
        return not is_any

    return check


def _get(path: Path) -> Get:
    """What reads the path. Most are keys of `data`, so those have a way of their own."""
    name, *rest = path.segments
    if name not in SPAN_FACTS:
        return lambda reader: reader.read(path)
    fact = str(name)
    if not rest:
        return lambda reader: reader.facts.fact(fact)
    if len(rest) > 1 or not isinstance(rest[0], str):
        return lambda reader: follow(reader.facts.fact(fact), rest)
    key = rest[0]

    def get(reader: Reader) -> Any:
        whole = reader.facts.fact(fact)
        return whole.get(key) if whole.__class__ is dict else None

    return get


def _equals(condition: document.Equals | document.NotEquals) -> Check:
    get, value = _get(condition.path), condition.value
    if any(value_paths(value)):
        return lambda reader: same(get(reader), fill_value(value, reader), reader.charge)
    return lambda reader: same(get(reader), value, reader.charge)


def _not_equals(condition: document.NotEquals) -> Check:
    equals = _equals(condition)
    return lambda reader: not equals(reader)


def _contains_text(condition: document.ContainsText) -> Check:
    get, said = _get(condition.path), condition.text

    def check(reader: Reader) -> bool:
        text, wanted = get(reader), fill_value(said, reader)
        if text.__class__ is not str or wanted.__class__ is not str:
            return False
        reader.charge(_SEARCH_COST * len(text))
        return wanted in text

    return check


def _exceeds(condition: document.GreaterThan | document.LessThan) -> Check:
    get, said, is_more = _get(condition.path), condition.bound, isinstance(condition, document.GreaterThan)

    def check(reader: Reader) -> bool:
        value, bound = get(reader), fill_value(said, reader)
        if not is_number(value) or not is_number(bound):
            return False
        return bool(value > bound if is_more else value < bound)

    return check


def _exists(condition: document.Exists) -> Check:
    get = _get(condition.path)
    return lambda reader: get(reader) is not None


def _missing(condition: document.Missing) -> Check:
    get = _get(condition.path)
    return lambda reader: get(reader) is None


def _when(condition: document.Cel) -> Check:
    try:
        expression = compile_expression(condition.expression)
    except BadExpression as error:
        message = f"not understood here: {error}"

        def fails(_: Reader) -> bool:
            raise Unclear(message)

        return fails
    return lambda reader: reader.evaluate(expression)


_LEAVES: Final[Mapping[type, Callable[[Any], Check]]] = {
    document.Always: lambda _: lambda _: True,
    document.Equals: _equals,
    document.NotEquals: _not_equals,
    document.Exists: _exists,
    document.Missing: _missing,
    document.ContainsText: _contains_text,
    document.ContainsTag: lambda condition: lambda reader: reader.has_tag(fill_text(condition.tag, reader)),
    document.GreaterThan: _exceeds,
    document.LessThan: _exceeds,
    document.Cel: _when,
}
