"""Electorates: how roots decide about a senior, and what no number of keys can do."""

import pytest

from lognode.core.access import Level
from lognode.timeline.members import contest, membership, ruling
from lognode.timeline.members import settlement as whole
from lognode.timeline.members.cuts import Counted, Cutter
from lognode.timeline.members.history import History, read_history
from tests.timeline.members.nodes import World, joined, keys_of, meet


def vote(world: World, against: str, *voters: str, cuts: list[tuple[bytes, int]] | None = None) -> list[str | None]:
    spans = [world.nodes[name].remove(against, cuts) for name in voters]  # type: ignore[arg-type]
    result = world.result()
    return [result.voids.get(span.id) for span in spans]


def test_a_senior_falls_by_more_than_half_of_its_electorate() -> None:
    world = World()
    joined(world, "a", "b", "c")
    assert vote(world, "founder", "a", "b") == ["member.not_senior"] * 2  # two of four
    assert world.level("founder") == Level.ROOT
    assert vote(world, "founder", "c") == [None]
    assert world.roots() == {"a", "b", "c"}
    founder = world.founder
    assert world.result().cuts[founder.feed] == (founder.size, "member.removed")
    assert world.void(founder.admit("friend")) == "member.removed"


def test_a_poll_is_open_until_more_than_half_have_voted() -> None:
    world = World()
    joined(world, "a", "b", "c")
    joined(world, "d", by="a")
    meet(world.nodes.values())
    assert world.result().polls == {}
    vote(world, "founder", "a", "b", "d")  # the vote of d, whom a junior of the founder let in, is none
    keys = {name: keys_of(name).public for name in ("founder", "a", "b", "c")}
    (poll,) = world.result().polls.values()
    assert set(poll.voters) == {keys["a"], keys["b"]}
    assert set(poll.electors) == set(keys.values())
    assert poll.needed == 3
    vote(world, "founder", "c")
    assert world.result().polls == {}


def test_a_vote_cast_twice_is_one() -> None:
    world = World()
    joined(world, "a", "b", "c")
    assert vote(world, "founder", "a", "a", "b") == ["member.not_senior"] * 3


def test_a_majority_lets_go_of_what_more_than_half_of_it_let_go() -> None:
    world = World()
    joined(world, "a", "b", "c")
    founder = world.founder
    founder.talk(50)
    for name, size in (("a", 5), ("b", 40), ("c", 20)):
        world.nodes[name].remove("founder", [(founder.feed, size)])
    assert world.result().cuts[founder.feed] == (40, "member.removed")


def test_roots_that_a_junior_let_in_have_no_vote() -> None:
    world = World()
    joined(world, "a", "b")
    joined(world, "c", "d", "e", by="a")
    meet(world.nodes.values())
    vote(world, "founder", "a", "c", "d", "e")
    assert world.level("founder") == Level.ROOT
    vote(world, "founder", "b")
    assert world.level("founder") == Level.BLOCKED


def test_the_electorate_of_a_member_is_itself_its_seniors_and_whom_these_let_in() -> None:
    world = World()
    joined(world, "a", "b")
    joined(world, "c", by="a")
    joined(world, "d", by="c")
    joined(world, "e", by="b")
    ruled = whole._settle(read_history(world.tenant, list(world.spans.values()), {}), [], whole.Judgings())
    electors = contest.electorate(contest._find_roots(ruled), keys_of("c").public)
    assert electors == {keys_of(name).public for name in ("founder", "a", "b", "c", "d")}


def old_keys_gather() -> World:
    """Three roots, removed one by one, whose keys come to one thief: it votes as if it knew of no removal."""
    world = World()
    joined(world, "a", "b", "c", "d")
    for name in ("a", "b", "c"):
        world.founder.remove(name)
    vote(world, "founder", "a", "b", "c")
    return world


def test_keys_of_removed_members_depose_nobody() -> None:
    assert old_keys_gather().roots() == {"founder", "d"}


def test_they_would_if_votes_were_counted_before_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = whole._settle

    def hasty(history: History, decided: list[Cutter], judgings: whole.Judgings) -> ruling.Ruling:
        if decided:
            return settle(history, decided, judgings)
        return whole._rule(history, Counted({}, {}, decided, {}), judgings)

    monkeypatch.setattr(whole, "_settle", hasty)
    monkeypatch.setattr(contest, "electorate", lambda roots, _target: set(roots.ruling.standing.keys))
    assert "founder" not in old_keys_gather().roots()


def test_who_comes_back_in_knowledge_of_some_votes_only_writes_no_more() -> None:
    """A friend admits the founder again, as if there had been one vote alone; void until more than half have voted."""
    world = World()
    joined(world, "a", "b", "c", "friend")
    one = world.nodes["a"].remove("founder")
    friend, founder = world.nodes["friend"], world.founder
    again = friend.learn(one).admit("founder")
    founder.open()
    vote(world, "founder", "b", "c")
    assert world.void(again) is None
    assert world.level("founder") == Level.BLOCKED
    assert world.result().cuts[founder.feed] == (0, "member.removed")


def test_a_majority_does_not_hold_against_a_senior_that_acts() -> None:
    """What the protocol says of it: there, recovery keys help."""
    world = World()
    joined(world, "a", "b", "c")
    vote(world, "founder", "a", "b", "c")
    for name in "abc":
        world.founder.remove(name)
    assert world.roots() == {"founder"}


def test_the_order_of_arrival_changes_no_decision() -> None:
    world = World()
    joined(world, "a", "b", "c")
    vote(world, "founder", "a", "b", "c")
    spans = list(world.spans.values())
    for order in (spans[::-1], spans[1::2] + spans[::2]):
        assert membership(world.tenant, order) == world.result()
