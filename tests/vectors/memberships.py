"""Memberships: the control spans of small tenants, and what they come to."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from lognode.core.access import Level
from lognode.core.clock import COUNTER_BITS
from lognode.core.codec import encode
from lognode.core.ids import SpanId
from lognode.timeline.control.founding import tenant_create_data
from lognode.timeline.members import Control, Membership
from tests.timeline.members.nodes import NOW_MS, World, joined, meet


def make_memberships() -> dict[str, Any]:
    return {
        "about": "Control spans of tenants, in no order, and what they come to. The ids and feeds are made up; pasts "
        "follow from `after` and from places in feeds. `level` is 0 for whoever is no member.",
        "tenants": [{"name": name, **describe_tenant(make())} for name, make in TENANTS.items()],
    }


def describe_tenant(world: World) -> dict[str, Any]:
    """Control spans, and what they come to."""
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


def _fallen_electors() -> World:
    """Votes that decide, and end the feeds of those who cast them."""
    world = World()
    joined(world, "a", "b")
    for name in ("a", "b"):
        world.nodes[name].remove("founder", [(world.founder.feed, 2)])
    return world


def _lost_words() -> World:
    """Who finds given up recovery words claims a past in which they were in force; two rotations contend."""
    world = World()
    a, b, c = joined(world, "a", "b", "c")
    a.declare("words")
    meet(world.nodes.values())
    a.declare("other words", former="words")
    b.revoke("a", "words", [])
    c.learn(a)
    b.learn(a)
    b.rotate("a by b", recovery="other words", old="a", cuts=[(a.feed, 3)])
    c.rotate("a by c", recovery="other words", old="a", cuts=[(a.feed, 2)])
    return world


def _adopted_votes() -> World:
    """A decided removal, and more of the feed that one who knows a vote gives back; a member that rotated and votes."""
    world = World()
    a, b, c, d = joined(world, "a", "b", "c", "d")
    a.rotate("a 2", cuts=[(a.feed, 1)])
    newer = world.nodes["a 2"]
    meet(world.nodes.values())
    b.talk(20)
    for voter, size in ((newer, 9), (c, 8), (d, 3)):
        voter.remove("b", [(b.feed, size)])
    world.founder.learn(c)
    world.founder.adopt(b.feed, 12)
    b.remove("c")
    return world


def _without_founding() -> World:
    world = World()
    joined(world, "a")
    world.spans = {id_: span for id_, span in world.spans.items() if span.kind != "tenant.create"}
    return world


def _of_unknown_kinds() -> World:
    """Malformed data, an unknown kind, a second founding, and pasts in a circle."""
    world = World()
    a, b = joined(world, "a", "b")
    hlc = 2 * NOW_MS << COUNTER_BITS
    founder, after = world.founder, sorted(world.spans)[-1:]
    removal = encode([after, b.keys.public, [], "circle"])
    by_founder = removal.replace(after[0], _id(hlc, 4))
    again = tenant_create_data(a.keys, world.tenant, bytes(16), after)
    odd = [
        Control(_id(hlc, 1), a.feed, 1, hlc, a.keys.public, "member.praise", encode([[_id(hlc, 3)]])),
        Control(_id(hlc, 2), b.feed, 1, hlc, b.keys.public, "member.level", encode([[_id(hlc, 4)], 1])),
        Control(_id(hlc, 3), a.feed, 2, hlc, a.keys.public, "tenant.create", again),
        Control(_id(hlc, 4), a.feed, 3, hlc, a.keys.public, "member.remove", removal.replace(after[0], _id(hlc, 5))),
        Control(_id(hlc, 5), founder.feed, 9, hlc, founder.keys.public, "member.remove", by_founder),
    ]
    world.spans |= {span.id: span for span in odd}
    return world


def _id(hlc: int, number: int) -> SpanId:
    return SpanId(hlc.to_bytes(8, "big") + bytes([number]) * 16)


TENANTS: Final[Mapping[str, Callable[[], World]]] = {
    "two remove each other": _quarrel,
    "more joiners at once than an invite has uses": _crowd,
    "a majority removes the founder": _votes,
    "a recovery key takes a node back from a thief": _theft,
    "removed, adopted, readmitted and lowered": _return,
    "policies, two that know nothing of each other": _policy,
    "feeds with two histories": _forked,
    "votes that end the feeds of those who cast them": _fallen_electors,
    "recovery words that were given up, and two rotations": _lost_words,
    "a decided removal, and an adoption that knows a vote": _adopted_votes,
    "no founding": _without_founding,
    "malformed, unknown and circular": _of_unknown_kinds,
}
