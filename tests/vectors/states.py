"""States: spans about one subject, what each knew, and what they come to."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from lognode.core.ids import FeedId, SpanId
from lognode.timeline.agreement.subjects import RESOLVE, REVERT, Said
from lognode.timeline.control.policies import MANUAL
from tests.agreement.worlds import World, folded, ids

HLC: Final = 1_800_000_000_000 << 16


class Desk:
    """Spans as they are written, one after the other; of each feed the newest may be known."""

    def __init__(self) -> None:
        self.spans: list[Said] = []
        self.clocks: dict[tuple[FeedId, int], dict[FeedId, int]] = {}
        self.counted: dict[FeedId, int] = {}
        self.policies: dict[str, str] = {}
        self._known: dict[FeedId, dict[FeedId, int]] = {}

    def write(self, name: str, kind: str, cause: Said | None = None, *known: str) -> Said:
        """A span in the feed of this name, whose author knows all that these feeds hold."""
        feed = feed_of(name)
        mine = self._known.setdefault(feed, {})
        for other in known:
            for each, size in self._known[feed_of(other)].items():
                mine[each] = max(mine.get(each, 0), size)
        seq = mine.get(feed, 0)
        mine[feed] = seq + 1
        number = len(self.spans)
        digest = sha256(feed + bytes([number])).digest()[:16]
        said = Said(
            SpanId((HLC + number).to_bytes(8, "big") + digest), feed, seq, kind, cause.id if cause else None, number
        )
        self.spans.append(said)
        self.clocks[feed, seq] = dict(mine)
        self.counted[feed] = seq + 1
        return said

    def say(self, name: str, *known: str, kind: str = "tap.set") -> Said:
        return self.write(name, kind, None, *known)

    def world(self) -> World:
        return World(tuple(self.spans), self.clocks, self.counted, self.policies)


def feed_of(name: str) -> FeedId:
    return FeedId(sha256(name.encode()).digest()[:16])


def make_states() -> dict[str, Any]:
    return {
        "about": "Spans about one subject, none private or simulated, and what they come to. `past` of a span "
        "holds the span; `counted` is how much of each feed counts; `policies` are of kinds that have one. `heads` "
        "are the ids of the heads, `holds` of the one that holds, or null; a resolution is named by its own id.",
        "subjects": [{"name": name, **_describe(make())} for name, make in SUBJECTS.items()],
    }


def read_world(vector: Mapping[str, Any]) -> World:
    """The spans and pasts of a vector."""
    spans = [
        Said(
            SpanId(bytes.fromhex(each["id"])), FeedId(bytes.fromhex(each["feed"])), each["seq"], each["kind"],
            SpanId(bytes.fromhex(each["caused_by"])) if each["caused_by"] else None, number,
        )
        for number, each in enumerate(vector["spans"])
    ]  # fmt: skip
    clocks = {
        (span.feed, span.seq): {FeedId(bytes.fromhex(feed)): size for feed, size in each["past"]}
        for span, each in zip(spans, vector["spans"], strict=True)
    }
    counted = {FeedId(bytes.fromhex(feed)): size for feed, size in vector["counted"]}
    return World(tuple(spans), clocks, counted, dict(vector["policies"]))


def _describe(desk: Desk) -> dict[str, Any]:
    world = desk.world()
    heads, holds = ids(folded(world, world.spans))
    return {
        "spans": [
            {
                "id": span.id.hex(),
                "feed": span.feed.hex(),
                "seq": span.seq,
                "kind": span.kind,
                "caused_by": span.caused_by.hex() if span.caused_by else None,
                "past": [[feed.hex(), size] for feed, size in sorted(world.clocks[span.feed, span.seq].items())],
            }
            for span in sorted(world.spans, key=lambda span: span.id[::-1])
        ],
        "counted": [[feed.hex(), size] for feed, size in sorted(world.counted.items())],
        "policies": sorted(world.policies.items()),
        "heads": sorted(head.hex() for head in heads),
        "holds": holds.hex() if holds else None,
    }


def _known() -> Desk:
    desk = Desk()
    desk.say("a")
    desk.say("b", "a")
    desk.say("c")
    desk.say("a", "b", "c")
    return desk


def _latest() -> Desk:
    desk = Desk()
    desk.say("a")
    desk.say("b", "a")
    desk.say("c", "a")
    return desk


def _manual() -> Desk:
    desk = _latest()
    desk.say("d", kind="tap.fixed")
    desk.policies["tap.fixed"] = MANUAL
    return desk


def _reverted() -> Desk:
    desk = Desk()
    desk.say("a")
    second = desk.say("a")
    third = desk.say("b", "a")
    revert = desk.write("c", REVERT, second, "a")
    desk.write("c", REVERT, third, "b")
    desk.write("a", REVERT, revert, "c")
    return desk


def _cut() -> Desk:
    desk = Desk()
    first = desk.say("a")
    desk.say("b", "a")
    desk.say("a", "b")
    desk.write("a", REVERT, first)
    desk.counted[feed_of("a")] = 2
    return desk


def _resolved() -> Desk:
    desk = _manual()
    desk.write("a", RESOLVE, desk.spans[1], "b", "c", "d")
    return desk


def _resolution_without_its_choice() -> Desk:
    desk = _resolved()
    desk.write("d", REVERT, desk.spans[1], "a")
    return desk


def _two_resolutions() -> Desk:
    desk = _manual()
    desk.write("a", RESOLVE, desk.spans[1], "b", "c", "d")
    desk.write("b", RESOLVE, desk.spans[3], "c", "d")
    return desk


SUBJECTS: Final[Mapping[str, Callable[[], Desk]]] = {
    "the one that knows all others holds": _known,
    "two that know nothing of each other, policy latest": _latest,
    "one of three has a kind with the policy manual": _manual,
    "taken back, and a revert taken back": _reverted,
    "the newest of a feed and a revert are beyond its cut": _cut,
    "a resolution that knows all heads": _resolved,
    "what a resolution chose is taken back": _resolution_without_its_choice,
    "two resolutions that know nothing of each other": _two_resolutions,
}
