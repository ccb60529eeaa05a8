"""Finding where two histories of a feed part, by whoever dials; and that a liar makes nobody accuse anybody."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.limits import SEARCH_ASKS_MAX
from lognode.core.span import Entry, Range
from lognode.engine.ingest import branches
from lognode.protocol import search as searching
from lognode.protocol.messages import Expanded, FeedHead, Leaves, Ranges, Welcome
from lognode.timeline.proof.checkpoint import parse_checkpoint
from lognode.timeline.proof.fork import check_fork
from lognode.timeline.store.audit.whole import audit
from lognode.timeline.store.controls import read_evidence
from lognode.timeline.store.read.ranges import find_feed, read_branch, read_part, read_tips
from tests.agreement.runs import found, ranges_changed, run
from tests.agreement.split import proof_of, tell, twin
from tests.agreement.test_fork_clock import Fork, no_damage
from tests.engine.receivers import Receiver
from tests.engine.tenants import Founder
from tests.timeline.audits import flip_somewhere
from tests.timeline.pens import Pen


def node_with(
    founder: Founder, pen: Pen, cuts: Iterable[int] = (), size: int | None = None, own_key: bytes = bytes(32)
) -> Receiver:
    """A node that holds a feed, with checkpoints at these sizes."""
    node = Receiver(founder.tenant, own_key)
    node.take(founder.range())
    stop = len(pen.entries) if size is None else size
    ends = sorted({cut for cut in cuts if 0 < cut < stop} | {stop})
    for start, end in zip([0, *ends], ends, strict=False):
        assert node.codes(pen.range(start, end)) == [end]
    return node


def three_histories() -> tuple[Founder, Pen, Pen, Pen]:
    """A founder, and a feed of which a third history parts from two that part later."""
    founder = Founder()
    one = founder.member(2)
    for _ in range(4):
        one.write()
    third = twin(one)
    for _ in range(3):
        one.write("one")
        third.write("third")
    other = twin(one)
    one.write("one")
    other.write("other")
    return founder, one, third, other


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whoever_dials_finds_the_first_entry_that_differs(data: st.DataObject) -> None:
    tails = data.draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    fork = Fork(data.draw(st.integers(1, 30)), tails)
    cuts = [data.draw(st.sets(st.integers(1, 60), max_size=6)) for _ in range(2)]
    nodes = [node_with(fork.founder, pen, cut) for pen, cut in zip((fork.one, fork.other), cuts, strict=True)]
    dialer, answerer = nodes if data.draw(st.booleans()) else nodes[::-1]
    report = run(dialer, answerer)
    assert report.state == "differs"
    assert found(dialer) == {fork.one.feed_id: fork.common}
    assert not found(answerer)
    (proof,) = read_evidence(dialer.conn, dialer.tenant).values()
    assert check_fork(proof).node_key == fork.one.keys.public
    tell(fork.founder, proof, fork.founder.newest)
    assert dialer.codes(fork.founder.range()) == [len(fork.founder.entries)]
    run(dialer, answerer)
    assert run(answerer, dialer).state == "equal"
    assert dialer.clock() == answerer.clock()
    assert no_damage(dialer)
    assert no_damage(answerer)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_who_knows_a_fork_and_may_not_tell_hands_the_other_history_to_who_dials(data: st.DataObject) -> None:
    """Such as an observer, which has no feed: its clock ends at the fork, and that of the others does not."""
    fork = Fork(data.draw(st.integers(1, 12)), data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12))))
    cuts = [data.draw(st.sets(st.integers(1, 24), max_size=4)) for _ in range(2)]
    observer, liar = (node_with(fork.founder, pen, cut) for pen, cut in zip((fork.one, fork.other), cuts, strict=True))
    run(observer, liar)
    writer = node_with(fork.founder, data.draw(st.sampled_from((fork.one, fork.other))))
    run(writer, observer)
    assert found(writer) == {fork.one.feed_id: fork.common}
    assert run(writer, observer).state == "equal"
    assert writer.clock() == observer.clock()
    assert no_damage(writer)


def test_of_several_histories_that_are_handed_on_each_is_looked_at() -> None:
    """What comes first parts where the fork is known already, and the one behind it earlier."""
    founder, one, third, other = three_histories()
    writer, observer = node_with(founder, one), node_with(founder, third)
    for node in (writer, observer):
        run(node, node_with(founder, other))
    assert [found(node) for node in (writer, observer)] == [{one.feed_id: 8}, {one.feed_id: 5}]
    run(writer, observer)
    assert found(writer) == {one.feed_id: 5}
    assert writer.clock() == observer.clock()


def test_who_says_that_a_feed_forks_and_shows_nothing_accuses_nobody() -> None:
    fork = Fork(5, (4, 9))
    observer, liar = node_with(fork.founder, fork.one), node_with(fork.founder, fork.other)
    run(observer, liar)
    writer = node_with(fork.founder, fork.one)

    def flipped(part: Range) -> Range:
        return part._replace(entries=[entry._replace(hlc=entry.hlc + 1) for entry in part.entries])

    run(writer, observer, ranges_changed(lambda said: Ranges(tuple(flipped(part) for part in said.ranges))))
    run(writer, observer, ranges_changed(lambda _: Ranges(())))
    assert not found(writer)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_author_of_a_forked_feed_gets_what_it_forgot_of_either_history(data: st.DataObject) -> None:
    """Its disk was put back, all know of the fork, and nothing behind that counts, so that no clock shows it."""
    fork = Fork(data.draw(st.integers(1, 12)), data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12))))
    kept = data.draw(st.integers(fork.common, len(fork.one.entries)))
    author = node_with(fork.founder, fork.one, size=kept, own_key=fork.one.keys.public)
    theirs = data.draw(st.sampled_from((fork.one, fork.other)))
    peer = node_with(fork.founder, theirs, data.draw(st.sets(st.integers(1, 24), max_size=4)))
    fork.tell()
    for node in (author, peer):
        node.take(fork.founder.range())
    assert author.clock() == peer.clock()
    report = run(author, peer)
    assert report.state == "equal"
    assert report.heard == {fork.one.feed_id}
    feed = find_feed(author.conn, author.tenant, fork.one.feed_id)
    assert feed is not None
    held = read_part(author.conn, feed, 0, 100)
    assert held is not None
    if theirs is fork.one:
        assert held.leaves == fork.one.leaves
    else:
        assert held.leaves == fork.one.leaves[:kept] or kept == fork.common
        branches = [
            entry for tip in read_tips(author.conn, feed) for _, entry, _ in read_branch(author.conn, feed, tip)
        ]
        assert branches == fork.other.entries[fork.common :] or held.leaves == fork.other.leaves
    assert no_damage(author)


def test_the_other_history_is_kept_whole_and_readable() -> None:
    fork = Fork(5, (4, 9))
    node, other = node_with(fork.founder, fork.one), node_with(fork.founder, fork.other, (6, 9))
    run(node, other)
    feed = find_feed(node.conn, node.tenant, fork.one.feed_id)
    assert feed is not None
    ((tip, place),) = read_tips(node.conn, feed).items()
    assert place == (5, 14)
    kept = list(read_branch(node.conn, feed, tip))
    assert [entry for _, entry, _ in kept] == fork.other.entries[5:]
    assert [seq for seq, _, note in kept if note] == [13]
    assert parse_checkpoint(kept[-1][2] or b"").root == tip
    run(node, other)
    assert len(read_tips(node.conn, feed)) == 1


def test_long_histories_with_milestones_take_few_questions() -> None:
    for common, tail in ((1500, 2600), (3000, 1100), (3999, 101), (2, 4098)):
        fork = Fork(common, (tail, tail - 37))
        cuts = range(1024, 4200, 1024)
        dialer, answerer = node_with(fork.founder, fork.one, cuts), node_with(fork.founder, fork.other, cuts)
        report = run(dialer, answerer)
        assert found(dialer) == {fork.one.feed_id: common}
        assert report.asks < 40


def test_of_three_histories_each_pair_has_its_place_and_the_smallest_counts() -> None:
    founder, one, third, other = three_histories()
    other.write("other")
    a, b, c = (node_with(founder, pen) for pen in (one, other, third))
    run(a, b)
    assert found(a) == {one.feed_id: 8}
    run(b, c)
    assert found(b) == {one.feed_id: 5}
    for node in (a, b):
        (proof,) = read_evidence(node.conn, node.tenant).values()
        tell(founder, proof, founder.newest)
    for node in (a, b, c):
        node.take(founder.range())
    assert a.clock() == b.clock() == c.clock()
    assert a.clock().size(one.feed_id) == 5
    run(a, c)
    assert found(a) == {one.feed_id: 8}, "nothing new: what came says where it forks"


def test_what_differs_beyond_a_known_fork_is_found_where_it_is_smaller() -> None:
    """Two know of a fork at 8; a third history parts at 5. Once all know of the first, roots at 8 differ."""
    founder = Founder()
    one = founder.member(2)
    for _ in range(4):
        one.write()
    third = twin(one)
    for _ in range(6):
        third.write("third")
    for _ in range(3):
        one.write("one")
    other = twin(one)
    one.write("one")
    other.write("other")
    a, b, c = (node_with(founder, pen) for pen in (one, other, third))
    run(a, b)
    (proof,) = read_evidence(a.conn, a.tenant).values()
    tell(founder, proof, founder.newest)
    for node in (a, b, c):
        node.take(founder.range())
    assert a.clock().size(one.feed_id) == c.clock().size(one.feed_id) == 8
    run(a, c)
    assert found(a) == {one.feed_id: 5}


def test_a_feed_that_was_opened_twice_is_forked_from_its_first_entry() -> None:
    fork = Fork(3, (2, 2))
    two = Founder()
    member = two.member(2)
    again = Pen.__new__(Pen)
    again.__dict__.update(member.__dict__)
    again.entries, again.leaves, again._notes = [], [], {}
    entry = member.entries[0]
    again.add(Entry(entry.hlc + 1, entry.visibility, entry.header, entry.body))
    again.write()
    a, b = node_with(two, member), node_with(two, again)
    run(a, b)
    assert found(a) == {member.feed_id: 0}
    assert fork.common == 3


def wrong(entry: Entry) -> Entry:
    return Entry(entry.hlc + 1, *entry[1:])


def lies() -> dict[str, object]:
    def other_entries(said: Ranges) -> Ranges:
        return Ranges(
            [
                Range(part.feed, part.start, [*part.entries[:-1], wrong(part.entries[-1])], part.note)
                for part in said.ranges
            ]
        )

    def unsigned(said: Ranges) -> Ranges:
        return Ranges(
            [part._replace(note=part.note.replace(b"\n\n", b"\n\n", 1)[:-10] + b"AAAAAAAA=\n") for part in said.ranges]
        )

    return {
        "other entries": other_entries,
        "other signatures": unsigned,
        "nothing": lambda _: Ranges([]),
        "ranges from elsewhere": lambda said: Ranges([part._replace(start=part.start + 1) for part in said.ranges]),
    }


@pytest.mark.parametrize("lie", lies())
@pytest.mark.parametrize("ahead", [0, 3])
def test_a_relay_that_lies_makes_nobody_accuse_anybody(lie: str, ahead: int) -> None:
    """It claims another root than it has, and gives what it likes for it."""
    founder = Founder()
    pen = founder.member(2)
    for _ in range(20):
        pen.write()
    node, liar = node_with(founder, pen, (5, 10), 17), node_with(founder, pen, (5, 10), 17 + ahead)
    change = ranges_changed(lies()[lie])  # type: ignore[arg-type]

    def twist(said: object) -> object:
        if isinstance(said, Welcome) and isinstance(said.root, Leaves):
            return said._replace(summary=b"s" * 32, root=_false(said.root, pen))
        if isinstance(said, Expanded):
            return Expanded(tuple(_false(part, pen) if isinstance(part, Leaves) else part for part in said.nodes))
        return change(said)  # type: ignore[arg-type]

    for _ in range(3):
        report = run(node, liar, twist)  # type: ignore[arg-type]
        assert report.asks <= 3 * SEARCH_ASKS_MAX
    assert not found(node)
    assert node.clock().size(pen.feed_id) >= 17
    assert not node.conn.execute("SELECT count(*) FROM branches").fetchone()[0]


def _false(leaves: Leaves, pen: Pen) -> Leaves:
    heads = [
        FeedHead(head.feed, head.size, b"r" * 32, head.foretold) if head.feed == pen.feed_id else head
        for head in leaves.heads
    ]
    return Leaves(leaves.prefix, tuple(heads))


def test_without_a_check_of_what_comes_before_an_entry_a_wrong_place_would_be_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken on purpose: taking the last entry of a range that leads elsewhere for the place."""
    fork = Fork(5, (9, 9))
    dialer, answerer = node_with(fork.founder, fork.one), node_with(fork.founder, fork.other)

    def broken(beside: branches.Beside, given: Range) -> branches.Weighed:
        return branches.Weighed("forked", given.start)

    monkeypatch.setattr(branches, "weigh", broken)
    monkeypatch.setattr("lognode.engine.service.agreement.forking.weigh", broken)
    run(dialer, answerer)
    assert found(dialer) != {fork.one.feed_id: fork.common}


