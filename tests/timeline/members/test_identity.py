"""Rotation, recovery and revocation."""

from hashlib import sha256

import pytest

from lognode.core.access import Level
from lognode.timeline.members import contest, membership, settlement
from lognode.timeline.members.ruling import Rotation
from tests.timeline.members.nodes import Node, World, joined, keys_of, meet


def test_a_rotated_node_keeps_level_and_seniority() -> None:
    world = World()
    a, _ = joined(world, "a", "b")
    joined(world, "c", by="a")
    old = a.feed
    rotated = a.rotate("a2")
    late = a.invite("ticket")
    a2 = world.nodes["a2"]
    a2.open()
    result = world.result()
    assert result.voids == {late.id: "identity.rotated"}
    assert result.cuts == {old: (rotated.seq + 1, "identity.rotated")}
    member = result.members[a.keys.public]
    assert (member.removed, member.successor) == (True, a2.keys.public)
    assert result.level(a2.keys.public) == Level.ROOT
    assert result.members[a2.keys.public].admitted_by == world.founder.keys.public
    assert result.certificates[result.members[a2.keys.public].certificate] == a2.keys.public
    meet(world.nodes.values())
    assert world.void(a2.remove("c")) is None
    assert world.void(world.founder.remove("a2")) is None


def test_a_rotated_founder_is_above_all_still() -> None:
    world = World()
    a, _ = joined(world, "a", "b")
    world.founder.rotate("new")
    new = world.nodes["new"]
    new.open()
    meet(world.nodes.values())
    assert world.void(new.remove("a")) is None
    assert world.void(a.remove("new")) == "member.removed"
    new.admit("c")
    assert world.level("c") == Level.ROOT


def test_all_other_feeds_of_the_old_key_end_where_the_rotation_says() -> None:
    world = World()
    (a,) = joined(world, "a")
    old = a.feed
    a.open()
    a.rotate("a2", cuts=[(old, 1)])
    cuts = world.result().cuts
    assert (cuts[old].size, cuts[a.feed].size) == (1, 2)


def test_only_the_old_key_and_recovery_keys_rotate() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    assert world.void(b.rotate("b2", old="a")) == "binding.invalid"
    assert world.void(a.rotate("a2", recovery="guess")) == "binding.invalid"
    assert world.void(a.rotate("b")) == "member.exists"
    assert world.level("a") == Level.ROOT


def test_nobody_rotates_who_is_no_member() -> None:
    world = World()
    (a,) = joined(world, "a")
    world.founder.remove("a", [(a.feed, 1)])
    assert world.void(a.learn(world.founder).rotate("a2")) == "member.removed"
    assert world.level("a2") == Level.BLOCKED


def test_a_rotated_key_is_not_admitted_again() -> None:
    world = World()
    (a,) = joined(world, "a")
    a.rotate("a2")
    world.founder.learn(a)
    assert world.void(world.founder.admit("a")) == "identity.rotated"


def test_of_two_rotations_at_once_the_smaller_hash_wins() -> None:
    world = World()
    (a,) = joined(world, "a")
    a.rotate("x", cuts=[])
    first = a.feed
    a.known = {span.id: span for span in a.known.values() if span.kind != "identity.rotate"}
    a.open()
    a.rotate("y", cuts=[(first, 9)])
    order = sorted("xy", key=lambda name: sha256(a.keys.public + keys_of(name).public).digest())
    result = world.result()
    assert result.level(keys_of(order[0]).public) == Level.ROOT
    assert result.level(keys_of(order[1]).public) == Level.BLOCKED
    spans = list(world.spans.values())
    assert membership(world.tenant, spans[::-1]) == result


