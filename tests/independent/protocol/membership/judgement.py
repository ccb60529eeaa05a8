"""One judgement of all acts, with given cuts: which count, who is at what level, where feeds end.

From docs/protocol.md, Membership, Levels, What counts and Cuts. Shares no code with lognode.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from tests.independent.protocol.control import Said
from tests.independent.protocol.membership.links import Span

NOBODY, BLOCKED, OBSERVER, TRUSTED, ROOT = -1, 0, 1, 2, 3
DEPTH_MAX = 32
ENDING = ("member.remove", "identity.revoke", "identity.rotate")
CUT_REASONS = {
    "member.remove": "member.removed",
    "member.level": "member.lowered",
    "identity.rotate": "identity.rotated",
    "identity.revoke": "identity.revoked",
}


@dataclass
class Given:
    """What a judgement begins with: what was settled, decided and lost before."""

    founding: Span
    forks: dict[bytes, int]
    settled: set[Span] = field(default_factory=set)
    decided: dict[bytes, dict[bytes, int]] = field(default_factory=dict)  # key -> feed -> size
    votes: set[Span] = field(default_factory=set)
    lost: dict[Span, str] = field(default_factory=dict)


@dataclass
class Grant:
    """What an act gave. `lines` are the grants that it stands for: itself, or after a rotation the old ones."""

    lines: set[Span]
    parents: set[Span]
    above: set[Span]
    depth: int
    level: int


@dataclass(eq=False)
class Invite:
    """An `invite.create` that counts, its maker's grants in force, and the admissions by it that count."""

    act: Span
    grants: set[Span]
    joined: list[Span] = field(default_factory=list)


