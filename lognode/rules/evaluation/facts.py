"""What rules may read of a draft or span, decoded when it is first read.

Owns the names of facts and what they come to; knows no rule. Nothing is null: a fact that a span has not, and a body
that cannot be decoded, read as None. Invariant: a draft and the span that it becomes have the same facts, save for
what rules wrote into the span's annotations.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import cbor2

from lognode.core.clock import hlc_ms, time_text
from lognode.core.codec import decode_value
from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.ids import LogLine, format_logline
from lognode.core.limits import NOTES_BYTES_MAX
from lognode.core.span import STATUSES, VISIBILITIES, Body, Header, decode_body
from lognode.rules.conditions.weight import weight_of
from lognode.rules.evaluation.decision import Notes

RULES: Final = "rules"  # the member of a span's annotations that rules wrote
_ABSENT: Final[Any] = object()
_NO_NOTES: Final = Notes()
_NOTES: Final = ("tags", "metadata", "notes")
_READ_BYTES_MAX: Final = 2 * NOTES_BYTES_MAX  # as much as what was written within its bound may come to here


class Writer(NamedTuple):
    """Who writes, as the causal past knows it: the node, its level, and the role of the actor in the tenant."""

    node: LogLine
    level: str
    role: str | None = None


class Facts:
    """A view of one draft or span. `written` are the notes that rules left in its annotations: of a draft none."""

    __slots__ = ("_known", "_read", "_said", "approvals", "hops", "kind", "samples", "time_ms", "writer")

    def __init__(
        self,
        kind: str,
        said: "Draft | _Stored",
        writer: Writer,
        hlc: int,
        approvals: Sequence[str],
        hops: int | None,
    ) -> None:
        self.kind = kind
        self.writer = writer
        self.time_ms = hlc_ms(hlc)
        self.approvals = approvals
        self._said = said
        self._read: Mapping[str, Callable[[Any], Any]] = _OF_DRAFT if isinstance(said, Draft) else _OF_STORED
        self._known: dict[str, Any] = {}
        self.samples: dict[bytes, Any] = {}  # what the span adds to windows, by their digests, as far as that is known
        self.hops: int = hops if hops is not None else _hops(self.annotations)

    @staticmethod
    def of_draft(draft: Draft, writer: Writer, *, hlc: int, approvals: Sequence[str] = (), hops: int = 0) -> "Facts":
        """The facts of a draft that is to get this HLC. `approvals` are the roles of those who approved it."""
        return Facts(draft.kind, draft, writer, hlc, approvals, hops)

    @staticmethod
    def of_span(
        header: Header,
        body: bytes,
        writer: Writer,
        *,
        hlc: int,
        visibility: int,
        approvals: Sequence[str] = (),
        hops: int | None = None,
        is_checked: bool = False,
    ) -> "Facts":
        """The facts of a span; `hops` None is what its annotations say.

        `is_checked` where this node wrote it: then its values were checked when they were taken, and are not again,
        which takes most of the time that reading large ones does.
        """
        said = _Stored(header, body, visibility, is_checked=is_checked)
        return Facts(header.kind, said, writer, hlc, approvals, hops)

    def fact(self, name: str) -> Any:
        """The JSON value of a fact of the span itself, None where it has none. Raises KeyError for other names."""
        value = self._known.get(name, _ABSENT)
        if value is _ABSENT:
            read = self._read.get(name)
            value = self._known[name] = read(self._said) if read else _OF_WRITING[name](self)
        return value

    def size(self, name: str) -> int:
        """About how many bytes a fact of the span holds, without decoding it."""
        if name in {"data", "metadata"}:
            return len(self._raw(name))
        value = self.fact(name)
        if value.__class__ is str:
            return len(value)
        return sum(map(len, value)) if value.__class__ is list else 8

    def _raw(self, name: str) -> bytes:
        said = self._said
        source = said if isinstance(said, Draft) else said.body
        raw: bytes = getattr(source, name) if source else b""
        return raw

    @property
    def annotations(self) -> Mapping[str, Any]:
        """What the span's annotations hold; empty where it is a draft."""
        found = self._known.get(_ANNOTATIONS)
        if found is None:
            said = self._said
            found = {}
            if not isinstance(said, Draft) and said.body and said.body.annotations:
                found = said.decoded(said.body.annotations)
            found = self._known[_ANNOTATIONS] = found if isinstance(found, dict) else {}
        return found

    @property
    def written(self) -> Notes:
        """What gate rules wrote into the span's annotations."""
        if isinstance(self._said, Draft):
            return _NO_NOTES
        return read_notes(self.annotations)


