"""What a node had named before a span: the past that rules decide by, whole with the feed of the span alone."""

from lognode.timeline.store.rules.pasts import named_past
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
