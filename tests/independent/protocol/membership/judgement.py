"""One judgement of all acts, with given cuts: which count, who is at what level, where feeds end.

From docs/protocol.md, Membership, Levels, What counts and Cuts. Shares no code with lognode.
"""

from collections.abc import Iterable
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
    parents: set[Span]
    depth: int
    level: int
    replaced: set[Span] = field(default_factory=set)  # of a rotation: the old grants


class Judgement:
    """`why` has a reason for each act that does not count, `grants` what the others gave."""

    def __init__(self, ordered: list[Span], given: Given) -> None:
        self.given = given
        self.opened = {span.feed: span for span in ordered if span.kind == "feed.open" and not span.seq}
        self.feeds = {span.feed: span.author for span in ordered}
        self.counting: list[Span] = []
        self.why: dict[Span, str] = {}
        self.grants: dict[Span, Grant] = {given.founding: Grant(set(), 0, ROOT)}
        self.about: dict[bytes, list[Span]] = {given.founding.author: [given.founding]}
        self.ignored: set[Span] = set()
        self._cuts: dict[bytes, tuple[int, str] | None] = {}
        for span in ordered:
            if span.kind != "feed.open" and span is not given.founding:
                self.judge(span)
        self.counting.append(given.founding)

    # What holds in a past.

    def acts_about(self, key: bytes, past: set[Span]) -> list[Span]:
        return [act for act in self.about.get(key, []) if act in past and act not in self.ignored]

    def level(self, key: bytes, past: set[Span]) -> int:
        acts = self.acts_about(key, past)
        newest = [act for act in acts if not any(act in other.past for other in acts if other is not act)]
        return min((self.value(act, key) for act in newest), default=NOBODY)

    def value(self, act: Span, key: bytes) -> int:
        if self.ends(act, key):
            return NOBODY
        return self.grants[act].level if act in self.grants else said_by(act).level

    def ends(self, act: Span, key: bytes) -> bool:
        return act.kind in ENDING and said_by(act).key == key

    def grants_of(self, key: bytes, past: set[Span]) -> set[Span]:
        return {act for act in self.acts_about(key, past) if act in self.grants and not self.ends(act, key)}

    def in_force(self, key: bytes, past: set[Span]) -> set[Span]:
        ends = [act for act in self.acts_about(key, past) if self.ends(act, key)]
        return {grant for grant in self.grants_of(key, past) if not any(grant in end.past for end in ends)}

    def above(self, grants: Iterable[Span]) -> set[Span]:
        """All that is above any of these grants; a rotation's grant also is where an old one is."""
        found: set[Span] = set()
        waiting = [parent for grant in grants for parent in self.grants[grant].parents]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += self.grants[one].parents
                waiting += [other for other, grant in self.grants.items() if one in grant.replaced]
        return found

    def is_senior(self, key: bytes, other: bytes, past: set[Span]) -> bool:
        return bool(self.in_force(key, past) & self.above(self.grants_of(other, past)))

    def depth(self, key: bytes, past: set[Span]) -> int:
        return max((self.grants[grant].depth for grant in self.grants_of(key, past)), default=0)

    def recovery_keys(self, key: bytes, past: set[Span]) -> list[bytes]:
        """The recovery keys in force of the node that has this key, also under its keys before."""
        keys, waiting = set(), [key]
        while waiting:
            one = waiting.pop()
            if one not in keys:
                keys.add(one)
                rotated = [act for act in self.grants_of(one, past) if act.kind == "identity.rotate"]
                waiting += [said_by(act).key for act in rotated]
        made = [
            act for act in self.counting if act.kind == "identity.recovery" and act in past and said_by(act).key in keys
        ]
        return [said_by(act).recovery_key for act in made if not any(act in other.past for other in made)]

    # Cuts.

    def cut(self, feed: bytes) -> tuple[int, str] | None:
        """Size and reason of the smallest cut of a feed."""
        if feed not in self._cuts:
            self._cuts[feed] = min(self.cuts(feed), key=lambda cut: cut[0], default=None)
        return self._cuts[feed]

    def cuts(self, feed: bytes) -> Iterable[tuple[int, str]]:
        author, given = self.feeds[feed], self.given
        past = self.opened[feed].past if feed in self.opened else {given.founding}
        least = 2 if feed == given.founding.feed else 0
        level = self.level(author, past)
        if level < TRUSTED:
            yield max(0, least), "member.unknown" if level == NOBODY else "member.observer"
        adoptions = [act for act in given.settled if act.kind == "feed.adopt" and said_by(act).feed == feed]
        for act in given.settled | given.votes:
            if act.kind not in CUT_REASONS or said_by(act).key != author or self.is_left_alone(author, past, act):
                continue
            named = given.decided[author] if act in given.votes else said_by(act).cuts
            size = max(named.get(feed, 0), act.seq + 1 if act.feed == feed else 0)
            raised = [said_by(adoption).size for adoption in adoptions if act in adoption.past]
            yield max([size, least, *raised]), CUT_REASONS[act.kind]
        if feed in given.forks:
            yield given.forks[feed], "feed.forked"

    def is_left_alone(self, author: bytes, past: set[Span], act: Span) -> bool:
        if act.kind == "member.level" and act in past:
            return True
        return any(act in grant.past for grant in self.grants_of(author, past))

    # Acts.

    def judge(self, span: Span) -> None:
        given = self.given
        cut = self.cut(span.feed)
        is_settled = span in given.settled or span in given.votes
        if span.fault:
            self.why[span] = span.fault
        elif cut and span.seq >= cut[0] and not is_settled:
            self.why[span] = cut[1]
        elif span in given.lost and not is_settled:
            self.why[span] = given.lost[span]
        else:
            if span.kind == "identity.rotate" and not self.is_by_old_key(span):
                self.ignored = {act for act in self.about.get(said_by(span).key, []) if self.is_by_old_key(act)}
            why = RULES[span.kind](self, span, said_by(span))
            if why and not is_settled:
                self.why[span] = why
            else:
                self.count(span, said_by(span))
            self.ignored = set()

    def is_by_old_key(self, span: Span) -> bool:
        said = said_by(span)
        return span.kind == "identity.rotate" and said.key == span.author and said.is_signed_by(said.key)

    def count(self, span: Span, said: Said) -> None:
        self.counting.append(span)
        if span.kind == "member.admit":
            parents = self.in_force(span.author, span.past)
            invite = self.invite(span, said)
            if invite:
                parents |= self.in_force(invite.author, invite.past)
            self.grants[span] = Grant(parents, self.depth_below(parents), said.level)
        elif span.kind == "identity.rotate":
            old = self.in_force(said.key, span.past)
            parents = {parent for grant in old for parent in self.grants[grant].parents}
            level = self.level(said.key, span.past)
            self.grants[span] = Grant(parents, self.depth_below(parents), level, old)
            self.about.setdefault(said.new_key, []).append(span)
        if span.kind in ("member.admit", "member.level", *ENDING):
            self.about.setdefault(said.key, []).append(span)

    def depth_below(self, parents: set[Span]) -> int:
        return 1 + max((self.grants[parent].depth for parent in parents), default=-1)

    def is_root(self, span: Span) -> bool:
        return self.level(span.author, span.past) == ROOT

    def invite(self, span: Span, said: Said) -> Span | None:
        """The `invite.create` that an admission goes by."""
        made = [
            act
            for act in self.counting
            if act.kind == "invite.create" and act in span.past and said_by(act).invite == said.invite
        ]
        return min(made, key=lambda act: (self.depth(act.author, act.past), self.counting.index(act)), default=None)

    def admission(self, span: Span, said: Said) -> str | None:
        if not self.is_root(span):
            return "member.not_root"
        if said.server != span.author:
            return "binding.invalid"
        if self.level(said.key, span.past) != NOBODY:
            return "member.exists"
        if any(
            act.kind == "identity.rotate" and self.ends(act, said.key) for act in self.acts_about(said.key, span.past)
        ):
            return "identity.rotated"
        if said.invite and (why := self.invited(span, said)):
            return why
        if self.depth_below(self.in_force(span.author, span.past)) > DEPTH_MAX:
            return "member.too_deep"
        return None

    def invited(self, span: Span, said: Said) -> str | None:
        invite = self.invite(span, said)
        if not invite:
            return "invite.unknown"
        made = said_by(invite)
        if not said.is_signed_by(made.invite_key):
            return "binding.invalid"
        if said.level > made.level:
            return "invite.level"
        acts = [act for act in self.counting if act in span.past and said_by(act).invite == said.invite]
        if any(act.kind == "invite.revoke" for act in acts):
            return "invite.revoked"
        if span.hlc >> 16 > made.expires_ms:
            return "invite.expired"
        if len({said_by(act).key for act in acts if act.kind == "member.admit"} - {said.key}) >= made.uses:
            return "invite.used"
        ends = [act for act in self.acts_about(said.key, span.past) if self.ends(act, said.key)]
        return None if all(act in invite.past for act in ends) else "member.removed"

    def level_change(self, span: Span, said: Said) -> str | None:
        now = self.level(said.key, span.past)
        if now == NOBODY:
            return "member.unknown"
        if now == said.level:
            return "member.same_level"
        return None if span.author == said.key and said.level < now else self.from_above(span, said.key)

    def from_above(self, span: Span, key: bytes) -> str | None:
        if not self.is_root(span):
            return "member.not_root"
        return None if self.is_senior(span.author, key, span.past) else "member.not_senior"

    def removal(self, span: Span, said: Said) -> str | None:
        if not self.grants_of(said.key, span.past):
            return "member.unknown"
        return None if span.author == said.key else self.from_above(span, said.key)

    def adoption(self, span: Span, said: Said) -> str | None:
        if said.feed not in self.feeds:
            return "feed.unknown"
        return self.from_above(span, self.feeds[said.feed])

    def invite_made(self, span: Span, said: Said) -> str | None:
        if not self.is_root(span):
            return "member.not_root"
        return "invite.exists" if self.invite(span, said) else None

    def by_root(self, span: Span, _: Said) -> str | None:
        return None if self.is_root(span) else "member.not_root"

    def recovery(self, span: Span, said: Said) -> str | None:
        if span.author != said.key:
            return "binding.invalid"
        return self.declared(said, self.recovery_keys(said.key, span.past))

    def declared(self, said: Said, keys: list[bytes]) -> str | None:
        is_signed = any(said.is_signed_by(key) for key in keys) if keys else True
        return None if is_signed else "identity.declared"

    def rotation(self, span: Span, said: Said) -> str | None:
        keys = self.recovery_keys(said.key, span.past)
        if not self.is_by_old_key(span) and not any(said.is_signed_by(key) for key in keys):
            return "binding.invalid"
        if self.level(said.key, span.past) == NOBODY:
            return "member.unknown"
        return "member.exists" if self.grants_of(said.new_key, span.past) else None

    def revocation(self, span: Span, said: Said) -> str | None:
        if not self.grants_of(said.key, span.past):
            return "member.unknown"
        keys = self.recovery_keys(said.key, span.past)
        return None if any(said.is_signed_by(key) for key in keys) else "binding.invalid"


def said_by(span: Span) -> Said:
    assert span.said is not None
    return span.said


def verified(_: Judgement, __: Span, ___: Said) -> None:
    """What was checked when it was read."""


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
    "feed.fork": verified,
}
