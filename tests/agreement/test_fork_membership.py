"""Membership where feeds fork: whichever history a node holds, and wherever the proof came from, it says the same."""

from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.access import Level
from lognode.core.ids import FeedId, SpanId
from lognode.engine.control.book import empty_book
from lognode.timeline.members import Control, Cut, Membership, membership
from lognode.timeline.members.history import _PARSERS as PARSERS
from tests.timeline.members.nodes import Node, World, joined, keys_of

Deeds = list[tuple[str, str, str, int]]
NAMES: Final = ("founder", "a", "b", "one", "other", "c", "d")
DEED: Final = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(("learn", "admit", "remove", "level", "open", "adopt", "invite", "by invite", "declare")),
    st.sampled_from(NAMES),
    st.integers(0, 3),
)
DEEDS: Final = st.lists(DEED, max_size=16)


def play(world: World, deeds: Deeds) -> None:
    """Nodes do what they may or may not. What `one` writes is known to nobody before it is learnt; so of the others."""
    for name, what, other, number in deeds:
        node, target = world.node(name), world.node(other)
        cuts = [(target.feed, number)] if number and target.size else []
        if what == "learn":
            node.learn(target)
        elif what == "admit" and node.keys is not target.keys:
            node.admit(other, (Level.TRUSTED, Level.ROOT)[number % 2])
        elif what == "by invite" and node.keys is not target.keys:
            node.admit(other, Level.TRUSTED, invite="ticket")
        elif what == "remove":
            node.remove(other, cuts)
        elif what == "level":
            node.set_level(other, Level(number), cuts)
        elif what == "open" and name not in {"one", "other"}:
            node.open()
        elif what == "adopt" and target.size:
            node.adopt(target.feed, number + 1)
        elif what == "invite":
            node.invite("ticket", uses=1 + number)
        elif what == "declare":
            node.declare("words")


def forked_world(before: Deeds, after: Deeds) -> tuple[World, Node, int, FeedId]:
    """A tenant in which the node called `fork` becomes two, called `one` and `other`; and where its feed forks."""
    world = World()
    joined(world, "fork", "a", "b")
    fork = world.nodes["fork"]
    play(world, [deed for deed in before if not {"one", "other"} & {deed[0], deed[2]}])
    one, other = fork.copy("one"), fork.copy("other")
    seq, feed = one.size, one.feed
    one.talk()
    other.talk(2)
    play(world, after)
    return world, one, seq, feed


def agreed(found: Membership) -> tuple[Any, ...]:
    """What all nodes must say alike."""
    return found.members, found.invites, found.certificates, found.forks, found.untold, found.let_in


def copies_of(world: World, seq: int, feed: bytes) -> tuple[list[Control], list[Control]]:
    """The spans of the forked feed by history: those that both copies wrote, each with its own."""
    one, other = world.nodes["one"], world.nodes["other"]
    mine = {id_ for id_, span in world.spans.items() if span.feed == feed and span.seq >= seq}
    return (
        [world.spans[id_] for id_ in mine if id_ in one.wrote],
        [world.spans[id_] for id_ in mine if id_ in other.wrote],
    )


@settings(max_examples=120, deadline=None)
@given(DEEDS, DEEDS, st.sampled_from(("founder", "a", "one", "c")), st.randoms())
def test_whichever_history_is_held_and_in_any_order_it_comes_to_the_same(
    before: Deeds, after: Deeds, accuser: str, chance: Any
) -> None:
    world, one, seq, feed = forked_world(before, after)
    world.node(accuser).accuse(one, seq, feed)
    told = world.founder.accuse(one, seq, feed)  # everybody has a proof that counts, if the founder's counts
    spans = list(world.spans.values())
    ones, others = copies_of(world, seq, feed)
    held_by_some = [span for span in spans if span not in others]
    held_by_others = [span for span in spans if span not in ones]
    expected = membership(world.tenant, held_by_some)
    assert expected.forks[feed] == seq
    chance.shuffle(held_by_others)
    found = membership(world.tenant, held_by_others)
    assert agreed(found) == agreed(expected)
    chance.shuffle(spans)
    both = membership(world.tenant, [*spans, *spans[::3]])
    assert agreed(both) == agreed(expected)
    for result, held in ((expected, held_by_some), (found, held_by_others), (both, spans)):
        for id_ in result.unknown:
            assert id_ in result.voids
        cut = result.cuts[feed]
        assert cut.size <= seq
        counted = {span.id: span for span in held if span.id not in result.unknown}
        assert all(span.seq < seq for span in counted.values() if span.feed == feed)
        again = membership(world.tenant, [*counted.values(), told])
        assert agreed(again)[:3] == agreed(result)[:3]


