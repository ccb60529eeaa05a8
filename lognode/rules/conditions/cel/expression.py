"""One CEL expression: checked when it is made, bounded before it is evaluated.

Owns the environment, which names every fact and its type, and the one place where the library is called. An
expression is checked with strict types for texts that may be absent and evaluated without, since the library takes no
null for these. Invariant: an evaluation comes to True or False or raises Unclear, and costs no more than it was
allowed.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from typing import Any, Final, Literal

from lognode.core.limits import CEL_BYTES_MAX, CEL_PATTERN_SIZE_MAX, CEL_PAYLOAD_BYTES_MAX, TRACE_TEXT_CHARS_MAX
from lognode.rules.conditions.cel.cost import Extent, Segments, estimate, static_path
from lognode.rules.conditions.cel.patterns import program_size
from lognode.rules.conditions.cel.syntax import Node, read_checked
from lognode.rules.conditions.unclear import Unclear

_Kind = Literal["text", "maybe text", "texts", "any", "named", "time", "number"]
_TYPES: Final[Mapping[str, _Kind]] = {
    "kind": "text",
    "title": "maybe text",
    "data": "any",
    "tags": "texts",
    "subject": "maybe text",
    "contract_id": "maybe text",
    "workflow_id": "maybe text",
    "flow_id": "maybe text",
    "metadata": "any",
    "status": "text",
    "visibility": "text",
    "actor": "maybe text",
    "node": "text",
    "level": "text",
    "role": "maybe text",
    "time": "time",
    "vars": "named",
    "windows": "named",
    "last": "named",
    "annotations": "any",
    "approvals": "number",
    "hops": "number",
}
# What the compiler says of a mistake: where, then what.
_MISTAKE: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): ([^\n]*)")
_OFFSET: Final = re.compile(r"UTC|[+-]?[0-9]{2}:[0-9]{2}")
# Of what is read, in bytes: most spans are below the first, and nothing is above the last.
_SIZES: Final = (1024, 8 * 1024, CEL_PAYLOAD_BYTES_MAX)


class BadExpression(ValueError):
    """An expression that is refused. `line` and `column` are places in it, from 1."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class Library:
    """What checks expressions, and what runs them."""

    def __init__(self) -> None:
        from cel_expr_python import cel  # noqa: PLC0415 - a node whose rules have no expressions saves 9 MB

        kinds = cel.Type
        types: dict[_Kind, Any] = {
            "text": kinds.STRING,
            "maybe text": kinds("google.protobuf.StringValue"),
            "texts": kinds.List(kinds.STRING),
            "any": kinds.DYN,
            "named": kinds.Map(kinds.STRING, kinds.DYN),
            "time": kinds.TIMESTAMP,
            "number": kinds.INT,
        }
        self.results = (kinds.BOOL, kinds.DYN)
        self.checking = cel.NewEnv(variables={name: types[kind] for name, kind in _TYPES.items()})
        types["maybe text"] = kinds.DYN
        self.running = cel.NewEnv(variables={name: types[kind] for name, kind in _TYPES.items()})


@cache
def library() -> Library:
    """The library, loaded at first use, which takes some 30 ms."""
    return Library()


