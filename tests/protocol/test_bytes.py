"""What two nodes say to each other is as short as it can be, and no message grows with what they hold."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from lognode.core.clock import Clock
from lognode.core.ids import FeedId
from lognode.core.limits import BATCH_BYTES_MAX, CONTROLS_READ_MAX
from lognode.core.span import Foretold
from lognode.protocol.messages import ControlsWant
from lognode.protocol.serve import FULL_ROOM, Room, collect_controls
from lognode.protocol.summary import Summary, View, addresses_digest, seqs_digest
from tests.protocol.memory import Feed, Node, Wire, feed_id, meet, run

ADDRESSES = ("192.168.122.101:7481", "[fe80::5054:ff:fe12:3456%enp1s0]:7481", "node-a.example.net:7481")


def pair(feeds: int, size: int, ends: tuple[int, ...], body_bytes: int = 8) -> tuple[Node, Node]:
    truths = {feed_id(number): Feed(feed_id(number), ends, body_bytes=body_bytes) for number in range(feeds)}
    nodes = [Node(truths, dict.fromkeys(truths, size), addresses=ADDRESSES) for _ in range(2)]
    return nodes[0], nodes[1]


def test_equal_nodes_need_one_round_trip_and_400_bytes() -> None:
    for feeds in (1, 20, 10_000):
        dialer, answerer = pair(feeds, 5, (5,))
        wire = Wire(answerer.serve)
        report = run(dialer, wire, dialer.call()._replace(known=addresses_digest(ADDRESSES)))
        assert report.state == "equal"
        assert report.addresses is None
        assert wire.asks == 1
        assert wire.total_bytes <= 400


def test_addresses_are_told_once() -> None:
    dialer, answerer = pair(1, 5, (5,))
    report, _ = meet(dialer, answerer)
    assert report.addresses == ADDRESSES


def test_one_new_span_among_100_000_costs_5_kb() -> None:
    ends = (*range(1024, 100_000, 1024), 100_000, 100_001)
    for is_pull in (True, False):
        dialer, answerer = pair(1, 100_000, ends, body_bytes=300)
        (answerer if is_pull else dialer).sizes[feed_id(0)] = 100_001
        report, wire = meet(dialer, answerer)
        assert report.state == "equal"
        assert (report.received_spans, report.sent_spans) == ((1, 0) if is_pull else (0, 1))
        assert wire.asks == 3, "hello, the range, and whether all is well now"
        assert wire.total_bytes <= 5_000


def test_ten_new_spans_among_100_000_cost_5_kb() -> None:
    dialer, answerer = pair(1, 100_000, (100_000, 100_010), body_bytes=257)
    answerer.sizes[feed_id(0)] = 100_010
    report, wire = meet(dialer, answerer)
    assert report.state == "equal"
    assert wire.total_bytes <= 5_000


def test_one_difference_among_10_000_feeds_costs_5_kb() -> None:
    dialer, answerer = pair(10_000, 5, (5, 6), body_bytes=300)
    answerer.sizes[feed_id(4711)] = 6
    report, wire = meet(dialer, answerer)
    assert report.state == "equal"
    assert report.received_spans == 1
    assert wire.total_bytes <= 5_000


def test_no_message_is_larger_than_its_bound() -> None:
    dialer, answerer = pair(40, 0, tuple(range(10, 300, 10)), body_bytes=1000)
    dialer.sizes, answerer.sizes = {}, dict.fromkeys(answerer.truths, 290)
    half = [feed_id(number) for number in range(20)]
    for feed in half:
        dialer.sizes[feed] = answerer.sizes.pop(feed)
    room = Room(1024, 100_000)
    dialer.room = answerer.room = room
    report, wire = meet(dialer, answerer)
    assert report.state == "equal"
    assert report.sent_spans == report.received_spans == 20 * 290
    assert wire.largest_bytes < room.size_bytes + 20_000
    assert room.size_bytes < BATCH_BYTES_MAX


def test_a_first_contact_with_10_000_feeds_takes_few_requests() -> None:
    dialer, answerer = pair(10_000, 1, (1,))
    dialer.sizes = {}
    report, _ = meet(dialer, answerer)
    assert report.state == "equal"
    assert report.asks < 60


def test_asking_for_what_is_known_costs_no_more_than_asking_for_what_is_not() -> None:
    truths = {feed_id(number): Feed(feed_id(number), (1000,), tuple(range(900))) for number in range(1000)}
    node = Node(truths, dict.fromkeys(truths, 1000))
    reads = 0
    whole = node.foretold

    def foretold(feed: FeedId, start: int, *, spans_max: int) -> Sequence[Foretold]:
        nonlocal reads
        spans = whole(feed, start, spans_max=spans_max)
        reads += len(spans)
        return spans

    node.foretold = foretold  # type: ignore[method-assign]
    known = seqs_digest(range(900))
    found, more = collect_controls(node, [ControlsWant(feed, 0, known) for feed in truths], FULL_ROOM)
    assert (found, more) == ([], True)
    assert reads <= CONTROLS_READ_MAX + 900


heads = st.dictionaries(
    st.integers(0, 300).map(feed_id), st.tuples(st.integers(1, 3), st.sampled_from([b"r" * 32, b"q" * 32])), max_size=60
)


@given(heads, heads, st.text("0123456789abcdef", max_size=3))
def test_fingerprints_are_equal_where_feeds_are(one: dict, other: dict, prefix: str) -> None:  # type: ignore[type-arg]
    ours, theirs = Summary(View(Clock(one), {})), Summary(View(Clock(other), {}))
    below = [{feed: head for feed, head in found.items() if feed.hex().startswith(prefix)} for found in (one, other)]

    assert (ours.fingerprint(prefix) == theirs.fingerprint(prefix)) == (below[0] == below[1])
    assert (ours.value == theirs.value) == (one == other)
    assert [head.feed for head in ours.below(prefix)] == sorted(below[0])
