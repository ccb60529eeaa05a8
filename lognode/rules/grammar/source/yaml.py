"""YAML 1.2 as nodes, without what makes YAML surprising or dangerous.

Takes the events of ruamel.yaml and builds nodes itself, so that nothing is resolved, merged or constructed behind our
back. Invariant: work and memory are bounded by the text's length, whatever it says.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from lognode.core.limits import RULE_SET_DEPTH_MAX, RULE_SET_NODES_MAX
from lognode.rules.grammar.faults import Faults, Place, shortened
from lognode.rules.grammar.source.nodes import Leaf, ListNode, MapNode, Node, Origin, Text, Unread
from lognode.rules.grammar.source.scalars import NotAScalar, plain_scalar

_MERGE: Final = "<<"
_UNSURE_BREAK: Final = re.compile("[\x85\u2028\u2029]")
_VERSION: Final = (1, 2)
# What people mostly did where the parser says no more.
_ADVICE: Final = {
    "mapping values are not allowed here": "quote a text that holds ': ', and indent with spaces alike",
    "found character '\\t' that cannot start any token": "indent with spaces, not tabs",
    "found character '@' that cannot start any token": "put the text in quotes",
    "found character '`' that cannot start any token": "put the text in quotes",
    "found character '%' that cannot start any token": "put the text in quotes",
    "found unexpected end of stream": "a quote is not closed",
    "could not find expected ':'": "a key ends with ':', and quotes have to be closed",
}


class _Stopped(Exception):
    """The rest of the text cannot be read; a fault says why."""


def read_yaml(source: str, faults: Faults) -> Node | None:
    """The one document of a text; None where it cannot be read, and then `faults` say why."""
    text = Text(source)
    unsure = _UNSURE_BREAK.search(source)
    if unsure:
        message = "a character that ends a line for some readers of YAML and for others not"
        faults.add(
            "rule.malformed", text.place(unsure.start()), message, "write it as \\N, \\L or \\P in double quotes"
        )
        return None
    try:
        return _Reader(text, faults).read()
    except _Stopped:
        return None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = str(error.problem or error.context or "this is no YAML")
        known = next((advice for start, advice in _ADVICE.items() if problem.startswith(start)), "")
        faults.add("rule.malformed", _clamped(text, mark.index if mark else 0), _first_line(problem), known)
    except (YAMLError, ValueError, IndexError, RecursionError) as error:
        # A character that YAML forbids has no mark; and the parser's own slips must not become ours.
        place = _clamped(text, int(getattr(error, "position", None) or 0))
        faults.add("rule.malformed", place, _first_line(str(getattr(error, "reason", None) or "this is no YAML")))
    return None


def _clamped(text: Text, index: int) -> Place:
    return text.place(min(index, max(len(text.text) - 1, 0)))


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:200]


class _Reader:
    """Goes through the events of one text."""

    def __init__(self, text: Text, faults: Faults) -> None:
        self._text = text
        self._faults = faults
        self._count = 0
        self._events: Iterator[Event] = YAML(typ="safe", pure=True).parse(text.text)

    def read(self) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                self._check_start(event, documents)
            elif isinstance(event, NodeEvent):
                root = self._node(event, 1)
            elif isinstance(event, StreamEndEvent):
                break
        if root is None:
            self._stop("rule.malformed", Place(1, 1), "the text holds no rule set", "begin with 'rules: NAME'")
        return root

    def _stop(self, code: str, place: Place, message: str, suggestion: str = "") -> NoReturn:
        self._faults.add(code, place, message, suggestion)
        raise _Stopped

    def _check_start(self, event: Any, documents: int) -> None:
        place = self._place(event)
        if documents > 1:
            self._stop("rule.yaml_feature", place, "a second document begins here", "a text holds one rule set")
        if event.version is not None and tuple(event.version) != _VERSION:
            self._faults.add("rule.yaml_feature", place, "this is read as YAML 1.2", "leave the %YAML line out")
        if event.tags:
            self._faults.add("rule.yaml_feature", place, "tags have no place here", "leave the %TAG line out")

    def _place(self, event: Any) -> Place:
        return self._text.place(event.start_mark.index)

    def _node(self, event: Any, depth: int) -> Node:
        place = self._place(event)
        self._count += 1
        if self._count > RULE_SET_NODES_MAX:
            self._stop("rule.too_large", place, f"more than {RULE_SET_NODES_MAX} keys and values")
        if isinstance(event, AliasEvent):
            self._faults.add("rule.yaml_feature", place, "an alias has no place here", "write the value out")
            return Unread(place)
        if event.anchor is not None:
            self._faults.add("rule.yaml_feature", place, "an anchor has no place here", "write each value out")
        if event.tag is not None:
            self._faults.add("rule.yaml_feature", place, "a tag has no place here", "quote what is meant as text")
        if isinstance(event, ScalarEvent):
            return self._leaf(event, place)
        if depth > RULE_SET_DEPTH_MAX:
            self._stop("rule.too_deep", place, f"nested more than {RULE_SET_DEPTH_MAX} deep")
        if isinstance(event, SequenceStartEvent):
            return ListNode(tuple(self._node(item, depth + 1) for item in self._inside()), place)
        assert isinstance(event, MappingStartEvent)
        return self._map(place, depth)

    def _inside(self) -> Iterator[Event]:
        for event in self._events:
            if isinstance(event, CollectionEndEvent):
                return
            yield event

    def _map(self, place: Place, depth: int) -> MapNode:
        entries = list[tuple[Leaf, Node]]()
        seen = dict[str, Place]()
        events = self._inside()
        for event in events:
            key = self._node(event, depth + 1)
            value = self._node(next(events), depth + 1)
            if isinstance(key, Unread):
                continue
            if not isinstance(key, Leaf) or key.value.__class__ is not str:
                self._faults.add("rule.wrong_type", key.place, "a key is a text", "put it in quotes")
            elif key.value == _MERGE and not key.origin.style:
                self._faults.add("rule.yaml_feature", key.place, "a merge has no place here", "write the keys out")
            elif key.value in seen:
                line = seen[str(key.value)].line
                message = f"{shortened(str(key.value))} stands here again, after line {line}"
                self._faults.add("rule.duplicate_key", key.place, message, "keep one of them")
            else:
                seen[str(key.value)] = key.place
                if isinstance(value, Leaf) and value.origin.start == value.origin.stop:
                    value = value._replace(place=key.place)
                entries.append((key, value))
        return MapNode(tuple(entries), place)

    def _leaf(self, event: Any, place: Place) -> Node:
        style = event.style or ""
        origin = Origin(self._text, event.start_mark.index, event.end_mark.index, style)
        if not style:
            try:
                return Leaf(plain_scalar(event.value), place, origin)
            except NotAScalar as error:
                self._faults.add("rule.wrong_type", place, str(error))
                return Unread(place)
        try:
            event.value.encode()
        except UnicodeEncodeError:
            self._faults.add("rule.malformed", place, "half a character, which UTF-8 cannot hold")
            return Unread(place)
        return Leaf(event.value, place, origin)
