"""Reading the fields of a map: each by its type and bounds, with a fault for each that is wrong.

Knows YAML and rules no more than nodes do. Invariant: a reader that finds a fault tells it once and gives None, or
the default, so that reading goes on.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from lognode.core.limits import RULE_NAME_CHARS_MAX, TEXT_BYTES_MAX
from lognode.core.span import is_kind
from lognode.rules.document import ALL_BELOW
from lognode.rules.grammar.faults import Faults, Place, shortened
from lognode.rules.grammar.shapes.paths import NotWell, duration_text, read_duration_ms
from lognode.rules.grammar.source.nodes import Leaf, ListNode, MapNode, Node, Unread

_T = TypeVar("_T")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
_VARIABLE: Final = re.compile(r"[a-z_][a-z0-9_]*")
_BOOLEANS: Final = {"yes": "true", "on": "true", "no": "false", "off": "false"}


def told(node: Node) -> str:
    """What a node is, for people."""
    if isinstance(node, MapNode):
        return "a map"
    if isinstance(node, ListNode):
        return "a list"
    value = node.value if isinstance(node, Leaf) else None
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    return f"the text {shortened(value)}" if isinstance(value, str) else f"the number {value}"


class Fields:
    """The fields of one map, which `what` names for people, such as "rule 'a'"."""

    def __init__(self, node: MapNode, what: str, known: Iterable[str], faults: Faults) -> None:
        self.place = node.place
        self.what = what
        self.faults = faults
        self.node = node
        self._fields: dict[str, Node] = {}
        names = frozenset(known)
        for key, value in node.entries:
            name = str(key.value)
            if name in names:
                self._fields[name] = value
            else:
                faults.add(
                    "rule.unknown_key", key.place, f"{what} has no key {shortened(name)}", faults.near(name, names)
                )

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def get(self, name: str) -> Node | None:
        """The field's node, None where it is not there or could not be read."""
        node = self._fields.get(name)
        return None if isinstance(node, Unread) else node

    def place_of(self, name: str) -> Place:
        """Where the field's key stands."""
        return self.node.key_place(name)

    def require(self, name: str, suggestion: str) -> Node | None:
        """The field's node; a fault where it is not there."""
        if name not in self._fields:
            self.faults.add("rule.missing_key", self.place, f"{self.what} lacks {name!r}", suggestion)
        return self.get(name)

    def misplaced(self, name: str, why: str, suggestion: str = "") -> None:
        """Tell that a field has no place here; nothing where it is not there."""
        if name in self._fields:
            self.faults.add("rule.misplaced_key", self.place_of(name), f"{name!r} {why}", suggestion)

    def wrong(self, node: Node, what: str, wanted: str, suggestion: str = "") -> None:
        """Tell that a value has the wrong type."""
        wrong_type(self.faults, node, what, wanted, suggestion)

    def text(self, name: str, *, default: str = "") -> str:
        """A text that is shown as it is."""
        node = self.get(name)
        if node is None:
            return default
        return read_text(node, f"{name!r}", self.faults) or default

    def name(self, name: str, node: Node | None) -> str | None:
        """A name of lower-case letters, digits and hyphens."""
        return None if node is None else read_name(node, f"{name!r}", self.faults)

    def whole(self, name: str, *, default: int, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        node = self.get(name)
        if node is None:
            return default
        value = node.value if isinstance(node, Leaf) else None
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(node, f"{name!r}", f"a whole number from {low} to {high}")
            return default
        if not low <= value <= high:
            self.faults.add("rule.out_of_bounds", node.place, f"{name!r} is from {low} to {high}, not {value}")
            return default
        return value

    def choice(self, name: str, options: Sequence[str], *, default: str | None = None) -> str | None:
        """One of some words."""
        node = self.get(name)
        if node is None:
            return default
        value = node.value if isinstance(node, Leaf) else None
        if value.__class__ is not str:
            self.wrong(node, f"{name!r}", "one of " + ", ".join(options))
            return default
        if value not in options:
            message = f"{name!r} is one of {', '.join(options)}, not {shortened(str(value))}"
            self.faults.add("rule.out_of_bounds", node.place, message, self.faults.near(str(value), options))
            return default
        return str(value)

    def duration(self, name: str, node: Node | None, *, low_ms: int, high_ms: int) -> int | None:
        """A duration in milliseconds."""
        if node is None:
            return None
        if not isinstance(node, Leaf) or node.value.__class__ is not str:
            number = node.value if isinstance(node, Leaf) and node.value.__class__ is int else None
            advice = f"write {number}s for seconds, {number}m for minutes" if number is not None else ""
            self.wrong(node, f"{name!r}", "a duration such as 5m", advice)
            return None
        try:
            value = read_duration_ms(str(node.value))
        except NotWell as error:
            self.faults.add(error.code, node.place_of(error.offset), error.message, error.suggestion)
            return None
        if not low_ms <= value <= high_ms:
            bounds = f"from {duration_text(low_ms)} to {duration_text(high_ms)}"
            self.faults.add("rule.out_of_bounds", node.place, f"{name!r} is {bounds}, not {node.value}")
            return None
        return value

    def many(self, name: str, read: Callable[[Node], _T | None], *, most: int, wanted: str) -> tuple[_T, ...]:
        """A list of something, or one of it alone."""
        node = self.get(name)
        return () if node is None else read_many(node, read, f"{name!r}", self.faults, most=most, wanted=wanted)

    def map(self, name: str) -> MapNode | None:
        """A map; a fault for anything else."""
        node = self.get(name)
        if node is None or isinstance(node, MapNode):
            return node
        self.wrong(node, f"{name!r}", "a map")
        return None


def wrong_type(faults: Faults, node: Node, what: str, wanted: str, suggestion: str = "") -> None:
    """Tell that `what` is not what it should be; nothing where a fault told already."""
    if isinstance(node, Unread):
        return
    if not suggestion and isinstance(node, Leaf) and node.value.__class__ is str:
        boolean = _BOOLEANS.get(str(node.value).lower()) if "boolean" in wanted or "true" in wanted else None
        suggestion = f"write {boolean}" if boolean else ""
    if not suggestion and "text" in wanted and isinstance(node, Leaf) and isinstance(node.value, int | float):
        suggestion = "put it in quotes"
    faults.add("rule.wrong_type", node.place, f"{what} is {wanted}, not {told(node)}", suggestion)


def read_text(node: Node, what: str, faults: Faults) -> str | None:
    """A text of 1 to TEXT_BYTES_MAX bytes."""
    value = node.value if isinstance(node, Leaf) else None
    if not isinstance(value, str):
        wrong_type(faults, node, what, "a text")
        return None
    size = len(value.encode())
    if not 0 < size <= TEXT_BYTES_MAX:
        faults.add("rule.out_of_bounds", node.place, f"{what} has 1 to {TEXT_BYTES_MAX} bytes, not {size}")
        return None
    return value


def read_name(node: Node, what: str, faults: Faults) -> str | None:
    """A name such as too-many-failures."""
    value = read_text(node, what, faults)
    if value is None:
        return None
    if _NAME.fullmatch(value) and len(value) <= RULE_NAME_CHARS_MAX:
        return value
    better = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:RULE_NAME_CHARS_MAX]
    message = f"{what} is lower-case letters, digits and hyphens, at most {RULE_NAME_CHARS_MAX}, not {shortened(value)}"
    faults.add("rule.bad_name", node.place, message, f"write {better}" if better else "")
    return None


