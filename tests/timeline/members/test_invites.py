"""Invites: who gets in by them, and who does not."""

from collections.abc import Callable
from hashlib import sha256

import pytest

from lognode.core.access import Level
from lognode.timeline.control.invites import invite_id
from lognode.timeline.members import Invite, membership, settlement
from tests.timeline.members.nodes import NOW_MS, World, joined, keys_of, meet, pair_of


def invite_of(world: World, name: str) -> Invite:
    return world.result().invites[invite_id(world.tenant, pair_of(name).public)]


def test_an_invite_lets_in_and_says_who_came() -> None:
    world = World()
    world.founder.invite("ticket", uses=2, level=Level.TRUSTED)
    span = world.founder.admit("a", Level.TRUSTED, invite="ticket")
    assert world.void(span) is None
    invite = invite_of(world, "ticket")
    assert invite.joiners == (keys_of("a").public,)
    assert (invite.uses_left, invite.revoked, invite.creator) == (1, False, world.founder.keys.public)


def test_any_root_admits_by_the_invite_of_another() -> None:
    world = World()
    (a,) = joined(world, "a")
    world.founder.invite("ticket")
    a.learn(world.founder)
    assert world.void(a.admit("b", invite="ticket")) is None


def unknown(world: World) -> None:
    world.founder.admit("b", invite="another")


def not_yet_known(world: World) -> None:
    world.nodes["a"].admit("b", invite="ticket")


def with_a_higher_level(world: World) -> None:
    world.founder.admit("b", Level.ROOT, invite="ticket")


def behind_its_revocation(world: World) -> None:
    world.founder.revoke_invite("ticket")
    world.founder.admit("b", Level.TRUSTED, invite="ticket")


def behind_its_expiry(world: World) -> None:
    for _ in range(2000):
        next(world.ticks)
    world.founder.admit("b", Level.TRUSTED, invite="ticket")


def behind_its_last_use(world: World) -> None:
    world.founder.admit("c", Level.TRUSTED, invite="ticket")
    world.founder.admit("b", Level.TRUSTED, invite="ticket")


def behind_a_removal(world: World) -> None:
    world.founder.remove("gone", [])
    world.founder.admit("gone", Level.TRUSTED, invite="ticket")


def by_a_root_that_was_none(world: World) -> None:
    world.nodes["plain"].invite("theirs")
    world.founder.learn(world.nodes["plain"]).admit("b", invite="theirs")


@pytest.mark.parametrize(
    ("attempt", "reason"),
    [
        (unknown, "invite.unknown"),
        (not_yet_known, "invite.unknown"),
        (with_a_higher_level, "invite.level"),
        (behind_its_revocation, "invite.revoked"),
        (behind_its_expiry, "invite.expired"),
        (behind_its_last_use, "invite.used"),
        (behind_a_removal, "member.removed"),
        (by_a_root_that_was_none, "invite.unknown"),
    ],
)
def test_an_invite_that_does_not_hold_lets_nobody_in(attempt: Callable[[World], None], reason: str) -> None:
    world = World()
    joined(world, "a")
    joined(world, "gone", "plain", level=Level.TRUSTED)
    world.founder.invite("ticket", level=Level.TRUSTED, expires_ms=NOW_MS + 1000)
    attempt(world)
    last = list(world.spans.values())[-1]
    assert world.void(last) == reason


def test_a_removed_member_comes_back_by_an_invite_that_was_made_for_it() -> None:
    world = World()
    joined(world, "a")
    world.founder.remove("a", [])
    world.founder.invite("again")
    assert world.void(world.founder.admit("a", invite="again")) is None
    assert world.level("a") == Level.ROOT


def test_only_roots_make_and_revoke_invites() -> None:
    world = World()
    (plain,) = joined(world, "plain", level=Level.TRUSTED)
    assert world.void(plain.invite("ticket")) == "member.not_root"
    assert world.void(plain.revoke_invite("ticket")) == "member.not_root"
    assert not world.result().invites


def test_an_invite_with_a_known_key_is_no_second_one() -> None:
    world = World()
    world.founder.invite("ticket")
    assert world.void(world.founder.invite("ticket", uses=99)) == "invite.exists"
    assert invite_of(world, "ticket").uses == 1


def test_of_two_invites_with_one_key_that_of_the_senior_holds() -> None:
    world = World()
    (thief,) = joined(world, "thief")
    thief.invite("ticket")  # whoever sees an invite's key can name it; here as if before the founder did
    world.founder.invite("ticket", level=Level.TRUSTED)
    world.founder.learn(thief)
    assert world.void(world.founder.admit("b", invite="ticket")) == "invite.level"


def test_what_a_removed_root_invited_is_gone_with_its_invite() -> None:
    world = World()
    (a,) = joined(world, "a")
    a.invite("ticket")
    world.founder.remove("a", [(a.feed, 1)])
    world.founder.learn(a)
    assert world.void(world.founder.admit("b", invite="ticket")) == "invite.unknown"


def crowd(uses: int, joiners: int) -> tuple[World, set[str]]:
    """As many roots as joiners, each of which admits one by the same invite, none knowing of the others."""
    world = World()
    servers = joined(world, *[f"server {number}" for number in range(joiners)])
    world.founder.invite("ticket", uses=uses)
    for server in servers:
        server.learn(world.founder)
    for number, server in enumerate(servers):
        server.admit(f"joiner {number}", invite="ticket")
    return world, {f"joiner {number}" for number in range(joiners) if world.level(f"joiner {number}") == Level.ROOT}


def test_of_too_many_joiners_at_once_the_smallest_hashes_win() -> None:
    world, winners = crowd(2, 5)
    named = invite_id(world.tenant, pair_of("ticket").public)
    ranked = sorted(range(5), key=lambda number: sha256(named + keys_of(f"joiner {number}").public).digest())
    assert winners == {f"joiner {number}" for number in ranked[:2]}
    assert invite_of(world, "ticket").uses_left == 0
    voids = world.result().voids
    assert sorted(voids.values()) == ["invite.used"] * 3
    spans = list(world.spans.values())
    assert membership(world.tenant, spans[::-1]) == world.result()


def test_all_would_get_in_if_losers_were_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "losers", lambda _ruling: {})
    assert len(crowd(2, 5)[1]) == 5


def test_a_joiner_that_two_roots_admit_uses_the_invite_once() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    world.founder.invite("ticket", uses=2)
    meet(world.nodes.values())
    for server in (a, b):
        server.admit("c", invite="ticket")
    meet(world.nodes.values())
    assert invite_of(world, "ticket").uses_left == 1
    assert world.void(world.founder.admit("d", invite="ticket")) is None


def test_a_loser_gets_in_when_the_winner_is_cut_off() -> None:
    world, winners = crowd(1, 2)
    (winner,) = winners
    server = world.nodes["server " + winner.removeprefix("joiner ")]
    world.founder.remove("server " + winner.removeprefix("joiner "), [(server.feed, 1)])
    assert world.level(winner) == Level.BLOCKED
    assert sum(world.level(f"joiner {number}") == Level.ROOT for number in range(2)) == 1
