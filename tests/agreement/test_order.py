"""Causal order as stored spans have it: which knew of which, and what a node knew, against what really happened."""

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

import msgspec
import pytest

from lognode.core.clock import hlc_from_ms
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, SpanId
from lognode.core.limits import CLOCK_AHEAD_MS_MAX, KNOWN_SPANS_MAX, SIZE_MAX
from lognode.timeline.agreement.merges import MERGE
from lognode.timeline.query import ORDERS, SORTS, Order, Query, place_of, start_cursor
from lognode.timeline.record import FeedRef, Record, feed_of, id_of
from lognode.timeline.store.agreement.pasts import compare_spans, resolved
from lognode.timeline.store.read import pages
from lognode.timeline.store.read.lookup import find_span
from lognode.timeline.store.read.pages import select_page
from lognode.timeline.store.write import load_feeds
from tests.engine.receivers import Receiver
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen

NODES, STEPS, QUESTIONS = 5, 400, 1000
WORK_STEPS = 10  # of SQLite's machine at once


class World(NamedTuple):
    """A node that holds everything, and what happened: of each span, which ones its author knew."""

    node: Receiver
    feeds: Mapping[int, FeedRef]
    pens: list[Pen]
    known: dict[SpanId, frozenset[SpanId]]
    written: list[list[SpanId]]  # by each


class Story:
    """Nodes that write, and hear of each other now and then."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        founder = Founder()
        self.pens: list[Pen] = [founder, *[founder.member(number) for number in range(2, NODES + 1)]]
        self.known: dict[SpanId, frozenset[SpanId]] = {}
        self.written: list[list[SpanId]] = [[] for _ in self.pens]
        self.minds: list[set[SpanId]] = [set() for _ in self.pens]
        self.sizes: list[dict[FeedId, tuple[FeedId, int, bytes]]] = [{} for _ in self.pens]
        for number in range(NODES):
            self._note_head(number)

    def _remember(self, number: int, span: SpanId) -> None:
        self.minds[number].add(span)
        self.written[number].append(span)
        self.known[span] = frozenset(self.minds[number])
        self._note_head(number)

    def _note_head(self, number: int) -> None:
        self.sizes[number][self.pens[number].feed_id] = self.pens[number].head

    def write(self) -> None:
        number = self.random.randrange(NODES)
        self._remember(number, self.pens[number].write())

    def hear(self) -> None:
        """One takes in all that another has, and says so in a merge."""
        number, other = self.random.sample(range(NODES), 2)
        news = [
            head
            for feed, head in self.sizes[other].items()
            if head[1] > self.sizes[number].get(feed, (feed, 0, b""))[1] and feed != self.pens[number].feed_id
        ]
        if news:
            self.minds[number] |= self.minds[other]
            self.sizes[number].update({head[0]: head for head in news})
            self._remember(number, self.pens[number].merge(*news))


@pytest.fixture(scope="module")
def world() -> World:
    story = Story(1)
    for _ in range(STEPS):
        story.write() if story.random.random() < 0.8 else story.hear()
    node = Receiver(story.pens[0].tenant)
    node.take(*[pen.range() for pen in story.pens])
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    return World(node, feeds, story.pens, story.known, story.written)


def record_of(world: World, span: SpanId) -> Record:
    found = find_span(world.node.conn, world.node.tenant, world.feeds, span)
    assert found is not None
    return found


def test_a_thousand_questions_are_answered_as_it_happened(world: World) -> None:
    random, spans = Random(2), sorted(world.known)
    answers = dict.fromkeys(("equal", "before", "after", "concurrent"), 0)
    for _ in range(QUESTIONS):
        one, other = random.choice(spans), random.choice(spans)
        truth = "before" if one in world.known[other] else "after" if other in world.known[one] else "concurrent"
        records = (record_of(world, one), record_of(world, other))
        relation, lacking = compare_spans(world.node.conn, world.node.tenant, world.feeds, *records)
        assert (relation, lacking) == ("equal" if one == other else truth, [])
        answers[relation] += 1
    assert min(answers["before"], answers["after"], answers["concurrent"]) > QUESTIONS // 10


@pytest.mark.parametrize("held", [0, 1, 3])
def test_it_is_said_of_which_feeds_authors_knew_more_than_is_held(held: int) -> None:
    """Of them all, where nothing more of them can be known here either: what they say of others is not held."""
    founder = Founder()
    members = [founder.member(number) for number in (2, 3)]
    for _ in range(4):
        members[0].write()
    stop = len(members[0].entries)
    named = founder.merge(members[0].head)
    beside = members[1].write()
    node = Receiver(founder.tenant)
    node.take(founder.range(), members[1].range(), *([members[0].range(0, held)] if held else []))
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    spans = [find_span(node.conn, node.tenant, feeds, span) for span in (named, beside)]
    assert None not in spans
    relation, lacking = compare_spans(node.conn, node.tenant, feeds, *[span for span in spans if span is not None])
    assert relation == "concurrent"
    assert lacking == [members[0].feed_id]
    node.take(members[0].range(held, stop))
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    assert compare_spans(node.conn, node.tenant, feeds, *[span for span in spans if span is not None])[1] == []


def test_a_page_of_what_a_node_knew_is_what_it_knew(world: World) -> None:
    for at in Random(3).sample(sorted(world.known), 50):
        for pen, own in zip(world.pens, world.written, strict=True):
            newest = [span for span in own if span in world.known[at]][-1:]
            truth = set(world.known[newest[0]]) if newest else set()
            assert knew(world, pen.keys.public, at) & world.known.keys() == truth


def knew(world: World, node_key: bytes, at: SpanId) -> set[SpanId]:
    query = Query(known_by=node_key, known_at=at, limit=1000)
    query = resolved(world.node.conn, world.node.tenant, world.feeds, query)
    page = select_page(world.node.conn, world.node.tenant, world.feeds, query)
    assert not page.is_cut
    return {id_of(record, feed_of(record, world.feeds).feed_id) for record in page.records}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("kinds", [(), ("note",), (MERGE,)])
@pytest.mark.parametrize("looked_max", [KNOWN_SPANS_MAX, 40])
def test_a_walk_through_what_a_node_knew_gives_each_span_once_in_order(
    order: Order, sort: str, kinds: tuple[str, ...], looked_max: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In times that spans of different nodes share, whichever index leads, from both ends, some pages without any."""
    monkeypatch.setattr(pages, "KNOWN_SPANS_MAX", looked_max)
    monkeypatch.setattr(pages, "LEAD_ROWS_MAX", 16)
    descending = sort == "desc"
    conn, tenant, feeds = world.node.conn, world.node.tenant, world.feeds
    key, at = world.pens[2].keys.public, world.written[2][-5]
    query = Query(known_by=key, known_at=at, order=order, descending=descending, kinds=kinds, limit=7)
    query = resolved(conn, tenant, feeds, query)
    cursor, walked = start_cursor(order) if not descending else None, []
    while True:
        page = select_page(conn, tenant, feeds, query, **{"before" if descending else "after": cursor})
        walked += page.records
        if not page.is_cut:
            break
        cursor = page.older if descending else page.newer
    places = [place_of(record, feeds, order).key for record in walked]
    assert places == sorted(set(places), reverse=descending)
    whole = select_page(conn, tenant, feeds, msgspec.structs.replace(query, known=None, limit=1000)).records
    sizes = dict(query.known or ())
    assert {record.position for record in walked} == {
        record.position for record in whole if record.seq < sizes.get(record.feed, 0)
    }
    assert len(walked) > 10


