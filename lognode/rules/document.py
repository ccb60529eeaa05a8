"""A rule set as values: what its author's text says, checked and with every default filled in.

Knows no YAML, no CEL and no span. Invariant: a RuleSet comes from `read_rule_set` alone, so whoever holds one need
check nothing again: ids and names are unique and known, paths and templates begin with a fact, expressions have been
type-checked, durations are in milliseconds. Two texts that say the same give equal rules but for their lines.
Source: docs/rules.md.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Final, Literal, TypeAlias

import msgspec
from cbor2 import dumps

from lognode.core.span import is_reserved

WINDOW_DIGEST_BYTES: Final = 16
ALL_BELOW: Final = ".*"  # at the end of a kind: every kind that begins so

Scalar: TypeAlias = str | int | float | bool | None
Value: TypeAlias = "Scalar | Template | list[Value] | dict[str, Value]"


class Shape(Enum):
    """What a fact is made of, and so what a path may go on with."""

    TEXT = "text"
    NUMBER = "number"
    TIME = "time"
    TEXTS = "list of texts"
    TREE = "any JSON"  # below it any path is well formed
    NAMED = "declared names"  # below it stand the names that the set or the rule declares
    NOTES = "annotations"


# What a rule may read, by the first segment of its paths; the same names are CEL's variables.
SPAN_FACTS: Final[Mapping[str, Shape]] = {
    "kind": Shape.TEXT,
    "title": Shape.TEXT,
    "data": Shape.TREE,
    "tags": Shape.TEXTS,
    "subject": Shape.TEXT,
    "contract_id": Shape.TEXT,
    "workflow_id": Shape.TEXT,
    "flow_id": Shape.TEXT,
    "metadata": Shape.TREE,
    "status": Shape.TEXT,
    "visibility": Shape.TEXT,
    "actor": Shape.TEXT,
    "node": Shape.TEXT,
}
CONTEXT_FACTS: Final[Mapping[str, Shape]] = {
    "level": Shape.TEXT,
    "role": Shape.TEXT,
    "time": Shape.TIME,
    "vars": Shape.NAMED,
    "windows": Shape.NAMED,
    "last": Shape.NAMED,
    "annotations": Shape.NOTES,
    "approvals": Shape.NUMBER,
    "hops": Shape.NUMBER,
}
FACTS: Final[Mapping[str, Shape]] = {**SPAN_FACTS, **CONTEXT_FACTS}
NOTE_SHAPES: Final[Mapping[str, Shape]] = {  # the members of `annotations`
    "tags": Shape.TEXTS,
    "metadata": Shape.TREE,
    "notes": Shape.TEXTS,
    "processed": Shape.TREE,
}


class Path(msgspec.Struct, frozen=True):
    """Where a value stands: a fact, then keys of maps and indexes of lists.

    A key that is a number in a map and an index of a list are told apart by the segment's type.
    """

    segments: tuple[str | int, ...]

    @property
    def fact(self) -> str:
        """The first segment, which is always a fact's name."""
        return str(self.segments[0])

    def __str__(self) -> str:
        """The path as `read_path` takes it; one path has one such text."""
        return _path_text(self.segments)


@lru_cache(maxsize=4096)
def _path_text(segments: tuple[str | int, ...]) -> str:
    return "".join(_segment_text(segment, place) for place, segment in enumerate(segments))


def _segment_text(segment: str | int, place: int) -> str:
    if isinstance(segment, int):
        return f"[{segment}]"
    if segment.isascii() and segment.replace("-", "_").isidentifier() and segment[0] != "-":
        return f".{segment}" if place else segment
    return "[" + msgspec.json.encode(segment).decode() + "]"


class Template(msgspec.Struct, frozen=True):
    """A text with references: literal parts and paths in turn. One that is a single path keeps its value's type."""

    parts: tuple[str | Path, ...]

    @property
    def whole(self) -> Path | None:
        """The path, where the template is nothing else."""
        first = self.parts[0]
        return first if len(self.parts) == 1 and isinstance(first, Path) else None

    @property
    def paths(self) -> tuple[Path, ...]:
        """What it reads."""
        return tuple(part for part in self.parts if isinstance(part, Path))


# What a text of a rule comes to: a text without references is a plain str, with "{{" and "}}" already single braces.
Text: TypeAlias = str | Template


# Conditions. Where a document gives one condition several paths, texts or tags, it is read as All of them.
class Always(msgspec.Struct, frozen=True):
    pass


class All(msgspec.Struct, frozen=True):
    of: tuple["Condition", ...]


class Any(msgspec.Struct, frozen=True):
    of: tuple["Condition", ...]


class Not(msgspec.Struct, frozen=True):
    of: "Condition"


class Equals(msgspec.Struct, frozen=True):
    path: Path
    value: Value


class NotEquals(msgspec.Struct, frozen=True):
    path: Path
    value: Value


class Exists(msgspec.Struct, frozen=True):
    path: Path


class Missing(msgspec.Struct, frozen=True):
    path: Path


class ContainsText(msgspec.Struct, frozen=True):
    path: Path
    text: Text


class ContainsTag(msgspec.Struct, frozen=True):
    tag: Text


class GreaterThan(msgspec.Struct, frozen=True):
    """`bound` is a number, or a template that is a single path."""

    path: Path
    bound: int | float | Template


class LessThan(msgspec.Struct, frozen=True):
    path: Path
    bound: int | float | Template


