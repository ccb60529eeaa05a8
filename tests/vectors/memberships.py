"""Memberships: the control spans of small tenants, and what they come to."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from lognode.core.access import Level
from lognode.timeline.members import Membership
from tests.timeline.members.nodes import World, joined, meet


def make_memberships() -> dict[str, Any]:
    return {
        "about": "Control spans of tenants, in no order, and what they come to. The ids and feeds are made up; pasts "
        "follow from `after` and from places in feeds. `level` is 0 for whoever is no member.",
        "tenants": [{"name": name, **_describe(make())} for name, make in TENANTS.items()],
    }


def _describe(world: World) -> dict[str, Any]:
    spans = sorted(world.spans.values(), key=lambda span: span.id[::-1])
    return {
        "tenant": world.tenant.hex(),
        "controls": [
            {
                "id": span.id.hex(),
                "feed": span.feed.hex(),
                "seq": span.seq,
                "hlc": span.hlc,
                "author": span.author.hex(),
                "kind": span.kind,
                "data": span.data.hex(),
            }
            for span in spans
        ],
        **describe_result(world.result()),
    }


def describe_result(result: Membership) -> dict[str, Any]:
    """What control spans come to, with everything in the order of its bytes."""
    return {
        "members": [
            {
                "node_key": key.hex(),
                "level": int(member.level),
                "removed": member.removed,
                "successor": member.successor.hex() if member.successor else None,
            }
            for key, member in sorted(result.members.items())
        ],
        "cuts": [[feed.hex(), cut.size, cut.reason] for feed, cut in sorted(result.cuts.items())],
        "voids": [[span.hex(), reason] for span, reason in sorted(result.voids.items())],
        "forks": [[feed.hex(), seq] for feed, seq in sorted(result.forks.items())],
        "invites": [
            {
                "id": key.hex(),
                "uses_left": invite.uses_left,
                "joiners": sorted(joiner.hex() for joiner in invite.joiners),
            }
            for key, invite in sorted(result.invites.items())
        ],
        "policies": [[kind, policy] for kind, policy in sorted(result.policies.items())],
    }


def _quarrel() -> World:
    world = World()
    (a,) = joined(world, "a")
    world.founder.remove("a", [(a.feed, 1)])
    a.remove("founder", [(world.founder.feed, 2)])
    return world


def _crowd() -> World:
    world = World()
    servers = joined(world, "server 1", "server 2", "server 3")
    world.founder.invite("ticket", uses=2)
    for server in servers:
        server.learn(world.founder)
    for number, server in enumerate(servers):
        server.admit(f"joiner {number}", Level.TRUSTED, invite="ticket")
    return world


def _votes() -> World:
    world = World()
    joined(world, "a", "b", "c")
    founder = world.founder
    founder.talk(50)
    for name, size in (("a", 5), ("b", 40), ("c", 20)):
        world.nodes[name].remove("founder", [(founder.feed, size)])
    return world


def _theft() -> World:
    world = World()
    a, b = joined(world, "a", "b")
    a.declare("words")
    meet(world.nodes.values())
    a.rotate("thief")
    b.learn(a)
    b.rotate("owner", recovery="words", old="a", cuts=[(a.feed, 2)])
    return world


def _return() -> World:
    world = World()
    (a,) = joined(world, "a")
    old = a.feed
    a.talk(10)
    world.founder.remove("a", [(a.feed, 3)])
    world.founder.adopt(a.feed, 9)
    a.admit("friend")
    world.founder.admit("a", Level.TRUSTED)
    a.open()
    world.founder.set_level("a", Level.OBSERVER, [(old, 9), (a.feed, 1)])
    return world


def _policy() -> World:
    world = World()
    (a,) = joined(world, "a")
    (trusted,) = joined(world, "trusted", level=Level.TRUSTED)
    trusted.set_policy("price.set", "manual")
    world.founder.set_policy("price.set", "manual")
    world.founder.set_policy("order.paid", "manual")
    a.set_policy("order.paid", "latest")
    a.learn(world.founder)
    a.set_policy("price.set", "latest")
    return world


def _forked() -> World:
    """A feed that forks behind an admission; whom its tail let in; proofs from a stranger and from a tail."""
    world = World()
    fork, a, b = joined(world, "fork", "a", "b")
    seq = fork.size
    other = fork.copy("copy")
    fork.admit("late", Level.ROOT)
    late = world.nodes["late"]
    late.admit("later")
    late.accuse(b, b.size)
    b.talk(2)
    b.invite("ticket")
    other.talk()
    other.remove("a")
    world.node("stranger").accuse(fork, seq)
    a.accuse(fork, seq + 1)
    world.founder.invite("token")
    return world


TENANTS: Final[Mapping[str, Callable[[], World]]] = {
    "two remove each other": _quarrel,
    "more joiners at once than an invite has uses": _crowd,
    "a majority removes the founder": _votes,
    "a recovery key takes a node back from a thief": _theft,
    "removed, adopted, readmitted and lowered": _return,
    "policies, two that know nothing of each other": _policy,
    "feeds with two histories": _forked,
}
