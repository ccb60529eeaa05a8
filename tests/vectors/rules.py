"""Rule spans: their data, and which publications count and hold by control spans and pasts."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.ids import SpanId
from lognode.core.limits import RULE_SET_BYTES_MAX, RULE_SETS_MAX
from lognode.core.span import EXECUTED, ORGANIZATION, PRIVATE, PUBLIC, SIMULATED
from lognode.engine.ruling.inforce import Publications, fault_of_span, in_force, last_words
from lognode.timeline.agreement.rules.publications import (
    DISABLE,
    PUBLISH,
    Publication,
    RulePublish,
    parse_publication,
    publication_row,
    rule_disable_data,
    rule_publish_data,
)
from tests.timeline.members.nodes import Node, World, joined
from tests.vectors.history import chance

ONE, TWO = SpanId(chance("rule after 1", 24)), SpanId(chance("rule after 2", 24))
TEXT: Final = b"rules: logins\ndo:\n  - id: mark\n    on: draft\n    then: [{add_tag: security}]\n"


class Written(NamedTuple):
    """A publication in a tenant of the vectors."""

    id: SpanId
    node: bytes
    feed: bytes
    seq: int
    kind: str
    data: bytes


def make_rules() -> dict[str, Any]:
    return {
        "about": "Data of rule.publish and rule.disable, and what it says with status and visibility: the name and the "
        "version, null where it disables; nothing where `says` is null. Tenants: control spans as in memberships.json, "
        "publications, why each does not count by these, and for pasts (feed, entries) the last words, and what is in "
        "force by them. All texts are taken for rule sets of these names.",
        "said": [_said(*case) for case in _cases()],
        "refused": [{"name": n, "kind": k, "hex": d.hex(), "code": "body.malformed"} for n, k, d in _malformed()],
        "tenants": [{"name": name, **_describe(*make())} for name, make in TENANTS.items()],
    }


def _cases() -> list[tuple[str, int, int, bytes]]:
    publish, disable = rule_publish_data([TWO, ONE], "logins", "yaml", TEXT), rule_disable_data([], "l-0")
    return [
        (PUBLISH, EXECUTED, ORGANIZATION, publish),
        (PUBLISH, EXECUTED, PUBLIC, rule_publish_data([], "a" * 64, "json", b"{}")),
        (DISABLE, EXECUTED, ORGANIZATION, disable),
        (PUBLISH, SIMULATED, ORGANIZATION, publish),
        (PUBLISH, EXECUTED, PRIVATE, publish),
        (DISABLE, SIMULATED, PUBLIC, disable),
        ("rule.fired", EXECUTED, ORGANIZATION, publish),
    ]


def _said(kind: str, status: int, visibility: int, data: bytes) -> dict[str, Any]:
    row = publication_row(kind, status, visibility, data)
    return {
        "kind": kind,
        "status": status,
        "visibility": visibility,
        "data": data.hex(),
        "says": None if row is None else [row[0], row[1].hex() if row[1] else None],
    }


def _malformed() -> list[tuple[str, str, bytes]]:
    return [
        ("one element too few", PUBLISH, encode([[], "a", "yaml"])),
        ("one element too many", DISABLE, encode([[], "a", "yaml"])),
        ("another media", PUBLISH, encode([[], "a", "toml", TEXT])),
        ("a name in capitals", PUBLISH, encode([[], "Logins", "yaml", TEXT])),
        ("a name that begins with a hyphen", DISABLE, encode([[], "-a"])),
        ("no name", DISABLE, encode([[], ""])),
        ("a name that is too long", DISABLE, encode([[], "a" * 65])),
        ("a name in bytes", DISABLE, encode([[], b"a"])),
        ("a text that is text", PUBLISH, encode([[], "a", "yaml", TEXT.decode()])),
        ("an empty text", PUBLISH, encode([[], "a", "yaml", b""])),
        ("a text that is no UTF-8", PUBLISH, encode([[], "a", "yaml", b"\xff"])),
        ("a text that is too large", PUBLISH, encode([[], "a", "yaml", bytes(RULE_SET_BYTES_MAX + 1)])),
        ("after is not sorted", PUBLISH, encode([sorted([ONE, TWO], reverse=True), "a", "yaml", TEXT])),
        ("after has one twice", DISABLE, encode([[ONE, ONE], "a"])),
        ("after holds what is no id", DISABLE, encode([[b"short"], "a"])),
        ("something follows", DISABLE, encode([[], "a"]) + b"\x00"),
    ]


class _Pens:
    """Nodes of a world that publish; each publication is later than all before it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.written: list[Written] = []

    def publish(self, node: Node, name: str, text: bytes, after: Sequence[SpanId] | None = None) -> Written:
        return self._write(
            node, PUBLISH, rule_publish_data(node.newest() if after is None else after, name, "yaml", text)
        )

    def disable(self, node: Node, name: str) -> Written:
        return self._write(node, DISABLE, rule_disable_data(node.newest(), name))

    def _write(self, node: Node, kind: str, data: bytes) -> Written:
        hlc = next(self.world.ticks)
        place = node.feed + node.size.to_bytes(8, "big")
        id_ = SpanId(hlc.to_bytes(8, "big") + sha256(place + data).digest()[:16])
        written = Written(id_, node.keys.public, node.feed, node.size, kind, data)
        self.written.append(written)
        node.talk()
        return written


Case = tuple[World, list[Written]]


