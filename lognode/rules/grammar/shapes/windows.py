"""What a rule declares to read of the past: windows and last spans."""

from collections.abc import Callable
from typing import Final, Literal, TypeVar

from lognode.core.limits import (
    RULE_KINDS_MAX,
    RULE_LAST_MAX,
    RULE_WINDOW_MS_MAX,
    RULE_WINDOW_MS_MIN,
    RULE_WINDOWS_MAX,
)
from lognode.rules.document import SPAN_FACTS, Last, Path, Window
from lognode.rules.grammar.faults import shortened
from lognode.rules.grammar.shapes.fields import Fields, read_key, read_kind, wrong_type
from lognode.rules.grammar.shapes.scope import Scope
from lognode.rules.grammar.source.nodes import Leaf, MapNode, Node

WINDOW_FIELDS: Final = ("over", "by", "at", "kinds", "count", "sum", "distinct")
LAST_FIELDS: Final = ("subject", "kinds")
COMMIT: Final = "commit"
_Declared = TypeVar("_Declared", Window, Last)


def read_windows(fields: Fields, kinds: tuple[str, ...], scope: Scope) -> tuple[Window, ...]:
    """The windows of a rule with these `kinds`; those that could be read."""

    def read(name: str, node: MapNode) -> Window | None:
        return _window(name, node, kinds, scope)

    return _declared(fields, "windows", RULE_WINDOWS_MAX, read)


def read_last(fields: Fields, scope: Scope) -> tuple[Last, ...]:
    """The last spans that a rule declares; those that could be read."""

    def read(name: str, node: MapNode) -> Last | None:
        inner = Fields(node, f"last span {name!r}", LAST_FIELDS, scope.faults)
        named = inner.require("subject", "write subject: and the path at which it stands")
        subject = None if named is None else scope.path(named, "'subject'", SPAN_FACTS)
        kinds = read_kinds(inner)
        return None if subject is None else Last(name, subject, kinds)

    return _declared(fields, "last", RULE_LAST_MAX, read)


def read_kinds(fields: Fields) -> tuple[str, ...]:
    """The kinds that a rule, window or last span names; () where it names none."""
    faults = fields.faults
    return fields.many(
        "kinds", lambda item: read_kind(item, faults, patterns=True), most=RULE_KINDS_MAX, wanted="a kind"
    )


def _declared(
    fields: Fields, name: str, most: int, read: Callable[[str, MapNode], _Declared | None]
) -> tuple[_Declared, ...]:
    node = fields.map(name)
    if node is None:
        return ()
    if not 1 <= len(node.entries) <= most:
        message = f"{name!r} has 1 to {most} names, not {len(node.entries)}"
        fields.faults.add("rule.out_of_bounds", node.place, message)
        return ()
    found = list[_Declared]()
    for key, value in node.entries:
        known = read_key(key, "what a rule reads", fields.faults)
        if not isinstance(value, MapNode):
            wrong_type(fields.faults, value, shortened(str(key.value)), "a map")
            continue
        made = read(known or "_", value)
        if known is not None and made is not None:
            found.append(made)
    return tuple(found)


def declared_names(node: Node | None) -> frozenset[str]:
    """The names that a map declares, right or wrong, so that one fault makes no others."""
    return frozenset(str(key.value) for key, _ in node.entries) if isinstance(node, MapNode) else frozenset()


def _window(name: str, node: MapNode, kinds: tuple[str, ...], scope: Scope) -> Window | None:
    fields = Fields(node, f"window {name!r}", WINDOW_FIELDS, scope.faults)
    given = fields.require("over", "say how far it reaches back, such as 5m")
    over_ms = fields.duration("over", given, low_ms=RULE_WINDOW_MS_MIN, high_ms=RULE_WINDOW_MS_MAX)
    keyed = fields.require("by", "write by: and the path of what is counted apart, such as data.client")
    by = None if keyed is None else scope.path(keyed, "'by'", SPAN_FACTS)
    at = _at(fields, scope)
    named = read_kinds(fields) if "kinds" in fields else kinds
    measure, of = _measure(fields, scope)
    if over_ms is None or by is None:
        return None
    return Window(name, over_ms, by, named, measure, at, of)


def _at(fields: Fields, scope: Scope) -> Path | None:
    """The path of the time by which is counted; None for that of the commit."""
    node = fields.get("at")
    if node is None or (isinstance(node, Leaf) and node.value == COMMIT):
        return None
    return scope.path(node, "'at'", SPAN_FACTS)


def _measure(fields: Fields, scope: Scope) -> tuple[Literal["count", "sum", "distinct"], Path | None]:
    there = [name for name in ("count", "sum", "distinct") if name in fields]
    for name in there[1:]:
        fields.misplaced(name, f"stands beside {there[0]!r}", "a window measures one thing; declare another window")
    count = fields.get("count")
    if count is not None and not (isinstance(count, Leaf) and count.value is True):
        wrong_type(fields.faults, count, "'count'", "true", "to count different values, write distinct: and their path")
    made: tuple[Literal["count", "sum", "distinct"], Path | None] = ("count", None)
    for name in ("sum", "distinct"):
        node = fields.get(name)
        if node is not None:
            made = ("sum" if name == "sum" else "distinct", scope.path(node, repr(name), SPAN_FACTS))
    return made
