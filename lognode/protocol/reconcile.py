"""The side that dialled: a run that brings two nodes' holdings of one tenant into agreement, step by step.

A generator: it yields steps and is sent what they come to; the shell looks, asks, gives and takes. Must not know where
bytes go, how spans are stored or what proves them. Invariants: nothing that a peer says makes a run endless; what is
wrong with one feed stops no other; only `Take` keeps anything, so a run may end anywhere.
Source: docs/protocol.md, A run.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Final, Literal, TypeVar

from lognode.core.ids import FEED_ID_BYTES, FeedId
from lognode.core.limits import (
    BATCH_ITEMS_MAX,
    EXPAND_PREFIXES_MAX,
    RUN_ASKS_MAX,
    RUN_DIRECT_SPANS_MAX,
    RUN_FEEDS_MAX,
    RUN_ROUNDS_MAX,
    SEARCHES_MAX,
)
from lognode.core.span import Range
from lognode.protocol.content import malformed
from lognode.protocol.messages import (
    PREFIXES,
    Branch,
    Controls,
    ControlsWant,
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
    RangeWant,
    Refused,
    Request,
    Welcome,
)
from lognode.protocol.queue import Queue
from lognode.protocol.search import hear_others, hear_own, search
from lognode.protocol.serve import Parcel
from lognode.protocol.steps import Ask, Call, Give, Look, Refusal, Reply, Report, Step, Take, Taken, Want
from lognode.protocol.summary import Summary, View, nothing_of

A = TypeVar("A")
T = TypeVar("T")
Run = Generator[Step, Reply, T]
_PREFIX_DIGITS_MAX: Final = 2 * FEED_ID_BYTES - 1
_FORKED: Final = "feed.forked"
_PARTED: Final = frozenset({_FORKED, "range.unproven"})  # what another history looks like, and what is made up
_UNADMITTED: Final = "feed.unadmitted"  # it may be admitted by a span that is still to come


def reconcile(call: Call) -> Run[Report]:
    """A run with one peer about one tenant. Raises PeerError("message.malformed") for answers that do not fit."""
    return (yield from _Reconciliation(call).run())


class _Refused(Exception):
    """The peer's answer is Refused."""


class _Spent(Exception):
    """The run made all the requests that it may."""