class _Stored:
    """A span's header and body; the body is decoded at first use, and None where it is malformed."""

    __slots__ = ("_body", "_is_checked", "_raw", "header", "visibility")

    def __init__(self, header: Header, raw: bytes, visibility: int, *, is_checked: bool) -> None:
        self.header = header
        self._is_checked = is_checked
        self.visibility = visibility
        self._raw = raw
        self._body: Body | None = _ABSENT

    @property
    def body(self) -> Body | None:
        if self._body is _ABSENT:
            try:
                self._body = decode_body(self._raw)
            except CallerError:
                self._body = None
        return self._body

    def decoded(self, raw: bytes) -> Any:
        if self._is_checked:
            return _value(raw)
        try:
            return decode_value(raw)
        except CallerError:
            return None

    def text(self, name: str) -> str | None:
        return getattr(self.body, name) if self.body else None


def _line(actor: LogLine | None) -> str | None:
    return None if actor is None else format_logline(actor)


def _value(raw: bytes) -> Any:
    """The value of a draft, which was checked when it was taken."""
    return cbor2.loads(raw) if raw else None


_ANNOTATIONS: Final = " annotations"  # a name that no fact has: facts that rules read under this name are notes
_OF_DRAFT: Final[Mapping[str, Callable[[Draft], Any]]] = MappingProxyType(
    {
        "kind": lambda draft: draft.kind,
        "title": lambda draft: draft.title,
        "data": lambda draft: _value(draft.data),
        "tags": lambda draft: list(draft.tags),
        "subject": lambda draft: draft.subject,
        "contract_id": lambda draft: draft.contract_id,
        "workflow_id": lambda draft: draft.workflow_id,
        "flow_id": lambda draft: draft.flow_id,
        "metadata": lambda draft: _value(draft.metadata),
        "status": lambda draft: STATUSES[draft.status],
        "visibility": lambda draft: VISIBILITIES[draft.visibility],
        "actor": lambda draft: _line(draft.actor),
    }
)
_OF_STORED: Final[Mapping[str, Callable[[_Stored], Any]]] = MappingProxyType(
    {
        "kind": lambda span: span.header.kind,
        "title": lambda span: span.text("title"),
        "data": lambda span: span.decoded(span.body.data) if span.body else None,
        "tags": lambda span: span.body.tags if span.body else [],
        "subject": lambda span: span.text("subject"),
        "contract_id": lambda span: span.text("contract_id"),
        "workflow_id": lambda span: span.text("workflow_id"),
        "flow_id": lambda span: span.text("flow_id"),
        "metadata": lambda span: span.decoded(span.body.metadata) if span.body else None,
        "status": lambda span: STATUSES[span.header.status],
        "visibility": lambda span: VISIBILITIES[span.visibility],
        "actor": lambda span: _line(span.header.actor),
    }
)
_OF_WRITING: Final[Mapping[str, Callable[[Facts], Any]]] = MappingProxyType(
    {
        "node": lambda facts: format_logline(facts.writer.node),
        "level": lambda facts: facts.writer.level,
        "role": lambda facts: facts.writer.role,
        "time": lambda facts: time_text(facts.time_ms),
        "approvals": lambda facts: len(facts.approvals),
        "hops": lambda facts: facts.hops,
    }
)


def read_notes(annotations: Mapping[str, Any]) -> Notes:
    """The notes that a span's annotations hold; what is not of their form, or larger than they are, is passed over."""
    said = annotations.get(RULES)
    if not isinstance(said, dict) or weight_of([said.get(name) for name in _NOTES], _READ_BYTES_MAX) > _READ_BYTES_MAX:
        return _NO_NOTES
    metadata = said.get("metadata")
    return Notes(
        _texts(said.get("tags")),
        metadata if isinstance(metadata, dict) else {},
        _texts(said.get("notes")),
        said.get("processed") is True,
    )


def _texts(said: object) -> tuple[str, ...]:
    return tuple(item for item in said if isinstance(item, str)) if isinstance(said, list) else ()


def _hops(annotations: Mapping[str, Any]) -> int:
    said = annotations.get(RULES)
    hops = said.get("hops") if isinstance(said, dict) else None
    return hops if hops.__class__ is int and hops >= 0 else 0
