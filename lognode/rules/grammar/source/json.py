"""JSON as nodes.

RFC 8259 and no more. Invariant: as for YAML; and a text that is JSON gives the nodes that it gives as YAML, save for
what YAML forbids.
"""

import re
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined]
from typing import Final, NoReturn

from lognode.core.limits import RULE_SET_DEPTH_MAX, RULE_SET_NODES_MAX
from lognode.rules.document import Scalar
from lognode.rules.grammar.faults import Faults, shortened
from lognode.rules.grammar.source.nodes import Leaf, ListNode, MapNode, Node, Origin, Text, Unread
from lognode.rules.grammar.source.scalars import NotAScalar, number

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORD: Final = re.compile(r"[A-Za-z]+")
_WORDS: Final[dict[str, Scalar]] = {"true": True, "false": False, "null": None}


class _Stopped(Exception):
    """The rest of the text cannot be read; a fault says why."""


def read_json(source: str, faults: Faults) -> Node | None:
    """The value of a text; None where it cannot be read, and then `faults` say why."""
    reader = _Reader(Text(source), faults)
    try:
        return reader.read()
    except _Stopped:
        return None


class _Reader:
    """Goes through one text; `_index` is the next character."""

    def __init__(self, text: Text, faults: Faults) -> None:
        self._text = text
        self._faults = faults
        self._index = 0
        self._count = 0

    def read(self) -> Node:
        root = self._node(0)
        if self._next():
            self._stop("rule.malformed", "something stands behind the end")
        return root

    def _stop(self, code: str, message: str, suggestion: str = "", *, at: int | None = None) -> NoReturn:
        self._faults.add(code, self._text.place(self._index if at is None else at), message, suggestion)
        raise _Stopped

    def _next(self) -> str:
        """The next character that is no white space; "" at the end."""
        found = _SPACE.match(self._text.text, self._index)
        self._index = found.end() if found else self._index
        return self._text.text[self._index : self._index + 1]

    def _expect(self, chars: str, what: str) -> str:
        char = self._next()
        if not char or char not in chars:
            self._stop("rule.malformed", f"{what} is expected here, not {shortened(char) if char else 'the end'}")
        self._index += 1
        return char

    def _node(self, depth: int) -> Node:
        char = self._next()
        start = self._index
        self._count += 1
        if self._count > RULE_SET_NODES_MAX:
            self._stop("rule.too_large", f"more than {RULE_SET_NODES_MAX} keys and values")
        if char and char in "[{":
            if depth >= RULE_SET_DEPTH_MAX:
                self._stop("rule.too_deep", f"nested more than {RULE_SET_DEPTH_MAX} deep")
            self._index += 1
            return self._list(start, depth) if char == "[" else self._map(start, depth)
        if char == '"':
            return self._string()
        return self._word_or_number(start)

    def _list(self, start: int, depth: int) -> Node:
        items = list[Node]()
        if self._next() == "]":
            self._index += 1
        else:
            while True:
                items.append(self._node(depth + 1))
                if self._expect(",]", "',' or ']'") == "]":
                    break
        return ListNode(tuple(items), self._text.place(start))

    def _map(self, start: int, depth: int) -> Node:
        entries = list[tuple[Leaf, Node]]()
        seen = dict[str, int]()
        if self._next() == "}":
            self._index += 1
            return MapNode((), self._text.place(start))
        while True:
            if self._next() != '"':
                self._stop("rule.malformed", "a key in double quotes is expected here")
            self._count += 1
            key = self._string()
            self._expect(":", "':'")
            value = self._node(depth + 1)
            if isinstance(key, Leaf):
                name = str(key.value)
                if name in seen:
                    message = f"{shortened(name)} stands here again, after line {seen[name]}"
                    self._faults.add("rule.duplicate_key", key.place, message, "keep one of them")
                else:
                    seen[name] = key.place.line
                    entries.append((key, value))
            if self._expect(",}", "',' or '}'") == "}":
                return MapNode(tuple(entries), self._text.place(start))

    def _string(self) -> Leaf | Unread:
        start = self._index
        place = self._text.place(start)
        try:
            value, self._index = scanstring(self._text.text, start + 1, True)  # noqa: FBT003 - strict, by place alone
        except JSONDecodeError as error:
            self._stop("rule.malformed", f"a text is broken here: {error.msg.lower()}", at=min(error.pos, self._last))
        try:
            value.encode()
        except UnicodeEncodeError:
            self._faults.add("rule.malformed", place, "half a character, which UTF-8 cannot hold")
            return Unread(place)
        return Leaf(value, place, Origin(self._text, start, self._index, '"'))

    @property
    def _last(self) -> int:
        return max(len(self._text.text) - 1, 0)

    def _word_or_number(self, start: int) -> Node:
        text = self._text.text
        found = _NUMBER.match(text, start) or _WORD.match(text, start)
        if found is None:
            char = text[start : start + 1]
            shown = shortened(char) if char else "the end"
            self._stop("rule.malformed", f"a value is expected here, not {shown}", at=min(start, self._last))
        self._index = found.end()
        place, origin = self._text.place(start), Origin(self._text, start, found.end(), "")
        if found[0] in _WORDS:
            return Leaf(_WORDS[found[0]], place, origin)
        if found.re is _WORD:
            self._stop("rule.malformed", f"{shortened(found[0])} is no value", "text needs double quotes", at=start)
        try:
            return Leaf(number(found[0]), place, origin)
        except NotAScalar as error:
            self._faults.add("rule.wrong_type", place, str(error))
            return Unread(place)
