"""Spans as a person reads them: what one is about in few words, all of one as a card, a tree of causes."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from rich.text import Text
from rich.tree import Tree

from lognode.cli.output import safe
from lognode.client.answers import Span, Walk

ID_CELLS: Final = 39


def about_text(span: Span) -> Text:
    """What a span says of itself in few words: marks, title or else subject or data, then tags."""
    marks = [mark for mark in (span["status"], span["visibility"]) if mark not in ("executed", "organization")]
    text = Text()
    for mark in marks:
        text.append(f"[{mark}] ", "yellow")
    if "body" in span:
        return text.append(f"(body {safe(span['body'])})", "red")
    data = span.get("data")
    title = span.get("title") or span.get("subject") or ("" if data is None else msgspec.json.encode(data).decode())
    text.append(safe(title).replace("\n", " "))
    for tag in span.get("tags", ()):
        text.append(f" #{safe(tag)}", "dim")
    return text


def span_card(span: Span) -> Iterator[Text]:
    """All of a span, a field a line; fields without a value are left out."""
    for name, value in span.items():
        if value is None or value == [] or name == "entry":
            continue
        shown = value if isinstance(value, str) else _shown(value)
        first, *more = safe(shown).split("\n")
        yield Text.assemble((f"{name:<16}", "cyan"), first)
        for line in more:
            yield Text(" " * 16 + line)


def _shown(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) and len(item) <= ID_CELLS for item in value):
        return ", ".join(value)
    encoded = msgspec.json.encode(value)
    return (msgspec.json.format(encoded, indent=2) if isinstance(value, dict | list) else encoded).decode()


def why_tree(span: Span, causes: Walk, effects: Walk) -> Tree:
    """A span with what led to it and what it led to, each span once."""
    tree = Tree(_node_text(span, "bold"))
    cause_by_id: dict[str | None, Span | str] = {cause["id"]: cause for cause in causes["spans"]}
    cause_by_id |= {span_id: span_id for span_id in causes["missing"]}
    effects_of = defaultdict[str | None, list[Span | str]](list)
    for effect in effects["spans"]:
        effects_of[effect["caused_by"]].append(effect)

    def causes_of(effect: Span) -> list[Span | str]:
        cause = cause_by_id.get(effect["caused_by"])
        return [] if cause is None else [cause]

    _grow(tree.add(Text("because of", "green")), span, causes_of, causes)
    _grow(tree.add(Text("led to", "green")), span, lambda cause: effects_of[cause["id"]], effects)
    return tree


def _grow(branch: Tree, start: Span, next_of: Callable[[Span], list[Span | str]], walk: Walk) -> None:
    """Hang everything that `next_of` leads to from `start` below `branch`."""
    seen, pending = {start["id"]}, [(branch, start)]
    while pending:
        at, span = pending.pop()
        for found in next_of(span):
            if isinstance(found, str):
                at.add(Text(f"{found} (not held by this node)", "yellow"))
            elif found["id"] not in seen:
                seen.add(found["id"])
                pending.append((at.add(_node_text(found)), found))
    if not branch.children:
        branch.add(Text("nothing recorded", "dim"))
    if walk["truncated"]:
        branch.add(Text("... and more than one answer holds", "yellow"))


def _node_text(span: Span, style: str = "") -> Text:
    parts = ((span["id"] + " ", "dim"), (safe(span["kind"]) + " ", "cyan"), (about_text(span).plain, style))
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")
