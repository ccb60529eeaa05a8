"""An answer about causal order reads a bounded number of rows, be there 4,000 spans or 100,000.

What SQLite's machine does is counted, which no other work on the computer changes. The file takes some twelve seconds,
most of them to write the spans, take them in and index them.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from random import Random
from sqlite3 import Connection
from typing import Final

import pytest
from msgspec.structs import replace

from lognode.core.ids import FeedId
from lognode.core.limits import KNOWN_SPANS_MAX
from lognode.core.span import PRIVATE, span_id
from lognode.timeline.proof.checkpoint import sign_checkpoint
from lognode.timeline.proof.tree import EMPTY, grow, root_of
from lognode.timeline.query import ORDERS, SORTS, Order, Query
from lognode.timeline.record import Record, id_of
from lognode.timeline.store.agreement.pasts import compare_spans, resolved
from lognode.timeline.store.read import pages
from lognode.timeline.store.read.lookup import find_span
from lognode.timeline.store.read.pages import Page, select_page
from lognode.timeline.store.read.search import index_next, search_enable
from lognode.timeline.store.read.terms import terms_of, walk
from lognode.timeline.store.write import load_feeds
from tests.engine.receivers import Receiver
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen

NODES: Final = 5
BETWEEN_MERGES: Final = 25
QUESTIONS: Final = 60
STEP: Final = 10  # of SQLite's machine at once
PAGE, PAGES = 100, 3
# Some thousand rows, most of them entries below the tiles of feeds. Who walks past all spans takes a million and more.
STEPS_MAX: Final = 60_000
TAKEN_SPANS: Final = 2_000
# Of KNOWN_SPANS_MAX spans that are looked at, each costs some steps to be found and some to be checked.
SELDOM_STEPS_MAX: Final = 8 * STEPS_MAX


class Many:
    """A node that holds many spans of several others, which hear of each other all the time."""

    def __init__(self, spans: int) -> None:
        founder = Founder()
        self.pens: list[Pen] = [founder, *[founder.member(number) for number in range(2, NODES + 1)]]
        self.node = Receiver(founder.tenant)
        self.random = Random(spans)
        self.spans = spans
        self._borders = {pen.feed_id: EMPTY for pen in self.pens}
        self._taken = dict.fromkeys(self._borders, 0)
        self._told: dict[tuple[FeedId, FeedId], int] = {}
        self._write(spans)
        self.feeds = {feed.number: feed for feed in load_feeds(self.node.conn)}

    def _write(self, spans: int) -> None:
        hlc = max(pen.next_hlc for pen in self.pens)
        for number in range(spans):
            pen = self.random.choice(self.pens)
            if number % BETWEEN_MERGES:
                pen.write(hlc=hlc + number, title="early" if number < spans / 2 else "late")
            else:
                self._merge(pen, hlc + number)
            if not (number + 1) % TAKEN_SPANS:
                self._take()

    def _head(self, pen: Pen) -> tuple[FeedId, int, bytes]:
        border = self._borders[pen.feed_id]
        self._borders[pen.feed_id] = border = grow(border, pen.leaves[border.size :]).border
        return pen.feed_id, border.size, root_of(border)

    def _merge(self, pen: Pen, hlc: int) -> None:
        heads = [self._head(other) for other in self.pens if other is not pen]
        news = [head for head in heads if head[1] > self._told.get((pen.feed_id, head[0]), 0)]
        self._told.update({(pen.feed_id, feed): size for feed, size, _ in news})
        pen.merge(*news, hlc=hlc)

    def _take(self) -> None:
        """Have the node take in what was written since."""
        ranges = []
        for pen in self.pens:
            feed, size, root = self._head(pen)
            pen._notes[size] = sign_checkpoint(pen.key, pen.tenant, feed, size, root)
            ranges.append(pen.range(self._taken[feed]))
            self._taken[feed] = size
        assert self.node.take(*ranges) == list(self._taken.values())

    def span(self, at: float | None = None) -> Record:
        """Some span; `at` says how far from the beginning."""
        pen = self.random.choice(self.pens)
        place = self.random.random() if at is None else at
        seq = int(place * (len(pen.leaves) - 1))
        found = find_span(self.node.conn, self.node.tenant, self.feeds, span_id(pen.entries[seq].hlc, pen.leaves[seq]))
        assert found is not None
        return found

    def steps(self, ask: Callable[[], object]) -> int:
        """How much SQLite does for an answer."""
        work = count()
        self.node.conn.set_progress_handler(lambda: next(work) < 0, STEP)
        ask()
        self.node.conn.set_progress_handler(None, 0)
        return STEP * next(work)

    def relation(self) -> str:
        """How some span stands to another, which was written about the same time or at any."""
        at = self.random.choice((None, self.random.random()))
        said, lacking = compare_spans(self.node.conn, self.node.tenant, self.feeds, self.span(at), self.span(at))
        assert not lacking
        return said

    def pages(self, query: Query) -> Iterator[Page]:
        """What a node knew as of a span, page by page."""
        conn, tenant = self.node.conn, self.node.tenant
        before = after = None
        while True:
            page = select_page(conn, tenant, self.feeds, self.resolved(query), before=before, after=after)
            yield page
            before, after = (page.older, None) if query.descending else (None, page.newer)

    def resolved(self, query: Query) -> Query:
        return resolved(self.node.conn, self.node.tenant, self.feeds, query)

    def query(self, at: float, order: Order, sort: str) -> Query:
        """A query for what a node knew as of a span."""
        span = self.span(at)
        place, key = id_of(span, self.feeds[span.feed].feed_id), self.pens[-1].keys.public
        return Query(known_by=key, known_at=place, order=order, descending=sort == "desc", limit=PAGE)


@pytest.fixture(scope="module", params=[4_000, 100_000], ids="{:,}".format)
def world(request: pytest.FixtureRequest) -> Many:
    return Many(request.param)


def test_a_relation_reads_a_bounded_number_of_rows(world: Many) -> None:
    answers = Counter[str]()
    for _ in range(QUESTIONS):
        assert world.steps(lambda: answers.update([world.relation()])) < STEPS_MAX
    assert min(answers["before"], answers["after"], answers["concurrent"]) > 0


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
def test_a_page_of_what_a_node_knew_reads_a_bounded_number_of_rows(
    order: Order, sort: str, at: float, world: Many
) -> None:
    pages = world.pages(world.query(at, order, sort))
    for _ in range(PAGES):
        found: list[Page] = []
        assert world.steps(lambda: found.append(next(pages))) < STEPS_MAX  # noqa: B023 - it is called at once
        assert len(found[0].records) == PAGE


@pytest.fixture(scope="module")
def searched(world: Many) -> Many:
    """The same with full text."""
    conn = world.node.conn
    search_enable(conn, world.node.tenant.number)
    conn.execute("BEGIN")
    while index_next(conn, world.node.tenant.number, TAKEN_SPANS):
        pass
    conn.execute("COMMIT")
    return world


SELDOM: Final = [Query(visibility=PRIVATE), Query(text="late"), Query(text="late", kinds=("note",))]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("seldom", SELDOM, ids=["filter", "words", "both"])
def test_a_page_reads_a_bounded_number_of_rows_though_nothing_that_a_node_knew_matches(
    order: Order, sort: str, seldom: Query, searched: Many
) -> None:
    known = searched.query(0.3, order, sort)
    query = replace(known, visibility=seldom.visibility, text=seldom.text, kinds=seldom.kinds)
    pages = searched.pages(query)
    asked = 0
    while True:
        found: list[Page] = []
        assert searched.steps(lambda: found.append(next(pages))) < SELDOM_STEPS_MAX  # noqa: B023 - it is called at once
        assert not found[0].records
        asked += 1
        if not found[0].is_cut:
            break
    assert asked <= searched.spans // KNOWN_SPANS_MAX + 1
    # Words lead by their index once few of the spans that are left hold them.
    assert asked > searched.spans // KNOWN_SPANS_MAX // 5 or query.text


def test_a_page_that_looks_at_all_that_a_node_knew_is_found(searched: Many, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "KNOWN_SPANS_MAX", searched.spans)
    query = replace(searched.query(0.9, "timeline", "desc"), visibility=PRIVATE)
    steps = searched.steps(lambda: next(searched.pages(query)))
    assert steps > SELDOM_STEPS_MAX or searched.spans < SELDOM_STEPS_MAX // STEP


def test_to_walk_past_all_that_a_node_did_not_know_is_found(world: Many, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(conn: Connection, number: int, query: Query, _bounds: object, *, descending: bool) -> object:
        terms = terms_of(conn, number, query)
        return pages._led_by(walk(number, query.order), terms, query.order, descending=descending)

    monkeypatch.setattr(pages, "_plan", plan)
    asked = world.query(0.3, "timeline", "desc")
    steps = world.steps(lambda: next(world.pages(asked)))
    assert steps > STEPS_MAX or world.spans < STEPS_MAX // STEP