@settings(max_examples=60, deadline=None)
@given(DEEDS, DEEDS, st.randoms())
def test_what_a_book_says_to_name_and_whose_feeds_to_take_does_not_depend_on_the_history_held(
    before: Deeds, after: Deeds, chance: Any
) -> None:
    world, one, seq, feed = forked_world(before, after)
    world.founder.accuse(one, seq, feed)
    spans = list(world.spans.values())
    ones, others = copies_of(world, seq, feed)
    chance.shuffle(spans)
    books = []
    for left_out in (ones, others):
        book = empty_book(world.tenant)
        for span in spans:
            if span not in left_out:
                book = book.extended({}, [span])
        books.append(book)
    assert books[0].after(None) == books[1].after(None)
    assert books[0].authors == books[1].authors
    assert not set(books[0].after(None)) & books[0].members.unknown


def test_a_proof_counts_from_anywhere() -> None:
    """Of no member, behind a cut, behind a fork, and in the history that it is about."""
    for place in ("stranger", "cut", "forked", "itself"):
        world = World()
        fork, a = joined(world, "fork", "a")
        fork.talk(3)
        writer = a
        if place == "stranger":
            writer = world.node("nobody")
        elif place == "cut":
            world.founder.remove("a", [(a.feed, a.size)])
        elif place == "forked":
            a.talk(2)
            world.founder.accuse(a, a.size)
        elif place == "itself":
            writer = fork
        found = writer.accuse(fork, 2)
        result = world.result()
        assert result.forks[fork.feed] == 2, place
        assert result.cuts[fork.feed] == Cut(2, "feed.forked")
        assert result.voids.keys() >= {found.id}
        assert (fork.feed in result.untold) == (place != "cut"), place
        if place != "cut":
            world.founder.accuse(fork, 2)
            assert fork.feed not in world.result().untold
            assert world.result().members == result.members


def test_the_smallest_place_of_several_proofs_counts() -> None:
    world = World()
    (fork,) = joined(world, "fork")
    fork.talk(9)
    world.founder.accuse(fork, 7)
    assert world.result().forks == {fork.feed: 7}
    world.node("nobody").accuse(fork, 4)
    assert world.result().forks == {fork.feed: 4}
    assert world.result().untold == {fork.feed}
    world.founder.accuse(fork, 5)
    assert world.result().untold == {fork.feed}
    world.founder.accuse(fork, 4)
    assert world.result().untold == frozenset()
    assert world.result().forks == {fork.feed: 4}


def test_who_is_let_in_behind_a_fork_alone_is_unknown_and_what_it_wrote_too() -> None:
    world = World()
    (fork,) = joined(world, "fork")
    seq = fork.size
    fork.admit("late", Level.ROOT)
    late = world.nodes["late"]
    late.open()
    span = late.invite("ticket")
    assert world.level("late") == Level.ROOT
    world.founder.accuse(fork, seq)
    result = world.result()
    assert keys_of("late").public not in result.members
    assert keys_of("late").public not in result.let_in
    assert result.cuts[late.feed] == Cut(0, "member.unknown")
    assert result.voids[span.id] == "member.unknown"
    assert not result.invites
    world.founder.admit("late", Level.ROOT)
    assert late.feed not in world.result().cuts or world.level("late") == Level.ROOT


def test_an_adoption_raises_no_fork() -> None:
    world = World()
    (fork,) = joined(world, "fork")
    fork.talk(9)
    world.founder.accuse(fork, 3)
    world.founder.adopt(fork.feed, 9)
    assert world.result().cuts[fork.feed] == Cut(3, "feed.forked")


