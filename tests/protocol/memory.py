"""Nodes in memory that speak the protocol as bytes, with a truth to judge by.

A feed's truth is its entries, the sizes at which its author signed, and which of them are control spans. What is taken
in is compared with the truth, as the engine would by proofs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from lognode.core.clock import Clock
from lognode.core.errors import PeerError
from lognode.core.ids import FeedId, TenantId
from lognode.core.span import Entry, Foretold, Range
from lognode.protocol.messages import VERSIONS, Answer, Hello, Push, Pushed, Refused, Request
from lognode.protocol.reconcile import reconcile
from lognode.protocol.serve import FULL_ROOM, REFUSAL, Presence, Room, answer
from lognode.protocol.steps import Ask, Call, Give, Keep, Look, Report, Take, Weigh, Weighed, give, look
from lognode.protocol.summary import View
from lognode.protocol.wire import decode_answer, decode_request, encode_answer, encode_request

TENANT = TenantId(b"t" * 20)


@dataclass
class Feed:
    """One feed as its author wrote it, or one branch of it."""

    feed: FeedId
    ends: tuple[int, ...]  # where it was signed, rising
    controls: tuple[int, ...] = ()
    branch: int = 0
    body_bytes: int = 8

    def entry(self, seq: int) -> Entry:
        visibility = 2 if seq in self.controls else 1
        text = f"{self.branch} {seq} ".encode()
        return Entry(seq + 1, visibility, text + b"h" * 40, (text * self.body_bytes)[: self.body_bytes])

    def note(self, size: int) -> bytes:
        return self.root(size) + b" signed"

    def root(self, size: int) -> bytes:
        return sha256(self.feed + size.to_bytes(8, "big") + bytes([self.branch])).digest()

    def range(self, start: int, stop: int) -> Range:
        return Range(self.feed, start, tuple([self.entry(seq) for seq in range(start, stop)]), self.note(stop))

    def foretell(self, seq: int) -> Foretold:
        return Foretold(self.feed, seq, self.entry(seq), self.note(self.ends[-1]), (b"p" * 32,))


def feed_id(number: int) -> FeedId:
    return FeedId(sha256(number.to_bytes(4, "big")).digest()[:16])


@dataclass
class Node:
    """What one node holds of the tenant. It admits those of `admitted`, where that is not everybody."""

    truths: dict[FeedId, Feed]
    sizes: dict[FeedId, int] = field(default_factory=dict)
    known: dict[FeedId, set[int]] = field(default_factory=dict)  # control spans beyond the size
    is_member: bool = True
    room: Room = FULL_ROOM
    name: bytes = b"i" * 16
    addresses: tuple[str, ...] = ("192.0.2.1:7481",)
    taken_in: int = 0
    versions: tuple[int, ...] = VERSIONS
    needs_control: dict[FeedId, tuple[FeedId, int]] = field(default_factory=dict)  # who is admitted by which span

    @property
    def clock(self) -> Clock:
        return Clock({feed: (size, self.truths[feed].root(size)) for feed, size in self.sizes.items()})

    def view(self) -> View:
        beyond = {feed: [seq for seq in sorted(seqs) if seq >= self.size(feed)] for feed, seqs in self.known.items()}
        return View(self.clock, {feed: seqs for feed, seqs in beyond.items() if seqs})

    def size(self, feed: FeedId) -> int:
        return self.sizes.get(feed, 0)

    def range(self, feed: FeedId, start: int, *, spans_max: int, bytes_max: int) -> Range | None:
        truth, held = self.truths[feed], self.size(feed)
        stop = next((end for end in truth.ends if start < end <= held), None)
        if stop is None:
            return None
        weight = truth.entry(0).weight
        for end in truth.ends:
            if stop < end <= held and end - start <= spans_max and (end - start) * weight <= bytes_max:
                stop = end
        return truth.range(start, stop)

    def others(self, _feed: FeedId, _start: int) -> Sequence[Range]:
        return ()

    def foretold(self, feed: FeedId, start: int, *, spans_max: int) -> Sequence[Foretold]:
        truth = self.truths[feed]
        seqs = {seq for seq in truth.controls if seq < self.size(feed)} | self.known.get(feed, set())
        return [truth.foretell(seq) for seq in sorted(seqs) if seq >= start][:spans_max]

    def take(self, ranges: Sequence[Range], foretold: Sequence[Foretold] = ()) -> list[int | PeerError]:
        for span in foretold:
            if span == self.truths[span.feed].foretell(span.seq):
                self.known.setdefault(span.feed, set()).add(span.seq)
        return [self._take(part) for part in ranges]

    def _take(self, part: Range) -> int | PeerError:
        truth, held = self.truths[part.feed], self.size(part.feed)
        if part.start > held:
            return PeerError("range.withheld")
        if part != truth.range(part.start, part.stop):
            return PeerError("range.too_large")
        if part.feed in self.needs_control:
            by, seq = self.needs_control[part.feed]
            if self.size(by) <= seq and seq not in self.known.get(by, set()):
                return PeerError("feed.unadmitted")
        self.taken_in += max(0, part.stop - held)
        self.sizes[part.feed] = max(held, part.stop)
        return self.sizes[part.feed]

    def answer(self, request: Request) -> Answer:
        if not self.is_member:
            return REFUSAL
        if isinstance(request, Push):
            outcomes = self.take(request.ranges, request.foretold)
            return Pushed(tuple([found if isinstance(found, int) else found.code for found in outcomes]))
        presence = Presence(self.name, self.addresses)
        return answer(request, self, presence, versions=self.versions, room=self.room)  # type: ignore[arg-type]

    def serve(self, body: bytes) -> bytes:
        """A request as bytes, answered as bytes."""
        try:
            request = decode_request(body, self.versions)
        except PeerError as error:
            return encode_answer(Refused(error.code), 0)
        return encode_answer(self.answer(request), 0 if isinstance(request, Hello) else request.version)

    def call(self) -> Call:
        return Call(TENANT, Presence(self.name, self.addresses), versions=self.versions, room=self.room)


@dataclass
class Wire:
    """Counts what passes; `serve` may lose, double or alter."""

    serve: Callable[[bytes], bytes]
    asks: int = 0
    total_bytes: int = 0
    largest_bytes: int = 0

    def ask(self, body: bytes) -> bytes:
        answered = self.serve(body)
        self.asks += 1
        self.total_bytes += len(body) + len(answered)
        self.largest_bytes = max(self.largest_bytes, len(body), len(answered))
        return answered


def run(dialer: Node, wire: Wire, call: Call | None = None) -> Report:
    """A whole run, driven as a shell does it."""
    call = call or dialer.call()
    steps = reconcile(call)
    step = next(steps)
    try:
        while True:
            match step:
                case Look():
                    step = steps.send(look(dialer))
                case Ask(request):
                    step = steps.send(decode_answer(wire.ask(encode_request(request)), call.versions))
                case Give():
                    step = steps.send(give(step, dialer, call.room))
                case Take(ranges, foretold):
                    step = steps.send(dialer.take(ranges, foretold))
                case Weigh() | Keep():
                    step = steps.send(Weighed("unproven", 0))
    except StopIteration as end:
        report: Report = end.value
        return report
    finally:
        steps.close()


def meet(dialer: Node, answerer: Node) -> tuple[Report, Wire]:
    wire = Wire(answerer.serve)
    return run(dialer, wire), wire
