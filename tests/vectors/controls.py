"""Data of control spans of every kind: one that is read, and what is refused of each."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from lognode.core.access import Level
from lognode.core.codec import decode_any_array, encode
from lognode.core.errors import CallerError
from lognode.core.ids import TenantId
from lognode.timeline.control import forks, founding, identities, invites, members, policies
from lognode.timeline.members import Control
from tests.timeline.members.nodes import World, joined

Read = Callable[[TenantId, Control], object]
READERS: Final[dict[str, Read]] = {
    "feed.open": lambda tenant, span: founding.check_feed_open(tenant, span.feed, founding.parse_feed_open(span.data)),
    "tenant.create": lambda tenant, span: founding.check_tenant_create(tenant, founding.parse_tenant_create(span.data)),
    "tenant.policy": lambda _, span: policies.parse_tenant_policy(span.data),
    "member.admit": lambda tenant, span: members.check_member_admit(tenant, members.parse_member_admit(span.data)),
    "member.level": lambda _, span: members.parse_member_level(span.data),
    "member.remove": lambda _, span: members.parse_member_remove(span.data),
    "feed.adopt": lambda _, span: members.parse_feed_adopt(span.data),
    "feed.fork": lambda tenant, span: forks.check_feed_fork(tenant, forks.parse_feed_fork(span.data)),
    "invite.create": lambda _, span: invites.parse_invite_create(span.data),
    "invite.revoke": lambda _, span: invites.parse_invite_revoke(span.data),
    "identity.recovery": lambda tenant, span: identities.check_identity_recovery(
        tenant, identities.parse_identity_recovery(span.data), None
    ),
    "identity.rotate": lambda tenant, span: identities.check_identity_rotate(
        tenant, span.author, identities.parse_identity_rotate(span.data)
    ),
    "identity.revoke": lambda _, span: identities.parse_identity_revoke(span.data),
}


def make_controls() -> dict[str, Any]:
    world = _world()
    samples: dict[str, Control] = {}
    for span in world.spans.values():
        if len(span.data) >= len(samples[span.kind].data if span.kind in samples else b""):
            samples[span.kind] = span
    return {
        "about": "Data of control spans of every kind, with what its signatures are about. Data that is refused "
        "is malformed, or, with another code, not bound. What needs other spans, as recovery keys do, is not judged.",
        "tenant": world.tenant.hex(),
        "accepted": [_describe(span.kind, span, span.data) for span in samples.values()],
        "refused": [vector for span in samples.values() for vector in _refused(world.tenant, span)],
    }


def _world() -> World:
    """A tenant in which control spans of every kind are written."""
    world = World()
    a, b = joined(world, "a", "b")
    a.invite("ticket")
    a.admit("c", Level.TRUSTED, invite="ticket")
    a.revoke_invite("ticket")
    a.declare("words")
    a.declare("other words", former="words")
    b.learn(a)
    b.set_policy("price.set", "manual")
    b.set_level("c", Level.OBSERVER, [(a.feed, 3), (b.feed, 2)])
    b.adopt(a.feed, 9)
    b.accuse(a, 2)
    b.rotate("a 2", recovery="other words", old="a", cuts=[(a.feed, 4)])
    b.revoke("a", "other words", [(a.feed, 3)])
    b.remove("a", [(a.feed, 3)])
    return world


def _describe(name: str, span: Control, data: bytes) -> dict[str, Any]:
    place = {"feed": span.feed.hex(), "author": span.author.hex()}
    return {"name": name, "kind": span.kind, **place, "hex": data.hex()}


def _refused(tenant: TenantId, span: Control) -> Iterator[dict[str, Any]]:
    for name, data in _bent(span):
        try:
            READERS[span.kind](tenant, span._replace(data=data))
        except CallerError as error:
            yield {**_describe(name, span, data), "code": error.code}


def _bent(span: Control) -> Iterator[tuple[str, bytes]]:
    """The data with each element in turn as it must not be."""
    parts = decode_any_array(span.data)
    yield f"{span.kind}: an element too few", encode(parts[:-1])
    yield f"{span.kind}: an element too many", encode([*parts, None])
    yield f"{span.kind}: a byte behind the array", span.data + b"\x00"
    for place, part in enumerate(parts):
        for what, other in _others(part):
            yield f"{span.kind}: element {place} {what}", encode([*parts[:place], other, *parts[place + 1 :]])


def _others(part: object) -> Iterator[tuple[str, object]]:
    if isinstance(part, bytes):
        yield "a byte short", part[:-1]
        yield "with another last bit", part[:-1] + bytes([part[-1] ^ 1])
    elif isinstance(part, int):
        yield "as text", str(part)
        yield "one less than nothing", -1
        yield "beyond 63 bits", 2**63
    elif isinstance(part, str):
        yield "in bytes", part.encode()
        yield "in upper case", part.upper()
    elif isinstance(part, list) and len(part) > 1:
        yield "the other way round", part[::-1]
        yield "with something twice", [*part, part[-1]]
    yield "as false", False
