"""Whole tenants as vectors: the entries of all feeds, and what they come to on a node that holds them all."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from lognode.core.access import Level
from lognode.core.clock import state_hash
from lognode.core.codec import encode
from lognode.core.ids import FeedId, SpanId
from lognode.core.span import ORGANIZATION, PRIVATE, PUBLIC, SIMULATED, decode_body
from lognode.timeline.agreement.merges import MERGE
from lognode.timeline.agreement.pasts import Place, past_of, relation
from lognode.timeline.agreement.restoring import Stranded, restored_draft
from lognode.timeline.agreement.subjects import RESOLVE, REVERT
from lognode.timeline.control.forks import feed_fork_data
from lognode.timeline.control.policies import tenant_policy_data
from lognode.timeline.proof.tree import EMPTY, grow, root_of
from lognode.timeline.store.agreement.pasts import HeldKnowledge
from lognode.timeline.store.agreement.settling import settled_hlc, standings
from lognode.timeline.store.agreement.subjects import Registers
from lognode.timeline.store.write import load_feeds
from tests.agreement.forgeries import forked
from tests.engine.receivers import Receiver, keys_of
from tests.engine.tenants import Founder
from tests.timeline.pens import START_HLC, Pen, shared, write_all_sorts

SUBJECTS: Final = ("tap 1", "tap 2", "t\u00e4p/3", "no tap")
KINDS: Final = ("tap.set", "price.set")
Story = tuple[Founder, list[Pen], Pen | None]  # whose the tenant is, all feeds, and the one whose node holds them


def make_tenants() -> dict[str, Any]:
    return {
        "about": "Tenants as a node holds them that has all entries: of each feed [hlc, visibility, header, body], "
        "where a private span that others wrote is a stub. What is void and why, pasts of some spans as feeds with "
        "sizes, how spans stand to each other, and what subjects come to: ids of heads and value, the greatest first, "
        "and of what the private spans of the feed `own`, if any, say besides. `standings`: node key of each member "
        "that may write, its open feeds, and the HLC with which it stands; `settled_hlc` is the smallest. Integers "
        "need 64 bits.",
        "tenants": [{"name": name, **_describe(*make())} for name, make in TENANTS.items()],
    }


def _describe(founder: Founder, pens: list[Pen], own: Pen | None) -> dict[str, Any]:
    node = Receiver(founder.tenant)
    if own:
        for pen in pens:
            pen.store(node.conn, node.tenant.number, own=pen is own)
        assert not node.book.members.cuts
    else:
        outcomes = node.codes(*[pen.range() for pen in pens])
        assert outcomes[: len(pens)] == [len(pen.entries) for pen in pens], outcomes  # more say what is ahead of now
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    knowledge = HeldKnowledge(node.conn, node.tenant, feeds)
    registers = Registers(node.conn, node.tenant, feeds, node.book.members.policies)
    places = [Place(pen.feed_id, seq) for pen in pens for seq in range(0, len(pen.entries), 3)]
    pasts = [past_of([place], knowledge) for place in places]
    pairs = [(one, other) for one in range(0, len(places), 4) for other in range(1, len(places), 7)]
    return {
        "tenant": founder.tenant.hex(),
        "feeds": [
            {
                "id": pen.feed_id.hex(),
                "entries": [_entry(*(entry if pen is own else shared(entry))) for entry in pen.entries],
            }
            for pen in pens
        ],
        "own": own.feed_id.hex() if own else None,
        "state": state_hash(node.clock()).hex(),
        "policies": sorted(map(list, node.book.members.policies.items())),
        "cuts": [[feed.hex(), cut.size, cut.reason] for feed, cut in sorted(node.book.members.cuts.items())],
        "voids": sorted(_voids(node, pens)),
        "pasts": [
            [place.feed.hex(), place.seq, sorted([feed.hex(), size] for feed, size in past.items())]
            for place, past in zip(places, pasts, strict=True)
        ],
        "relations": [
            [one, other, relation(places[one], places[other], pasts[one], pasts[other])] for one, other in pairs
        ],
        "standings": sorted(
            [each.node_key.hex(), sorted(feed.feed_id.hex() for feed in each.feeds), each.hlc]
            for each in standings(node.conn, node.tenant, feeds, node.book.members)
        ),
        "settled_hlc": settled_hlc(node.conn, node.tenant, feeds, node.book.members),
        "subjects": [_subject(registers, subject) for subject in (*SUBJECTS, *_ODD, "late")],
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
    state = registers.read(subject)
    fold = state.fold
    return {
        "subject": subject,
        "heads": [[head.span.id.hex(), head.means.id.hex()] for head in fold.heads],
        "value": fold.value.means.id.hex() if fold.value else None,
        "local": state.local.means.id.hex() if state.local else None,
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
    return founder, pens, None


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
    for _ in range(3):  # of more than there will be by then, as something later than anybody can claim shows
        pens[1].merge((founder.feed_id, 1000, bytes(32)))
    founder.write(hlc=founder.next_hlc + (11 * 60 * 1000 << 16))
    return founder, pens, None


def _followed() -> Story:
    """Feeds that members opened for every reason, one behind the other, and a member that has none."""
    founder = Founder()
    a, b, c, d = (founder.member(number) for number in (2, 3, 4, 5))
    first: list[Pen] = [founder, a, b, c, d]
    _talk(first, Random(4), 60)
    founder.change(c.keys, Level.OBSERVER, (c, len(c.entries) - 3))
    founder.change(c.keys, Level.TRUSTED)
    root = root_of(grow(EMPTY, b.leaves[:4]).border)
    later = [
        _next(founder, a, "clock", a.head, START_HLC + 5),
        _next(founder, b, "restore", (b.feed_id, 4, root)),
        _next(founder, b, "fetched", b.head),
        _next(founder, c, "cut", (c.feed_id, len(c.entries) - 3, root_of(grow(EMPTY, c.leaves[:-3]).border))),
        _next(founder, d, "continuity", d.head),
    ]
    _talk([founder, *later], Random(5), 40)
    later.append(_next(founder, d, "cloned", later[-1].head))
    _talk([founder, *later], Random(6), 30)
    founder.admit(keys_of(6))
    founder.admit(keys_of(7), Level.OBSERVER)
    return founder, [*first, *later], None


def _next(founder: Founder, pen: Pen, reason: str, parent: tuple[FeedId, int, bytes], hlc: int | None = None) -> Pen:
    number = sum(reason.encode())
    return Pen(
        pen.keys, pen.tenant, [founder.newest], number=number, parent=parent, reason=reason, hlc=hlc or pen.next_hlc
    )


def _restored() -> Story:
    """Copies of what a node wrote behind a fork: in conflict with what was said meanwhile, named by their old ids."""
    founder = Founder()
    pens: list[Pen] = [founder, founder.member(2), founder.member(3)]
    lost = pens[2]
    _talk(pens, Random(7), 30)
    end = len(lost.entries)
    said = [
        lost.write(KINDS[0], encode(number), subject=SUBJECTS[number % 3], caused_by=SpanId(bytes(24)))
        for number in range(5)
    ]
    opening = decode_body(lost.entries[0].body or b"").data
    proof = forked(lost.key, founder.tenant, opening, lost.feed_id, end, (end + 1, end + 3))
    founder.newest = founder.write("feed.fork", feed_fork_data([founder.newest], proof), visibility=PUBLIC)
    _talk(pens[:2], Random(8), 20)
    healed, other = (_next(founder, lost, reason, lost.head) for reason in ("cloned", "continuity"))
    healed.write(KINDS[0], encode("before"), subject=SUBJECTS[0])
    for seq in range(end, end + 5):
        _copy(healed, lost, seq)
    _copy(other, lost, end)
    _copy(pens[1], lost, end + 1)  # of another node's span, which restores nothing
    pens[1].write(REVERT, caused_by=said[4], subject=SUBJECTS[1])
    pens[1].write(RESOLVE, caused_by=said[2], subject=SUBJECTS[2])
    pens[1].merge(*sorted(pen.head for pen in (founder, other)))
    pens[1].write(KINDS[0], encode("after"), subject=SUBJECTS[0])
    return founder, [*pens, healed, other], None


def _copy(pen: Pen, lost: Pen, seq: int) -> None:
    entry, proof = lost.entries[seq], lost.foretold(seq)
    assert entry.body is not None
    place = (lost.feed_id, lost.keys.public, seq, entry.hlc, entry.visibility)
    draft = restored_draft(pen.tenant, Stranded(*place, entry.header, entry.body, proof.path, proof.note))
    assert draft is not None
    pen.write(
        draft.kind, draft.data, visibility=draft.visibility, caused_by=draft.caused_by,
        subject=draft.subject, annotations=draft.annotations,
    )  # fmt: skip


def _odd() -> Story:
    """Control spans of every visibility, tried out, out of time and out of place; subjects that are none."""
    founder = Founder()
    pens: list[Pen] = [founder, founder.member(2)]
    for word, (visibility, status) in _ODD.items():
        data = tenant_policy_data([founder.newest], f"{word}.set", "manual")
        founder.write("tenant.policy", data, visibility=visibility, status=status)
    founder.write("tenant.policy", tenant_policy_data([founder.newest], "late.set", "manual"), hlc=START_HLC + 2)
    for pen in pens:
        pen.write("feed.open", decode_body(pen.entries[0].body or b"").data, visibility=PUBLIC)
        for word in (*_ODD, "late"):
            pen.write(f"{word}.set", encode(1), subject=word)
        about_nothing = pen.write("tap.set", encode(1), subject="x" * 4097)
        about = pen.write("tap.set", encode(1), subject=SUBJECTS[0])
        for subject in ("", "y" * 4097):
            pen.write(REVERT, caused_by=about_nothing, subject=subject)
            pen.write(RESOLVE, caused_by=about, subject=subject)
        revert = pen.write(REVERT, caused_by=about, subject="y" * 4097)
        pen.write(REVERT, caused_by=revert, subject=None)
        pen.write(REVERT, caused_by=about, subject=SUBJECTS[1])
        pen.write(RESOLVE, caused_by=revert, subject=SUBJECTS[0])
        pen.write(REVERT, caused_by=about, subject=SUBJECTS[0], visibility=PRIVATE)
        pen.write(REVERT, caused_by=about, subject=SUBJECTS[0], status=SIMULATED)
    scratch = Pen(pens[1].keys, founder.tenant, [])
    scratch.merge(founder.head)
    data = decode_body(scratch.entries[-1].body or b"").data
    for visibility, status, hlc in ((ORGANIZATION, 0, None), (PUBLIC, SIMULATED, None), (PUBLIC, 0, START_HLC)):
        pens[1].write(MERGE, data, visibility=visibility, status=status, hlc=hlc)
    for _ in range(3):
        pens[1].write()
    return founder, pens, None


_ODD: Final = {
    "tried": (PUBLIC, SIMULATED),
    "shared": (ORGANIZATION, 0),
    "hidden": (PRIVATE, 0),
    "strange": (7, 0),
}


def _private() -> Story:
    """What a node says to itself, beside what it shares: values, reverts and resolutions that stay with it."""
    founder = Founder()
    pens: list[Pen] = [founder, founder.member(2)]
    own = pens[1]
    _talk(pens, Random(9), 50)
    for subject in SUBJECTS[:3]:
        shared_one = own.write(KINDS[0], encode(1), subject=subject)
        first, second = (own.write(KINDS[0], encode(n), subject=subject, visibility=PRIVATE) for n in (2, 3))
        own.write(REVERT, caused_by=second, subject=subject, visibility=PRIVATE)
        if subject != SUBJECTS[0]:
            own.write(REVERT, caused_by=first, subject=subject, visibility=ORGANIZATION)
            own.write(RESOLVE, caused_by=shared_one, subject=subject, visibility=PRIVATE)
        if subject == SUBJECTS[2]:
            own.write(REVERT, caused_by=shared_one, subject=subject, visibility=PRIVATE)
    return founder, pens, own


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
    "feeds that follow one another": _followed,
    "spans that were restored": _restored,
    "odd control spans and subjects": _odd,
    "with what a node keeps to itself": _private,
}