class Cel(msgspec.Struct, frozen=True):
    """`when`: an expression that was type-checked, to BOOL or DYN."""

    expression: str


Condition: TypeAlias = (
    Always | All | Any | Not | Equals | NotEquals | Exists | Missing | ContainsText | ContainsTag | GreaterThan
    | LessThan | Cel
)  # fmt: skip


# Actions of gate rules.
class Allow(msgspec.Struct, frozen=True):
    text: Text


class Reject(msgspec.Struct, frozen=True):
    text: Text


class Simulate(msgspec.Struct, frozen=True):
    text: Text


class RequireApproval(msgspec.Struct, frozen=True):
    """The draft waits until `of` people or nodes with the role have approved, for `within_ms` at most."""

    role: str
    of: int
    within_ms: int
    text: Text


# Actions of both: annotations of the draft, or of the firing.
class AddTag(msgspec.Struct, frozen=True):
    tags: tuple[Text, ...]


class SetMetadata(msgspec.Struct, frozen=True):
    entries: tuple[tuple[str, Value], ...]


class MarkProcessed(msgspec.Struct, frozen=True):
    pass


class Note(msgspec.Struct, frozen=True):
    text: Text


# Actions of reactions.
class Emit(msgspec.Struct, frozen=True):
    """A span to write. `visibility` None is that of the span that caused it."""

    kind: str
    title: Text | None = None
    data: Value = None
    tags: tuple[Text, ...] = ()
    subject: Text | None = None
    contract_id: Text | None = None
    workflow_id: Text | None = None
    flow_id: Text | None = None
    metadata: Value = None
    visibility: str | None = None


class Notify(msgspec.Struct, frozen=True):
    """`webhook` is the name of one in the settings; None is the journal."""

    webhook: str | None
    text: Text
    data: Value = None


class Schedule(msgspec.Struct, frozen=True):
    """Something to do later; exactly one of `after_ms`, `at` and `cron` is there."""

    name: Text
    what: Emit | Notify
    after_ms: int | None = None
    at: Path | None = None
    cron: str | None = None
    missed: Literal["skip", "once", "all"] = "once"


GateAction: TypeAlias = Allow | Reject | Simulate | RequireApproval
Annotation: TypeAlias = AddTag | SetMetadata | MarkProcessed | Note
Reaction: TypeAlias = Emit | Schedule | Notify
Action: TypeAlias = GateAction | Annotation | Reaction


class Window(msgspec.Struct, frozen=True, dict=True):
    """A measure over spans of `kinds` with one value at `by`, of the last `over_ms`; sum and distinct are `of` a path.

    `at` None counts by the time of commit, else by the time that stands at that path.
    """

    name: str
    over_ms: int
    by: Path
    kinds: tuple[str, ...]
    measure: Literal["count", "sum", "distinct"]
    at: Path | None = None
    of: Path | None = None

    @cached_property
    def digest(self) -> bytes:
        """16 bytes over all but the name: windows that count the same thing, in whatever set, share their rows.

        How far a window reaches back is part of it, since rows are dropped by it.
        """
        paths = [None if path is None else str(path) for path in (self.by, self.at, self.of)]
        said = dumps(["lognode window v1", self.over_ms, self.measure, sorted(self.kinds), *paths])
        return sha256(said).digest()[:WINDOW_DIGEST_BYTES]


class Last(msgspec.Struct, frozen=True):
    """The newest span of `kinds` (of any, when empty) with the subject that stands at a path."""

    name: str
    subject: Path
    kinds: tuple[str, ...]


class Rule(msgspec.Struct, frozen=True):
    """One rule. `kinds` () is every kind but the reserved ones; `gate` tells `on: draft` from `on: commit`."""

    id: str
    gate: bool
    actions: tuple[Action, ...]
    condition: Condition
    line: int
    description: str = ""
    run: Literal["author", "each"] = "author"
    kinds: tuple[str, ...] = ()
    priority: int = 100
    depends_on: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()
    last: tuple[Last, ...] = ()


class RuleSet(msgspec.Struct, frozen=True):
    """A rule set as published: `text` is its author's bytes, `hash` their SHA-256."""

    name: str
    rules: tuple[Rule, ...]
    variables: Mapping[str, Scalar]
    text: bytes
    hash: bytes
    description: str = ""


@lru_cache(maxsize=4096)
def matches_kind(kinds: tuple[str, ...], kind: str) -> bool:
    """Whether a rule or window with these `kinds` is about spans of this kind.

    "login.*" is every kind that begins with "login.", but not "login". Kinds that nodes write by themselves have to be
    named, wholly or by such a pattern.
    """
    if not kinds:
        return not is_reserved(kind)
    return any(kind.startswith(named[:-1]) if named.endswith(ALL_BELOW) else kind == named for named in kinds)


def value_paths(value: Value) -> Iterator[Path]:
    """What a value of an action or a comparison reads."""
    if isinstance(value, Template):
        yield from value.paths
    elif isinstance(value, dict):
        for item in value.values():
            yield from value_paths(item)
    elif isinstance(value, list):
        for item in value:
            yield from value_paths(item)


def condition_parts(condition: Condition) -> Iterator[Condition]:
    """The condition and all that it is made of, outermost first."""
    yield condition
    inner: Iterable[Condition] = ()
    if isinstance(condition, All | Any):
        inner = condition.of
    elif isinstance(condition, Not):
        inner = (condition.of,)
    for part in inner:
        yield from condition_parts(part)
