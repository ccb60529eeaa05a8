"""Spans about one subject with what each knew, folded by the code and by a model that looks at nothing else."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from lognode.core.ids import FeedId, SpanId
from lognode.timeline.agreement.subjects import RESOLVE, REVERT, Fold, Said, candidates, fold, is_live
from lognode.timeline.control.policies import MANUAL


class World(NamedTuple):
    """Spans about one subject, and what each knew."""

    spans: tuple[Said, ...]
    clocks: Mapping[tuple[FeedId, int], Mapping[FeedId, int]]
    counted: Mapping[FeedId, int]
    policies: Mapping[str, str]

    def clock_of(self, feed: FeedId, seq: int) -> Mapping[FeedId, int]:
        return self.clocks[feed, seq]


def folded(world: World, order: Collection[Said]) -> Fold:
    """What the code makes of spans that came in this order."""
    by_id = {span.id: span for span in order}
    latest: dict[FeedId, Said] = {}
    for span in order:
        if span.kind != REVERT and (span.feed not in latest or latest[span.feed].seq < span.seq):
            latest[span.feed] = span

    def counts(span: Said) -> bool:
        return span.seq < world.counted[span.feed]

    def reverts_of(target: SpanId) -> list[SpanId]:
        return [span.id for span in order if span.kind == REVERT and span.caused_by == target and counts(span)]

    def stands(span: Said) -> bool:
        return counts(span) and is_live(span.id, reverts_of)

    def means(span: Said) -> Said | None:
        if not stands(span):
            return None
        if span.kind != RESOLVE:
            return span
        chosen = by_id.get(span.caused_by) if span.caused_by else None
        return chosen if chosen and chosen.kind not in (RESOLVE, REVERT) and stands(chosen) else None

    def history(feeds: Collection[FeedId]) -> Iterable[Said]:
        held = [span for span in order if span.feed in feeds and span.kind != REVERT]
        return sorted(held, key=lambda span: span.seq, reverse=True)

    return fold(candidates(latest.values(), history, means), world.clock_of, world.policies)


def model(world: World) -> tuple[set[SpanId], SpanId | None]:
    """Ids of the heads and of the value, by the words of the document, span by span."""
    spans = {span.id: span for span in world.spans if span.seq < world.counted[span.feed]}

    def live(id_: SpanId) -> bool:
        return not any(live(span.id) for span in spans.values() if span.kind == REVERT and span.caused_by == id_)

    def content(span: Said) -> Said | None:
        meant = spans.get(span.caused_by or SpanId(b"")) if span.kind == RESOLVE else span
        return meant if meant and meant.kind not in (RESOLVE, REVERT) and live(meant.id) and live(span.id) else None

    standing = [span for span in spans.values() if span.kind != REVERT and content(span)]
    heads = [
        span
        for span in standing
        if not any(
            other is not span and world.clock_of(other.feed, other.seq).get(span.feed, 0) > span.seq
            for other in standing
        )
    ]
    kinds = {meant.kind for span in heads if (meant := content(span))}
    is_open = len(heads) > 1 and any(world.policies.get(kind) == MANUAL for kind in kinds)
    greatest = max((span.id for span in heads), default=None)
    return {span.id for span in heads}, None if is_open else greatest


def ids(found: Fold) -> tuple[set[SpanId], SpanId | None]:
    return {head.span.id for head in found.heads}, found.value.span.id if found.value else None
