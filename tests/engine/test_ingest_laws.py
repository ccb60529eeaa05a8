"""Laws of taking in: any parts, any order, any repetition end alike; nothing unproven changes anything."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.clock import state_hash
from lognode.core.span import Entry, Range
from lognode.engine.ingest import proof
from lognode.timeline.proof.checkpoint import parse_checkpoint
from tests.engine.receivers import Receiver
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen, write_all_sorts


def a_tenant() -> tuple[Founder, list[Pen]]:
    """A founder and a member, both with entries of all sorts; the member's feed is cut before its end."""
    founder = Founder()
    member = founder.member(2)
    founder.merge(member.head)
    member.merge(founder.head)
    write_all_sorts(founder, 30)
    write_all_sorts(member, 40)
    founder.merge(member.head)
    founder.remove(member.keys, (member, 25))
    return founder, [founder, member]


FOUNDER, PENS = a_tenant()
WHOLE = Receiver(FOUNDER.tenant)
assert WHOLE.codes(*[pen.range() for pen in PENS]) == [len(pen.entries) for pen in PENS]


@st.composite
def deliveries(draw: st.DrawFn) -> list[Range]:
    """The ranges of both feeds in any parts, some twice, some in larger parts as well, in any order."""
    ranges = []
    for pen in PENS:
        size = len(pen.entries)
        ends = sorted({0, size, *draw(st.lists(st.integers(2, size - 1), max_size=6))})
        ranges += [pen.range(start, stop) for start, stop in pairwise(ends)]
        ranges += [
            pen.range(*sorted(pair))
            for pair in draw(st.lists(st.sampled_from([(0, 3), (2, 9), (5, size)]), max_size=3))
        ]
    return draw(st.permutations(ranges))


@settings(max_examples=25, deadline=None)
@given(deliveries(), st.booleans())
def test_any_parts_in_any_order_end_alike(ranges: list[Range], together: bool) -> None:  # noqa: FBT001
    node = Receiver(FOUNDER.tenant)
    while node.clock() != WHOLE.clock():
        before = node.clock()
        if together:
            node.take(*ranges)
        else:
            for found in ranges:
                node.take(found)
        assert node.clock() != before
    assert state_hash(node.clock()) == state_hash(WHOLE.clock())
    assert node.dump() == WHOLE.dump()
    whole = node.bytes()
    assert all(isinstance(outcome, int) for outcome in node.take(*ranges))
    assert node.bytes() == whole


def changes(found: Range) -> list[Callable[[], Range]]:
    """Ways to change one range by one byte or a little more."""

    def entry(at: int, **fields: Any) -> Callable[[], Range]:
        entries = list(found.entries)
        entries[at] = entries[at]._replace(**fields)
        return lambda: found._replace(entries=entries)

    ways = []
    for at, (hlc, visibility, header, body) in enumerate(found.entries):
        ways += [entry(at, hlc=hlc ^ 1), entry(at, visibility=visibility ^ 1), entry(at, header=flip(header, at))]
        ways += [entry(at, header=header + b"\\0"), entry(at, header=b"")]
        if body is not None:
            ways += [entry(at, body=flip(body, at)), entry(at, body=None), entry(at, body=body + b"\\0")]
            ways += [entry(at, header=Entry(hlc, visibility, header, body).header_sha256, body=None)]
        elif visibility:
            ways += [entry(at, body=b"more")]
    ways += [partial(found._replace, note=flip(found.note, at)) for at in range(0, len(found.note), 7)]
    ways += [lambda: found._replace(entries=found.entries[:-1]), lambda: found._replace(entries=found.entries[1:])]
    ways += [lambda: found._replace(entries=[*found.entries, found.entries[-1]]), lambda: found._replace(start=1)]
    return ways


def flip(data: bytes, at: int) -> bytes:
    place = (at * 31) % len(data)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("pen", range(2))
def test_one_changed_byte_anywhere_is_refused_and_changes_nothing(pen: int) -> None:
    node = Receiver(FOUNDER.tenant)
    if pen:
        node.take(PENS[0].range())
    before = node.bytes()
    for change in changes(PENS[pen].range()):
        (code,) = node.codes(change())
        assert code in ("range.unproven", "range.stubbed", "range.gap", "range.too_large"), code
        assert node.bytes() == before
    assert node.codes(PENS[pen].range()) == [len(PENS[pen].entries)]


def test_a_node_that_does_not_compare_roots_is_caught() -> None:
    """The broken variant of the test above."""
    node, found = Receiver(FOUNDER.tenant), PENS[0].range()
    entries = list(found.entries)
    entries[5] = entries[5]._replace(hlc=entries[5].hlc ^ 1)
    signed = parse_checkpoint(found.note).root
    with mock.patch.object(proof, "root_of", return_value=signed):
        assert node.plan([found._replace(entries=entries)]).outcomes == [found.stop]
