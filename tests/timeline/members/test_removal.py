"""Removals, levels and cuts: what ends, where, and by whom. Each law has a broken variant that must fail."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from lognode.core.access import Level
from lognode.timeline.members import contest, membership, ruling
from lognode.timeline.members.standing import Standing
from tests.timeline.members.nodes import World, joined, keys_of, meet

# --- seniority


def test_a_root_removes_those_below_it_and_nobody_beside_or_above() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    (c,) = joined(world, "c", by="a")
    meet(world.nodes.values())
    assert world.void(b.remove("a")) == "member.not_senior"
    assert world.void(c.remove("a")) == "member.not_senior"
    assert world.void(a.remove("founder")) == "member.not_senior"
    assert world.void(a.remove("c")) is None
    assert world.roots() == {"founder", "a", "b"}


def test_whoever_made_the_invite_is_senior_too() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    invite = a.invite("ticket")
    b.learn(a).admit("c", invite="ticket")
    meet(world.nodes.values())
    assert world.void(invite) is None
    assert world.void(a.remove("c")) is None


def test_a_readmitted_root_is_not_senior_to_whom_it_once_let_in_if_that_one_let_it_in() -> None:
    world = World()
    (a,) = joined(world, "a")
    (b,) = joined(world, "b", by="a")
    meet(world.nodes.values())
    world.founder.remove("a")
    b.learn(world.founder)
    b.admit("a")
    a.open()
    assert world.level("a") == Level.ROOT
    assert world.void(a.remove("b")) == "member.not_senior"
    assert world.void(b.learn(a).remove("a")) is None


def plot_of_a_stolen_junior() -> tuple[World, set[str]]:
    """A tenant of four, and what a thief of one junior root tries, alone and with roots that it makes up."""
    world = World()
    joined(world, "a", "b")
    (thief,) = joined(world, "thief", by="a")
    meet(world.nodes.values())
    honest = world.roots() - {"thief"}
    gang = joined(world, *[f"sybil {number}" for number in range(9)], by="thief")
    for node in (thief, *gang):
        node.open()  # a past of its own choice, without the removals by the others
        for name in sorted(honest):
            node.remove(name, [])
            node.set_level(name, Level.OBSERVER, [])
    return world, honest


def test_a_stolen_junior_root_cannot_empty_the_tenant() -> None:
    world, honest = plot_of_a_stolen_junior()
    assert honest <= world.roots()
    assert not [cut for cut in world.result().cuts.values() if cut.size == 0]


def test_it_could_if_every_root_had_a_vote(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_roots(roots: contest.Roots, _target: bytes) -> set[bytes]:
        return set().union(*roots.by_line.values())

    monkeypatch.setattr(contest, "electorate", all_roots)
    world, honest = plot_of_a_stolen_junior()
    assert not honest & world.roots()


def test_it_could_if_every_root_were_senior(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Standing, "is_senior", lambda *_: True)
    world, honest = plot_of_a_stolen_junior()
    assert not honest <= world.roots()


def test_the_owner_of_the_key_gets_the_thief_out() -> None:
    world, honest = plot_of_a_stolen_junior()
    a = world.nodes["a"]
    a.remove("thief", [])
    assert world.roots() == honest


# --- cuts


def backdated() -> tuple[World, str | None]:
    """What becomes of an act that a removed root writes as if it had not known of its removal."""
    world = World()
    a, _ = joined(world, "a", "b")
    world.founder.remove("a")
    late = a.admit("friend")
    return world, world.void(late)


def test_what_stands_beyond_a_cut_is_void_whatever_it_claims() -> None:
    world, reason = backdated()
    assert reason == "member.removed"
    assert world.level("friend") == Level.BLOCKED


def test_it_would_stand_if_only_pasts_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ruling.Ruling, "_find_cut", lambda *_: None)
    world, reason = backdated()
    assert reason is None
    assert world.level("friend") == Level.ROOT


def test_feeds_that_a_removal_does_not_name_go_whole() -> None:
    world = World()
    (a,) = joined(world, "a")
    old = a.feed
    a.open()
    world.founder.remove("a", [(old, 1)])
    cuts = world.result().cuts
    assert (cuts[old].size, cuts[a.feed].size) == (1, 0)


def test_of_removals_that_know_nothing_of_each_other_the_smaller_cut_counts() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    c = world.node("c")
    a.invite("ticket")
    b.learn(a).admit("c", invite="ticket")
    meet(world.nodes.values())
    c.open()
    c.talk(10)
    a.learn(c)
    b.learn(c)
    a.remove("c", [(c.feed, 7)])
    b.remove("c", [(c.feed, 4)])
    assert world.result().cuts[c.feed] == (4, "member.removed")


def test_a_removal_cuts_no_feed_of_another() -> None:
    world = World()
    _, b = joined(world, "a", "b")
    world.founder.remove("a", [(b.feed, 1)])
    assert b.feed not in world.result().cuts


def test_a_senior_may_adopt_more_of_a_cut_feed() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    a.talk(10)
    early = world.founder.adopt(a.feed, 9)
    world.founder.remove("a", [(a.feed, 2)])
    assert world.result().cuts[a.feed].size == 2  # the adoption did not know of the cut
    meet(world.nodes.values())
    assert world.void(b.adopt(a.feed, 9)) == "member.not_senior"
    assert world.void(a.adopt(a.feed, 9)) == "member.removed"
    later = world.founder.adopt(a.feed, 8)
    assert world.void(early) is None
    assert world.void(later) is None
    assert world.result().cuts[a.feed] == (8, "member.removed")


def test_an_unknown_feed_is_not_adopted() -> None:
    world = World()
    span = world.founder.adopt(world.founder.feed[::-1], 5)  # type: ignore[arg-type]
    assert world.void(span) == "feed.unknown"


def test_a_removed_member_that_returns_opens_a_new_feed() -> None:
    world = World()
    (a,) = joined(world, "a")
    old = a.feed
    world.founder.remove("a", [(old, 1)])
    world.founder.admit("a", Level.TRUSTED)
    a.open()
    result = world.result()
    assert result.level(a.keys.public) == Level.TRUSTED
    assert result.cuts == {old: (1, "member.removed")}


def test_a_removal_that_did_not_know_of_the_return_ends_it_too() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    c = joined(world, "c", by="b")[0]
    meet(world.nodes.values())
    world.founder.remove("c")
    b.learn(world.founder)
    a.learn(world.founder)
    world.founder.remove("c", [])
    b.admit("c")
    c.open()
    assert world.level("c") == Level.BLOCKED
    assert world.result().cuts[c.feed].size == 0


def test_a_lower_level_ends_the_feeds_and_a_new_one_goes_on() -> None:
    world = World()
    (a,) = joined(world, "a")
    old = a.feed
    kept = a.admit("b")
    world.founder.learn(a).set_level("a", Level.TRUSTED)
    late = a.admit("c")
    a.learn(world.founder).open()
    result = world.result()
    assert result.cuts == {old: (2, "member.lowered")}
    assert (result.voids.get(kept.id), result.voids.get(late.id)) == (None, "member.lowered")
    assert world.void(a.admit("d")) == "member.not_root"


def test_a_member_lowered_to_observer_writes_no_more() -> None:
    world = World()
    (a,) = joined(world, "a")
    world.founder.set_level("a", Level.OBSERVER, [(a.feed, 1)])
    a.learn(world.founder).open()
    result = world.result()
    assert result.level(a.keys.public) == Level.OBSERVER
    assert result.cuts[a.feed] == (0, "member.observer")


def test_a_blocked_member_is_one_still_and_is_not_admitted_again() -> None:
    world = World()
    joined(world, "a")
    world.founder.set_level("a", Level.BLOCKED, [])
    member = world.result().members[keys_of("a").public]
    assert (member.level, member.removed) == (Level.BLOCKED, False)
    assert member.certificate not in world.result().certificates
    assert world.void(world.founder.admit("a")) == "member.exists"


def test_levels_that_change_nothing_are_void() -> None:
    world = World()
    joined(world, "a")
    assert world.void(world.founder.set_level("a", Level.ROOT)) == "member.same_level"
    assert world.void(world.founder.set_level("nobody", Level.ROOT)) == "member.unknown"
    assert world.void(world.founder.remove("nobody")) == "member.unknown"


def test_of_levels_that_know_nothing_of_each_other_the_lowest_holds() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    a.invite("ticket", level=Level.TRUSTED)
    b.learn(a).admit("c", Level.TRUSTED, invite="ticket")
    meet(world.nodes.values())
    a.set_level("c", Level.ROOT)
    b.set_level("c", Level.OBSERVER, [])
    assert world.level("c") == Level.OBSERVER


def test_a_node_may_leave_and_may_lower_itself() -> None:
    world = World()
    a, b = joined(world, "a", "b", level=Level.TRUSTED)
    a.talk(3)
    left = a.remove("a", [])
    lowered = b.set_level("b", Level.OBSERVER)
    assert world.void(b.set_level("b", Level.ROOT)) == "member.lowered"
    result = world.result()
    assert (result.voids.get(left.id), result.voids.get(lowered.id)) == (None, None)
    assert result.cuts[a.feed] == (left.seq + 1, "member.removed")
    assert result.members[a.keys.public].removed


# --- of two that remove each other


def quarrel() -> World:
    """The founder and a junior remove each other, neither knowing of the other's act."""
    world = World()
    (a,) = joined(world, "a")
    world.founder.remove("a", [(a.feed, 1)])
    a.remove("founder", [(world.founder.feed, 2)])
    return world


