"""Whole tenants as vectors: the entries of all feeds, and what they come to on a node that holds them all."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from lognode.core.clock import state_hash
from lognode.core.codec import encode
from lognode.core.ids import FeedId, SpanId
from lognode.core.span import ORGANIZATION, PRIVATE, PUBLIC, SIMULATED, decode_body
from lognode.timeline.agreement.pasts import Place, past_of, relation
from lognode.timeline.agreement.subjects import RESOLVE, REVERT
from lognode.timeline.control.forks import feed_fork_data
from lognode.timeline.control.policies import tenant_policy_data
from lognode.timeline.store.agreement.pasts import HeldKnowledge
from lognode.timeline.store.agreement.settling import settled_hlc
from lognode.timeline.store.agreement.subjects import Registers
from lognode.timeline.store.write import load_feeds
from tests.agreement.forgeries import forked
from tests.engine.receivers import Receiver
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen, shared, write_all_sorts

SUBJECTS: Final = ("tap 1", "tap 2", "t\u00e4p/3", "no tap")
KINDS: Final = ("tap.set", "price.set")
Story = tuple[Founder, list[Pen]]


def make_tenants() -> dict[str, Any]:
    return {
        "about": "Tenants as a node holds them that has all entries: of each feed [hlc, visibility, header, body], "
        "where a private span that others wrote is a stub. What is void and why, pasts of some spans as feeds with "
        "sizes, how spans stand to each other, and what subjects come to: ids of heads and value, the greatest first. "
        "`settled_hlc`: up to where nothing can be sorted in any more. Integers need 64 bits.",
        "tenants": [{"name": name, **_describe(*make())} for name, make in TENANTS.items()],
    }


def _describe(founder: Founder, pens: list[Pen]) -> dict[str, Any]:
    node = Receiver(founder.tenant)
    outcomes = node.codes(*[pen.range() for pen in pens])
    assert outcomes == [len(pen.entries) for pen in pens], outcomes
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    knowledge = HeldKnowledge(node.conn, node.tenant, feeds)
    registers = Registers(node.conn, node.tenant, feeds, node.book.members.policies)
    places = [Place(pen.feed_id, seq) for pen in pens for seq in range(0, len(pen.entries), 3)]
    pasts = [past_of([place], knowledge) for place in places]
    pairs = [(one, other) for one in range(0, len(places), 4) for other in range(1, len(places), 7)]
    return {
        "tenant": founder.tenant.hex(),
        "feeds": [
            {"id": pen.feed_id.hex(), "entries": [_entry(*entry) for entry in map(shared, pen.entries)]} for pen in pens
        ],
        "state": state_hash(node.clock()).hex(),
        "cuts": [[feed.hex(), cut.size, cut.reason] for feed, cut in sorted(node.book.members.cuts.items())],
        "voids": sorted(_voids(node, pens)),
        "pasts": [
            [place.feed.hex(), place.seq, sorted([feed.hex(), size] for feed, size in past.items())]
            for place, past in zip(places, pasts, strict=True)
        ],
        "relations": [
            [one, other, relation(places[one], places[other], pasts[one], pasts[other])] for one, other in pairs
        ],
        "settled_hlc": settled_hlc(node.conn, node.tenant, feeds, node.book.members),
        "subjects": [_subject(registers, subject) for subject in SUBJECTS],
    }


def _entry(hlc: int, visibility: int, header: bytes, body: bytes | None) -> list[Any]:
    return [hlc, visibility, header.hex(), None if body is None else body.hex()]


def _voids(node: Receiver, pens: list[Pen]) -> list[list[Any]]:
    dump = node.dump()
    void = {(feed, seq): reason for feed, seq, reason in dump["voids"]}
    void |= {row[:2]: row[6] for row in dump["inert"] if row[6] != "withheld"}
    for pen in pens:
        cut = node.book.members.cuts.get(pen.feed_id)
        beyond = range(cut.size, len(pen.entries)) if cut else ()
        void = {(pen.feed_id, seq): cut.reason for seq in beyond if cut} | void
    return [[feed.hex(), seq, reason] for (feed, seq), reason in void.items()]


def _subject(registers: Registers, subject: str) -> dict[str, Any]:
    fold = registers.read(subject).fold
    return {
        "subject": subject,
        "heads": [[head.span.id.hex(), head.means.id.hex()] for head in fold.heads],
        "value": fold.value.means.id.hex() if fold.value else None,
    }


def _everyday() -> Story:
    """Values, reverts, resolutions and policies of members that hear of each other, and things that say nothing."""
    founder = Founder()
    pens: list[Pen] = [founder, founder.member(2), founder.member(3)]
    _talk(pens, Random(1), 90)
    founder.newest = founder.write(
        "tenant.policy", tenant_policy_data([founder.newest], "price.set", "manual"), visibility=PUBLIC
    )
    for pen in pens:
        pen.write("price.set", encode(1), subject="tap 2")
    write_all_sorts(pens[1], 16)
    return founder, pens


def _broken() -> Story:
    """A removal whose cut takes back what was said, a feed that forked, a stranger, and claims that are false."""
    founder = Founder()
    pens: list[Pen] = [founder, founder.member(2), founder.member(3), founder.member(4)]
    _talk(pens, Random(2), 80, lies=True)
    removed, forking = pens[2], pens[3]
    founder.remove(removed.keys, (removed, len(removed.entries) - 6))
    opening = decode_body(forking.entries[0].body or b"").data
    seq = len(forking.entries) - 5
    proof = forked(forking.key, founder.tenant, opening, forking.feed_id, seq, (seq + 1, seq + 3))
    founder.newest = founder.write("feed.fork", feed_fork_data([founder.newest], proof), visibility=PUBLIC)
    founder.write("member.praise", encode([[]]), visibility=PUBLIC)
    founder.write("feed.adopt", encode([[], 1]), visibility=PUBLIC)
    _talk(pens[:2], Random(3), 20)
    return founder, pens


def _talk(pens: list[Pen], random: Random, steps: int, *, lies: bool = False) -> None:
    said: list[tuple[SpanId, str]] = []
    for _ in range(steps):
        pen = random.choice(pens)
        what = random.choice(("set", "set", "set", "revert", "resolve", "merge", "merge", "merge", "tried", "private"))
        subject = random.choice(SUBJECTS[:3])
        target, about = random.choice(said) if said else (SpanId(bytes(24)), subject)
        if what == "merge":
            heads = [other.head for other in pens if other is not pen and random.random() < 0.6]
            heads = [_lie(head, random) if lies and random.random() < 0.3 else head for head in sorted(heads)]
            if heads:
                pen.merge(*heads)
        elif what in ("revert", "resolve"):
            kind = REVERT if what == "revert" else RESOLVE
            said.append((pen.write(kind, caused_by=target, subject=random.choice((about, about, subject))), about))
        else:
            visibility = PRIVATE if what == "private" else ORGANIZATION
            status = SIMULATED if what == "tried" else 0
            kind = random.choice(KINDS)
            said.append((pen.write(kind, encode(1), subject=subject, visibility=visibility, status=status), subject))


def _lie(head: tuple[FeedId, int, bytes], random: Random) -> tuple[FeedId, int, bytes]:
    feed, size, root = head
    return random.choice([(feed, size, bytes(32)), (feed, size + 1000, root), (feed, max(1, size - 1), root)])


TENANTS: Final[Mapping[str, Callable[[], Story]]] = {
    "an everyday tenant": _everyday,
    "removed, forked and lied to": _broken,
}
