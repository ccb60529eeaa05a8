"""What a run asks of the shell that drives it, and what comes of a run.

Plain values. A shell answers each step with what its docstring says; what it needs for that of what is held is here.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

from lognode.core.errors import PeerError
from lognode.core.ids import FeedId, TenantId
from lognode.core.span import Foretold, Range
from lognode.protocol.messages import VERSIONS, Answer, ControlsWant, RangeWant, Request
from lognode.protocol.serve import FULL_ROOM, Holdings, Parcel, Presence, Room, collect_controls, collect_ranges
from lognode.protocol.summary import View


class Look(NamedTuple):
    """What is held now: a View."""


class Ask(NamedTuple):
    """A request to the peer: its Answer. What is no answer, or does not come, ends the run with the shell's error."""

    request: Request


class Give(NamedTuple):
    """Of what is held, what the peer lacks: a Parcel."""

    ranges: Sequence[RangeWant]
    controls: Sequence[ControlsWant]


class Take(NamedTuple):
    """What the peer gave, to be verified and kept: for each range the size of its feed now, or why it was refused.

    What stands behind these says why control spans were refused. `ahead` is what will be asked next if all of it is
    kept: a shell may ask that already, and answer `Ask` with what came.
    """

    ranges: Sequence[Range]
    foretold: Sequence[Foretold]
    ahead: Request | None = None


class Weigh(NamedTuple):
    """A range that begins within what is held of its feed: how it compares, a Weighed."""

    found: Range


class Keep(NamedTuple):
    """Ranges of another history of a feed than the one that is held, to be proven and kept: a Weighed again."""

    ranges: Sequence[Range]


class Weighed(NamedTuple):
    """How a range compares with what is held.

    same: it is held, or goes on from what is held; `seq` is its end. forked: it parts from that at `seq`, as can be
    proven. apart: it parts from it before it begins, or is made up. unproven: nobody signed it who might.
    """

    verdict: Literal["same", "forked", "apart", "unproven"]
    seq: int


Step = Look | Ask | Give | Take | Weigh | Keep
Taken = Sequence[int | PeerError]
Reply = View | Answer | Parcel | Taken | Weighed


class Call(NamedTuple):
    """What a run begins with: the tenant, what this node says of itself, and what it knows of the peer.

    `heard`: own feeds that are forked, of which the peer was asked already what it holds behind that.
    """

    tenant: TenantId
    presence: Presence
    known: bytes = b""  # digest of the peer's addresses
    versions: Sequence[int] = VERSIONS
    room: Room = FULL_ROOM
    heard: Collection[FeedId] = ()


class Want(NamedTuple):
    """Entries of a feed that the peer claims and that are not here; `code` says why, None where it was not tried."""

    feed: FeedId
    start: int
    stop: int
    code: str | None


class Refusal(NamedTuple):
    """A feed that did not move, and why: what `here` was refused, or what the peer refused."""

    code: str
    detail: str
    here: bool


class Report(NamedTuple):
    """What came of a run.

    equal: both hold the same. differs: what could move has moved. unfinished: it ended at a bound, another run goes on.
    refused: the peer does not talk to us about this tenant, `code` says why.
    """

    state: Literal["equal", "differs", "unfinished", "refused"]
    code: str | None
    version: int | None
    instance: bytes | None
    addresses: tuple[str, ...] | None  # of the peer; None: as known
    wants: tuple[Want, ...]
    refusals: Mapping[FeedId, Refusal]
    sent_spans: int
    received_spans: int
    asks: int
    heard: Collection[FeedId] = ()  # own feeds of which it was asked now what it holds behind their forks


def look(holdings: Holdings) -> View:
    """What `Look` comes to."""
    return holdings.view()


def give(step: Give, holdings: Holdings, room: Room = FULL_ROOM) -> Parcel:
    """What `Give` comes to: as many ranges or control spans as fit a message."""
    return Parcel(collect_ranges(holdings, step.ranges, room), *collect_controls(holdings, step.controls, room))
