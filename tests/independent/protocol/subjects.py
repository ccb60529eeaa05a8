"""What spans about a subject come to. From docs/protocol.md, State."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.independent.protocol.control import RESERVED
from tests.independent.protocol.order import Past, Place, holds


@dataclass(frozen=True)
class Original:
    """The span, beyond the cut of a feed of the same node, that a copy restores."""

    id: bytes
    place: Place
    root: bytes


@dataclass(frozen=True)
class Span:
    """A span that is not void; `subject` is None where it is about none. `names`: ids that its restored span had."""

    id: bytes
    feed: bytes
    seq: int
    kind: str
    caused_by: bytes | None
    subject: str | None
    is_executed: bool = True
    is_private: bool = False
    node: bytes = b""
    original: Original | None = None
    names: frozenset[bytes] = frozenset()

    @property
    def place(self) -> Place:
        return self.feed, self.seq

    @property
    def rank(self) -> tuple[bytes, bytes]:
        """The id that counts where ids are compared, then its own."""
        return (min(self.id, self.original.id) if self.original else self.id), self.id


@dataclass(frozen=True)
class State:
    """Heads with the spans for whose content they stand, the greatest id first; and which of these holds."""

    heads: list[tuple[Span, Span]]
    value: Span | None


class View:
    """What spans stand for, where these are all that is looked at."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = spans

    def candidates(self, subject: str, *, is_private: bool) -> list[Span]:
        feeds: dict[bytes, list[Span]] = {}
        for span in sorted(self.spans, key=lambda span: span.seq):
            if span.subject == subject and span.is_private == is_private and self.meant(span):
                feeds.setdefault(span.feed, []).append(span)
        return [span for feed in feeds.values() for span in _candidates(feed)]

    def meant(self, span: Span) -> Span | None:
        """The span for whose content this one stands, if it stands."""
        if not span.is_executed or not span.subject or self._is_taken_back(span):
            return None
        if not _is_reserved(span):
            return span
        if span.kind != "conflict.resolve":
            return None
        chosen = self._named(span.caused_by)
        return self.meant(chosen) if chosen and chosen.subject == span.subject and not _is_reserved(chosen) else None

    def _named(self, id_: bytes | None) -> Span | None:
        """The span with this id, or the copy that restores it."""
        copies = sorted((span for span in self.spans if id_ in span.names), key=lambda span: (span.node, span.id))
        return next((span for span in self.spans if span.id == id_), copies[0] if copies else None)

    def _is_taken_back(self, span: Span) -> bool:
        return any(
            revert.kind == "span.revert" and revert.caused_by in {span.id, *span.names}
            and revert.subject == span.subject and revert.is_executed and not self._is_taken_back(revert)
            for revert in self.spans
        )  # fmt: skip


class Register:
    """`spans` are those that are not void; `past` says what the author at a place knew."""

    def __init__(self, spans: Sequence[Span], past: Callable[[Place], Past], policies: Mapping[str, str]) -> None:
        self.whole, self.shared = View(spans), View([span for span in spans if not span.is_private])
        self.past, self.policies = past, policies
        self.pasts: dict[Place, Past] = {}

    def read(self, subject: str) -> State:
        candidates = self.shared.candidates(subject, is_private=False)
        heads = sorted(candidates, key=lambda head: head.rank, reverse=True)
        for span in list(heads):
            if span in heads:
                heads = [head for head in heads if not self._knows(span, head)]
        meant = [meant for head in heads if (meant := self.shared.meant(head))]
        is_open = len(heads) > 1 and any(self.policies.get(one.kind) == "manual" for one in meant)
        return State(list(zip(heads, meant, strict=True)), meant[0] if meant and not is_open else None)

    def local(self, subject: str) -> Span | None:
        """What the private spans say, on the node that has them."""
        own = self.whole.candidates(subject, is_private=True)
        return self.whole.meant(max(own, key=lambda span: span.rank)) if own else None

    def _knows(self, span: Span, other: Span) -> bool:
        """Whether the other span, another one, is in the past of the first, or an earlier one of the same history."""
        if span == other:
            return False
        one, was = span.original, other.original
        if one and was and (one.root, one.place[0]) == (was.root, was.place[0]) and one.place > was.place:
            return True
        place = one.place if one else span.place
        if place not in self.pasts:
            self.pasts[place] = self.past(place)
        return holds(self.pasts[place], other.place)


def _candidates(feed: list[Span]) -> list[Span]:
    """The newest span of a feed; of copies also what is before them, up to the newest that restores nothing."""
    first = max((at for at, span in enumerate(feed) if not span.original), default=0)
    return feed[first:]


def _is_reserved(span: Span) -> bool:
    return span.kind.partition(".")[0] in RESERVED