def read_key(key: Leaf, what: str, faults: Faults) -> str | None:
    """A name that stands as a key and is read by paths and CEL: of lower-case letters, digits and underscores."""
    value = str(key.value)
    if _VARIABLE.fullmatch(value) and len(value) <= RULE_NAME_CHARS_MAX:
        return value
    better = re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_")[:RULE_NAME_CHARS_MAX]
    usable = better if _VARIABLE.fullmatch(better) else f"_{better}"
    message = f"{what} is named by lower-case letters, digits and underscores, at most {RULE_NAME_CHARS_MAX}"
    faults.add("rule.bad_name", key.place, f"{message}, not {shortened(value)}", f"write {usable}" if better else "")
    return None


def read_kind(node: Node, faults: Faults, *, patterns: bool) -> str | None:
    """A kind such as order.paid; with `patterns` also order.* for all that begin so."""
    value = read_text(node, "a kind", faults)
    if value is None:
        return None
    if is_kind(value.removesuffix(ALL_BELOW) if patterns else value):
        return value
    if value == "*":
        suggestion = "leave 'kinds' out for every kind but those that nodes write"
    else:
        better = re.sub(r"[^a-z0-9_]+", ".", value.lower()).strip(".")
        suggestion = f"write {better}" if is_kind(better) and better != value else ""
    faults.add("rule.bad_kind", node.place, f"{shortened(value)} is no kind", suggestion)
    return None


def read_many(
    node: Node, read: Callable[[Node], _T | None], what: str, faults: Faults, *, most: int, wanted: str
) -> tuple[_T, ...]:
    """A list of 1 to `most` different things, or one of them alone; those that could be read."""
    if isinstance(node, Leaf):
        node = ListNode((node,), node.place)
    if not isinstance(node, ListNode):
        wrong_type(faults, node, what, f"{wanted} or a list of them")
        return ()
    if not 1 <= len(node.items) <= most:
        faults.add("rule.out_of_bounds", node.place, f"{what} has 1 to {most} items, not {len(node.items)}")
        return ()
    found: dict[Any, None] = {}
    for item in node.items:
        value = read(item)
        if value is not None and value in found:
            faults.add(
                "rule.duplicate_key", item.place, f"{what} names {shortened(str(value))} twice", "keep one of them"
            )
        elif value is not None:
            found[value] = None
    return tuple(found)