def test_of_two_that_remove_each_other_the_seniors_act_stands() -> None:
    assert quarrel().roots() == {"founder"}


def rivals() -> tuple[World, set[str]]:
    """A chain of five, in which each removes the one above and the one below, all at once."""
    world = World()
    names = ["founder", "a", "b", "c", "d"]
    for above, name in pairwise(names):
        joined(world, name, by=above)
    meet(world.nodes.values())
    for place, name in enumerate(names):
        for other in names[place + 1 :: -1][::2]:
            if other != name:
                world.nodes[name].remove(other, [(world.nodes[other].feed, 2)])
    return world, world.roots()


def test_a_chain_of_removals_is_settled_from_above() -> None:
    """The founder removes a, so that a's removal of b is void, b's of c stands, and d is left."""
    assert rivals()[1] == {"founder", "b", "d"}


def test_it_would_come_out_otherwise_if_all_ranks_were_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    add = ruling.Ruling.add_cutter

    def flat(self: ruling.Ruling, *arguments: object) -> None:
        add(self, *arguments)  # type: ignore[arg-type]
        for number, cutter in self.cutters.items():
            self.cutters[number] = cutter._replace(rank=(0, 0))

    monkeypatch.setattr(ruling.Ruling, "add_cutter", flat)
    assert rivals()[1] != {"founder", "b", "d"}


# --- the same for all


@pytest.mark.parametrize("make", [quarrel, lambda: rivals()[0], lambda: plot_of_a_stolen_junior()[0]])
def test_the_order_of_arrival_changes_nothing(make: Callable[[], World]) -> None:
    world = make()
    spans = list(world.spans.values())
    expected = membership(world.tenant, spans)
    for order in (spans[::-1], spans[1::2] + spans[::2], sorted(spans), spans + spans):
        assert membership(world.tenant, order) == expected


def test_a_removal_may_be_followed_by_one_that_cuts_deeper() -> None:
    """Its author learns later when the key was stolen."""
    world = World()
    (a,) = joined(world, "a")
    a.talk(9)
    world.founder.remove("a", [(a.feed, 8)])
    assert world.void(world.founder.remove("a", [(a.feed, 3)])) is None
    assert world.result().cuts[a.feed].size == 3
