"""The folding of subjects, against a model that looks at all spans and at nothing else."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.ids import FeedId, SpanId
from lognode.timeline.agreement.subjects import (
    RESOLVE,
    REVERT,
    Fold,
    Head,
    Said,
    candidates,
    fold,
    is_live,
)
from lognode.timeline.control.policies import MANUAL

FEEDS = [FeedId(bytes([number]) * 16) for number in range(4)]
KINDS = ("note", "price.set", RESOLVE, REVERT)


class World(NamedTuple):
    """Spans about one subject, and what each knew."""

    spans: tuple[Said, ...]
    clocks: Mapping[tuple[FeedId, int], Mapping[FeedId, int]]
    counted: Mapping[FeedId, int]
    policies: Mapping[str, str]

    def clock_of(self, feed: FeedId, seq: int) -> Mapping[FeedId, int]:
        return self.clocks[feed, seq]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Feeds that write, merge, take back and resolve, and of which some are cut."""
    spans: list[Said] = []
    clocks: dict[tuple[FeedId, int], dict[FeedId, int]] = {}
    sizes = dict.fromkeys(FEEDS, 0)
    knows: dict[FeedId, dict[FeedId, int]] = {feed: {} for feed in FEEDS}
    for step in range(draw(st.integers(1, 14))):
        feed, seq = draw(st.sampled_from(FEEDS)), 0
        for other in draw(st.sets(st.sampled_from(FEEDS))):
            if sizes[other]:
                for name, size in clocks[other, sizes[other] - 1].items():
                    knows[feed][name] = max(knows[feed].get(name, 0), size)
        seq = sizes[feed]
        sizes[feed] = knows[feed][feed] = seq + 1
        clocks[feed, seq] = dict(knows[feed])
        kind = draw(st.sampled_from(KINDS))
        id_ = SpanId(draw(st.integers(0, 3)).to_bytes(8, "big") + step.to_bytes(16, "big"))
        cause = draw(st.sampled_from([None, *(span.id for span in spans)]))
        spans.append(Said(id_, feed, seq, kind, cause, step))
    counted = {feed: draw(st.integers(0, size)) if draw(st.booleans()) else size for feed, size in sizes.items()}
    policies = dict.fromkeys(draw(st.sets(st.sampled_from(KINDS[:2]))), MANUAL)
    return World(tuple(spans), clocks, counted, policies)


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


@settings(max_examples=400, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_state_is_what_all_spans_say_in_whatever_order_they_came(world: World, chance: object) -> None:
    order = list(world.spans)
    chance.shuffle(order)  # type: ignore[attr-defined]
    assert ids(folded(world, world.spans)) == model(world)
    assert ids(folded(world, order)) == model(world)


def a_span(number: int, feed: FeedId = FEEDS[0], kind: str = "note") -> Said:
    return Said(SpanId(number.to_bytes(24, "big")), feed, number, kind, None, number)


def test_of_liars_that_know_each_other_the_greatest_id_stays() -> None:
    found = [Head(span, span) for span in (a_span(1, FEEDS[0]), a_span(2, FEEDS[1]), a_span(3, FEEDS[2]))]
    everything = dict.fromkeys(FEEDS, 9)
    assert [head.span for head in fold(found, lambda _feed, _seq: everything, {}).heads] == [a_span(3, FEEDS[2])]


def test_a_later_span_may_know_one_with_a_greater_id() -> None:
    one, other = a_span(9, FEEDS[0]), a_span(2, FEEDS[1])
    clocks = {FEEDS[0]: {FEEDS[0]: 10}, FEEDS[1]: {FEEDS[1]: 3, FEEDS[0]: 10}}
    found = fold([Head(one, one), Head(other, other)], lambda feed, _seq: clocks[feed], {})
    assert found.value == Head(other, other)
    assert not found.is_conflict


def test_a_chain_of_reverts_ends_with_its_last_one() -> None:
    chain = {a_span(number).id: [a_span(number + 1).id] for number in range(5000)}
    reverts = [is_live(a_span(number).id, lambda span: chain.get(span, [])) for number in (0, 1)]
    assert reverts == [True, False]


def test_reverts_in_a_circle_end() -> None:
    circle = {a_span(1).id: [a_span(2).id], a_span(2).id: [a_span(1).id]}
    assert not is_live(a_span(1).id, circle.__getitem__)
