"""Whether a condition can hold at all, as far as its text shows.

Knows no span. Errs on one side: a condition of which nothing is sure can hold. So what is refused here never holds,
and what never holds may pass.
"""

from collections.abc import Iterable
from typing import Any as AnyValue
from typing import Final

from lognode.core.limits import RULE_PARTS_MAX
from lognode.core.span import STATUSES, VISIBILITIES
from lognode.rules.conditions.cel.expression import activation_of, compile_expression
from lognode.rules.conditions.unclear import Unclear
from lognode.rules.document import (
    FACTS,
    All,
    Always,
    Any,
    Cel,
    Condition,
    ContainsText,
    Equals,
    Exists,
    GreaterThan,
    LessThan,
    Missing,
    Not,
    NotEquals,
    Path,
    Shape,
    Value,
    condition_parts,
    value_paths,
)

_KIND: Final = Path(("kind",))
_TOLD_BY_KIND: Final = (Equals, NotEquals, ContainsText)
# Facts that every span has, and what they can be.
_WORDS: Final = {"status": STATUSES, "visibility": VISIBILITIES, "level": ("root", "trusted", "observer", "blocked")}
_ALWAYS_THERE: Final = frozenset({"kind", "tags", "status", "visibility", "node", "level", "time", "approvals", "hops"})


def can_hold(condition: Condition, kind: str | None = None) -> bool:
    """Whether it may hold, for a span of this kind where one is given."""
    return truth(condition, kind) is not False


def is_about_kind(condition: Condition) -> bool:
    """Whether it may hold for one kind and not for another, as far as its text shows."""
    return any(isinstance(part, _TOLD_BY_KIND) and part.path == _KIND for part in condition_parts(condition))


def truth(condition: Condition, kind: str | None = None) -> bool | None:
    """True or False where it is so for every span (of this kind), None where it depends."""
    match condition:
        case Always():
            return True
        case Not(of):
            inner = truth(of, kind)
            return None if inner is None else not inner
        case All(of):
            return _all(of, kind)
        case Any(of):
            found = {truth(part, kind) for part in of}
            return True if True in found else None if None in found else False
        case Cel(expression):
            return _constant(expression)
        case _:
            return _single(condition, kind)


def _constant(expression: str) -> bool | None:
    """What an expression that reads nothing comes to."""
    compiled = compile_expression(expression)
    if compiled.reads:
        return None
    try:
        return compiled.evaluate(activation_of({}))
    except Unclear:
        return None


def _all(parts: Iterable[Condition], kind: str | None) -> bool | None:
    flat = list(_flattened(parts))
    found = {truth(part, kind) for part in flat}
    if False in found:
        return False
    # Each is compared with each, which must not take long; who writes more than so many parts may contradict himself.
    near = flat[:RULE_PARTS_MAX]
    if any(_excludes(one, other) for at, one in enumerate(near) for other in near[at + 1 :]):
        return False
    return None if None in found else True


def _flattened(parts: Iterable[Condition]) -> Iterable[Condition]:
    for part in parts:
        if isinstance(part, All):
            yield from _flattened(part.of)
        else:
            yield part


def _single(condition: Condition, kind: str | None) -> bool | None:
    """The truth of a condition without others inside, from what every span has."""
    match condition:
        case Equals(path, value) if not _is_open(value):
            return _equals(path, value, kind)
        case NotEquals(path, value) if not _is_open(value):
            same = _equals(path, value, kind)
            return None if same is None else not same
        case Missing(path) if path.fact in _ALWAYS_THERE and len(path.segments) == 1:
            return False
        case Exists(path) if path.fact in _ALWAYS_THERE and len(path.segments) == 1:
            return True
        case GreaterThan(path, _) | LessThan(path, _) if _shape(path) in {Shape.TEXT, Shape.TEXTS, Shape.TIME}:
            return False
        case LessThan(path, bound) if (
            path.fact in {"approvals", "hops"} and isinstance(bound, int | float) and bound <= 0
        ):
            return False
        case ContainsText(path, _) if _shape(path) in {Shape.NUMBER, Shape.TEXTS}:
            return False
        case ContainsText(path, text) if path == _KIND and kind is not None and isinstance(text, str):
            return text in kind
        case _:
            return None


def _equals(path: Path, value: Value, kind: str | None) -> bool | None:
    if path == _KIND and kind is not None:
        return value == kind
    words = _WORDS.get(path.fact) if len(path.segments) == 1 else None
    if words is not None:
        return None if value in words else False
    shape = _shape(path)
    if value is None:
        return False if path.fact in _ALWAYS_THERE and len(path.segments) == 1 else None
    if (shape in {Shape.TEXT, Shape.TIME} and not isinstance(value, str)) or (
        shape is Shape.NUMBER and not isinstance(value, int | float)
    ):
        return False
    return None


def _shape(path: Path) -> Shape | None:
    """The shape of a fact that is read whole; None below one, where anything may stand."""
    return FACTS.get(path.fact) if len(path.segments) == 1 else None


def _is_open(value: Value) -> bool:
    """Whether a value is known only when it is filled in."""
    return next(value_paths(value), None) is not None


def _excludes(one: Condition, other: Condition) -> bool:
    """Whether two conditions never hold together."""
    return one == Not(other) or other == Not(one) or _contradicts(one, other) or _contradicts(other, one)


def _contradicts(one: Condition, other: Condition) -> bool:
    match one, other:
        case Exists(path), Missing(same):
            return path == same or _is_below(path, same)
        case Equals(path, value), Missing(same):
            return value is not None and not _is_open(value) and (path == same or _is_below(path, same))
        case ((GreaterThan(path, _) | LessThan(path, _) | ContainsText(path, _)), Missing(same)):
            return path == same or _is_below(path, same)
        case Equals(path, None), Exists(same):
            return path == same or _is_below(same, path)
        case _:
            return _differs(one, other)


def _differs(one: Condition, other: Condition) -> bool:
    """The same for two conditions about one path, of which the first says what stands there."""
    if not isinstance(one, Equals) or _is_open(one.value):
        return _is_empty_range(one, other)
    value: AnyValue = one.value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match other:
        case Equals(path, said) if path == one.path and not _is_open(said):
            return bool(value != said)
        case NotEquals(path, said) if path == one.path and not _is_open(said):
            return bool(value == said and type(value) is type(said))
        case GreaterThan(path, bound) if path == one.path and isinstance(bound, int | float):
            return not is_number or value <= bound
        case LessThan(path, bound) if path == one.path and isinstance(bound, int | float):
            return not is_number or value >= bound
        case ContainsText(path, text) if path == one.path and isinstance(text, str):
            return isinstance(value, str) and text not in value
        case _:
            return False


def _is_empty_range(one: Condition, other: Condition) -> bool:
    match one, other:
        case GreaterThan(path, int() | float() as low), LessThan(same, int() | float() as high):
            return path == same and low >= high
        case _:
            return False


def _is_below(path: Path, above: Path) -> bool:
    """Whether nothing can stand at the path where nothing stands above."""
    return path.segments[: len(above.segments)] == above.segments
