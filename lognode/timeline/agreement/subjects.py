"""What a subject's spans come to: its value, and where they contradict each other.

Pure. A subject is one register. Each feed has one candidate for its value, the newest span about it that stands; the
heads are the candidates that no other one knows. Invariant: the answer is a function of the spans and of what each
knew, never of the order in which they came.
Source: docs/protocol.md, State.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from lognode.core.ids import FeedId, SpanId
from lognode.core.span import is_reserved
from lognode.timeline.control.policies import LATEST, MANUAL

REVERT: Final = "span.revert"
RESOLVE: Final = "conflict.resolve"

# (feed, seq) -> how many entries of each feed were known there, the entry itself included.
ClockOf = Callable[[FeedId, int], Mapping[FeedId, int]]


class Original(NamedTuple):
    """The span that another one restores, and the root of the history of its feed in which it is."""

    id: SpanId
    feed: FeedId
    seq: int
    root: bytes


class Said(NamedTuple):
    """A span about a subject, as far as state depends on it. What restores another says what was said back then."""

    id: SpanId
    feed: FeedId
    seq: int
    kind: str
    caused_by: SpanId | None
    row: int
    restores: Original | None = None

    @property
    def rank(self) -> tuple[SpanId, SpanId]:
        """By which it is greater than others; two copies of one span, which clones make, differ in their own ids."""
        return (self.id if self.restores is None else min(self.id, self.restores.id), self.id)


class Head(NamedTuple):
    """A candidate for the value, and the span whose content it stands for: a resolution's is the one that it chose."""

    span: Said
    means: Said


class Fold(NamedTuple):
    """What a subject comes to. `heads`: the greatest id first; `value` is one of them, None where none holds."""

    heads: tuple[Head, ...]
    value: Head | None

    @property
    def is_conflict(self) -> bool:
        """Whether heads know nothing of each other."""
        return len(self.heads) > 1


def may_be_value(kind: str) -> bool:
    """Whether spans of a kind may be a subject's value."""
    return kind == RESOLVE or not is_reserved(kind)


def candidates(
    newest: Iterable[Said],
    history: Callable[[Collection[FeedId]], Iterable[Said]],
    means: Callable[[Said], Said | None],
) -> list[Head]:
    """The candidate of each feed that has one, besides what restores others behind it.

    `newest` is the newest span of each feed, `history` all spans of the feeds that it is given, a feed's newest first;
    it is asked only where a newest one does not stand, and `feeds` shrinks while it is gone through. `means` gives what
    a span stands for, None where it does not stand.
    """
    found: list[Head] = []
    waiting: dict[FeedId, int] = {}
    for span in newest:
        meant = means(span)
        if meant is not None:
            found.append(Head(span, meant))
        if meant is None or span.restores:
            waiting[span.feed] = span.seq
    if waiting:
        for span in history(waiting.keys()):
            if span.seq < waiting.get(span.feed, 0) and (meant := means(span)) is not None:
                found.append(Head(span, meant))
                if span.restores is None:
                    del waiting[span.feed]
                if not waiting:
                    break
    return found


def fold(found: Collection[Head], clock_of: ClockOf, policies: Mapping[str, str]) -> Fold:
    """What candidates of different feeds come to; `policies` holds those of kinds that are not LATEST."""
    heads = _heads(found, clock_of)
    is_open = len(heads) > 1 and any(policies.get(head.means.kind, LATEST) == MANUAL for head in heads)
    return Fold(heads, None if is_open or not heads else heads[0])


def _heads(found: Collection[Head], clock_of: ClockOf) -> tuple[Head, ...]:
    """The candidates that no other one knows, the greatest id first.

    Of some that claim to know each other, which takes a liar, the greatest id stays.
    """
    left = sorted(found, key=lambda head: head.span.rank, reverse=True)
    at = 0
    while at < len(left) and len(left) > 1:
        head = left[at].span
        place = head.restores or head
        known = clock_of(place.feed, place.seq)
        before = sum(_is_known(other.span, head, known) for other in left[:at])
        left = [other for other in left if other.span is head or not _is_known(other.span, head, known)]
        at += 1 - before
    return tuple(left)


def _is_known(span: Said, by: Said, known: Mapping[FeedId, int]) -> bool:
    """Whether one span is in the past of another, or both restore spans of one history and it is the earlier one."""
    was, later = span.restores, by.restores
    is_earlier = was and later and (was.feed, was.root) == (later.feed, later.root) and was.seq < later.seq
    return known.get(span.feed, 0) > span.seq or bool(is_earlier)


def is_live(target: SpanId, reverts_of: Callable[[SpanId], Sequence[SpanId]]) -> bool:
    """Whether a span is not taken back, or whatever takes it back is itself.

    A revert holds the hash of its target, so there is no circle but in a damaged database; the walk ends in one, too.
    """
    known: dict[SpanId, bool] = {}
    begun: set[SpanId] = set()
    stack = [target]
    while stack:
        span = stack[-1]
        begun.add(span)
        reverts = reverts_of(span)
        waiting = [revert for revert in reverts if revert not in begun]
        if waiting:
            stack += waiting
        else:
            known[stack.pop()] = not any(known.get(revert, False) for revert in reverts)
    return known[target]
