"""What counts of a forked feed: nodes that hold different histories agree, and take no more of it."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.access import Level
from lognode.core.errors import PeerError
from lognode.core.span import PUBLIC, Range
from lognode.federation.sync.service.holdings import Snapshot
from lognode.protocol.summary import Summary
from lognode.timeline.proof.tree import EMPTY, grow, root_of
from lognode.timeline.store.audit.whole import audit
from tests.agreement.runs import found, run
from tests.agreement.split import proof_of, tell, twin
from tests.engine.receivers import Receiver, keys_of
from tests.engine.tenants import Founder
from tests.timeline.audits import flip_somewhere
from tests.timeline.pens import Pen, admitted


class Fork:
    """A founder, and a member that wrote its feed twice, alike up to `common`."""

    def __init__(self, common: int = 5, tails: tuple[int, int] = (4, 9)) -> None:
        self.founder = Founder()
        self.one = self.founder.member(2)
        while len(self.one.entries) < common:
            self.one.write()
        self.other = twin(self.one)
        self.common = len(self.one.entries)
        for pen, count, kind in ((self.one, tails[0], "one"), (self.other, tails[1], "other")):
            for _ in range(count):
                pen.write(kind)

    def tell(self) -> None:
        tell(self.founder, proof_of(self.one, self.other), self.founder.newest)

    @property
    def head(self) -> tuple[int, bytes]:
        return self.common, root_of(grow(EMPTY, self.one.leaves[: self.common]).border)


def snapshot(node: Receiver) -> Snapshot:
    return Snapshot(node.conn, node.tenant)


def no_damage(node: Receiver) -> bool:
    return not [finding for finding in audit(node.conn) if finding.severity == "damage"]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.tuples(st.integers(1, 12), st.integers(1, 12)), st.randoms())
def test_nodes_with_different_histories_and_one_proof_have_one_clock(
    common: int, tails: tuple[int, int], chance: object
) -> None:
    fork = Fork(common, tails)
    before = fork.founder.range()
    fork.tell()
    told = fork.founder.range(len(before.entries))
    nodes = []
    for pen in (fork.one, fork.other):
        ranges = [before, pen.range(), told]
        node = Receiver(fork.founder.tenant)
        for place in sorted(range(3), key=lambda _: chance.random()):  # type: ignore[attr-defined]
            node.take(ranges[place])
        node.take(*ranges)  # what came too early comes again
        nodes.append(node)
    assert nodes[0].clock() == nodes[1].clock()
    assert nodes[0].clock()[fork.one.feed_id] == fork.head or common == len(fork.one.entries)
    assert Summary(snapshot(nodes[0]).view()).value == Summary(snapshot(nodes[1]).view()).value
    assert nodes[0].book.members.forks == {fork.one.feed_id: fork.common}
    for node in nodes:
        assert [row[1:] for row in node.dump()["cuts"]] == [(fork.common, "feed.forked")]
        assert no_damage(node)


def test_the_tail_that_is_held_stays_and_can_be_given_and_no_more_is_taken() -> None:
    fork = Fork()
    node = Receiver(fork.founder.tenant)
    node.take(fork.founder.range(), fork.one.range())
    fork.tell()
    fork.one.write()
    assert node.codes(fork.founder.range()) == [len(fork.founder.entries)]
    assert node.codes(fork.one.range(9)) == ["feed.forked"]
    assert node.codes(fork.other.range()) == ["feed.forked"]
    assert node.codes(fork.one.range(5, 9)) == [9]
    part = snapshot(node).range(fork.one.feed_id, 3, spans_max=100, bytes_max=1 << 20)
    assert part is not None
    assert (part.start, part.stop) == (3, 9)
    newcomer = Receiver(fork.founder.tenant)
    assert newcomer.codes(fork.founder.range(), part) == [len(fork.founder.entries), "range.gap"]
    assert newcomer.codes(fork.one.range(0, 3), part) == [3, 9]
    assert newcomer.clock() == node.clock()


def test_a_newcomer_that_knows_of_the_fork_takes_one_history_and_agrees() -> None:
    fork = Fork()
    fork.tell()
    clocks = []
    for pen in (fork.one, fork.other):
        node = Receiver(fork.founder.tenant)
        assert node.codes(fork.founder.range(), pen.range()) == [len(fork.founder.entries), len(pen.entries)]
        clocks.append(node.clock())
    assert clocks[0] == clocks[1]


def test_a_clock_without_roots_would_take_two_histories_for_one() -> None:
    """Broken on purpose: whoever compares sizes alone finds nothing to tell."""
    fork = Fork(5, (4, 4))
    clocks = []
    for pen in (fork.one, fork.other):
        node = Receiver(fork.founder.tenant)
        node.take(fork.founder.range(), pen.range())
        clocks.append(node.clock())
    assert clocks[0] != clocks[1]
    assert [size for size, _ in clocks[0].values()] == [size for size, _ in clocks[1].values()]


def test_control_spans_beyond_the_fork_are_told_to_nobody() -> None:
    founder = Founder()
    one = founder.member(2)
    one.write()
    other = twin(one)
    one.write("member.unheard_of", visibility=PUBLIC)
    other.write()
    node = Receiver(founder.tenant)
    node.take(founder.range(), one.range(0, 1), foretold=[one.foretold(2)])
    assert snapshot(node).view().foretold == {one.feed_id: [2]}
    tell(founder, proof_of(one, other), founder.newest)
    node.take(founder.range())
    view = snapshot(node).view()
    assert view.foretold.get(one.feed_id, []) == []
    assert view.bounds == {one.feed_id: 2}
    fresh = Receiver(founder.tenant)
    fresh.take(founder.range())
    assert fresh.codes(foretold=[one.foretold(0), one.foretold(2)]) == []
    assert [row[1] for row in fresh.dump()["foretold"]] == [0]


def test_feeds_of_whom_a_tail_alone_let_in_are_in_no_clock() -> None:
    founder = Founder()
    root = founder.member(2)
    founder.change(root.keys, Level.ROOT)
    other = twin(root)
    late_keys = keys_of(7)
    data = admitted(late_keys, root.keys, founder.tenant, [founder.newest], Level.TRUSTED)
    admission = root.write("member.admit", data, visibility=PUBLIC)
    other.write()
    late = Pen(late_keys, founder.tenant, [admission])
    late.write()
    node, elsewhere = Receiver(founder.tenant), Receiver(founder.tenant)
    assert node.codes(founder.range(), root.range(), late.range()) == [len(founder.entries), 2, 2]
    elsewhere.take(founder.range(), other.range())
    assert late.feed_id in node.clock()
    tell(founder, proof_of(root, other), founder.newest)
    node.take(founder.range())
    elsewhere.take(founder.range())
    assert node.clock() == elsewhere.clock()
    assert late.feed_id not in node.clock()
    assert snapshot(node).view().bounds == {root.feed_id: 1, late.feed_id: 0}
    late.write()
    assert node.codes(late.range(2)) == ["feed.unadmitted"]
    founder.admit(late_keys)
    assert node.codes(founder.range(), late.range()) == [len(founder.entries), 3]
    assert late.feed_id in node.clock()
    assert no_damage(node)


def test_a_wrong_bound_is_found() -> None:
    fork = Fork()
    fork.tell()
    node = Receiver(fork.founder.tenant)
    node.take(fork.founder.range(), fork.one.range())
    for sql in (
        "UPDATE bounds SET size = size + 1", "DELETE FROM bounds", "UPDATE bounds SET feed_id = x'00'",
        "UPDATE bounds SET tenant = 5", "INSERT INTO bounds VALUES (0, x'0102', 3)",
    ):  # fmt: skip
        node.conn.execute("BEGIN")
        node.conn.execute(sql)
        assert "bound.wrong" in {finding.code for finding in audit(node.conn)}, sql
        node.conn.execute("ROLLBACK")
    assert no_damage(node)


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_of_a_bound_is_found(seed: int) -> None:
    fork = Fork()
    fork.tell()
    node = Receiver(fork.founder.tenant)
    node.take(fork.founder.range(), fork.one.range())
    for column in ("tenant", "feed_id", "size"):
        node.conn.execute("BEGIN")
        flip_somewhere(node.conn, "bounds", column, random.Random(seed))
        assert "bound.wrong" in {finding.code for finding in audit(node.conn)}, column
        node.conn.execute("ROLLBACK")


def test_a_range_before_the_fork_that_its_author_did_not_sign_is_refused_all_the_same() -> None:
    fork = Fork()
    fork.tell()
    node = Receiver(fork.founder.tenant)
    good = fork.one.range()
    bad = Range(good.feed, 0, [*good.entries[:-1], good.entries[0]], good.note)
    found = node.take(fork.founder.range(), bad)[1]
    assert isinstance(found, PeerError)
    assert found.code == "range.unproven"


def test_the_histories_of_a_feed_of_whom_nobody_let_in_are_compared_once_somebody_does() -> None:
    founder = Founder()
    host = founder.member(2)
    other_host, stranger_keys = twin(host), keys_of(9)
    let_in = admitted(stranger_keys, host.keys, founder.tenant, [founder.newest], Level.TRUSTED)
    stranger = Pen(stranger_keys, founder.tenant, [host.write("member.admit", let_in, visibility=PUBLIC)])
    one, other = stranger, twin(stranger)
    one.write("one")
    other.write("other")
    nodes = first, second = Receiver(founder.tenant), Receiver(founder.tenant)
    for node, pen in zip(nodes, (one, other), strict=True):
        assert node.codes(founder.range(), host.range(), pen.range()) == [len(founder.entries), 2, 2]

    before = len(founder.entries)
    other_host.write()
    tell(founder, proof_of(host, other_host), founder.newest)  # whom it let in nobody let in
    for node in nodes:
        assert node.codes(founder.range(before)) == [before + 1]
    assert run(first, second).state == run(second, first).state == "equal"
    assert not found(first)

    founder.admit(stranger_keys)
    for node in nodes:
        assert node.codes(founder.range(before + 1)) == [before + 2]
    assert run(first, second).state == "differs"
    assert found(first) == {stranger.feed_id: 1}
