"""Laws of cutting and inflating: however a body is cut, its lines are the same."""

import gzip
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.api.spans.lines import Inflater, Lines
from lognode.core.errors import CallerError
from lognode.core.limits import DRAFT_LINE_BYTES_MAX, PART_BYTES_MAX

BODIES = st.lists(st.sampled_from([b"", b"\n", b"a", b"\r\n", b"bc\nd", b"\xff" * 9]), max_size=30).map(b"".join)
CUTS = st.lists(st.integers(0, 300), max_size=8)


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(places), len(body)]
    return [body[start:stop] for start, stop in pairwise(edges)]


def lines_of(chunks: list[bytes]) -> list[bytes]:
    lines = Lines()
    found = [line for chunk in chunks for line in lines.feed(chunk)]
    return [*found, lines.rest()]


@given(BODIES, CUTS)
def test_lines_do_not_depend_on_the_chunks(body: bytes, places: list[int]) -> None:
    assert lines_of(cut(body, places)) == body.split(b"\n")


@given(st.lists(BODIES, min_size=1, max_size=4), CUTS)
def test_gzip_does_not_depend_on_members_and_chunks(bodies: list[bytes], places: list[int]) -> None:
    inflater = Inflater()
    chunks = cut(b"".join(map(gzip.compress, bodies)), places)
    inflated = b"".join(part for chunk in chunks for part in inflater.feed(chunk))
    inflater.end()

    assert inflated == b"".join(bodies)


@given(st.lists(BODIES, min_size=1, max_size=4), st.integers(1, 600), CUTS)
def test_zeros_behind_a_gzip_member_are_padding(bodies: list[bytes], zeros: int, places: list[int]) -> None:
    inflater = Inflater()
    chunks = cut(b"".join(gzip.compress(body) + bytes(zeros) for body in bodies), places)
    inflated = b"".join(part for chunk in chunks for part in inflater.feed(chunk))
    inflater.end()

    assert inflated == b"".join(bodies)


@pytest.mark.parametrize("body", [b"\x00" + gzip.compress(b"a"), gzip.compress(b"a") + b"\x00more"])
def test_zeros_make_nothing_else_gzip(body: bytes) -> None:
    with pytest.raises(CallerError, match="no gzip"):
        list(Inflater().feed(body))


def test_gzip_inflates_in_parts_of_bounded_size() -> None:
    inflater = Inflater()
    size = 0
    for part in inflater.feed(gzip.compress(bytes(50 << 20))):
        assert 0 < len(part) <= PART_BYTES_MAX
        size += len(part)
    inflater.end()

    assert size == 50 << 20


@given(st.integers(1, 60))
def test_a_gzip_stream_that_ends_early_is_told_so(missing: int) -> None:
    body = gzip.compress(bytes(range(256)))[:-missing]
    inflater = Inflater()
    for _ in inflater.feed(body):
        pass

    with pytest.raises(CallerError, match="ends early"):
        inflater.end()


def test_a_line_too_long_is_refused_after_the_lines_before_it() -> None:
    lines = Lines()
    found: list[bytes] = []

    with pytest.raises(CallerError, match="at most"):
        found.extend(lines.feed(b"a\nb\n" + b"c" * (DRAFT_LINE_BYTES_MAX + 1)))
    assert found == [b"a", b"b"]
