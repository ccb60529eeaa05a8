"""Answers requests from what is held, and gives what a run of our own asks for.

Keeps nothing between two requests. Must not know how spans are stored, nor who may ask: that was decided before.
Invariant: an answer is bounded, whatever is asked.
Source: docs/protocol.md, Between nodes.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol, assert_never

from lognode.core.ids import FeedId
from lognode.core.limits import (
    BATCH_BYTES_MAX,
    BATCH_ITEMS_MAX,
    CONTROLS_READ_MAX,
    ENTRY_BYTES_EXTRA,
    RANGE_SPANS_MAX,
)
from lognode.core.span import Foretold, Range
from lognode.protocol.messages import (
    VERSIONS,
    Answer,
    Controls,
    ControlsWant,
    ControlsWanted,
    Expand,
    Expanded,
    Hello,
    Pull,
    Ranges,
    RangeWant,
    Refused,
    Welcome,
)
from lognode.protocol.summary import Summary, View, addresses_digest, seqs_digest

# To who is no member, and about tenants that are not here.
REFUSAL: Final = Refused("peer.refused")


class Holdings(Protocol):
    """What is held of one tenant, at one moment."""

    def view(self) -> View:
        """Clock, and control spans beyond it."""

    def range(self, feed: FeedId, start: int, *, spans_max: int, bytes_max: int) -> Range | None:
        """The entries from `start` to a kept checkpoint, to the nearest where none is within the bounds.

        None where nothing is held from there on.
        """

    def others(self, feed: FeedId, start: int) -> Iterable[Range]:
        """The histories of a feed that part at `start` from the one held, each as ranges that follow one another."""

    def foretold(self, feed: FeedId, start: int, *, spans_max: int) -> Sequence[Foretold]:
        """The control spans from entry `start` on by seq, at most `spans_max`, of held entries and beyond."""


class Presence(NamedTuple):
    """What a node says of itself in every tenant."""

    instance: bytes
    addresses: tuple[str, ...]


class Room(NamedTuple):
    """How much goes into one message, unless one range or span has more."""

    items: int = BATCH_ITEMS_MAX
    size_bytes: int = BATCH_BYTES_MAX


FULL_ROOM: Final = Room()


class Parcel(NamedTuple):
    """What one message takes of ranges and control spans; `more`: of the latter, some found no room."""

    ranges: Sequence[Range]
    foretold: Sequence[Foretold]
    more: bool


def answer(
    request: Hello | Expand | ControlsWanted | Pull,
    holdings: Holdings,
    presence: Presence,
    *,
    versions: Sequence[int] = VERSIONS,
    room: Room = FULL_ROOM,
) -> Answer:
    """The answer to a request of a member for what is held. `Push` and `Follow` ask for more than reading."""
    match request:
        case Hello():
            return _welcome(request, holdings, presence, versions)
        case Expand(_, _, prefixes):
            summary = Summary(holdings.view())
            return Expanded(tuple([summary.node(prefix) for prefix in prefixes]))
        case ControlsWanted(_, _, wants):
            return Controls(*collect_controls(holdings, wants, room))
        case Pull(_, _, wants):
            return Ranges(collect_ranges(holdings, wants, room))
        case _:
            assert_never(request)


def _welcome(hello: Hello, holdings: Holdings, presence: Presence, versions: Sequence[int]) -> Answer:
    common = set(hello.versions).intersection(versions)
    if not common:
        return Refused("version.unsupported")
    summary = Summary(holdings.view())
    is_known = hello.known == addresses_digest(presence.addresses)
    return Welcome(
        max(common),
        presence.instance,
        summary.value,
        None if is_known else presence.addresses,
        None if summary.value == hello.summary else summary.node(""),
    )


def collect_ranges(holdings: Holdings, wants: Sequence[RangeWant], room: Room) -> list[Range]:
    """Ranges of wanted feeds in their order, each feed to its end, until the message is full.

    Where another history begins that is held besides, it goes first: who asks there asks why nothing counts behind it.
    """
    found: list[Range] = []
    left = room.size_bytes
    for feed, start in wants:
        for other in holdings.others(feed, start):
            left -= weight_of(other)
            if found and (left < 0 or len(found) == room.items):
                return found
            found.append(other)
        at = start
        while len(found) < room.items and left > 0:
            part = holdings.range(feed, at, spans_max=RANGE_SPANS_MAX, bytes_max=left)
            if part is None:
                break
            left -= weight_of(part)
            if left < 0 and found:
                return found
            found.append(part)
            at = part.stop
    return found


def collect_controls(holdings: Holdings, wants: Sequence[ControlsWant], room: Room) -> tuple[list[Foretold], bool]:
    """Control spans of wanted feeds in their order until the message is full, and whether some found no room."""
    found: list[Foretold] = []
    left, reads = room.size_bytes, CONTROLS_READ_MAX
    for feed, start, known in wants:
        if reads <= 0:  # so many are known already, and each was proven to find that out
            return found, True
        spans = holdings.foretold(feed, start, spans_max=room.items + 1)
        reads -= len(spans)
        is_all = len(spans) <= room.items
        if known and is_all and seqs_digest([span.seq for span in spans]) == known:
            continue
        for span in spans:
            left -= span.entry.weight + len(span.note) + ENTRY_BYTES_EXTRA
            if found and (left < 0 or len(found) == room.items):
                return found, True
            found.append(span)
    return found, False


def weight_of(part: Range) -> int:
    """About what a range costs who receives it, in bytes."""
    return len(part.note) + sum([entry.weight + ENTRY_BYTES_EXTRA for entry in part.entries])