class _Reconciliation:
    """A run: what the peer said of itself, what moved, and what was refused."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.welcome: Welcome | None = None
        self.addresses: tuple[str, ...] | None = None
        self.refusals: dict[FeedId, Refusal] = {}
        self.wants: dict[FeedId, tuple[int, int]] = {}  # feed -> (held, claimed)
        self.told: set[tuple[FeedId, int]] = set()  # control spans that were given; a peer may refuse them each time
        self.searched: set[FeedId] = set()
        self.heard: set[FeedId] = set()
        self.reached: dict[FeedId, int] = {}  # how much of each feed the peer holds, it says, since we pushed
        self.sent = self.received = self.asks = 0

    def run(self) -> Run[Report]:
        """Rounds until nothing differs or nothing moves."""
        try:
            for _ in range(RUN_ROUNDS_MAX):
                before = self.sent, len(self.told)
                view = yield from _look()
                ends = yield from self._round(view)
                if ends is not None:
                    yield from self._hear_own(view)
                    return self._report(ends)
                if (self.sent, len(self.told)) == before and (yield from _look()) == view:
                    return self._report("differs")
        except _Refused as refused:
            return self._report("refused", str(refused))
        except _Spent:
            pass
        return self._report("unfinished")

    def _report(self, state: Literal["equal", "differs", "unfinished", "refused"], code: str | None = None) -> Report:
        wants = [
            Want(feed, held, claimed, self.refusals[feed].code if feed in self.refusals else None)
            for feed, (held, claimed) in sorted(self.wants.items())
        ]
        said = self.welcome
        return Report(
            state, code, said and said.version, said and said.instance, self.addresses, tuple(wants), self.refusals,
            self.sent, self.received, self.asks, self.heard,
        )  # fmt: skip

    def _round(self, view: View) -> Run[Literal["equal"] | None]:
        """From hello to what could be moved."""
        mine = Summary(view)
        call = self.call
        hello = Hello(
            call.tenant, tuple(call.versions), call.presence.instance, mine.value, call.presence.addresses, call.known
        )
        said = yield from self._ask(hello, Welcome)
        if said.version not in call.versions or (said.root is None) != (said.summary == mine.value):
            malformed("a welcome to something else")
        self.welcome, self.wants = said, {}
        self.refusals = {feed: found for feed, found in self.refusals.items() if found.code != _UNADMITTED}
        self.addresses = self.addresses if said.addresses is None else said.addresses
        if said.root is None:
            return "equal"
        theirs = yield from self._expand(mine, said)
        heads = [(mine.head(head.feed), head) for head in theirs if head.feed not in self.refusals]
        forked = [(ours, head) for ours, head in heads if ours.size == head.size and ours.root != head.root]
        beyond = [head for _, head in heads if head.size < self.reached.get(head.feed, 0)]
        for head in beyond:
            self._refuse(head.feed, _FORKED, "it holds more than it counts", here=False)
        for _, head in forked:
            self._refuse(head.feed, _FORKED, f"two roots at {head.size}", here=True)
        heads = [pair for pair in heads if pair[1].feed not in self.refusals]
        # Beyond where a feed is known to fork there is nothing to want, and no agreement to come to.
        ends = {head.feed: min(head.size, view.bounds.get(head.feed, head.size)) for head in theirs}
        wants = {head.feed: (ours.size, ends[head.feed]) for ours, head in heads if ours.size < ends[head.feed]}
        gives = {head.feed: (head.size, ours.size) for ours, head in heads if ours.size > head.size}
        self.wants = {head.feed: (mine.head(head.feed).size, ends[head.feed]) for head in theirs}
        self.wants = {feed: (held, claimed) for feed, (held, claimed) in self.wants.items() if held < claimed}
        yield from self._take_controls(
            [
                ControlsWant(ours.feed, ours.size, ours.foretold)
                for ours, head in heads
                if (ours.size == head.size and head.foretold)
                or (head.feed in wants and not _is_direct(wants))
                or head.size > ends[head.feed]  # it may hold proofs in a history that counts for nobody
            ]
        )
        yield from self._give_controls(
            [
                ControlsWant(head.feed, head.size, head.foretold)
                for ours, head in heads
                if (ours.size == head.size and ours.foretold) or (ours.size > head.size and not _is_direct(gives))
            ]
        )
        yield from self._pull(pulled := Queue(wants))
        yield from self._push(pushed := Queue(gives))
        shared = {head.feed: min(ours.size, head.size) for ours, head in forked + heads}
        yield from self._search({**shared, **{head.feed: head.size for head in beyond}})
        for queue, here in ((pulled, True), (pushed, False)):
            for feed in queue.postponed:
                self._refuse(feed, _UNADMITTED, "", here=here)
        return None

    def _ask(self, request: Request, expected: type[A]) -> Run[A]:
        if self.asks == RUN_ASKS_MAX:
            raise _Spent
        self.asks += 1
        answer = yield Ask(request)
        if isinstance(answer, Refused):
            raise _Refused(answer.code)
        if not isinstance(answer, expected):
            malformed(f"{type(answer).__name__} is no answer to {type(request).__name__}")
        return answer

    def _expand(self, mine: Summary, said: Welcome) -> Run[list[FeedHead]]:
        """The peer's heads of the feeds that differ, at most RUN_FEEDS_MAX."""
        assert said.root is not None
        heads: list[FeedHead] = []
        nodes, prefixes = [said.root], [""]
        waiting: list[str] = []
        walked = 0
        while nodes and len(heads) < RUN_FEEDS_MAX and walked < RUN_FEEDS_MAX:
            if [node.prefix for node in nodes] != prefixes:
                malformed("other prefixes than asked for")
            for node in nodes:
                if isinstance(node, Branch):
                    below, absent = _differing(node, mine)
                    waiting += below
                    heads += absent
                else:
                    heads += _differing_heads(node, mine)
            prefixes, waiting = waiting[:EXPAND_PREFIXES_MAX], waiting[EXPAND_PREFIXES_MAX:]
            walked += len(prefixes)
            nodes = []
            if prefixes:
                request = Expand(said.version, self.call.tenant, tuple(prefixes))
                nodes = list((yield from self._ask(request, Expanded)).nodes)
        return heads[:RUN_FEEDS_MAX]

    def _take_controls(self, wants: list[ControlsWant]) -> Run[None]:
        """Control spans that the peer has and we lack."""
        while wants:
            chunk = wants[:BATCH_ITEMS_MAX]
            answer = yield from self._ask(ControlsWanted(self._version, self.call.tenant, tuple(chunk)), Controls)
            asked = {want.feed for want in chunk}
            found = [span for span in answer.foretold if span.feed in asked]
            if found:
                yield Take((), found)
            wants = _rest(wants, found[-1].feed, found[-1].seq) if answer.more and found else wants[len(chunk) :]

    def _give_controls(self, wants: list[ControlsWant]) -> Run[None]:
        """Control spans that we have and the peer lacks."""
        while wants:
            chunk = wants[:BATCH_ITEMS_MAX]
            parcel = yield from _give(Give((), chunk))
            found = parcel.foretold
            new = [span for span in found if (span.feed, span.seq) not in self.told]
            if new:
                yield from self._ask(Push(self._version, self.call.tenant, (), tuple(new)), Pushed)
                self.told.update((span.feed, span.seq) for span in new)
            wants = _rest(wants, found[-1].feed, found[-1].seq) if parcel.more and found else wants[len(chunk) :]

    def _pull(self, queue: Queue) -> Run[None]:
        """Ranges that the peer has and we lack."""
        while wants := queue.next(BATCH_ITEMS_MAX):
            answer = yield from self._ask(Pull(self._version, self.call.tenant, wants), Ranges)
            ranges = [part for part in answer.ranges if part.feed in queue]
            later = queue.ahead(ranges, BATCH_ITEMS_MAX)
            ahead = Pull(self._version, self.call.tenant, later) if later else None
            outcomes = (yield from _take(Take(ranges, (), ahead))) if ranges else ()
            for part, outcome in zip(ranges, outcomes, strict=False):
                if not isinstance(outcome, int):
                    self._set_back(queue, part.feed, outcome.code, outcome.detail, here=True)
                elif (gained := queue.advance(part.feed, outcome)) > 0:
                    self.received += gained
                    self._note_held(part.feed, outcome)
            for feed in queue.unmoved(wants, {part.feed for part in ranges}):
                self._set_back(queue, feed, "range.withheld", "", here=True)

    def _push(self, queue: Queue) -> Run[None]:
        """Ranges that we have and the peer lacks."""
        while wants := queue.next(BATCH_ITEMS_MAX):
            parcel = yield from _give(Give(wants, ()))
            ranges = parcel.ranges
            if ranges:
                request = Push(self._version, self.call.tenant, tuple(ranges), ())
                outcomes = (yield from self._ask(request, Pushed)).outcomes
                if not len(ranges) <= len(outcomes) <= len(ranges) + 1:
                    malformed("outcomes of other ranges")
                for part, outcome in zip(ranges, outcomes, strict=False):
                    if isinstance(outcome, str):
                        self._set_back(queue, part.feed, outcome, "", here=False)
                    else:
                        self.sent += queue.advance(part.feed, outcome)
                        self.reached[part.feed] = outcome
            for feed in queue.unmoved(wants, {part.feed for part in ranges}):
                self._set_back(queue, feed, "range.withheld", "", here=False)

    def _search(self, shared: Mapping[FeedId, int]) -> Run[None]:
        """Where feeds part of which we hold another history than the peer; `shared` is how much both hold of each."""
        suspects = [
            feed
            for feed, refusal in self.refusals.items()
            if refusal.code in _PARTED and feed in shared and feed not in self.searched
        ]
        if not suspects:
            return
        bounds = (yield from _look()).bounds
        for feed in suspects[:SEARCHES_MAX]:
            self.searched.add(feed)
            if shared[feed] > bounds.get(feed, shared[feed]):
                continue  # what came meanwhile said where it forks
            found = None
            if self.refusals[feed].code == _FORKED and not self.refusals[feed].here:
                found = yield from hear_others(feed, shared[feed], self._pull_from)
            if found is None and shared[feed]:
                yield from search(feed, shared[feed], self._pull_from)

    def _hear_own(self, view: View) -> Run[None]:
        """What the peer holds of own feeds behind their forks: it may be all that is left of it."""
        for feed in [feed for feed in view.ended if feed not in self.call.heard][:SEARCHES_MAX]:
            self.heard.add(feed)
            yield from hear_own(feed, view.bounds[feed], self._pull_from)

    def _pull_from(self, feed: FeedId, start: int) -> Run[Sequence[Range]]:
        request = Pull(self._version, self.call.tenant, (RangeWant(feed, start),))
        answer = yield from self._ask(request, Ranges)
        return [part for part in answer.ranges if part.feed == feed]

    @property
    def _version(self) -> int:
        assert self.welcome is not None
        return self.welcome.version

    def _note_held(self, feed: FeedId, size: int) -> None:
        _, claimed = self.wants.get(feed, (0, 0))
        if size < claimed:
            self.wants[feed] = (size, claimed)
        else:
            self.wants.pop(feed, None)

    def _set_back(self, queue: Queue, feed: FeedId, code: str, detail: str, *, here: bool) -> None:
        """Take a feed out of the queue: for later where others may help it, for this run where not."""
        if feed not in queue:
            return  # an earlier range of it was refused
        if code == _UNADMITTED:
            queue.postpone(feed)
        else:
            queue.remove(feed)
            self._refuse(feed, code, detail, here=here)

    def _refuse(self, feed: FeedId, code: str, detail: str, *, here: bool) -> None:
        self.refusals.setdefault(feed, Refusal(code, detail, here))


