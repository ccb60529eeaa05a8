"""What a node had named before a span: the past that rules decide by, whole with the feed of the span alone."""

import sqlite3

from lognode.timeline.record import RECORD_COLUMNS, Record
from lognode.timeline.store.rules.pasts import Pasts, named_past
from lognode.timeline.store.write import load_feeds
from tests.engine.receivers import Receiver
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen


def held(*pens: Pen) -> tuple[Receiver, dict[int, Pen]]:
    node = Receiver(pens[0].tenant)
    return node, {pen.store(node.conn, node.tenant.number).number: pen for pen in pens}


def test_a_past_is_ones_own_feed_and_what_ones_merges_name() -> None:
    founder = Founder()
    one, other = founder.member(2), founder.member(3)
    other.write()
    first = other.head
    one.merge(founder.head, first)
    one.write()
    other.write()
    one.merge(other.head)
    node, pens = held(founder, one, other)
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    number = {pen: feed for feed, pen in pens.items()}

    assert named_past(node.conn, feeds, number[one], 1) == {number[one]: 1}
    assert named_past(node.conn, feeds, number[one], 3) == {
        number[one]: 3,
        number[founder]: founder.head[1],
        number[other]: first[1],
    }
    assert named_past(node.conn, feeds, number[one], 4)[number[other]] == other.head[1]


def test_what_others_named_is_not_in_it() -> None:
    founder = Founder()
    one, other = founder.member(2), founder.member(3)
    other.merge(founder.head)
    one.merge(other.head)
    node, pens = held(founder, one, other)
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    number = {pen: feed for feed, pen in pens.items()}
    assert named_past(node.conn, feeds, number[one], 2) == {number[one]: 2, number[other]: other.head[1]}


def test_earlier_epochs_of_the_node_are_in_it_and_what_their_merges_name() -> None:
    founder = Founder()
    one = founder.member(2)
    one.merge(founder.head)
    one.write()
    later = Pen(one.keys, founder.tenant, [one.opening], number=1, parent=one.head)
    node = Receiver(founder.tenant)
    node.take(founder.range(), one.range(), later.range())
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    number = {feed.feed_id: feed.number for feed in feeds.values()}
    assert named_past(node.conn, feeds, number[later.feed_id], 1) == {
        number[later.feed_id]: 1,
        number[one.feed_id]: one.head[1],
        number[founder.feed_id]: founder.head[1],
    }


def records_of(conn: sqlite3.Connection, feed: int) -> list[Record]:
    sql = f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b ON b.row = s.row WHERE s.feed = ? ORDER BY s.seq"
    return [Record(*row) for row in conn.execute(sql, (feed,))]


def test_whoever_follows_a_feed_from_its_opening_on_knows_what_earlier_epochs_named() -> None:
    founder = Founder()
    one = founder.member(2)
    one.merge(founder.head)
    later = Pen(one.keys, founder.tenant, [one.opening], number=1, parent=one.head)
    later.write()
    later.write()
    node = Receiver(founder.tenant)
    node.take(founder.range(), one.range(), later.range())
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    number = {feed.feed_id: feed.number for feed in feeds.values()}[later.feed_id]
    pasts = Pasts()
    for record in records_of(node.conn, number):
        named = pasts.before(node.conn, feeds, record, feeds[number])
        assert named == named_past(node.conn, feeds, number, record.seq)


def test_what_a_node_named_before_it_came_here_is_known_once_it_does() -> None:
    founder = Founder()
    one, other = founder.member(2), founder.member(3)
    one.merge(founder.head, other.head)
    one.write()
    one.write()
    node = Receiver(founder.tenant)
    node.take(founder.range(), one.range())
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    number = {feed.feed_id: feed.number for feed in feeds.values()}[one.feed_id]
    pasts = Pasts()
    early, late = records_of(node.conn, number)[2:4]
    pasts.before(node.conn, feeds, early, feeds[number])
    assert not pasts.is_whole(node.conn, feeds[number])
    node.take(other.range())
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    assert pasts.before(node.conn, feeds, late, feeds[number]) == named_past(node.conn, feeds, number, late.seq)
    assert pasts.is_whole(node.conn, feeds[number])
