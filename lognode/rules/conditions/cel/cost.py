"""What evaluating a CEL expression may cost, before it is evaluated.

The library bounds iterations and depth, but neither what one of them costs nor memory: doubled texts, a map over a
list (which copies it for each element), maps that are compared in a loop, and regular expressions whose program is
long. So the cost is bounded here, as a function of the expression and of how large the values are that it reads. The
units are about nanoseconds, measured on a machine of our time. Invariant: a bound depends on expression and values
alone, so a rule that costs too much fails on every node alike.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from lognode.core.limits import CEL_ITERATIONS_MAX
from lognode.rules.conditions.cel.patterns import program_size
from lognode.rules.conditions.cel.syntax import Node

Segments = tuple[str | int, ...]


class Extent(NamedTuple):
    """How large a value is at most: its longest text in characters, its longest list or map, its parts in all."""

    text: float = 0
    items: float = 0
    parts: float = 1


_SCALAR: Final = Extent(text=40)  # numbers, times and truth, also as text


class _Bill(NamedTuple):
    """What a part costs, and what it makes."""

    cost: float
    made: Extent


# Nanoseconds, rather more than less.
_STEP: Final = 50.0  # a node of the tree
_ROUND: Final = 500.0  # one turn of a loop, over a map at worst
_PART: Final = 250.0  # a part of a list or map that is compared or copied
_KEY: Final = 700.0  # a key of a map that is looked through
_GROWTH: Final = 180.0  # an element of a list that a loop makes, each time that one is added
_CHAR: Final = 0.5  # a character that is copied, compared or parsed
_COUNTED_CHAR: Final = 4.0
_FIND_CHAR: Final = 0.4  # a character of a text that is searched
_FIND_PAIR: Final = 0.1  # a character of it, for each of what is looked for
_PATTERN: Final = 20_000.0  # a regular expression, and each instruction of it, which are made each time
_INSTRUCTION: Final = 1_000.0
_PATTERN_STATE: Final = 35.0  # an instruction, for each character

ESTIMATE_COST: Final = 3_000.0  # a node of the tree whose cost is estimated
WALK_COST: Final = 400.0  # a part of a value of which it is found out how large it is

_COUNTS: Final = frozenset({"size"})
_SEARCHES: Final = frozenset({"contains"})
_EQUALITIES: Final = frozenset({"_==_", "_!=_", "@in", "_<_", "_<=_", "_>_", "_>=_", "startsWith", "endsWith"})
_COPIES: Final = frozenset({"dyn", "string", "bytes", "int", "uint", "double", "timestamp", "duration", "bool", "type"})


def static_path(node: Node, bound: frozenset[str] = frozenset()) -> Segments | None:
    """The path of facts that a node is, where it is one: names and fixed keys, below no variable of a loop."""
    if node.form == "name":
        return None if node.name in bound else (node.name,)
    if node.form == "select":
        below = static_path(node.parts[0], bound)
        return None if below is None else (*below, node.name)
    if node.form == "call" and node.name == "_[_]" and node.parts[1].form == "const":
        key = node.parts[1].text if node.parts[1].text is not None else node.parts[1].number
        below = static_path(node.parts[0], bound)
        return None if below is None or key is None else (*below, key)
    return None


def estimate(root: Node, extent: Callable[[Segments], Extent]) -> float:
    """The most that the expression costs where `extent` says how large what stands at a path is."""
    return _Estimate(extent).bill(root, {}).cost


class _Estimate:
    def __init__(self, extent: Callable[[Segments], Extent]) -> None:
        self._extent = extent

    def bill(self, node: Node, names: Mapping[str, Extent]) -> _Bill:
        if node.form == "const":
            size = len(node.text or "")
            return _Bill(_STEP, Extent(text=max(size, 40)))
        path = static_path(node, frozenset(names))
        if path is not None:
            return _Bill(_STEP * 2 * len(path), self._extent(path))
        if node.form == "name":
            return _Bill(_STEP, names[node.name])
        if node.form == "loop":
            return self._loop(node, names)
        bills = [self.bill(part, names) for part in node.parts]
        cost = _STEP + sum(bill.cost for bill in bills)
        made = [bill.made for bill in bills]
        if node.form == "select":
            return _Bill(cost + 2 * _STEP, made[0])
        if node.form in {"list", "map"}:
            whole = Extent(_longest(made), len(made), 1 + sum(item.parts for item in made))
            return _Bill(cost + _PART * len(made), whole._replace(items=max([len(made), *(i.items for i in made)])))
        more, result = _call(node, made)
        return _Bill(cost + more, result)

    def _loop(self, node: Node, names: Mapping[str, Extent]) -> _Bill:
        """A macro: `all` and its like come to a scalar, `map` and `filter` to a list that grows turn by turn."""
        over, start, condition, step, result = node.parts
        ranged = self.bill(over, names)
        rounds = min(ranged.made.items, CEL_ITERATIONS_MAX)
        *variables, gathered = node.names
        is_list = start.form == "list"
        inner = {**names, **dict.fromkeys(variables, ranged.made), gathered: _SCALAR}
        stepped = self.bill(step, inner)
        turn = self.bill(condition, inner).cost + stepped.cost + _ROUND
        cost = ranged.cost + rounds * turn + _PART * ranged.made.items
        made = _SCALAR
        if is_list:
            added = stepped.made
            cost += _GROWTH * rounds * rounds
            made = Extent(added.text, max(rounds, added.items), 1 + rounds * added.parts)
        last = self.bill(result, {**inner, gathered: made})
        return _Bill(cost + last.cost, made if is_list else last.made)


def _longest(extents: list[Extent]) -> float:
    return max((extent.text for extent in extents), default=0)


def _call(node: Node, made: list[Extent]) -> tuple[float, Extent]:
    """What a call costs besides its operands, and what it makes."""
    name = node.name
    if name == "_+_" and not node.is_number:
        whole = Extent(sum(i.text for i in made), sum(i.items for i in made), sum(i.parts for i in made))
        return _CHAR * whole.text + _PART * whole.items, whole
    if name in {"_?_:_", "_[_]"}:
        ways = made[1:] if name == "_?_:_" else made[:1]
        whole = Extent(_longest(ways), max(i.items for i in ways), max(i.parts for i in ways))
        return (_KEY if name == "_[_]" else 0), whole
    if name in _EQUALITIES:
        return _comparison(node, made), _SCALAR
    if name in _COUNTS:
        return _COUNTED_CHAR * made[0].text, _SCALAR
    if name in _SEARCHES:
        looked, wanted = made[0].text, made[-1].text
        return looked * (_FIND_CHAR + _FIND_PAIR * wanted), _SCALAR
    if name == "matches":
        size = program_size(node.parts[-1].text or "")
        return _PATTERN + size * (_INSTRUCTION + _PATTERN_STATE * made[0].text), _SCALAR
    if name in _COPIES:
        copied = made[0] if made else _SCALAR
        return 2 * _CHAR * copied.text, Extent(max(copied.text, 40), copied.items, copied.parts)
    return _CHAR * _longest(made), _SCALAR


def _comparison(node: Node, made: list[Extent]) -> float:
    """Two values are walked side by side, as far as the smaller goes; a member is compared with all of a list."""
    parts = min(extent.parts for extent in made)
    text = min(extent.text for extent in made)
    if node.name == "@in":
        return _KEY * made[1].items + min(made[0].parts * made[1].items, made[1].parts) * _PART + _CHAR * made[1].text
    return _CHAR * text * min(parts, 64) + _PART * (parts - 1)


def extent_of(value: Any) -> Extent:
    """How large a JSON value is. Takes WALK_COST for each of its parts."""
    if isinstance(value, str):
        return Extent(text=max(len(value), _SCALAR.text))
    if not isinstance(value, dict | list):
        return _SCALAR
    text, items, parts = _SCALAR.text, 0, 1
    waiting: list[Any] = [value]
    while waiting:
        found: Any = waiting.pop()
        size = len(found)
        parts += size
        items = max(items, size)
        if found.__class__ is dict:
            parts += size
            text = max(text, max(map(len, found), default=0))
            found = found.values()
        inner: list[Any] = list(found)
        types = set(map(type, inner))
        if str in types:
            text = max(text, *(len(item) for item in inner if item.__class__ is str))
        if types & _WHOLES:
            waiting += [item for item in inner if item.__class__ in _WHOLES]
    return Extent(text, items, parts)


_WHOLES: Final[frozenset[type]] = frozenset({dict, list})
