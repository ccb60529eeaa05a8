"""Spans as a person reads them: what one is about in few words, all of one as a card, a tree of causes."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from rich.text import Text
from rich.tree import Tree

from lognode.cli.output import safe
from lognode.cli.view.acts import act_text, usual_visibility
from lognode.cli.view.nodes import short_key
from lognode.client.answers import Span, Walk
from lognode.core.draft import origin_in

ID_CELLS: Final = 39


def about_text(span: Span) -> Text:
    """What a span says of itself in few words: marks, what a node did or else title, subject or data, then tags."""
    act = act_text(span)
    usual = ("executed", usual_visibility(span))
    marks = [mark for mark in (span["status"], span["visibility"]) if mark not in usual]
    marks += ["void"] * ("void" in span)
    text = Text()
    for mark in marks:
        text.append(f"[{mark}] ", "yellow")
    if "body" in span:
        return text.append(f"(body {safe(span['body'])})", "red")
    data = span.get("data")
    title = (
        act or span.get("title") or span.get("subject") or ("" if data is None else msgspec.json.encode(data).decode())
    )
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
    home = span["node"]
    tree = Tree(_node_text(span, home, "bold"))
    because_of, led_to = (tree.add(Text(words, "green")) for words in ("because of", "led to"))
    at = because_of
    for cause in causes["spans"]:
        at = at.add(_node_text(cause, home))
    for span_id in causes["missing"]:
        at.add(Text(f"{span_id} (not held by this node)", "yellow"))

    held_by = _held_by([span, *effects["spans"]])
    branches = {span["id"]: led_to}
    for effect in effects["spans"]:
        cause_id = held_by.get(effect["caused_by"], span["id"])
        branches[effect["id"]] = branches.get(cause_id, led_to).add(_node_text(effect, home))

    for branch, walk in ((because_of, causes), (led_to, effects)):
        if not branch.children:
            branch.add(Text("nothing recorded", "dim"))
        if walk["truncated"]:
            branch.add(Text("... and more than one answer holds", "yellow"))
    return tree


def _held_by(spans: Sequence[Span]) -> dict[str | None, str]:
    """Which of the spans an id leads to: the one with that id, else its first copy, as for the node that walked."""
    held_by = dict[str | None, str]()
    for span in sorted(spans, key=lambda span: span["id"], reverse=True):
        origin = origin_in(span.get("annotations"))
        held_by |= dict.fromkeys(origin.spans if origin else (), span["id"])
    return held_by | {span["id"]: span["id"] for span in spans}


def _node_text(span: Span, home: str, style: str = "") -> Text:
    """A span in a line; of one that another node wrote than the one at `home`, also which."""
    elsewhere = "" if span["node"] == home else f"@{short_key(span['node'])} "
    parts = (
        (span["id"] + " ", "dim"),
        (elsewhere, "magenta"),
        (safe(span["kind"]) + " ", "cyan"),
        (about_text(span).plain, style),
    )
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")
