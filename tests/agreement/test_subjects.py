"""The folding of subjects, against a model that looks at all spans and at nothing else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.ids import FeedId, SpanId
from lognode.timeline.agreement.subjects import RESOLVE, REVERT, Head, Original, Said, fold, is_live
from lognode.timeline.control.policies import MANUAL
from tests.agreement.worlds import World, folded, ids, model

FEEDS = [FeedId(bytes([number]) * 16) for number in range(4)]
KINDS = ("note", "price.set", RESOLVE, REVERT)


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


def test_copies_come_one_behind_the_other_in_one_history_and_not_in_two() -> None:
    copies = [
        a_span(10 + seq, FEEDS[0])._replace(restores=Original(SpanId(bytes([seq]) * 24), FEEDS[1], seq, root))
        for seq, root in ((1, b"one"), (2, b"one"), (3, b"two"))
    ]

    def clock(feed: FeedId, seq: int) -> dict[FeedId, int]:
        return {feed: seq + 1}

    found = fold([Head(span, span) for span in copies], clock, {})
    assert [head.span for head in found.heads] == [copies[2], copies[1]]


@given(st.permutations(range(3)))
def test_copies_of_one_span_that_clones_made_have_one_order(order: list[int]) -> None:
    original = Original(SpanId(bytes(24)), FEEDS[3], 0, b"one")
    copies = [a_span(10 + at, FEEDS[at])._replace(restores=original) for at in range(3)]
    found = fold([Head(copies[at], copies[at]) for at in order], lambda feed, seq: {feed: seq + 1}, {})
    assert [head.span for head in found.heads] == copies[::-1]