def _differing(node: Branch, mine: Summary) -> tuple[list[str], list[FeedHead]]:
    """Below a branch of the peer's: the prefixes to go down, and our feeds of which it has nothing."""
    if len(node.prefix) == _PREFIX_DIGITS_MAX:
        malformed("a branch of whole ids")
    prefixes: list[str] = []
    heads: list[FeedHead] = []
    for digit, fingerprint in zip(PREFIXES, node.children, strict=True):
        prefix = node.prefix + digit
        if not fingerprint:
            heads += [nothing_of(head.feed) for head in mine.below(prefix)]
        elif fingerprint != mine.fingerprint(prefix):
            prefixes.append(prefix)
    return prefixes, heads


def _differing_heads(node: Leaves, mine: Summary) -> list[FeedHead]:
    """The peer's heads of the feeds with a prefix where they are not ours, also of those that it has not."""
    theirs = {head.feed: head for head in node.heads}
    feeds = theirs.keys() | {head.feed for head in mine.below(node.prefix)}
    heads = [theirs.get(feed) or nothing_of(feed) for feed in sorted(feeds)]
    return [head for head in heads if head != mine.head(head.feed)]


def _is_direct(spans: Mapping[FeedId, tuple[int, int]]) -> bool:
    """Whether so little is missing that its control spans need not go ahead."""
    return len(spans) <= BATCH_ITEMS_MAX and sum(stop - at for at, stop in spans.values()) <= RUN_DIRECT_SPANS_MAX


def _rest(wants: list[ControlsWant], last: FeedId, seq: int) -> list[ControlsWant]:
    """What is wanted still, once an answer was cut behind a span; nothing where it was not among the wants."""
    for at, want in enumerate(wants):
        if want.feed == last and want.start <= seq:
            return [ControlsWant(last, seq + 1, b""), *wants[at + 1 :]]
    return []


def _look() -> Run[View]:
    view = yield Look()
    assert isinstance(view, View)
    return view


def _give(step: Give) -> Run[Parcel]:
    parcel = yield step
    assert isinstance(parcel, Parcel)
    return parcel


def _take(step: Take) -> Run[Taken]:
    taken = yield step
    assert isinstance(taken, list)
    return taken
