"""Which entries are no spans: the same on a node that has the header and on one that has the stub alone."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.clock import HLC_MAX
from lognode.core.codec import encode
from lognode.core.span import Entry, Header, encode_header
from lognode.timeline.verify.inert import (
    HEADER_MALFORMED,
    HLC_FALLS,
    INERT_REASONS,
    VISIBILITY_UNKNOWN,
    WITHHELD,
    inert_reason,
)

HEADER = encode_header(Header(1, "note", None, 0, None, bytes(32), 0))
NEWER = encode([2, "note", None, 0, None, bytes(32), 0])


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (Entry(5, 1, HEADER, b""), None),
        (Entry(5, 0, bytes(32), None), WITHHELD),
        (Entry(4, 1, HEADER, b""), HLC_FALLS),
        (Entry(3, 0, bytes(32), None), HLC_FALLS),
        (Entry(5, 3, HEADER, b""), VISIBILITY_UNKNOWN),
        (Entry(5, 255, bytes(32), None), VISIBILITY_UNKNOWN),
        (Entry(5, 1, b"", None), HEADER_MALFORMED),
        (Entry(5, 1, NEWER, None), HEADER_MALFORMED),
    ],
)
def test_each_reason_is_given(entry: Entry, reason: str | None) -> None:
    assert inert_reason(entry, 4) == reason
    assert reason is None or reason in INERT_REASONS


@given(st.lists(st.tuples(st.integers(0, HLC_MAX), st.integers(0, 255), st.sampled_from([HEADER, NEWER, b"?"]))))
def test_a_node_with_stubs_alone_calls_void_by_time_what_others_do(stubs: list[tuple[int, int, bytes]]) -> None:
    whole, stubbed, newest = [], [], -1
    for hlc, visibility, header in stubs:
        whole.append(inert_reason(Entry(hlc, visibility, header, None), newest))
        stubbed.append(inert_reason(Entry(hlc, visibility, sha256(header).digest(), None), newest))
        newest = max(newest, hlc)
    for ours, theirs in zip(whole, stubbed, strict=True):
        assert ours == theirs or (theirs == WITHHELD and ours in (None, HEADER_MALFORMED))
