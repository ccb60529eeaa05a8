"""Two nodes that talk end with the same, whatever they held and whatever happens to their messages."""

from contextlib import suppress
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from lognode.core.errors import PeerError
from lognode.core.ids import FeedId
from lognode.protocol.messages import Pull, Request
from lognode.protocol.reconcile import reconcile
from lognode.protocol.serve import Room
from lognode.protocol.steps import Ask, Give, Look, Take, give, look
from tests.protocol.memory import Feed, Node, Wire, feed_id, meet, run


@st.composite
def worlds(draw: st.DrawFn, feeds_max: int = 20) -> tuple[Node, Node]:
    """Two nodes that hold some of the same feeds, each up to a signed size, and some control spans beyond."""
    truths: dict[FeedId, Feed] = {}
    nodes = tuple(
        Node({}, room=Room(draw(st.integers(1, 5)), draw(st.integers(1, 2000))), name=bytes([name]) * 16)
        for name in (1, 2)
    )
    for number in range(draw(st.integers(0, feeds_max))):
        ends = draw(st.sets(st.integers(1, 12), min_size=1, max_size=4))
        controls = draw(st.sets(st.integers(0, max(ends) - 1), max_size=3))
        feed = feed_id(number)
        truths[feed] = Feed(feed, tuple(sorted(ends)), tuple(sorted(controls)))
        for node in nodes:
            size = draw(st.sampled_from((0, *truths[feed].ends)))
            if size:
                node.sizes[feed] = size
            beyond = [seq for seq in controls if seq >= size]
            if beyond:
                node.known[feed] = set(draw(st.lists(st.sampled_from(beyond), max_size=3)))
    for node in nodes:
        node.truths = truths
    return nodes[0], nodes[1]


@given(worlds())
def test_any_two_nodes_end_equal_by_one_run(nodes: tuple[Node, Node]) -> None:
    dialer, answerer = nodes
    sizes = {feed: max(dialer.size(feed), answerer.size(feed)) for feed in dialer.truths}
    report, _ = meet(dialer, answerer)

    assert report.state == "equal"
    assert not report.wants
    assert not report.refusals
    assert dialer.view() == answerer.view()
    assert dialer.clock == answerer.clock
    assert {feed: dialer.size(feed) for feed in dialer.truths} == sizes


@given(worlds(feeds_max=12), st.integers(0, 30), st.data())
def test_a_run_that_ends_anywhere_is_resumed_by_the_next(
    nodes: tuple[Node, Node], asks: int, data: st.DataObject
) -> None:
    dialer, answerer = nodes
    was_heard = data.draw(st.booleans(), label="the last request was heard")
    counter = count()

    def break_down(body: bytes) -> bytes:
        if next(counter) >= asks:
            if was_heard:
                answerer.serve(body)
            raise PeerError("peer.refused")
        return answerer.serve(body)

    try:
        run(dialer, Wire(break_down))
    except PeerError as error:
        assert error.code == "peer.refused"  # noqa: PT017 - or it ended in time
    held = dialer.taken_in + answerer.taken_in
    missing = sum(abs(dialer.size(feed) - answerer.size(feed)) for feed in dialer.truths)
    report, _ = meet(answerer, dialer)

    assert report.state == "equal"
    assert dialer.clock == answerer.clock
    assert dialer.taken_in + answerer.taken_in == held + missing, "nothing is taken in twice"


@given(worlds(feeds_max=12), st.data())
def test_requests_that_come_twice_do_no_harm(nodes: tuple[Node, Node], data: st.DataObject) -> None:
    dialer, answerer = nodes

    def double(body: bytes) -> bytes:
        first = answerer.serve(body)
        return answerer.serve(body) if data.draw(st.booleans()) else first

    report = run(dialer, Wire(double))
    if report.state != "equal":  # the first answer to a doubled push was lost, and the second reads as no progress
        report, _ = meet(dialer, answerer)
    assert report.state == "equal"
    assert dialer.clock == answerer.clock


@given(worlds())
def test_what_will_be_asked_is_foretold(nodes: tuple[Node, Node]) -> None:
    dialer, answerer = nodes
    ahead: list[Request | None] = []
    asked: list[Request] = []
    whole = dialer.take

    steps = reconcile(dialer.call())
    step = next(steps)
    with suppress(StopIteration):
        while True:
            match step:
                case Look():
                    step = steps.send(look(dialer))
                case Ask(request):
                    asked.append(request)
                    step = steps.send(answerer.answer(request))
                case Give():
                    step = steps.send(give(step, dialer, dialer.room))
                case Take(ranges, foretold, following):
                    ahead += [following] if ranges else []
                    step = steps.send(whole(ranges, foretold))
    pulls = [request for request in asked if isinstance(request, Pull)]
    assert [*pulls[1:], None][: len(pulls)] == ahead
