"""What subjects come to. From docs/protocol.md, State."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.independent.protocol.control import RESERVED
from tests.independent.protocol.order import Knowledge

SUBJECT_CHARS_MAX = 4_096
REVERT, RESOLVE = "span.revert", "conflict.resolve"


@dataclass(frozen=True)
class Span:
    """A span that is held with its body, as far as state depends on it."""

    id: bytes
    feed: bytes
    seq: int
    hlc: int
    kind: str
    caused_by: bytes | None
    subject: str | None
    is_executed: bool
    is_private: bool

    @property
    def place(self) -> tuple[bytes, int]:
        return self.feed, self.seq

    @property
    def about(self) -> str | None:
        return self.subject if self.subject and len(self.subject) <= SUBJECT_CHARS_MAX else None


@dataclass(frozen=True)
class State:
    heads: list[tuple[Span, Span]]  # the greatest id first, each with the span that it stands for
    value: Span | None


class Register:
    """The subjects of a tenant. `spans` are those that are not void."""

    def __init__(self, spans: list[Span], knowledge: Knowledge, policies: Mapping[str, str]) -> None:
        self.spans = [span for span in spans if span.is_executed and not span.is_private]
        self.by_id = {span.id: span for span in self.spans}
        self.knowledge = knowledge
        self.policies = policies

    def read(self, subject: str) -> State:
        candidates: dict[bytes, tuple[Span, Span]] = {}
        for span in sorted(self.spans, key=lambda one: one.seq):
            meant = self.meaning(span) if span.about == subject else None
            if meant:
                candidates[span.feed] = (span, meant)
        heads = self.heads(sorted(candidates.values(), key=lambda head: head[0].id, reverse=True))
        manual = any(self.policies.get(meant.kind) == "manual" for _, meant in heads)
        is_open = not heads or (len(heads) > 1 and manual)
        return State(heads, None if is_open else heads[0][1])

    def heads(self, candidates: list[tuple[Span, Span]]) -> list[tuple[Span, Span]]:
        """Those that no other one knows; of some that know each other the greatest id."""
        knows = self.knowledge.knows
        found: list[tuple[Span, Span]] = []
        for at, (span, meant) in enumerate(candidates):
            newer = [other for other, _ in candidates if other is not span and knows(span.place, other.place)]
            greater = [other for other, _ in candidates[:at]]
            if all(knows(other.place, span.place) and other not in greater for other in newer):
                found.append((span, meant))
        return found

    def meaning(self, span: Span) -> Span | None:
        """What a span stands for; None where it does not stand."""
        if self.is_taken_back(span):
            return None
        if span.kind != RESOLVE:
            return None if is_reserved(span.kind) else span
        chosen = self.by_id.get(span.caused_by or b"")
        if chosen is None or chosen.about != span.about or is_reserved(chosen.kind) or self.is_taken_back(chosen):
            return None
        return chosen

    def is_taken_back(self, span: Span) -> bool:
        reverts = [one for one in self.spans if one.kind == REVERT and one.caused_by == span.id]
        return any(one.about == span.about and not self.is_taken_back(one) for one in reverts)


def is_reserved(kind: str) -> bool:
    return kind.partition(".")[0] in RESERVED