class Expression:
    """A checked expression.

    `reads` are the paths that it reads, `facts` and, in order, `ordered` their first segments, `nodes` its parts.
    """

    __slots__ = ("_bounds", "_run", "facts", "nodes", "ordered", "reads", "root", "text")

    def __init__(self, text: str) -> None:
        if len(text.encode()) > CEL_BYTES_MAX:
            raise BadExpression(f"{len(text.encode())} bytes, at most {CEL_BYTES_MAX}")
        try:
            checked = library().checking.compile(text)
            self._run = library().running.compile(text)
        except RuntimeError as error:
            raise _mistake(str(error)) from None
        made = checked.return_type()
        if made not in library().results:
            raise BadExpression(f"comes to {made.name()}, not to true or false")
        self.text = text
        self.root = read_checked(checked.serialize())
        _check(self.root, is_loop=False)
        self.reads: tuple[Segments, ...] = tuple(dict.fromkeys(_reads(self.root, frozenset())))
        self.nodes = _count(self.root)
        self.facts = frozenset(str(path[0]) for path in self.reads)
        self.ordered = tuple(sorted(self.facts))
        self._bounds = tuple(self._bound(most) for most in _SIZES)

    def _bound(self, most: float) -> float:
        return estimate(self.root, lambda _: Extent(most, most, most))

    def cost_below(self, size: int) -> float:
        """The most that it costs whatever it reads, where that takes `size` of CEL_PAYLOAD_BYTES_MAX bytes."""
        small, middle, large = self._bounds
        return small if size <= _SIZES[0] else middle if size <= _SIZES[1] else large

    def cost(self, extent: Callable[[Segments], Extent]) -> float:
        """The most that it costs where what stands at each path is so large."""
        # Names that are no facts are those of types.
        return estimate(self.root, lambda path: extent(path) if path[0] in _TYPES else Extent())

    def evaluate(self, activation: Any) -> bool:
        """What it comes to. Raises Unclear."""
        try:
            found = self._run.eval(activation).value()
        except (RuntimeError, ValueError, OverflowError) as error:
            raise Unclear(_plain(str(error))) from None
        if found is True or found is False:
            return found
        if found.__class__ is str:  # an error: the check let no text through, but a dynamic one may come out
            raise Unclear(_plain(found))
        raise Unclear(f"comes to {type(found).__name__}, not to true or false")


@lru_cache(maxsize=4096)
def compile_expression(text: str) -> Expression:
    """The expression, checked and compiled once. Raises BadExpression."""
    return Expression(text)


def activation_of(values: Mapping[str, Any]) -> Any:
    """Values for the names of facts; what is not read need not be there. One serves many expressions."""
    return library().running.Activation(values)


def _count(node: Node) -> int:
    return 1 + sum(map(_count, node.parts))


def _plain(message: str) -> str:
    """What the library says, without its words for kinds of errors."""
    message = re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", message)
    return message[:TRACE_TEXT_CHARS_MAX]


def _mistake(message: str) -> BadExpression:
    found = _MISTAKE.search(message)
    if found is None or int(found[1]) < 1:
        return BadExpression(_plain(message.partition("\n")[0] if found is None else found[3]))
    said = found[3].removesuffix(" (in container '')").partition(" expecting {")[0]
    return BadExpression(said, int(found[1]), int(found[2]))


def _check(node: Node, *, is_loop: bool) -> None:
    """Refuse what would make decisions costly, or different from node to node."""
    if node.form == "map" and node.name:
        raise BadExpression(f"{node.name} cannot be made here; a map is written {{...}}")
    if node.form == "call" and node.name == "matches":
        pattern = node.parts[-1].text
        if pattern is None:
            raise BadExpression("matches() takes its pattern as a literal text only")
        if is_loop:
            raise BadExpression("matches() may not stand inside all, exists, exists_one, filter or map")
        _check_pattern(pattern)
    if node.form == "call" and node.name.startswith("get") and len(node.parts) == 2:
        zone = node.parts[1].text
        if zone is None or not _OFFSET.fullmatch(zone):
            raise BadExpression(f'{node.name}() takes a fixed offset such as "+02:00" only: zones change with machines')
    for place, part in enumerate(node.parts):
        _check(part, is_loop=is_loop or (node.form == "loop" and place > 0))


def _check_pattern(pattern: str) -> None:
    try:
        re_size = program_size(pattern)
    except ValueError as error:
        raise BadExpression(f"pattern {pattern!r:.80}: {error}") from None
    if re_size > CEL_PATTERN_SIZE_MAX:
        raise BadExpression(f"pattern {pattern!r:.80} makes about {re_size} steps, at most {CEL_PATTERN_SIZE_MAX}")
    running = library().running
    result = running.compile("''.matches(kind)").eval(running.Activation({"kind": pattern})).value()
    if result.__class__ is str:
        raise BadExpression(_plain(result))


def _reads(node: Node, bound: frozenset[str]) -> Iterator[Segments]:
    """The longest paths of facts in an expression, in the order in which they stand there."""
    path = static_path(node, bound)
    if path is not None:
        if path[0] in _TYPES:
            yield path
        return
    for place, part in enumerate(node.parts):
        yield from _reads(part, bound | frozenset(node.names) if place else bound)