def test_a_recovery_key_declared_first_stands_against_a_thief() -> None:
    world = World()
    (a,) = joined(world, "a")
    assert world.void(a.declare("words")) is None
    assert world.void(a.declare("of the thief")) == "identity.declared"
    assert world.void(a.declare("of the thief", former="of the thief")) == "identity.declared"
    assert world.void(a.declare("more words", former="words")) is None
    member = world.result().members[a.keys.public]
    assert len(member.recovery_keys) == 1
    assert world.void(a.revoke("a", "words")) == "binding.invalid"
    assert world.void(a.revoke("a", "more words")) is None


def test_a_node_declares_for_itself_alone() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    span = a.declare("words")
    other = b.write("identity.recovery", lambda _after: span.data)
    assert world.void(other) == "binding.invalid"


def theft() -> World:
    """A thief rotates a node with its key; the owner takes it back with the recovery key, through another member."""
    world = World()
    a, b = joined(world, "a", "b")
    a.declare("words")
    meet(world.nodes.values())
    a.rotate("thief")
    thief = world.nodes["thief"]
    thief.open()
    thief.admit("friend")
    b.learn(thief)
    b.rotate("owner", recovery="words", old="a", cuts=[(a.feed, 2)])
    return world


def test_a_rotation_by_the_recovery_key_beats_any_by_the_old_key() -> None:
    world = theft()
    assert world.level("owner") == Level.ROOT
    assert [world.level(name) for name in ("a", "thief", "friend")] == [Level.BLOCKED] * 3
    owner = world.nodes["owner"]
    owner.open()
    assert world.void(owner.admit("c")) is None
    spans = list(world.spans.values())
    assert membership(world.tenant, spans[::-1]) == world.result()


def test_it_would_not_if_hashes_alone_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    outdone = contest._outdone

    def blind(old_key: bytes, rotations: list[Rotation]) -> dict[int, str]:
        return outdone(old_key, [held._replace(is_recovery=False) for held in rotations])

    monkeypatch.setattr(contest, "_outdone", blind)
    world = World()
    a, b = joined(world, "a", "b")
    a.declare("words")
    meet(world.nodes.values())
    best = min(range(99), key=lambda number: sha256(a.keys.public + keys_of(f"thief {number}").public).digest())
    a.rotate(f"thief {best}")
    b.rotate("owner", recovery="words", old="a", cuts=[(a.feed, 9)])
    assert world.level("owner") == Level.BLOCKED


def test_the_recovery_key_goes_on_with_the_node() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    a.declare("words")
    a.rotate("a2")
    a2 = world.nodes["a2"]
    a2.open()
    assert world.void(a2.declare("others")) == "identity.declared"
    b.learn(a2)
    assert world.void(b.revoke("a2", "words", [(a2.feed, 1)])) is None
    result = world.result()
    assert result.members[a2.keys.public].removed
    assert result.cuts[a2.feed] == (1, "identity.revoked")


def test_a_revocation_counts_in_anybodys_feed_and_against_a_founder_too() -> None:
    world = World()
    (a,) = joined(world, "a", level=Level.TRUSTED)
    founder = world.founder
    founder.declare("words")
    a.learn(founder)
    assert world.void(a.revoke("founder", "words", [(founder.feed, 4)])) is None
    late = founder.admit("friend")
    assert world.void(late) == "identity.revoked"
    assert world.level("founder") == Level.BLOCKED
    assert world.void(a.revoke("nobody", "words")) == "member.unknown"


def test_what_a_recovery_key_said_is_not_said_again_by_another() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    a.declare("words")
    meet(world.nodes.values())
    revoked = a.revoke("a", "words")
    world.founder.learn(a).admit("a")
    meet(world.nodes.values())
    assert world.void(b.write("identity.revoke", lambda _after: revoked.data)) == "binding.invalid"
    assert world.level("a") == Level.ROOT


def replaced_words() -> World:
    """The founder gave up its first words for others; who found them has a member's key too, and dates them back."""
    world = World()
    founder = world.founder
    founder.declare("lost words")
    (thief,) = joined(world, "thief", level=Level.TRUSTED)
    founder.declare("words", former="lost words")
    thief.open()
    thief.revoke("founder", "lost words", [])
    return world


