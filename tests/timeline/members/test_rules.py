"""Who may do what: one rule a test, on small tenants."""

import pytest

from lognode.core.access import Level
from lognode.timeline.members import membership
from tests.timeline.members.nodes import World, joined, keys_of, meet


def test_a_founder_is_root_and_alone() -> None:
    world = World()
    founder = world.founder
    result = world.result()
    assert result.level(founder.keys.public) == Level.ROOT
    assert list(result.authors) == [founder.keys.public]
    assert not result.voids
    assert not result.cuts
    member = result.members[founder.keys.public]
    assert (member.admitted_by, member.removed) == (None, False)
    assert result.certificates == {member.certificate: founder.keys.public}


def test_nobody_is_a_member_before_the_founding_is_known() -> None:
    world = World()
    span = world.founder.admit("a")
    result = membership(world.tenant, [span])
    assert not result.members
    assert result.voids == {span.id: "tenant.unknown"}


@pytest.mark.parametrize("level", [Level.OBSERVER, Level.TRUSTED, Level.ROOT])
def test_an_admitted_node_has_the_level_that_it_was_admitted_with(level: Level) -> None:
    world = World()
    world.founder.admit("a", level)
    assert world.level("a") == level
    assert world.result().members[keys_of("a").public].admitted_by == world.founder.keys.public


def test_only_roots_admit() -> None:
    world = World()
    (trusted,) = joined(world, "a", level=Level.TRUSTED)
    span = trusted.admit("b")
    assert world.void(span) == "member.not_root"
    assert world.level("b") == Level.BLOCKED


def test_an_admission_counts_for_the_server_that_the_joiner_named_alone() -> None:
    world = World()
    joined(world, "a")
    assert world.void(world.founder.admit("b", server="a")) == "binding.invalid"


def test_a_removed_member_is_none_and_its_feeds_end_where_the_removal_says() -> None:
    world = World()
    (node,) = joined(world, "a")
    kept = node.admit("b")
    world.founder.learn(node).remove("a")
    gone = node.admit("c")
    result = world.result()
    assert result.members[node.keys.public].removed
    assert result.cuts[node.feed] == (2, "member.removed")
    assert kept.id not in result.voids
    assert result.voids[gone.id] == "member.removed"
    assert world.level("b") == Level.ROOT
    assert world.level("c") == Level.BLOCKED


def test_an_observer_has_no_feed() -> None:
    world = World()
    (node,) = joined(world, "a", level=Level.OBSERVER)
    assert world.result().cuts[node.feed] == (0, "member.observer")


def test_a_raised_observer_writes_into_a_new_feed() -> None:
    world = World()
    (node,) = joined(world, "a", level=Level.OBSERVER)
    old = node.feed
    world.founder.set_level("a", Level.TRUSTED, [])
    meet(world.nodes.values())
    node.open()
    assert world.result().cuts.keys() == {old}


def test_roots_alone_set_policies_and_the_newest_by_what_its_author_knew_holds() -> None:
    world = World()
    (a,) = joined(world, "a")
    (trusted,) = joined(world, "trusted", level=Level.TRUSTED)
    assert world.void(trusted.learn(world.founder).set_policy("price.set", "manual")) == "member.not_root"
    assert world.result().policies == {}
    world.founder.set_policy("price.set", "manual")
    a.learn(world.founder).set_policy("price.set", "latest")
    assert world.result().policies == {"price.set": "latest"}


def test_of_two_policies_that_know_nothing_of_each_other_the_greater_id_holds() -> None:
    world = World()
    (a,) = joined(world, "a")
    said = {
        a.set_policy("price.set", "manual").id: "manual",
        world.founder.set_policy("price.set", "latest").id: "latest",
    }
    assert world.result().policies == {"price.set": said[max(said)]}


def test_a_policy_beyond_a_cut_does_not_count() -> None:
    world = World()
    (a,) = joined(world, "a")
    a.set_policy("price.set", "manual")
    world.founder.learn(a).remove("a")
    a.set_policy("order.paid", "manual")
    assert world.result().policies == {"price.set": "manual"}
