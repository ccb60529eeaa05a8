"""One message of each type, and strategies that make any."""

from hypothesis import strategies as st

from lognode.core.ids import FeedId, TenantId
from lognode.core.span import Entry, Foretold, Range
from lognode.protocol.messages import (
    Answer,
    Branch,
    Controls,
    ControlsWant,
    ControlsWanted,
    Expand,
    Expanded,
    FeedHead,
    Follow,
    Hello,
    Leaves,
    Pull,
    Pulse,
    Push,
    Pushed,
    Ranges,
    RangeWant,
    Refused,
    Request,
    Welcome,
)

TENANT = TenantId(b"t" * 20)
FEED = FeedId(bytes.fromhex("ab" * 16))
STUB = Entry(5, 0, b"h" * 32, None)
SPAN = Entry(6, 1, b"header " * 8, b"body")
ERASED = Entry(7, 2, b"header " * 8, None)
RANGE = Range(FEED, 3, (STUB, SPAN, ERASED), b"note")
FORETOLD = Foretold(FEED, 9, SPAN, b"note", (b"p" * 32, b"q" * 32))

REQUESTS: dict[str, Request] = {
    "hello": Hello(TENANT, (1, 2), b"i" * 16, b"s" * 32, ("10.0.0.1:7481", "[fe80::1%eth0]:7481"), b"k" * 8),
    "hello, first": Hello(TENANT, (1,), b"i" * 16, b"s" * 32, (), b""),
    "expand": Expand(1, TENANT, ("", "0", "ab3")),
    "controls wanted": ControlsWanted(1, TENANT, (ControlsWant(FEED, 0, b""), ControlsWant(FEED, 7, b"d" * 8))),
    "pull": Pull(1, TENANT, (RangeWant(FEED, 3),)),
    "push": Push(1, TENANT, (RANGE, RANGE._replace(start=6)), (FORETOLD, FORETOLD._replace(seq=10))),
    "follow": Follow(1, TENANT, b"i" * 16),
}
ANSWERS: dict[str, Answer] = {
    "welcome": Welcome(1, b"i" * 16, b"s" * 32, None, None),
    "welcome to what differs": Welcome(
        1, b"i" * 16, b"s" * 32, ("node.example:7481",), Leaves("", (FeedHead(FEED, 3, b"r" * 32, b""),))
    ),
    "refused": Refused("peer.refused"),
    "expanded": Expanded(
        (Branch("ab", (b"", *[b"f" * 16] * 15)), Leaves("c", ()), Leaves("ab", (FeedHead(FEED, 0, b"", b"d" * 8),)))
    ),
    "controls": Controls((FORETOLD,), more=True),
    "ranges": Ranges((RANGE,)),
    "pushed": Pushed((6, "range.gap")),
    "pulse": Pulse(b"s" * 32),
}

_feeds = st.binary(min_size=16, max_size=16).map(FeedId)
_entries = st.one_of(
    st.builds(Entry, st.integers(0, 2**63 - 1), st.integers(0, 255), st.binary(min_size=32, max_size=32), st.none()),
    st.builds(
        Entry,
        st.integers(0, 2**63 - 1),
        st.integers(0, 255),
        st.binary(min_size=33, max_size=200),
        st.none() | st.binary(max_size=100),
    ),
)
ranges = st.builds(
    Range, _feeds, st.integers(0, 2**62), st.lists(_entries, min_size=1, max_size=5).map(tuple), st.binary(max_size=50)
)
foretold = st.builds(
    Foretold,
    _feeds,
    st.integers(0, 2**62),
    st.builds(
        Entry,
        st.integers(0, 2**63 - 1),
        st.integers(0, 255),
        st.binary(min_size=33, max_size=99),
        st.binary(max_size=99),
    ),
    st.binary(max_size=50),
    st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple),
)
