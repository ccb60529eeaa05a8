"""The syntax tree of a checked CEL expression, from the bytes that the compiler gives.

They are Protobuf, `cel.expr.CheckedExpr` in an `Any`; the few messages that are met are read here. Knows no cost and
no facts. Invariant: a Node says all that an expression does, macros expanded; what is not known here is refused.
Source: cel/expr/checked.proto and syntax.proto of https://github.com/google/cel-spec.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

Form = Literal["const", "name", "select", "call", "list", "map", "loop"]

# Numbers of fields, as the specification has them.
_ANY_VALUE, _TYPES, _ROOT = 2, 3, 4
_ID, _CONST, _IDENT, _SELECT, _CALL, _LIST, _STRUCT, _LOOP = range(2, 10)
_NUMBER_TYPES: Final = frozenset({2, 3, 4})  # of PrimitiveType: INT64, UINT64, DOUBLE
_TEXT_CONSTS: Final = frozenset({6, 7})  # of Constant: string and bytes


class Node(NamedTuple):
    """One part of an expression. `parts` are its operands, `name` its variable, field or function.

    A const has its text as `text`, where it is one; of a loop, the parts are range, start, condition, step and result,
    and `names` the loop's variables and its accumulator. `is_number` where the checker knows that it makes a number.
    """

    form: Form
    name: str = ""
    parts: tuple["Node", ...] = ()
    text: str | None = None
    number: int | None = None
    names: tuple[str, ...] = ()
    is_number: bool = False
    is_member: bool = False


def read_checked(serialized: bytes) -> Node:
    """The tree of an expression as the compiler serialises it. Raises ValueError for what is no such thing."""
    checked = dict(_fields(serialized))[_ANY_VALUE]
    types: dict[int, Mapping[int, Any]] = {}
    root = b""
    for number, value in _fields(checked):
        if number == _TYPES:
            entry = dict(_fields(value))
            types[entry[1]] = dict(_fields(entry.get(2, b"")))
        elif number == _ROOT:
            root = value
    return _node(root, types)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message: number, and an integer or bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in {1, 5}:
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(data):
            raise ValueError("a field ends beyond its message")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _node(data: bytes, types: Mapping[int, Mapping[int, Any]]) -> Node:
    """Depth is bounded by the compiler, which takes 32 levels."""
    identity, found = 0, None
    for number, value in _fields(data):
        if number == _ID:
            identity = value
        elif number in _READERS:
            found = _READERS[number](value, types)
    if found is None:
        raise ValueError("an expression of no known form")
    primitive = types.get(identity, {}).get(3)
    node: Node = found._replace(is_number=primitive in _NUMBER_TYPES)
    return node


def _const(data: bytes, _: object) -> Node:
    for number, value in _fields(data):
        if number in _TEXT_CONSTS:
            return Node("const", text=value.decode("utf-8", "replace"))
        if number == 3:
            return Node("const", number=value if value < 2**63 else value - 2**64)
    return Node("const")


def _name(data: bytes, _: object) -> Node:
    return Node("name", dict(_fields(data))[1].decode())


def _select(data: bytes, types: Mapping[int, Mapping[int, Any]]) -> Node:
    fields = dict(_fields(data))
    return Node("select", fields[2].decode(), (_node(fields[1], types),))


def _call(data: bytes, types: Mapping[int, Mapping[int, Any]]) -> Node:
    function, target, parts = "", None, []
    for number, value in _fields(data):
        if number == 1:
            target = _node(value, types)
        elif number == 2:
            function = value.decode()
        elif number == 3:
            parts.append(_node(value, types))
    return Node("call", function, (*([target] if target else []), *parts), is_member=target is not None)


def _list(data: bytes, types: Mapping[int, Mapping[int, Any]]) -> Node:
    return Node("list", parts=tuple(_node(value, types) for number, value in _fields(data) if number == 1))


def _struct(data: bytes, types: Mapping[int, Mapping[int, Any]]) -> Node:
    name, parts = "", []
    for number, value in _fields(data):
        if number == 1:
            name = value.decode()
        elif number == 2:
            entry = dict(_fields(value))
            parts += [_node(entry[key], types) for key in (3, 4) if key in entry]
    return Node("map", name, tuple(parts))


def _loop(data: bytes, types: Mapping[int, Mapping[int, Any]]) -> Node:
    fields = dict(_fields(data))
    parts = tuple(_node(fields[number], types) for number in (2, 4, 5, 6, 7))
    names = tuple(fields[number].decode() for number in (1, 8, 3) if number in fields)
    return Node("loop", parts=parts, names=names)


_READERS: Final[Mapping[int, Any]] = {
    _CONST: _const,
    _IDENT: _name,
    _SELECT: _select,
    _CALL: _call,
    _LIST: _list,
    _STRUCT: _struct,
    _LOOP: _loop,
}