def _levels() -> Case:
    world = World()
    (root,) = joined(world, "root")
    (writer,) = joined(world, "writer", level=Level.TRUSTED)
    pens = _Pens(world)
    pens.publish(world.founder, "a", b"one")
    pens.publish(root, "a", b"two")
    pens.publish(writer, "a", b"three")
    pens.disable(writer, "a")
    pens.publish(writer, "b", b"four")
    pens.publish(world.node("stranger"), "c", b"five")
    world.founder.learn(writer).set_level("writer", Level.ROOT, cuts=())
    pens.publish(writer, "b", b"six")
    writer.learn(world.founder)
    pens.publish(writer, "b", b"seven")
    return world, pens.written


def _lowered() -> Case:
    world = World()
    (root,) = joined(world, "root")
    pens = _Pens(world)
    named = root.newest()
    pens.publish(root, "a", b"one")
    world.founder.learn(root).set_level("root", Level.TRUSTED, [(root.feed, root.size)])
    pens.publish(root, "a", b"two")
    root.learn(world.founder).open()
    pens.publish(root, "a", b"three")
    pens.publish(root, "b", b"four", after=named)
    pens.publish(root, "b", b"five", after=[])
    world.founder.learn(root).set_level("root", Level.ROOT, cuts=())
    root.learn(world.founder)
    pens.publish(root, "c", b"six")
    pens.publish(root, "c", b"seven", after=[SpanId(bytes(24))])
    return world, pens.written


def _removed() -> Case:
    world = World()
    (root,) = joined(world, "root")
    pens = _Pens(world)
    pens.publish(root, "a", b"one")
    pens.publish(root, "a", b"two")
    world.founder.learn(root).remove("root", [(root.feed, root.size - 1)])
    pens.disable(root, "a")
    return world, pens.written


def _forked() -> Case:
    world = World()
    (root,) = joined(world, "root")
    pens = _Pens(world)
    pens.publish(root, "a", b"one")
    pens.publish(root, "a", b"two")
    world.founder.learn(root).accuse(root, root.size - 1)
    root.learn(world.founder).open()
    pens.publish(root, "b", b"three")
    return world, pens.written


def _apart() -> Case:
    """Two roots that know nothing of each other's publications, then one that disables, then one that comes back."""
    world = World()
    one, other = joined(world, "one", "other")
    pens = _Pens(world)
    pens.publish(one, "a", b"one")
    pens.publish(other, "a", b"other")
    pens.publish(one, "b", b"one")
    pens.disable(other, "a")
    pens.publish(one, "a", b"one")
    return world, pens.written


def _crowd() -> Case:
    world = World()
    pens = _Pens(world)
    for number in range(RULE_SETS_MAX + 2):
        pens.publish(world.founder, f"set-{number:02}", b"x")
    pens.publish(world.founder, "set-01", b"y" * RULE_SET_BYTES_MAX)
    pens.publish(world.founder, "set-03", b"z" * RULE_SET_BYTES_MAX)
    pens.publish(world.founder, "set-05", b"z" * RULE_SET_BYTES_MAX)
    pens.publish(world.founder, "set-07", b"z" * RULE_SET_BYTES_MAX)
    return world, pens.written


TENANTS: Final[Mapping[str, Callable[[], Case]]] = {
    "roots publish, and nobody else": _levels,
    "who was lowered is root no more, whatever it names": _lowered,
    "what lies beyond a removal's cut": _removed,
    "what lies behind a fork": _forked,
    "roots that know nothing of each other": _apart,
    "more than there is room for": _crowd,
}


def _describe(world: World, written: Sequence[Written]) -> dict[str, Any]:
    members = world.result()
    feeds = {feed: number for number, feed in enumerate(sorted({one.feed for one in written}))}
    held = [_publication(world, one, feeds[one.feed]) for one in written]
    faults = {one.id: fault_of_span(one, members) for one in held}
    everything = {number: 1 + max(one.seq for one in held if one.feed == number) for number in feeds.values()}
    pasts = [everything, *({**everything, number: one.seq} for one in held[1::2] for number in [one.feed]), {}]
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
            for span in sorted(world.spans.values(), key=lambda span: span.id[::-1])
        ],
        "publications": [
            {
                "id": one.id.hex(),
                "node_key": one.node.hex(),
                "feed": one.feed.hex(),
                "seq": one.seq,
                "kind": one.kind,
                "data": one.data.hex(),
                "fault": faults[one.id],
            }
            for one in written
        ],
        "pasts": [_judge(held, faults, past, list(feeds)) for past in pasts[:8]],
    }


def _judge(
    held: Sequence[Publication], faults: Mapping[SpanId, str | None], past: Mapping[int, int], feeds: Sequence[bytes]
) -> dict[str, Any]:
    words = last_words(Publications(held).within(past, lambda one: faults[one.id]), lambda _: True).words
    return {
        "past": sorted([feeds[number].hex(), size] for number, size in past.items()),
        "words": [[name, one.id.hex()] for name, one in sorted(words.items())],
        "in_force": [[name, one.hash.hex()] for name, one in in_force(words).items() if one.hash],
    }


def _publication(world: World, written: Written, feed: int) -> Publication:
    said = parse_publication(written.kind, written.data)
    opening = [span.id for span in world.spans.values() if span.feed == written.feed and not span.seq]
    text = (said.hash, said.media, len(said.text)) if isinstance(said, RulePublish) else (None, None, 0)
    place = (feed, written.feed, written.seq, 0)
    return Publication(said.name, text[0], written.id, *place, written.node, (*said.after, *opening), *text[1:])  # type: ignore[arg-type]
