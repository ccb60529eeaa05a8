"""Drawn timelines and queries, what a query means in a few plain lines, and walks by cursors."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st

from lognode.core.ids import LogLineKind, SpanId, logline
from lognode.timeline.query import ORDERS, Cursor, Query
from lognode.timeline.record import FeedRef, Record
from lognode.timeline.store.read.pages import Page, select_page
from lognode.timeline.store.read.search import index_next, search_enable
from tests.timeline.rows import Row, Rows

ACTORS = [logline(LogLineKind.PERSON, bytes([number]) * 32) for number in range(2)]
KINDS = ("note", "order.paid", "order.sent.late", "orders", "order", "timeline.merge")
WORDS = ("red", "green", "blue")
HALF_MS = 1 << 15  # the hlc counter has 16 bits, so two of these make a millisecond


class Timeline(Rows):
    """Two tenants with spans alike; the queries are for the second."""

    def __init__(self) -> None:
        super().__init__()
        self.other, self.tenant = self.add_tenant(), self.add_tenant()
        self.places: list[tuple[FeedRef, int]] = []  # feed and seq of the second tenant's spans, by arrival
        self.cuts: dict[FeedRef, int] = {}
        self.voided: set[int] = set()  # positions

    def add(self, feed: FeedRef, hlc: int, kind: str = "note", *, has_body: bool = True, **fields: Any) -> Row:
        if feed.tenant == self.tenant.number:
            self.places.append((feed, len(self.leaves[feed.number])))
        return super().add(feed, hlc, kind, has_body=has_body, **fields)

    def make_void(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        """Cut some feeds, some of them anew, and make some spans void besides."""
        feeds = [feed for feed in self.feeds.values() if feed.tenant == self.tenant.number]
        for feed in draw(st.sets(st.sampled_from(feeds), max_size=2)):
            self.cuts[feed] = draw(st.integers(0, len(self.leaves[feed.number])))
            self.cut(feed, self.cuts[feed])
        for position in draw(st.sets(st.integers(1, len(self.places)), max_size=3)) if self.places else ():
            if position not in self.voided:
                self.voided.add(position)
                self.void(self.tenant, self.rows[1][position - 1])

    def valid(self) -> list[Row]:
        """The spans that have effect, by arrival."""
        return [
            row
            for row, (feed, seq) in zip(self.rows[1], self.places, strict=True)
            if seq < self.cuts.get(feed, seq + 1) and row.position not in self.voided
        ]

    def page(self, query: Query, **cursors: Cursor) -> Page:
        return select_page(self.conn, self.tenant, self.feeds, query, **cursors)


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    timeline = Timeline()
    text = st.sampled_from([None, "x", "y"])
    spans = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "feed": st.integers(0, 2),
                    "gap": st.integers(1, 2),
                    "kind": st.sampled_from(KINDS),
                    "actor": st.sampled_from([None, *ACTORS]),
                    "tags": st.sets(st.sampled_from(WORDS)),
                    "title": st.sampled_from([None, "Red sky", "a GREEN-blue sea"]),
                    "data": st.sampled_from([None, {"red": ["green", {"k": "blue"}], "n": 1}]),
                    "subject": text,
                    "contract_id": text,
                    "workflow_id": text,
                    "flow_id": text,
                    "status": st.integers(0, 1),
                    "visibility": st.integers(0, 2),
                    "cause": st.sampled_from([None, 1, 2]),
                }
            ),
            max_size=30,
        )
    )
    for tenant in (timeline.other, timeline.tenant):
        feeds = [timeline.add_feed(tenant) for _ in range(3)]
        hlcs = [0, 0, 0]
        for span in spans:
            fields: dict[str, Any] = dict(span)
            number, cause = fields.pop("feed"), fields.pop("cause")
            hlcs[number] += fields.pop("gap")
            rows = timeline.rows[tenant.number]
            caused_by = rows[-cause].id if cause and cause <= len(rows) else None
            timeline.add(feeds[number], hlcs[number] * HALF_MS, caused_by=caused_by, **fields)
        search_enable(timeline.conn, tenant.number)
        timeline.conn.execute("BEGIN")
        while index_next(timeline.conn, tenant.number, 7):
            pass
        timeline.conn.execute("COMMIT")
    if draw(st.booleans()):
        timeline.make_void(draw)
    return timeline


@st.composite
def queries(draw: st.DrawFn, timeline: Timeline) -> Query:
    filters: dict[str, st.SearchStrategy[Any]] = {
        "kinds": st.lists(st.sampled_from([*KINDS, "order.*", "order.sent.*", "none"]), max_size=3).map(tuple),
        "actor": st.sampled_from(ACTORS),
        "subject": st.sampled_from(["x", "y", "none"]),
        "tags": st.lists(st.sampled_from(WORDS), max_size=2).map(tuple),
        "status": st.integers(0, 1),
        "visibility": st.integers(0, 2),
        "since_ms": st.integers(0, 4),
        "until_ms": st.integers(1, 6),
        "caused_by": st.sampled_from([row.id for row in timeline.rows[1][:5]] or [SpanId(bytes(24))]),
        "contract_id": st.sampled_from(["x", "y"]),
        "workflow_id": st.sampled_from(["x", "y"]),
        "flow_id": st.sampled_from(["x", "y"]),
        "merges": st.booleans(),
        "text": st.sampled_from(["red", "green blue", "SKY", '"green blue"', "gre*"]),
    }
    names = draw(st.lists(st.sampled_from(sorted(filters)), max_size=3, unique=True))
    chosen: dict[str, Any] = {name: draw(filters[name]) for name in names}
    order = draw(st.sampled_from(ORDERS))
    return Query(**chosen, order=order, descending=draw(st.booleans()), limit=draw(st.integers(1, 5)))


def matching(rows: Sequence[Row], query: Query) -> list[Row]:
    """What the query means, in a few plain lines."""
    found = [row for row in rows if _passes(row, query)]
    found.sort(key=lambda row: (row.hlc, row.leaf) if query.order == "timeline" else (row.position, b""))
    return found[::-1] if query.descending else found


def _passes(row: Row, query: Query) -> bool:
    ms = row.hlc >> 16
    same = all(
        getattr(query, name) in (None, getattr(row, name))
        for name in ("actor", "subject", "status", "visibility", "caused_by", "contract_id", "workflow_id", "flow_id")
    )
    kinds = not query.kinds or any(
        row.kind.startswith(kind[:-1]) if kind.endswith(".*") else row.kind == kind for kind in query.kinds
    )
    times = (query.since_ms or 0) <= ms and (query.until_ms is None or ms < query.until_ms)
    merges = query.merges or row.kind != "timeline.merge"
    return same and kinds and merges and times and set(query.tags) <= set(row.tags) and _says(row, query.text)


def _says(row: Row, text: str | None) -> bool:
    if text is None:
        return True
    said = f"{row.title or ''} {row.subject or ''} {' '.join(sorted(row.tags))} {'green blue' if row.data else ''}"
    words = said.lower().replace("-", " ").split()
    if text.startswith('"'):
        return text.strip('"') in " ".join(words)
    return all(any(word == want or (want[-1] == "*" and word.startswith(want[:-1])) for word in words)
               for want in text.lower().split())  # fmt: skip


def positions(records: Sequence[Record]) -> list[int]:
    return [record.position for record in records]


def down(timeline: Timeline, query: Query) -> Iterator[list[int]]:
    page = timeline.page(msgspec.structs.replace(query, descending=True))
    yield positions(page.records)
    while page.older:
        page = timeline.page(query, before=page.older)
        found = positions(page.records)
        yield found if query.descending else found[::-1]


def up(timeline: Timeline, query: Query) -> Iterator[list[int]]:
    page = timeline.page(msgspec.structs.replace(query, descending=False))
    yield positions(page.records)
    while page.records:
        page = timeline.page(query, after=page.newer)
        found = positions(page.records)
        yield found[::-1] if query.descending else found