class Judgement:
    """`why` has a reason for each act that does not count, `grants` what the others gave."""

    def __init__(self, ordered: list[Span], given: Given) -> None:
        self.given = given
        self.openings: dict[bytes, Span] = {}
        self.feeds = {span.feed: span.author for span in ordered}
        self.counting: list[Span] = [given.founding]
        self.why: dict[Span, str] = {}
        self.grants = {given.founding: Grant({given.founding}, set(), set(), 0, ROOT)}
        self.about: dict[bytes, list[Span]] = {given.founding.author: [given.founding]}
        self.invites: dict[bytes, list[Invite]] = {}
        self.origins: dict[bytes, bytes] = {}  # key -> first key of the node
        self.by_recovery: list[tuple[Span, bytes, bytes]] = []  # act, node, recovery key that signed it
        self.given_up: list[tuple[Span, bytes, bytes]] = []  # declaration, node, recovery key that agreed to it
        self._cuts: dict[bytes, tuple[int, str] | None] = {}
        for span in ordered:
            if not span.seq:
                self.openings.setdefault(span.feed, span)
            if span.kind not in ("feed.open", "feed.fork") and span is not given.founding:
                self.judge(span)

    # What holds in a past.

    def acts_about(self, key: bytes, past: AbstractSet[Span]) -> list[Span]:
        return [act for act in self.about.get(key, []) if act in past]

    def level(self, key: bytes, past: AbstractSet[Span]) -> int:
        return min((self.value(act, key) for act in newest(self.acts_about(key, past))), default=NOBODY)

    def value(self, act: Span, key: bytes) -> int:
        if self.ends(act, key):
            return NOBODY
        return self.grants[act].level if act in self.grants else said_by(act).level

    def ends(self, act: Span, key: bytes) -> bool:
        return act.kind in ENDING and said_by(act).key == key

    def newest_ends(self, key: bytes, past: AbstractSet[Span]) -> list[Span]:
        return newest([act for act in self.acts_about(key, past) if self.ends(act, key)])

    def grants_of(self, key: bytes, past: AbstractSet[Span]) -> set[Span]:
        return {act for act in self.acts_about(key, past) if act in self.grants and not self.ends(act, key)}

    def in_force(self, key: bytes, past: AbstractSet[Span]) -> set[Span]:
        ends = self.newest_ends(key, past)
        return {grant for grant in self.grants_of(key, past) if not any(grant in end.past for end in ends)}

    def lines(self, grants: Iterable[Span]) -> set[Span]:
        return set().union(*(self.grants[grant].lines for grant in grants))

    def above(self, grants: Iterable[Span]) -> set[Span]:
        return set().union(*(self.grants[grant].above for grant in grants))

    def is_senior(self, key: bytes, other: bytes, past: AbstractSet[Span]) -> bool:
        return bool(self.lines(self.in_force(key, past)) & self.above(self.grants_of(other, past)))

    def depth(self, grants: Iterable[Span]) -> int:
        return max((self.grants[grant].depth for grant in grants), default=0)

    def node(self, key: bytes) -> bytes:
        return self.origins.get(key, key)

    def recovery_keys(self, key: bytes, past: AbstractSet[Span]) -> list[bytes]:
        """The recovery keys in force of the node that has this key."""
        made = [act for act in self.counting if act.kind == "identity.recovery" and act in past]
        made = [act for act in made if self.node(said_by(act).key) == self.node(key)]
        return [said_by(act).recovery_key for act in newest(made)]

    # Cuts.

    def cut(self, feed: bytes) -> tuple[int, str] | None:
        """Size and reason of the smallest cut of a feed."""
        if feed not in self._cuts:
            self._cuts[feed] = min(self.cuts(feed), default=None)
        return self._cuts[feed]

    def cuts(self, feed: bytes) -> Iterable[tuple[int, str]]:
        given = self.given
        if feed in given.forks:
            yield given.forks[feed], "feed.forked"
        if feed not in self.feeds:
            return
        author = self.feeds[feed]
        past = self.openings[feed].past if feed in self.openings else {given.founding}
        level = self.level(author, past)
        if level < TRUSTED:
            yield 0, "member.unknown" if level == NOBODY else "member.observer"
            return
        least = 2 if feed == given.founding.feed else 0
        adoptions = [act for act in given.settled if act.kind == "feed.adopt" and said_by(act).feed == feed]
        for acts, named, reason in self.cutters(author):
            if all(self.is_left_alone(author, past, act) for act in acts):
                continue
            own = [act.seq + 1 for act in acts if act.feed == feed]
            raised = [said_by(adoption).size for adoption in adoptions if acts & adoption.past]
            yield max([named.get(feed, 0), least, *own, *raised]), reason

    def cutters(self, author: bytes) -> Iterable[tuple[set[Span], dict[bytes, int], str]]:
        """What ends the feeds of a key: acts, sizes and reason; all votes that decided are one."""
        for act in self.given.settled:
            if act.kind in CUT_REASONS and said_by(act).key == author:
                yield {act}, said_by(act).cuts, CUT_REASONS[act.kind]
        if author in self.given.decided:
            votes = {act for act in self.given.votes if said_by(act).key == author}
            yield votes, self.given.decided[author], "member.removed"

    def is_left_alone(self, author: bytes, past: AbstractSet[Span], act: Span) -> bool:
        if act.kind == "member.level" and act in past:
            return True
        return any(act in grant.past for grant in self.grants_of(author, past))

    # Acts.

    def judge(self, span: Span) -> None:
        given = self.given
        if span in given.votes:
            self.end(span)
            return
        cut = None if span in given.settled else self.cut(span.feed)
        is_beyond = cut is not None and span.seq >= cut[0]
        why = span.fault or given.lost.get(span) or (cut[1] if cut and is_beyond else None)
        why = why or RULES[span.kind](self, span, said_by(span))
        if why:
            self.why[span] = why
        elif span not in self.counting:
            self.counting.append(span)

    def end(self, span: Span) -> None:
        self.counting.append(span)
        self.about.setdefault(said_by(span).key, []).append(span)

    def is_by_old_key(self, span: Span, key: bytes) -> bool:
        """Whether this rotation of a key was signed by itself."""
        return said_by(span).key == key and said_by(span).is_signed_by(key)

    def is_root(self, span: Span) -> bool:
        return self.level(span.author, span.past) == ROOT

    def invite(self, span: Span, said: Said) -> Invite | None:
        """The invite that an act goes by."""
        held = [invite for invite in self.invites.get(said.invite or b"", []) if invite.act in span.past]
        return min(held, key=lambda invite: self.depth(invite.grants), default=None)

    def admission(self, span: Span, said: Said) -> str | None:
        if not self.is_root(span):
            return "member.not_root"
        if said.server != span.author:
            return "binding.invalid"
        if self.level(said.key, span.past) != NOBODY:
            return "member.exists"
        if any(act.kind == "identity.rotate" for act in self.newest_ends(said.key, span.past)):
            return "identity.rotated"
        parents, invite = self.in_force(span.author, span.past), None
        if said.invite:
            invite = self.invite(span, said)
            if why := self.invited(span, said, invite):
                return why
            assert invite
            parents |= invite.grants
        if self.depth(parents) >= DEPTH_MAX:
            return "member.too_deep"
        lines = self.lines(parents)
        self.grants[span] = Grant({span}, lines, lines | self.above(parents), self.depth(parents) + 1, said.level)
        self.about.setdefault(said.key, []).append(span)
        if invite:
            invite.joined.append(span)
        return None

    def invited(self, span: Span, said: Said, invite: Invite | None) -> str | None:
        if not invite:
            return "invite.unknown"
        made = said_by(invite.act)
        if not said.is_signed_by(made.invite_key):
            return "binding.invalid"
        if said.level > made.level:
            return "invite.level"
        ended = [act for act in self.counting if act.kind == "invite.revoke" and said_by(act).invite == said.invite]
        if any(act in span.past for act in ended):
            return "invite.revoked"
        if span.hlc >> 16 > made.expires_ms:
            return "invite.expired"
        if len({said_by(act).key for act in invite.joined if act in span.past} - {said.key}) >= made.uses:
            return "invite.used"
        ends = self.newest_ends(said.key, span.past)
        return None if all(act in invite.act.past for act in ends) else "member.removed"

    def level_change(self, span: Span, said: Said) -> str | None:
        now = self.level(said.key, span.past)
        if now == NOBODY:
            return "member.unknown"
        if now == said.level:
            return "member.same_level"
        if not (span.author == said.key and said.level < now) and (why := self.from_above(span, said.key)):
            return why
        self.about[said.key].append(span)
        return None

    def from_above(self, span: Span, key: bytes) -> str | None:
        if not self.is_root(span):
            return "member.not_root"
        return None if self.is_senior(span.author, key, span.past) else "member.not_senior"

    def removal(self, span: Span, said: Said) -> str | None:
        if not self.grants_of(said.key, span.past):
            return "member.unknown"
        if span.author != said.key and (why := self.from_above(span, said.key)):
            return why
        self.end(span)
        return None

    def adoption(self, span: Span, said: Said) -> str | None:
        if said.feed not in self.feeds:
            return "feed.unknown"
        return self.from_above(span, self.feeds[said.feed])

    def invite_made(self, span: Span, said: Said) -> str | None:
        if not self.is_root(span):
            return "member.not_root"
        if self.invite(span, said):
            return "invite.exists"
        invite = Invite(span, self.in_force(span.author, span.past))
        self.invites.setdefault(said.invite or b"", []).append(invite)
        return None

    def by_root(self, span: Span, _: Said) -> str | None:
        return None if self.is_root(span) else "member.not_root"

    def recovery(self, span: Span, said: Said) -> str | None:
        if span.author != said.key:
            return "binding.invalid"
        keys = self.recovery_keys(said.key, span.past)
        agreed = [key for key in keys if said.is_signed_by(key)]
        self.given_up += [(span, self.node(said.key), key) for key in agreed]
        return "identity.declared" if keys and not agreed else None

    def rotation(self, span: Span, said: Said) -> str | None:
        past: AbstractSet[Span] = span.past
        if not said.is_signed_by(said.key):
            if not self.is_recovered(span, said):
                return "binding.invalid"
            past = {act for act in past if not (act.kind == "identity.rotate" and self.is_by_old_key(act, said.key))}
        elif span.author != said.key:
            return "binding.invalid"
        level, old = self.level(said.key, past), self.in_force(said.key, past)
        if level == NOBODY or not old:
            return "member.unknown"
        if self.grants_of(said.new_key, span.past):
            return "member.exists"
        parents = set().union(*(self.grants[grant].parents for grant in old))
        self.grants[span] = Grant(self.lines(old), parents, self.above(old), self.depth(old), level)
        self.origins[said.new_key] = self.node(said.key)
        self.about.setdefault(said.new_key, []).append(span)
        self.end(span)
        return None

    def revocation(self, span: Span, said: Said) -> str | None:
        if not self.grants_of(said.key, span.past):
            return "member.unknown"
        if not self.is_recovered(span, said):
            return "binding.invalid"
        self.end(span)
        return None

    def is_recovered(self, span: Span, said: Said) -> bool:
        """Whether a recovery key in force signed, or one did when the act was settled."""
        keys = [key for key in self.recovery_keys(said.key, span.past) if said.is_signed_by(key)]
        self.by_recovery += [(span, self.node(said.key), key) for key in keys]
        return bool(keys) or span in self.given.settled


def newest(acts: list[Span]) -> list[Span]:
    """Those that are in the past of no other one of them."""
    return [act for act in acts if not any(act in other.past for other in acts if other is not act)]


def said_by(span: Span) -> Said:
    assert span.said is not None
    return span.said


RULES = {
    "member.admit": Judgement.admission,
    "member.level": Judgement.level_change,
    "member.remove": Judgement.removal,
    "feed.adopt": Judgement.adoption,
    "invite.create": Judgement.invite_made,
    "invite.revoke": Judgement.by_root,
    "identity.recovery": Judgement.recovery,
    "identity.rotate": Judgement.rotation,
    "identity.revoke": Judgement.revocation,
    "tenant.policy": Judgement.by_root,
    "tenant.create": lambda *_: "tenant.created",
}