def test_a_search_that_gave_up_at_the_first_answer_would_find_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "SEARCH_ASKS_MAX", 1)
    fork = Fork(5, (9, 9))
    dialer, answerer = node_with(fork.founder, fork.one), node_with(fork.founder, fork.other)
    run(dialer, answerer)
    assert not found(dialer)


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_of_what_is_kept_is_found(seed: int) -> None:
    fork = Fork(5, (3, 3))
    node, other = node_with(fork.founder, fork.one), node_with(fork.founder, fork.other)
    run(node, other)
    for table, code in (("evidence", "evidence.wrong"), ("branches", "branch.wrong")):
        for (column,) in node.conn.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall():
            node.conn.execute("BEGIN")
            flip_somewhere(node.conn, table, column, random.Random(seed))
            codes = {finding.code for finding in audit(node.conn)}
            assert codes & {code, "bound.wrong", "cut.wrong"}, column
            node.conn.execute("ROLLBACK")
    node.conn.execute("DELETE FROM branches WHERE seq = 6")
    assert "branch.wrong" in {finding.code for finding in audit(node.conn)}


@pytest.mark.parametrize("first", [0, 1])
def test_proofs_that_stand_behind_each_others_forks_are_heard(first: int) -> None:
    """Each of two nodes knows of one fork, from the tail of the feed of which the other knows that it forks."""
    founder = Founder()
    p, q = founder.member(2), founder.member(3)
    for pen in (p, q):
        pen.write()
    p_other, q_other = twin(p), twin(q)
    for pen, kind in ((p, "one"), (p_other, "other"), (q, "one"), (q_other, "other")):
        pen.write(kind)
    tell(q, proof_of(p, p_other))
    tell(p_other, proof_of(q, q_other))
    x, y = node_with(founder, q), node_with(founder, p_other)
    assert x.codes(p.range()) == [3]
    assert y.codes(q_other.range()) == [3]
    assert x.book.members.forks == {p.feed_id: 2}
    assert y.book.members.forks == {q.feed_id: 2}
    nodes = (x, y) if first else (y, x)
    run(*nodes)
    run(*nodes[::-1])
    assert found(x) == {q.feed_id: 2}
    assert found(y) == {p.feed_id: 2}
    for node in (x, y):
        (proof,) = read_evidence(node.conn, node.tenant).values()
        tell(founder, proof, founder.newest)
    for node in (x, y):
        node.take(founder.range())
        assert not node.book.members.untold
        assert no_damage(node)
    assert x.clock() == y.clock()


def test_a_proof_in_what_is_refused_is_no_news_where_the_fork_is_known() -> None:
    fork = Fork()
    fork.tell()
    node = Receiver(fork.founder.tenant)
    node.take(fork.founder.range(), fork.one.range())
    tell(fork.one, proof_of(fork.one, fork.other))
    assert node.codes(fork.one.range()) == ["feed.forked"]
    assert not found(node)
