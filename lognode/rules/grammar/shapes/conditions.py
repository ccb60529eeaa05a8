"""Conditions: from a map with one key to what it stands for.

Invariant: each name in CONDITIONS is a condition of the reference and of the schema, and reads to one variant.
"""

from collections.abc import Callable, Mapping
from typing import Final

from lognode.core.limits import RULE_PARTS_MAX
from lognode.rules.document import (
    All,
    Always,
    Any,
    Cel,
    Condition,
    ContainsTag,
    ContainsText,
    Equals,
    Exists,
    GreaterThan,
    LessThan,
    Missing,
    Not,
    NotEquals,
    Path,
    Text,
)
from lognode.rules.grammar.faults import shortened
from lognode.rules.grammar.shapes.fields import read_many, wrong_type
from lognode.rules.grammar.shapes.scope import Scope
from lognode.rules.grammar.source.nodes import Leaf, ListNode, MapNode, Node, Unread

_Reader = Callable[[Node, Scope], Condition | None]


def read_condition(node: Node, scope: Scope) -> Condition | None:
    """The condition that a map with one key is; None where a fault was found."""
    if not isinstance(node, MapNode):
        advice = 'write when: "..." for a CEL expression' if isinstance(node, Leaf) and node.value else ""
        wrong_type(scope.faults, node, "a condition", "a map with one key, such as exists or all", advice)
        return None
    if len(node.entries) != 1:
        if node.entries:
            names = ", ".join(shortened(str(key.value)) for key, _ in node.entries[:4])
            advice = "put each into a list below 'all' or 'any'"
            scope.faults.add("rule.misplaced_key", node.place, f"one condition has several keys: {names}", advice)
        else:
            scope.faults.add("rule.missing_key", node.place, "a condition is missing", "write always: true")
        for key, value in node.entries:
            _read_one(key, value, scope)
        return None
    return _read_one(*node.entries[0], scope)


def _read_one(key: Leaf, value: Node, scope: Scope) -> Condition | None:
    read = CONDITIONS.get(str(key.value))
    if read is None:
        message = f"there is no condition {shortened(str(key.value))}"
        scope.faults.add("rule.unknown_key", key.place, message, scope.faults.near(str(key.value), CONDITIONS))
        return None
    return None if isinstance(value, Unread) else read(value, scope)


def _always(node: Node, scope: Scope) -> Condition | None:
    if isinstance(node, Leaf) and node.value is True:
        return Always()
    wrong_type(
        scope.faults, node, "'always'", "true", "for never, write not: {always: true}" if _is_false(node) else ""
    )
    return None


def _is_false(node: Node) -> bool:
    return isinstance(node, Leaf) and node.value is False


def _several(name: str, made: Callable[[tuple[Condition, ...]], Condition]) -> _Reader:
    def read(node: Node, scope: Scope) -> Condition | None:
        if not isinstance(node, ListNode):
            wrong_type(scope.faults, node, repr(name), "a list of conditions", "begin each with '- '")
            return None
        if not 1 <= len(node.items) <= RULE_PARTS_MAX:
            message = f"{name!r} has 1 to {RULE_PARTS_MAX} conditions, not {len(node.items)}"
            scope.faults.add("rule.out_of_bounds", node.place, message)
            return None
        parts = [read_condition(item, scope) for item in node.items]
        known = tuple(part for part in parts if part is not None)
        return made(known) if len(known) == len(parts) else None

    return read


def _not(node: Node, scope: Scope) -> Condition | None:
    inner = read_condition(node, scope)
    return None if inner is None else Not(inner)


def _compared(name: str, wanted: str, made: Callable[[Path, Node, Scope], Condition | None]) -> _Reader:
    """A map of paths to what stands there; with several, all have to hold."""

    def read(node: Node, scope: Scope) -> Condition | None:
        if not isinstance(node, MapNode):
            wrong_type(scope.faults, node, repr(name), f"a map of paths to {wanted}")
            return None
        if not 1 <= len(node.entries) <= RULE_PARTS_MAX:
            message = f"{name!r} has 1 to {RULE_PARTS_MAX} paths, not {len(node.entries)}"
            scope.faults.add("rule.out_of_bounds", node.place, message)
            return None
        parts = list[Condition]()
        for key, value in node.entries:
            path = scope.key_path(key)
            if isinstance(value, Unread):
                continue
            part = made(path or _NOWHERE, value, scope)
            if path is not None and part is not None:
                parts.append(part)
        return _joined(parts, len(node.entries))

    return read


_NOWHERE: Final = Path(("data",))  # stands for a path that was wrong, so that its value is read nonetheless


def _joined(parts: list[Condition], count: int) -> Condition | None:
    if len(parts) != count:
        return None
    return parts[0] if count == 1 else All(tuple(parts))


def _of_paths(name: str, made: Callable[[Path], Condition]) -> _Reader:
    """A path or a list of paths; with several, all have to hold."""

    def read(node: Node, scope: Scope) -> Condition | None:
        before = scope.faults.count
        wanted = "a path"
        paths = read_many(
            node, lambda item: scope.path(item, wanted), repr(name), scope.faults, most=RULE_PARTS_MAX, wanted=wanted
        )
        if scope.faults.count > before or not paths:
            return None
        return _joined([made(path) for path in paths], len(paths))

    return read


def _tags(node: Node, scope: Scope) -> Condition | None:
    before = scope.faults.count
    tags: tuple[Text, ...] = read_many(
        node,
        lambda item: scope.text(item, "a tag"),
        "'contains_tag'",
        scope.faults,
        most=RULE_PARTS_MAX,
        wanted="a tag",
    )
    if scope.faults.count > before or not tags:
        return None
    return _joined([ContainsTag(tag) for tag in tags], len(tags))


def _equals(path: Path, node: Node, scope: Scope) -> Condition | None:
    return Equals(path, scope.value(node, "a value"))


def _not_equals(path: Path, node: Node, scope: Scope) -> Condition | None:
    return NotEquals(path, scope.value(node, "a value"))


def _contains_text(path: Path, node: Node, scope: Scope) -> Condition | None:
    text = scope.text(node, "what a text contains")
    return None if text is None else ContainsText(path, text)


def _greater_than(path: Path, node: Node, scope: Scope) -> Condition | None:
    bound = scope.number(node, "what is compared")
    return None if bound is None else GreaterThan(path, bound)


def _less_than(path: Path, node: Node, scope: Scope) -> Condition | None:
    bound = scope.number(node, "what is compared")
    return None if bound is None else LessThan(path, bound)


def _when(node: Node, scope: Scope) -> Condition | None:
    expression = scope.expression(node)
    return None if expression is None else Cel(expression)


CONDITIONS: Final[Mapping[str, _Reader]] = {
    "always": _always,
    "all": _several("all", All),
    "any": _several("any", Any),
    "not": _not,
    "equals": _compared("equals", "values", _equals),
    "not_equals": _compared("not_equals", "values", _not_equals),
    "exists": _of_paths("exists", Exists),
    "missing": _of_paths("missing", Missing),
    "contains_text": _compared("contains_text", "texts", _contains_text),
    "contains_tag": _tags,
    "greater_than": _compared("greater_than", "numbers", _greater_than),
    "less_than": _compared("less_than", "numbers", _less_than),
    "when": _when,
}
