"""A document as nodes: maps, lists and scalars, each knowing where it stands.

Knows neither YAML nor JSON, from which these come alike. Invariant: a place inside a scalar can be told for every
character of its value, however it was quoted, folded or escaped.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

from lognode.rules.document import Scalar
from lognode.rules.grammar.faults import Place


class Text:
    """The text of a document, and where the lines of it begin."""

    def __init__(self, text: str) -> None:
        self.text = text
        starts = [0]
        for index, char in enumerate(text):
            if char == "\n" or (char == "\r" and text[index + 1 : index + 2] != "\n"):
                starts.append(index + 1)
        self._starts: Sequence[int] = starts

    def place(self, index: int) -> Place:
        """Line and column of a character."""
        line = bisect_right(self._starts, index)
        return Place(line, index - self._starts[line - 1] + 1)


class Origin(NamedTuple):
    """Where a scalar's text is in the document, [start, stop), quotes included; `style` is its first character's."""

    text: Text
    start: int
    stop: int
    style: str  # " or ' for quotes, | or > for blocks, nothing for plain ones


class Leaf(NamedTuple):
    """A text, number, boolean or null."""

    value: Scalar
    place: Place
    origin: Origin

    def place_of(self, offset: int) -> Place:
        """Where a character of a text stands; len(text) is its end.

        White space may be folded, so it is the other characters that are counted: they stand in one order.
        """
        value = str(self.value)
        before = value[:offset].rstrip()
        counted = sum(not char.isspace() for char in before)
        found = list(islice(_characters(self.origin), counted + 1))
        text = self.origin.text
        if len(found) > counted and offset < len(value) and not value[offset].isspace():
            return text.place(found[counted][0])
        if not counted:
            return self.place
        behind = found[counted - 1][1] + offset - len(before)
        return text.place(min(behind, found[counted][0]) if len(found) > counted else behind)


_ESCAPES: Final = {
    "n": "\n", "t": "\t", "\t": "\t", "r": "\r", "v": "\v", "f": "\f", "N": "\x85", "_": "\xa0", "L": "\u2028",
    "P": "\u2029", " ": " ",
}  # fmt: skip
_HEX: Final = {"x": 2, "u": 4, "U": 8}  # digits behind the letter


def _characters(origin: Origin) -> Iterator[tuple[int, int]]:
    """[start, stop) in the document of each character of a scalar that is no white space."""
    text, index, stop = origin.text.text, origin.start, origin.stop
    if origin.style in {"'", '"'}:
        index, stop = index + 1, stop - 1
    elif origin.style:
        index = text.find("\n", index, stop) + 1 or stop  # the rest of the line of | or > is no content
    while index < stop:
        char, size = text[index], 1
        if origin.style == "'" and char == "'":
            size = 2
        elif origin.style == '"' and char == "\\":
            char, size = _escaped(text, index)
        if not char.isspace():
            yield index, index + size
        index += size


def _escaped(text: str, index: int) -> tuple[str, int]:
    """The character that an escape stands for, as far as white space goes, and how long the escape is."""
    letter = text[index + 1]
    if letter in "\r\n":
        return " ", 2
    if letter not in _HEX:
        return _ESCAPES.get(letter, letter), 2
    size = 2 + _HEX[letter]
    code = int(text[index + 2 : index + size], 16)
    if 0xD800 <= code < 0xDC00:  # the first half of a pair, as JSON writes what is beyond 16 bits
        return "?", 2 * size
    return chr(code), size


class ListNode(NamedTuple):
    items: Sequence["Node"]
    place: Place


class MapNode(NamedTuple):
    """Keys are unique texts, in the order of the document."""

    entries: Sequence[tuple[Leaf, "Node"]]
    place: Place

    def key_place(self, name: str) -> Place:
        """Where a key stands; the map itself where it does not."""
        return next((key.place for key, _ in self.entries if key.value == name), self.place)


class Unread(NamedTuple):
    """What could not be read, of which a fault tells already."""

    place: Place


Node: TypeAlias = Leaf | ListNode | MapNode | Unread


def plain(node: Node) -> Any:
    """The JSON value of a node."""
    if isinstance(node, MapNode):
        return {key.value: plain(item) for key, item in node.entries}
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return node.value if isinstance(node, Leaf) else None