def test_a_recovery_key_that_was_given_up_does_nothing_whatever_the_past_it_claims() -> None:
    world = replaced_words()
    founder, thief = world.founder, world.nodes["thief"]
    assert world.level("founder") == Level.ROOT
    assert list(world.result().voids.values()) == ["identity.replaced"]
    assert world.void(thief.rotate("friend", recovery="lost words", old="founder")) == "identity.replaced"
    thief.learn(founder)
    assert world.void(thief.revoke("founder", "words", [(founder.feed, founder.size)])) is None
    assert world.level("founder") == Level.BLOCKED


def test_it_would_if_pasts_alone_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "losers", lambda _ruling: {})
    assert replaced_words().level("founder") == Level.BLOCKED


def test_what_a_recovery_key_said_before_it_was_given_up_stands() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    a.declare("words")
    b.learn(a)
    said = b.rotate("a2", recovery="words", old="a", cuts=[(a.feed, a.size)])
    a2 = world.nodes["a2"]
    a2.learn(b).open()
    assert world.void(a2.declare("others", former="words")) is None
    assert world.void(said) is None
    assert world.level("a2") == Level.ROOT


def test_two_recovery_keys_declared_at_once_both_revoke() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    before = dict(a.known)
    a.declare("words")
    a.known = before
    a.open()
    a.declare("of the thief")
    b.learn(a, *world.spans.values())
    assert len(world.result().members[a.keys.public].recovery_keys) == 2
    assert world.void(b.revoke("a", "words")) is None


def test_a_revocation_holds_though_it_cuts_off_the_declaration_of_its_key() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    a.declare("words")
    b.learn(a)
    assert world.void(b.revoke("a", "words", [])) is None
    assert world.level("a") == Level.BLOCKED
    assert world.result().members[a.keys.public].removed


def test_a_recovery_that_cuts_off_the_declaration_of_its_key_holds_too() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    a.declare("words")
    b.learn(a)
    assert world.void(b.rotate("a2", recovery="words", old="a", cuts=[])) is None
    assert (world.level("a"), world.level("a2")) == (Level.BLOCKED, Level.ROOT)


def test_a_revocation_holds_though_the_feed_that_brought_it_is_cut_later() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    (carrier,) = joined(world, "carrier", by="b", level=Level.TRUSTED)
    a.declare("words")
    carrier.learn(a)
    said = carrier.revoke("a", "words")
    b.remove("carrier", [(carrier.feed, 1)])  # by a node that has not heard of it
    assert world.level("a") == Level.BLOCKED
    assert world.void(said) == "member.removed"  # as an entry; what it did stands
    assert a.feed in world.result().cuts


def test_a_thief_that_rotates_or_leaves_outruns_no_revocation() -> None:
    def rotate(thief: Node) -> None:
        thief.rotate("friend")

    def leave(thief: Node) -> None:
        thief.remove("a", [])

    for flee in (rotate, leave):
        world = World()
        a, b = joined(world, "a", "b")
        a.declare("words")
        b.learn(a)
        flee(a)
        a.open()
        flee(a)
        b.revoke("a", "words", [(a.feed, 1)])
        assert world.level("a") == world.level("friend") == Level.BLOCKED


def test_leaving_twice_is_leaving() -> None:
    world = World()
    (a,) = joined(world, "a")
    before = dict(a.known)
    a.remove("a", [])
    a.known = before
    a.open()
    a.remove("a", [])
    assert world.result().members[a.keys.public].removed
    world.founder.learn(a, *world.spans.values()).admit("a")
    a.open()
    assert a.feed not in world.result().cuts


def test_a_recovery_of_whom_is_no_member_any_more_is_void() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    a.declare("words")
    a.remove("a")
    b.learn(a)
    assert world.void(b.rotate("a2", recovery="words", old="a")) == "member.unknown"
