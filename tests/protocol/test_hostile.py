"""What a peer says wrong costs no more than itself."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

import pytest

from lognode.core.errors import PeerError
from lognode.core.ids import FeedId
from lognode.core.limits import RUN_ASKS_MAX, RUN_FEEDS_MAX
from lognode.core.span import Foretold, Range
from lognode.protocol import reconcile as module
from lognode.protocol import summary as summary_module
from lognode.protocol.messages import (
    Answer,
    Branch,
    Controls,
    ControlsWanted,
    Expand,
    Expanded,
    FeedHead,
    Hello,
    Leaves,
    Pull,
    Push,
    Pushed,
    Ranges,
    Refused,
    Request,
    Welcome,
)
from lognode.protocol.steps import Report
from lognode.protocol.wire import decode_request, encode_answer
from tests.protocol.memory import Feed, Node, Wire, feed_id, meet, run

FEED, OTHER = feed_id(0), feed_id(1)


def two_nodes(feeds: int = 3, *, held: int = 0) -> tuple[Node, Node]:
    """One that holds a little of each feed, and one that holds all."""
    truths = {feed_id(number): Feed(feed_id(number), (4, 8, 12), (0, 9)) for number in range(feeds)}
    return Node(truths, dict.fromkeys(truths, held) if held else {}), Node(truths, dict.fromkeys(truths, 12))


def run_with(dialer: Node, answer: Callable[[Request], Answer]) -> tuple[Report, Wire]:
    wire = Wire(lambda body: encode_answer(answer(decode_request(body)), 1))
    return run(dialer, wire), wire


def test_a_poisoned_feed_is_refused_once_and_blocks_no_other() -> None:
    dialer, answerer = two_nodes(20)
    asked: list[Pull] = []

    def answer(request: Request) -> Answer:
        found = answerer.answer(request)
        if isinstance(request, Pull):
            asked.append(request)
        if isinstance(found, Ranges):
            return Ranges([part._replace(note=b"forged") if part.feed == FEED else part for part in found.ranges])
        return found

    report, _ = run_with(dialer, answer)

    assert report.state == "differs"
    assert dialer.sizes == {feed: 12 for feed in dialer.truths if feed != FEED}
    assert [(want.feed, want.start, want.stop) for want in report.wants] == [(FEED, 0, 12)]
    assert report.wants[0].code == report.refusals[FEED].code
    assert sum(want.feed == FEED for pull in asked for want in pull.wants) == 1


def test_a_feed_that_the_peer_refuses_blocks_no_other_and_is_reported() -> None:
    answerer, dialer = two_nodes(20)
    answerer.truths = {**answerer.truths, FEED: replace(answerer.truths[FEED], branch=1)}
    report, _ = meet(dialer, answerer)

    assert report.state == "differs"
    assert list(report.refusals) == [FEED]
    assert not report.refusals[FEED].here
    assert not report.wants
    assert answerer.sizes == {feed: 12 for feed in dialer.truths if feed != FEED}


def test_an_author_whose_admission_comes_later_is_tried_again() -> None:
    first, second = sorted((FEED, OTHER))
    for dialer, answerer in (two_nodes(2), two_nodes(2)[::-1]):
        for node in (dialer, answerer):
            node.needs_control = {first: (second, 9)}
        report, _ = meet(dialer, answerer)
        assert report.state == "equal"
        assert dialer.clock == answerer.clock


def test_an_author_who_is_not_admitted_waits_and_is_reported() -> None:
    stranger = FeedId(b"nobody's feed id")
    for dialer, answerer in (two_nodes(5), two_nodes(5)[::-1]):
        for node in (dialer, answerer):
            node.needs_control = {FEED: (stranger, 0)}
            node.truths = {**node.truths, stranger: Feed(stranger, (1,))}
        report, _ = meet(dialer, answerer)
        assert report.state == "differs"
        assert {feed: found.code for feed, found in report.refusals.items()} == {FEED: "feed.unadmitted"}
        assert [want.code for want in report.wants] == ["feed.unadmitted"] * bool(report.received_spans)


def test_a_promise_that_is_not_kept_is_a_want_and_ends() -> None:
    dialer, answerer = two_nodes(30)

    def answer(request: Request) -> Answer:
        return Ranges(()) if isinstance(request, Pull) else answerer.answer(request)

    report, wire = run_with(dialer, answer)
    assert report.state == "differs"
    assert {want.code for want in report.wants} == {"range.withheld"}
    assert len(report.wants) == 30
    assert wire.asks < 10


def check_that_a_fork_is_seen() -> None:
    dialer, answerer = two_nodes(2, held=12)
    answerer.truths = {**answerer.truths, FEED: replace(answerer.truths[FEED], branch=1)}
    report, _ = meet(dialer, answerer)

    assert report.state == "differs"
    assert report.refusals[FEED].code == "feed.forked"


def test_two_roots_at_one_size_are_a_fork_and_not_equal() -> None:
    check_that_a_fork_is_seen()


def test_sizes_alone_would_take_a_fork_for_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_module, "_line", lambda head: head.feed + head.size.to_bytes(8, "big"))
    with pytest.raises(AssertionError):
        check_that_a_fork_is_seen()


def test_a_fork_stops_no_other_feed() -> None:
    dialer, answerer = two_nodes(2, held=12)
    answerer.truths = {**answerer.truths, FEED: replace(answerer.truths[FEED], branch=1)}
    answerer.sizes[OTHER] = 4
    meet(dialer, answerer)
    assert answerer.size(OTHER) == 12


def test_a_skipped_feed_is_no_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = module._differing_heads
    monkeypatch.setattr(module, "_differing_heads", lambda node, mine: whole(node, mine)[1:])
    dialer, answerer = two_nodes(3)
    report, _ = meet(dialer, answerer)
    assert report.state != "equal"
    assert dialer.clock != answerer.clock


def fake_id(number: int) -> FeedId:
    return FeedId(sha256(b"fake" + number.to_bytes(4, "big")).digest()[:16])


class Liar:
    """A peer that claims endless feeds, endless controls and endless rooms below them."""

    def __init__(self, style: str) -> None:
        self.style = style
        self.made = 0

    def answer(self, request: Request) -> Answer:
        match request:
            case Hello():
                return Welcome(1, b"i" * 16, b"s" * 32, (), Branch("", (b"f" * 16,) * 16))
            case Expand(_, _, prefixes):
                if self.style == "branches":
                    return Expanded(tuple([Branch(prefix, (b"f" * 16,) * 16) for prefix in prefixes]))
                return Expanded(tuple([self._leaves(prefix) for prefix in prefixes]))
            case ControlsWanted(_, _, wants):
                spans = [Feed(want.feed, (2**40,)).foretell(want.start) for want in wants[:1]]
                return Controls(spans, more=self.style == "controls")
            case Pull():
                return Ranges(())
            case Push(_, _, ranges, _):
                self.made += 1
                return Pushed(tuple([part.start + 1 for part in ranges]))
        return Refused("peer.refused")

    def _leaves(self, prefix: str) -> Leaves:
        tail = sha256(prefix.encode()).hexdigest()[: 32 - len(prefix)]
        return Leaves(prefix, (FeedHead(FeedId(bytes.fromhex(prefix + tail)), 2**40, b"r" * 32, b""),))


class Gullible(Node):
    """A node that takes what it is given, as if the engine had found it good."""

    def take(self, ranges: Sequence[Range], foretold: Sequence[Foretold] = ()) -> list[int | PeerError]:
        for span in foretold:
            self.known.setdefault(span.feed, set()).add(span.seq)
            self.truths.setdefault(span.feed, Feed(span.feed, (1,)))
        return [part.stop for part in ranges]


@pytest.mark.parametrize("style", ["branches", "controls", "feeds"])
def test_a_liar_cannot_keep_a_run_from_ending(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RUN_ASKS_MAX", 200)
    monkeypatch.setattr(module, "RUN_FEEDS_MAX", 1000)
    truths = {feed_id(number): Feed(feed_id(number), (4, 8, 12), (0, 9)) for number in range(3)}
    dialer = Gullible(truths, dict.fromkeys(truths, 12))
    report, wire = run_with(dialer, Liar(style).answer)

    assert report.state in {"unfinished", "differs"}
    assert wire.asks <= 200
    assert RUN_ASKS_MAX > 200
    assert RUN_FEEDS_MAX > 1000


ANSWERS: dict[str, Callable[[Request, Answer], Answer]] = {
    "another type": lambda _, found: Pushed(()) if isinstance(found, Ranges) else found,
    "a welcome in a version of its own": lambda _, found: (
        found._replace(version=7) if isinstance(found, Welcome) else found
    ),
    "equal summaries and a difference": lambda request, found: (
        found._replace(summary=request.summary) if isinstance(request, Hello) and isinstance(found, Welcome) else found
    ),
    "a difference without a node": lambda _, found: found._replace(root=None) if isinstance(found, Welcome) else found,
    "nodes of other prefixes": lambda _, found: (
        Expanded((Leaves("00", ()),) * len(found.nodes)) if isinstance(found, Expanded) else found
    ),
    "a root of another prefix": lambda _, found: (
        found._replace(root=Leaves("0", ())) if isinstance(found, Welcome) else found
    ),
    "fewer outcomes than ranges": lambda _, found: Pushed(()) if isinstance(found, Pushed) else found,
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_to_something_else_is_malformed(name: str) -> None:
    dialer, answerer = two_nodes(40)
    dialer.sizes = {feed_id(0): 12}
    answerer.sizes.pop(feed_id(0))
    with pytest.raises(PeerError) as refused:
        run_with(dialer, lambda request: ANSWERS[name](request, answerer.answer(request)))
    assert refused.value.code == "message.malformed"


def test_control_spans_that_the_peer_refuses_are_given_once_a_run() -> None:
    answerer, dialer = two_nodes(3)
    answerer.sizes = dict.fromkeys(answerer.truths, 8)
    dialer.sizes = dict.fromkeys(dialer.truths, 8)
    dialer.known = {FEED: {9}}
    pushes: list[Push] = []

    def answer(request: Request) -> Answer:
        if isinstance(request, Push):
            pushes.append(request)
            return Pushed(("feed.unadmitted",))
        return answerer.answer(request)

    report, _ = run_with(dialer, answer)
    assert report.state == "differs"
    assert len(pushes) == 1


def test_what_was_not_asked_for_is_not_taken() -> None:
    dialer, answerer = two_nodes(2)
    answerer.sizes.pop(OTHER)
    extra = dialer.truths[OTHER]

    def answer(request: Request) -> Answer:
        match answerer.answer(request):
            case Ranges(ranges):
                return Ranges([*ranges, extra.range(0, 4)])
            case found:
                return found

    report, _ = run_with(dialer, answer)
    assert report.state == "equal"
    assert dialer.size(OTHER) == 0


def test_no_member_learns_whether_there_is_a_tenant() -> None:
    dialer, answerer = two_nodes(3, held=4)
    answerer.is_member = False
    report, wire = meet(dialer, answerer)
    assert (report.state, report.code) == ("refused", "peer.refused")
    assert (wire.asks, report.asks) == (1, 1)
