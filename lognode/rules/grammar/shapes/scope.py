"""What the texts of one rule may read, and reading them: paths, templates, values, expressions.

Knows the names that a set and a rule declare. Invariant: a path that is given back reads a fact that there is, or a
name that is declared.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from lognode.rules.conditions.cel.expression import BadExpression, compile_expression
from lognode.rules.document import FACTS, Path, Shape, Template, Text, Value
from lognode.rules.grammar.faults import Faults, Place, did_you_mean
from lognode.rules.grammar.shapes.fields import read_text, wrong_type
from lognode.rules.grammar.shapes.paths import NotWell, read_path, read_template
from lognode.rules.grammar.source.nodes import Leaf, ListNode, MapNode, Node

_DECLARED_BY: Final[Mapping[str, str]] = {"vars": "variables", "windows": "windows", "last": "last"}


class Scope(NamedTuple):
    """Names that may be read, by the fact below which they stand: vars, windows, last; and all crons of the set."""

    faults: Faults
    names: Mapping[str, Iterable[str]]
    crons: set[str]

    def path(self, node: Node, what: str, facts: Mapping[str, Shape] = FACTS) -> Path | None:
        """The path that a text is."""
        text = read_text(node, what, self.faults)
        if text is None or not isinstance(node, Leaf):
            return None
        return self.key_path(node, facts)

    def key_path(self, leaf: Leaf, facts: Mapping[str, Shape] = FACTS) -> Path | None:
        """The path that a key is."""
        try:
            path = read_path(str(leaf.value), facts)
        except NotWell as error:
            self._tell(leaf, error)
            return None
        return path if self._is_declared(path, leaf.place) else None

    def text(self, node: Node, what: str) -> Text | None:
        """A text with references."""
        text = read_text(node, what, self.faults)
        if text is None or not isinstance(node, Leaf):
            return None
        try:
            read, paths = read_template(text)
        except NotWell as error:
            self._tell(node, error)
            return None
        known = [self._is_declared(path, node.place_of(offset)) for offset, path in paths]
        return read if all(known) else None

    def value(self, node: Node, what: str) -> Value:
        """A JSON value, in which texts are templates; None where a fault was found."""
        if isinstance(node, MapNode):
            return {str(key.value): self.value(item, what) for key, item in node.entries}
        if isinstance(node, ListNode):
            return [self.value(item, what) for item in node.items]
        if isinstance(node, Leaf) and isinstance(node.value, str) and node.value:
            return self.text(node, what)
        return node.value if isinstance(node, Leaf) else None

    def number(self, node: Node, what: str) -> int | float | Template | None:
        """A number, or a text that is one reference."""
        if isinstance(node, Leaf) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return node.value
        if isinstance(node, Leaf) and isinstance(node.value, str) and node.value.startswith("{"):
            text = self.text(node, what)
            if isinstance(text, Template) and text.whole:
                return text
            if text is None:
                return None
        wrong_type(self.faults, node, what, 'a number, or one reference such as "{vars.limit}"')
        return None

    def expression(self, node: Node) -> str | None:
        """A CEL expression that has been checked."""
        text = read_text(node, "'when'", self.faults)
        if text is None or not isinstance(node, Leaf):
            return None
        try:
            expression = compile_expression(text)
        except BadExpression as error:
            self.faults.add("rule.bad_cel", node.place_of(_offset(text, error)), f"CEL: {error}", _hint(str(error)))
            return None
        known = [self._is_read_by_name(path, node) for path in expression.reads]
        return text if all(known) else None

    def _is_read_by_name(self, path: tuple[str | int, ...], node: Leaf) -> bool:
        """Whether what an expression reads below vars, windows and last is declared."""
        fact = str(path[0])
        offset = max(str(node.value).find(fact), 0)
        if fact in _DECLARED_BY and len(path) == 1:
            advice = f"write {fact}.NAME"
            self.faults.add("rule.undeclared", node.place_of(offset), f"CEL: {fact!r} is read without a name", advice)
            return False
        return self._is_declared(
            Path(path), node.place_of(max(str(node.value).find(".".join(map(str, path[:2]))), offset))
        )

    def _is_declared(self, path: Path, place: Place) -> bool:
        names = self.names.get(path.fact)
        if names is None or len(path.segments) == 1 or str(path.segments[1]) in names:
            return True
        name, where = str(path.segments[1]), _DECLARED_BY[path.fact]
        message = f"{path.fact}.{name} is read, but {where!r} declares no {name!r}"
        advice = self.faults.near(name, names) or f"declare it under {where!r}"
        self.faults.add("rule.undeclared", place, message, advice)
        return False

    def _tell(self, leaf: Leaf, error: NotWell) -> None:
        self.faults.add(error.code, leaf.place_of(error.offset), error.message, error.suggestion)


def _offset(text: str, error: BadExpression) -> int:
    """Where in an expression its compiler's line and column are."""
    lines = text.split("\n")
    before = sum(len(line) + 1 for line in lines[: error.line - 1])
    return min(before + error.column - 1, len(text))


def _hint(message: str) -> str:
    """What was likely meant by a name that the compiler does not know."""
    _, found, rest = message.partition("undeclared reference to '")
    name = rest.partition("'")[0].partition(".")[0]
    return did_you_mean(name, FACTS) if found and name not in FACTS else ""