def test_a_span_that_is_not_here_is_no_place_in_time(world: World) -> None:
    with pytest.raises(CallerError) as failure:
        knew(world, world.pens[0].keys.public, SpanId(bytes(24)))
    assert (failure.value.code, failure.value.place) == ("span.unknown", "at")


def ask(node: Receiver, one: SpanId, other: SpanId) -> tuple[str, list[FeedId]]:
    """Relation of two spans, and of which feeds more was known."""
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    records = [find_span(node.conn, node.tenant, feeds, span) for span in (one, other)]
    assert records[0] is not None
    assert records[1] is not None
    return compare_spans(node.conn, node.tenant, feeds, records[0], records[1])


def test_while_entries_are_missing_that_somebody_knew_an_answer_says_so() -> None:
    founder = Founder()
    member, third = founder.member(2), founder.member(3)
    known = founder.write()
    member.merge(founder.head)
    third.merge(member.head)
    last = third.write()
    node = Receiver(founder.tenant)
    node.take(founder.range(), third.range(), member.range(0, 1))

    assert ask(node, known, last) == ("concurrent", [member.feed_id])
    node.take(member.range(1))
    assert ask(node, known, last) == ("before", [])


def test_what_lies_beyond_a_cut_tells_of_nothing() -> None:
    founder = Founder()
    member, third = founder.member(2), founder.member(3)
    known = third.write()
    member.merge(third.head)
    founder.merge(member.head)
    last = founder.write()
    node = Receiver(founder.tenant)
    node.take(founder.range(), member.range(), third.range())
    assert ask(node, known, last) == ("before", [])
    founder.remove(member.keys, (member, 1))
    node.take(founder.range(len(founder.entries) - 1))
    assert ask(node, known, last) == ("concurrent", [])


def test_nobody_knew_what_was_written_long_afterwards_whatever_size_it_names() -> None:
    founder = Founder()
    liar = founder.member(2)
    known = founder.write()
    liar.merge((founder.feed_id, SIZE_MAX, bytes(32)))
    lie = liar.write()
    soon = founder.write(hlc=liar.next_hlc + hlc_from_ms(CLOCK_AHEAD_MS_MAX))
    node = Receiver(founder.tenant)
    node.take(founder.range(), liar.range())
    # So far it may be true: maybe there is more of it than is held.
    assert ask(node, known, lie) == ("before", [founder.feed_id])

    late = founder.write(hlc=founder.next_hlc + hlc_from_ms(1))
    node.take(founder.range(len(founder.entries) - 1))
    for span in (known, soon, late):
        assert ask(node, span, lie) == ("concurrent", [])


def test_a_feed_may_go_on_from_one_of_its_node_that_ends_in_a_time_to_come() -> None:
    founder = Founder()
    ahead = founder.write(hlc=founder.next_hlc + hlc_from_ms(2 * CLOCK_AHEAD_MS_MAX))
    feed, size, root = founder.head
    later = Pen(founder.keys, founder.tenant, [founder.newest], number=9, parent=(feed, size + 1, root))
    node = Receiver(founder.tenant)
    node.take(founder.range(), later.range())
    assert ask(node, ahead, later.opening) == ("before", [feed])
