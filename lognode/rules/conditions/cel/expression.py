"""One CEL expression: checked when it is made, bounded before it is evaluated.

Owns the environment, which names every fact and its type, and the one place where the library is called. An
expression is checked with strict types for texts that may be absent and evaluated without, since the library takes no
null for these. Invariant: an evaluation comes to True or False or raises Unclear, and costs no more than it was
allowed.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from cel_expr_python import cel

from lognode.core.limits import CEL_BYTES_MAX, CEL_PATTERN_SIZE_MAX, CEL_PAYLOAD_BYTES_MAX, TRACE_TEXT_CHARS_MAX
from lognode.rules.conditions.cel.cost import Extent, Segments, estimate, static_path
from lognode.rules.conditions.cel.patterns import program_size
from lognode.rules.conditions.cel.syntax import Node, read_checked
from lognode.rules.conditions.unclear import Unclear

_T: Final = cel.Type
_MAYBE_TEXT: Final = _T("google.protobuf.StringValue")
_NAMED: Final = _T.Map(_T.STRING, _T.DYN)
_TYPES: Final[Mapping[str, cel.Type]] = {
    "kind": _T.STRING,
    "title": _MAYBE_TEXT,
    "data": _T.DYN,
    "tags": _T.List(_T.STRING),
    "subject": _MAYBE_TEXT,
    "contract_id": _MAYBE_TEXT,
    "workflow_id": _MAYBE_TEXT,
    "flow_id": _MAYBE_TEXT,
    "metadata": _T.DYN,
    "status": _T.STRING,
    "visibility": _T.STRING,
    "actor": _MAYBE_TEXT,
    "node": _T.STRING,
    "level": _T.STRING,
    "role": _MAYBE_TEXT,
    "time": _T.TIMESTAMP,
    "vars": _NAMED,
    "windows": _NAMED,
    "last": _NAMED,
    "annotations": _T.DYN,
    "approvals": _T.INT,
    "hops": _T.INT,
}
_CHECKING: Final = cel.NewEnv(variables=_TYPES)
_RUNNING: Final = cel.NewEnv(variables={name: _T.DYN if kind is _MAYBE_TEXT else kind for name, kind in _TYPES.items()})
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


class Expression:
    """A checked expression.

    `reads` are the paths that it reads, `facts` and, in order, `ordered` their first segments, `nodes` its parts.
    """

    __slots__ = ("_bounds", "_run", "facts", "nodes", "ordered", "reads", "root", "text")

    def __init__(self, text: str) -> None:
        if len(text.encode()) > CEL_BYTES_MAX:
            raise BadExpression(f"{len(text.encode())} bytes, at most {CEL_BYTES_MAX}")
        try:
            checked = _CHECKING.compile(text)
            self._run = _RUNNING.compile(text)
        except RuntimeError as error:
            raise _mistake(str(error)) from None
        made = checked.return_type()
        if made not in (_T.BOOL, _T.DYN):
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
        return estimate(self.root, extent)

    def evaluate(self, activation: cel.Activation) -> bool:
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


def activation_of(values: Mapping[str, Any]) -> cel.Activation:
    """Values for the names of facts; what is not read need not be there. One serves many expressions."""
    return _RUNNING.Activation(values)


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
    result = _RUNNING.compile("''.matches(kind)").eval(_RUNNING.Activation({"kind": pattern})).value()
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