def test_a_smaller_cut_stands() -> None:
    world = World()
    (fork,) = joined(world, "fork")
    fork.talk(9)
    world.founder.accuse(fork, 7)
    world.founder.remove("fork", [(fork.feed, 3)])
    assert world.result().cuts[fork.feed] == Cut(3, "member.removed")


def test_a_tenant_whose_founder_forked_is_one_still() -> None:
    world = World()
    (a,) = joined(world, "a")
    a.accuse(world.founder, 0)
    result = world.result()
    assert result.level(world.founder.keys.public) == Level.ROOT
    assert result.forks[world.founder.feed] == 2
    assert set(result.members) == {world.founder.keys.public}


def test_a_proof_that_fails_is_void_and_accuses_nobody() -> None:
    world = World()
    fork, a = joined(world, "fork", "a")
    true = a.accuse(fork, 3)
    del world.spans[true.id]
    false = a.write("feed.fork", lambda _: true.data[:-1] + bytes([true.data[-1] ^ 1]))
    result = world.result()
    assert result.voids[false.id] == "fork.invalid"
    assert not result.forks


def test_order_of_arrival_changes_nothing_where_nothing_counts() -> None:
    """Without a founding there is an answer too."""
    world = World()
    (fork,) = joined(world, "fork")
    world.founder.accuse(fork, 1)
    spans = [span for span in world.spans.values() if span.kind != "tenant.create"]
    for turn in range(20):
        turned = [*spans[turn % len(spans) :], *spans[: turn % len(spans)]]
        assert membership(world.tenant, turned) == membership(world.tenant, spans)
        assert membership(world.tenant, turned).forks == {fork.feed: 1}


def left_alone(world: World) -> bool:
    """Whether a node keeps its feed though what it knew came from the tail of a feed that forks then."""
    fork, a = joined(world, "fork", "a")
    world.founder.admit("b", Level.ROOT)
    seq = fork.size
    fork.learn(world.founder).invite("ticket")
    b = world.nodes["b"].learn(fork)
    b.open()
    a.learn(fork).invite("token")
    a.accuse(fork, seq)
    result = world.result()
    assert b.keys.public in result.members
    return b.feed not in result.cuts


def test_a_fork_takes_from_nobody_what_led_through_its_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node names the newest of every feed. If it named the least, one hostile feed could void all the others."""
    assert left_alone(World())

    def least(node: Node) -> list[SpanId]:
        named = {link for span in node.known.values() for link in PARSERS[span.kind](span.data).after}
        return sorted(node.known.keys() - named)

    monkeypatch.setattr(Node, "newest", least)
    assert not left_alone(World())


@settings(max_examples=60, deadline=None)
@given(DEEDS, DEEDS)
def test_what_a_book_names_leads_to_all_that_is_known_of_any_feed_without_the_others(
    before: Deeds, after: Deeds
) -> None:
    world, one, seq, feed = forked_world(before, after)
    world.founder.accuse(one, seq, feed)
    book = empty_book(world.tenant).extended({}, world.spans.values())
    counted = [span for id_, span in book.controls.items() if id_ not in book.members.unknown]
    own = world.founder.feed
    for writing in (None, own):
        named = {book.controls[id_] for id_ in book.after(writing) if id_ in book.controls}
        for span in counted if writing else ():
            if span.feed == own:
                links = PARSERS[span.kind](span.data).after if span.kind in PARSERS else []
                named |= {book.controls[link] for link in links if link in book.controls}
        for span in counted:
            assert span.feed == writing or any(link.feed == span.feed and link.seq >= span.seq for link in named)


@settings(max_examples=40, deadline=None)
@given(DEEDS, DEEDS)
def test_a_proof_that_stands_in_no_span_yet_counts_as_one_that_a_stranger_wrote(before: Deeds, after: Deeds) -> None:
    world, one, seq, feed = forked_world(before, after)
    spans = list(world.spans.values())
    alone = membership(world.tenant, spans, {feed: seq})
    world.node("nobody").accuse(one, seq, feed)
    assert agreed(alone) == agreed(world.result())
    assert alone.untold == {feed}
