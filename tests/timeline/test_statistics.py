"""What a timeline amounts to: every entry counted once, as a span, void or withheld."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from lognode.core.clock import Clock, hlc_from_ms, state_hash
from lognode.core.ids import FeedId, b32encode, format_logline
from lognode.timeline.proof.checkpoint import verify_checkpoint
from lognode.timeline.proof.tree import EMPTY, grow, root_of
from lognode.timeline.record import FeedRef
from lognode.timeline.store.read.proofs import latest_note
from lognode.timeline.store.read.statistics import statistics
from tests.timeline.rows import BOB, KEYS, Rows


class Timeline(Rows):
    """One tenant with feeds of two nodes, beside another tenant."""

    def __init__(self) -> None:
        super().__init__()
        self.other, self.tenant = self.add_tenant(), self.add_tenant()
        self.feed, self.second = self.add_feed(self.tenant), self.add_feed(self.tenant, BOB)


def test_statistics_count_one_tenant_and_give_its_feeds_heads_under_their_keys() -> None:
    timeline = Timeline()
    for number, kind in enumerate(("note", "note", "order.paid")):
        timeline.add(timeline.feed, hlc_from_ms(1760000000000 + number), kind)
    timeline.add(timeline.second, hlc_from_ms(1750000000000))
    timeline.add(timeline.add_feed(timeline.other), 1, "secret")
    timeline.sign(timeline.tenant)
    stats = statistics(timeline.conn, timeline.tenant, timeline.feeds)
    roots = {
        feed: root_of(grow(EMPTY, timeline.leaves[feed.number]).border) for feed in (timeline.feed, timeline.second)
    }
    heads = {feed.feed_id: (len(timeline.leaves[feed.number]), root) for feed, root in roots.items()}
    vkeys = [feed.pop("vkey") for feed in stats["feeds"]]
    assert stats == {
        "spans": 4,
        "void": 0,
        "withheld": 0,
        "first_at": "2025-06-15T15:06:40.000Z",
        "last_at": "2025-10-09T08:53:20.002Z",
        "kinds": {"note": 3, "order.paid": 1},
        "feeds": [
            {
                "feed": b32encode(feed.feed_id), "node": format_logline(keys.logline), "size": size,
                "root": roots[feed].hex(), "own": feed.own, "open": feed.own, "void": 0, "withheld": 0,
            }
            for feed, size, keys in ((timeline.feed, 3, KEYS), (timeline.second, 1, BOB))
        ],
        "state": state_hash(Clock(heads)).hex(),
    }  # fmt: skip
    for feed, vkey in zip((timeline.feed, timeline.second), vkeys, strict=True):
        assert verify_checkpoint(latest_note(timeline.conn, feed), vkey).root == roots[feed]


def test_only_the_newest_own_feed_is_open() -> None:
    timeline = Timeline()
    newest = timeline.add_feed(timeline.tenant)
    for feed in (timeline.feed, timeline.second, newest):
        timeline.add(feed, 1)
    timeline.sign(timeline.tenant)
    stats = statistics(timeline.conn, timeline.tenant, timeline.feeds)
    assert [feed["open"] for feed in stats["feeds"]] == [False, False, True]


def test_a_feed_that_is_known_before_its_first_commit_counts_from_then_on() -> None:
    timeline = Timeline()
    for feed in (timeline.feed, timeline.second):
        timeline.add(feed, 1)
    timeline.sign(timeline.tenant)
    opening = FeedRef(9, timeline.tenant.number, FeedId(bytes(16)), KEYS.public, KEYS.public, own=True)

    before = statistics(timeline.conn, timeline.tenant, timeline.feeds)
    meanwhile = statistics(timeline.conn, timeline.tenant, {**timeline.feeds, 9: opening})

    assert meanwhile == before
    assert [feed["open"] for feed in meanwhile["feeds"]] == [True, False]


def test_an_empty_tenant_has_statistics() -> None:
    rows = Rows()
    stats = statistics(rows.conn, rows.add_tenant(), rows.feeds)
    assert stats == {
        "spans": 0, "void": 0, "withheld": 0,
        "first_at": None, "last_at": None, "kinds": {}, "feeds": [], "state": sha256().hexdigest()
    }  # fmt: skip


def test_feeds_of_other_nodes_say_whose_they_are_and_what_of_them_has_no_effect() -> None:
    timeline = Timeline()
    timeline.add(timeline.feed, 1)
    for number in range(3):
        timeline.add_inert(timeline.second, 2 * number, bytes(32), "withheld")
        timeline.add(timeline.second, 2 * number + 1, "order.paid")
    timeline.add_inert(timeline.second, 9, b"\xff", "header.malformed", visibility=1)
    denied = timeline.add(timeline.feed, 10, "member.admit")
    timeline.void(timeline.tenant, denied)
    timeline.cut(timeline.second, 2)
    timeline.sign(timeline.tenant)
    stats = statistics(timeline.conn, timeline.tenant, timeline.feeds)
    own, foreign = stats["feeds"]
    assert (own["own"], own["void"], own["withheld"]) == (True, 1, 0)
    assert (foreign["own"], foreign["void"], foreign["withheld"]) == (False, 3, 3)
    assert foreign["node"] == format_logline(BOB.logline)
    assert (stats["spans"], stats["void"], stats["withheld"]) == (2, 4, 3)
    assert stats["kinds"] == {"note": 1, "order.paid": 1}


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["span", "void", "withheld"])), max_size=20), st.data())
def test_every_entry_is_counted_once(entries: list[tuple[int, str]], data: st.DataObject) -> None:
    timeline = Timeline()
    feeds = (timeline.feed, timeline.second)
    spans = []
    for hlc, (feed, depth) in enumerate(entries):
        if depth == "span":
            spans.append(timeline.add(feeds[feed], hlc))
        else:
            timeline.add_inert(feeds[feed], hlc, bytes(32) if depth == "withheld" else b"", depth)
    for span in data.draw(st.sets(st.sampled_from(spans))) if spans else ():
        timeline.void(timeline.tenant, span)
    if data.draw(st.booleans()):
        timeline.cut(timeline.second, data.draw(st.integers(0, 5)))
    timeline.sign(timeline.tenant)
    stats = statistics(timeline.conn, timeline.tenant, timeline.feeds)
    assert stats["spans"] + stats["void"] + stats["withheld"] == len(entries)
    assert sum(stats["kinds"].values()) == stats["spans"]
    assert stats["withheld"] == [depth for _, depth in entries].count("withheld")
    assert sum(feed["void"] for feed in stats["feeds"]) == stats["void"]
