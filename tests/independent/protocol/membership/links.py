"""Control spans with their links, the order in which they are judged, and their pasts.

From docs/protocol.md, Membership, Forked feeds and Pasts. Shares no code with lognode.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.independent.protocol.cbor import Refused, read_array
from tests.independent.protocol.control import Place, Said, read_control
from tests.independent.protocol.fields import as_bytes

LETTING_IN = {"member.admit": 1, "identity.rotate": 2}  # the element that names the key


@dataclass(eq=False)
class Span:
    """A control span as it is held, with what it says; `said` is None where that has not its form."""

    id: bytes
    feed: bytes
    seq: int
    hlc: int
    author: bytes
    kind: str
    said: Said | None = None
    fault: str | None = None
    lets_in: bytes | None = None
    links: set["Span"] = field(default_factory=set)
    past: set["Span"] = field(default_factory=set)

    @property
    def place(self) -> tuple[int, bytes]:
        return self.hlc, self.id


def read_span(tenant: bytes, row: dict[str, object]) -> Span:
    """A span as the vectors describe it."""
    id_, feed, author, data = (bytes.fromhex(str(row[name])) for name in ("id", "feed", "author", "data"))
    span = Span(id_, feed, int(str(row["seq"])), int(str(row["hlc"])), author, str(row["kind"]))
    try:
        span.said = read_control(span.kind, data, Place(tenant, feed, author))
    except Refused:
        span.fault = "body.malformed"
    except KeyError:
        span.fault = "control.unknown"
    else:
        if not span.said.is_bound:
            span.fault = "fork.invalid" if span.kind == "feed.fork" else "binding.invalid"
        elif span.kind == "feed.open" and span.said.key != author:
            span.fault = "binding.invalid"
    span.lets_in = named_in(span.kind, data)
    if span.kind == "feed.open" and span.seq:
        span.fault = span.fault or "feed.opened"
    return span


def named_in(kind: str, data: bytes) -> bytes | None:
    """The key that data names as let in, whatever else is wrong with it."""
    if kind not in LETTING_IN:
        return None
    try:
        return as_bytes(read_array(data)[LETTING_IN[kind]], 32)
    except (Refused, IndexError):
        return None


def founding_of(spans: Iterable[Span]) -> Span | None:
    made = [
        span
        for span in spans
        if span.kind == "tenant.create"
        and span.seq == 1
        and not span.fault
        and span.said
        and span.said.key == span.author
    ]
    return min(made, key=lambda span: span.place, default=None)


def forks_of(spans: Iterable[Span], founding: Span | None) -> dict[bytes, int]:
    """The fork of each feed that any proof is about."""
    found: dict[bytes, int] = {}
    for span in spans:
        if span.kind == "feed.fork" and not span.fault and span.said and span.said.fork:
            fork = span.said.fork
            seq = max(2, fork.seq) if founding and fork.feed == founding.feed else fork.seq
            found[fork.feed] = min(seq, found.get(fork.feed, seq))
    return found


def taken_in(spans: Iterable[Span], founding: Span) -> set[bytes]:
    """The keys whose feeds are taken in."""
    keys, grown = {founding.author}, True
    while grown:
        named = {span.lets_in for span in spans if span.lets_in and span.author in keys}
        grown = not named <= keys
        keys |= named
    return keys


def link(spans: list[Span], founding: Span) -> list[Span]:
    """The spans in the order in which they are judged, with links and pasts set."""
    by_id = {span.id: span for span in spans}
    feeds: dict[bytes, list[Span]] = {}
    for span in sorted(spans, key=lambda span: span.seq):
        feeds.setdefault(span.feed, []).append(span)
        named = span.said.after if span.said else []
        span.links = {by_id[id_] for id_ in named if id_ in by_id}
        if len(feeds[span.feed]) > 1:
            span.links.add(feeds[span.feed][-2])
    ordered, left = _ordered(spans)
    if left:
        for span in left:
            span.links = {one for one in span.links if one not in left or one.hlc < span.hlc}
        ordered, left = _ordered(spans)
    assert not left
    for span in ordered:
        span.past = set().union(span.links, *(one.past for one in span.links))
        span.past = (span.past | {founding}) - {span}
    return ordered


def _ordered(spans: list[Span]) -> tuple[list[Span], set[Span]]:
    """Each behind all that it links to, the smaller HLC and id first; and those that never can be next."""
    left, ordered = set(spans), list[Span]()
    done: set[Span] = set()
    while ready := [span for span in left if span.links <= done]:
        span = min(ready, key=lambda one: one.place)
        ordered.append(span)
        left.remove(span)
        done.add(span)
    return ordered, left
