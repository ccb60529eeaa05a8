"""One judging of all acts, with the cuts that are settled. From docs/protocol.md, Membership.

Shares no code with lognode.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.independent.protocol.control import Said
from tests.independent.protocol.membership.links import Span

NOBODY, TRUSTED, ROOT = -1, 2, 3
DEPTH_MAX = 32
ADMITTING = ("member.admit", "identity.rotate")
GRANTING = ("tenant.create", *ADMITTING)
ENDING = {
    "member.remove": "member.removed",
    "identity.revoke": "identity.revoked",
    "identity.rotate": "identity.rotated",
    "member.level": "member.lowered",
}
Past = set[Span]
Cut = tuple[int, str]


def said_by(act: Span) -> Said:
    assert act.said
    return act.said


def newest(acts: Iterable[Span]) -> list[Span]:
    """Those in the past of no other one."""
    held = list(acts)
    return [act for act in held if not any(act in other.past for other in held)]


@dataclass
class Grant:
    """What makes a key a member's. `bases` are the grants that count where grants are compared."""

    act: Span
    level: int
    depth: int
    bases: set["Grant"] = field(default_factory=set)
    parents: set["Grant"] = field(default_factory=set)
    above: set["Grant"] = field(default_factory=set)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


@dataclass
class Vote:
    """What an electorate decided about a key: its votes, and how much of each feed more than half of it leaves."""

    acts: set[Span]
    voters: dict[bytes, list[Span]]
    needed: int

    def size(self, feed: bytes) -> int:
        named = [min(said_by(act).cuts.get(feed, 0) for act in acts) for acts in self.voters.values()]
        return sorted(named)[self.needed - 1]


@dataclass
class Given:
    founding: Span
    forks: dict[bytes, int]
    feeds: dict[bytes, tuple[bytes, Past]]  # author and past of each feed
    decided: dict[bytes, Vote] = field(default_factory=dict)


class Judgement:
    """`counting` are the acts that count, `why` the reasons of the others."""

    def __init__(self, ordered: list[Span], given: Given, settled: set[Span], lost: dict[Span, str]) -> None:
        self.given, self.settled, self.lost = given, settled, lost
        self.counting: dict[Span, None] = {}
        self.why: dict[Span, str] = {}
        self.grants: dict[bytes, list[Grant]] = {}
        self.about: dict[bytes, list[Span]] = {}
        self.lowering: set[Span] = set()
        self.invite_of: dict[Span, Span] = {}  # admission -> the invite that it is by
        self.by_recovery: list[tuple[Span, set[bytes], bytes]] = []  # what a recovery key of a node signed
        self.given_up: list[tuple[Span, set[bytes], bytes]] = []  # declarations to which a former key agreed
        for act in ordered:
            if act.kind not in ("feed.open", "feed.fork"):
                why = self._judge(act)
                if why:
                    self.why[act] = why
                else:
                    self.counting[act] = None
                    self._take(act)

    def _judge(self, act: Span) -> str | None:
        if act is self.given.founding or any(act in vote.acts for vote in self.given.decided.values()):
            return None
        if act.fault or act in self.lost:
            return act.fault or self.lost[act]
        cut = self.cut(act.feed)
        if cut and act.seq >= cut[0] and act not in self.settled:
            return cut[1]
        return RULES[act.kind](self, act, said_by(act)) if act.kind in RULES else "control.unknown"

    # What a key is in a past.

    def level(self, key: bytes, past: Past, without: Past = frozenset()) -> int:  # type: ignore[assignment]
        found = newest(act for act in self.about.get(key, []) if act in past and act not in without)
        return min((self._level_of(act, key) for act in found), default=NOBODY)

    def _level_of(self, act: Span, key: bytes) -> int:
        if act.kind == "member.level":
            return said_by(act).level
        return next((grant.level for grant in self.grants.get(key, []) if grant.act is act), NOBODY)

    def ends(self, act: Span, key: bytes) -> bool:
        return act.kind in ("member.remove", "identity.revoke", "identity.rotate") and said_by(act).key == key

    def grants_of(self, key: bytes, past: Past) -> list[Grant]:
        return [grant for grant in self.grants.get(key, []) if grant.act in past]

    def in_force(self, key: bytes, past: Past, without: Past = frozenset()) -> list[Grant]:  # type: ignore[assignment]
        over = [act for act in self.about.get(key, []) if act in past and act not in without and self.ends(act, key)]
        return [grant for grant in self.grants_of(key, past) if not any(grant.act in end.past for end in over)]

    def is_senior(self, key: bytes, other: bytes, past: Past) -> bool:
        above = {one for grant in self.grants_of(other, past) for base in grant.bases for one in base.above}
        return any(grant.bases & above for grant in self.in_force(key, past))

    def is_root(self, act: Span) -> bool:
        return self.level(act.author, act.past) == ROOT

    # Recovery keys.

    def node_of(self, key: bytes) -> set[bytes]:
        """All keys of the node that has this one."""
        rotations = [said_by(act) for act in self.counting if act.kind == "identity.rotate"]
        keys, grown = {key}, True
        while grown:
            linked = {one for said in rotations if keys & {said.key, said.new_key} for one in (said.key, said.new_key)}
            grown = not linked <= keys
            keys |= linked
        return keys

    def declared(self, key: bytes, past: Past) -> list[bytes]:
        """The recovery keys of a node that are in force in a past."""
        keys = self.node_of(key)
        made = [act for act in self.counting if act.kind == "identity.recovery" and said_by(act).key in keys]
        return [said_by(act).recovery_key for act in newest(act for act in made if act in past)]

    def is_by_old_key(self, act: Span) -> bool:
        return act.author == said_by(act).key and said_by(act).is_signed_by(act.author)

    def is_by_recovery(self, act: Span) -> bool:
        signed = [key for key in self.declared(said_by(act).key, act.past) if said_by(act).is_signed_by(key)]
        self.by_recovery += [(act, self.node_of(said_by(act).key), key) for key in signed]
        return bool(signed) or act in self.settled

    def without_own(self, act: Span) -> Past:
        """The rotations by the key itself, as if which there were none for a rotation by a recovery key."""
        if self.is_by_old_key(act):
            return set()
        key = said_by(act).key
        about = self.about.get(key, [])
        return {
            one for one in about if one.kind == "identity.rotate" and self.ends(one, key) and self.is_by_old_key(one)
        }

    # Taking in what counts.

    def _take(self, act: Span) -> None:
        said = said_by(act)
        if act.kind == "member.level" and said.level < self.level(said.key, act.past):
            self.lowering.add(act)
        if act.kind in ("tenant.create", "member.admit"):
            self._grant(act, said)
        elif act.kind == "identity.rotate":
            old = self.in_force(said.key, act.past, self.without_own(act))
            level = self.level(said.key, act.past, self.without_own(act))
            bases = {base for grant in old for base in grant.bases}
            depth = max((base.depth for base in bases), default=0)
            self.grants.setdefault(said.new_key, []).append(Grant(act, level, depth, bases))
            self.about.setdefault(said.new_key, []).append(act)
        if act.kind in ENDING or act.kind in ("tenant.create", "member.admit"):
            self.about.setdefault(said.key, []).append(act)

    def _grant(self, act: Span, said: Said) -> None:
        parents = self._parents(act)
        above = parents | {one for parent in parents for one in parent.above}
        depth = max((parent.depth + 1 for parent in parents), default=0)
        grant = Grant(act, said.level, depth, set(), parents, above)
        grant.bases.add(grant)
        self.grants.setdefault(said.key, []).append(grant)

    def _parents(self, act: Span) -> set[Grant]:
        if act is self.given.founding:
            return set()
        found = self.in_force(act.author, act.past)
        if act in self.invite_of:
            invite = self.invite_of[act]
            found = [*found, *self.in_force(invite.author, invite.past)]
        return {base for grant in found for base in grant.bases}

    def depth(self, grants: Iterable[Grant]) -> int:
        return max((grant.depth for grant in grants), default=0)

    # Cuts.

    def cut(self, feed: bytes) -> Cut | None:
        author, past = self.given.feeds.get(feed, (b"", set()))
        found: list[Cut] = [(self.given.forks[feed], "feed.forked")] if feed in self.given.forks else []
        level = self.level(author, past)
        if feed in self.given.feeds and level < TRUSTED:
            found.append((0, "member.unknown" if level == NOBODY else "member.observer"))
        elif feed in self.given.feeds:
            found += self._ends_of(feed, author, past)
        least = 2 if feed == self.given.founding.feed else 0
        return min(((max(size, least), why) for size, why in found), default=None)

    def _ends_of(self, feed: bytes, author: bytes, past: Past) -> Iterable[Cut]:
        vote = self.given.decided.get(author)
        voted = vote.acts if vote else set()
        for act in self.settled:
            is_end = act.kind in ENDING and said_by(act).key == author
            if is_end and act not in voted and not self._is_later({act}, author, past):
                size = said_by(act).cuts.get(feed, 0)
                size = max(size, act.seq + 1) if act.feed == feed else size
                yield self._adopted(feed, size, {act}), ENDING[act.kind]
        if vote and not self._is_later(vote.acts, author, past):
            yield self._adopted(feed, vote.size(feed), vote.acts), "member.removed"

    def _is_later(self, acts: Past, author: bytes, past: Past) -> bool:
        """Whether a feed was opened after what ends its author."""
        if any(act.kind == "member.level" and act in past for act in acts):
            return True
        return any(act in grant.act.past for grant in self.grants_of(author, past) for act in acts)

    def _adopted(self, feed: bytes, size: int, acts: Past) -> int:
        raised = [
            said_by(act).size
            for act in self.settled
            if act.kind == "feed.adopt" and said_by(act).feed == feed and acts & act.past
        ]
        return max(size, *raised) if raised else size

    # The rules, each of which gives the reason of what does not count.

    def _admit(self, act: Span, said: Said) -> str | None:
        if not self.is_root(act):
            return "member.not_root"
        if said.server != act.author:
            return "binding.invalid"
        if self.level(said.key, act.past) != NOBODY:
            return "member.exists"
        ends = [one for one in self.about.get(said.key, []) if one in act.past and self.ends(one, said.key)]
        if any(end.kind == "identity.rotate" for end in newest(ends)):
            return "identity.rotated"
        why = self._by_invite(act, said, ends) if said.invite is not None else None
        return why or ("member.too_deep" if self._is_too_deep(act) else None)

    def _is_too_deep(self, act: Span) -> bool:
        return self.depth(self._parents(act)) + 1 > DEPTH_MAX

    def _by_invite(self, act: Span, said: Said, ends: list[Span]) -> str | None:
        made = [
            one
            for one in self.counting
            if one in act.past and one.kind == "invite.create" and said_by(one).invite == said.invite
        ]
        if not made:
            return "invite.unknown"
        invite = min(made, key=lambda one: self.depth(self.in_force(one.author, one.past)))
        terms = self.invite_of[act] = invite
        offer = said_by(terms)
        joined = {said_by(one).key for one in self.joined(invite) if one in act.past} - {said.key}
        revoked = any(
            one.kind == "invite.revoke" and said_by(one).invite == said.invite
            for one in self.counting
            if one in act.past
        )
        checks = (
            (said.is_signed_by(offer.invite_key), "binding.invalid"),
            (said.level <= offer.level, "invite.level"),
            (not revoked, "invite.revoked"),
            (act.hlc >> 16 <= offer.expires_ms, "invite.expired"),
            (len(joined) < offer.uses, "invite.used"),
            (all(end in invite.past for end in ends), "member.removed"),
        )
        return next((why for holds, why in checks if not holds), None)

    def joined(self, invite: Span) -> list[Span]:
        return [act for act, by in self.invite_of.items() if by is invite and act in self.counting]

    def _level(self, act: Span, said: Said) -> str | None:
        level = self.level(said.key, act.past)
        if level == NOBODY:
            return "member.unknown"
        if level == said.level:
            return "member.same_level"
        return None if act.author == said.key and said.level < level else self._over(act, said.key)

    def _over(self, act: Span, key: bytes) -> str | None:
        if not self.is_root(act):
            return "member.not_root"
        return None if self.is_senior(act.author, key, act.past) else "member.not_senior"

    def _remove(self, act: Span, said: Said) -> str | None:
        if not self.grants_of(said.key, act.past):
            return "member.unknown"
        if act.author == said.key:
            return None
        return self._over(act, said.key)

    def _adopt(self, act: Span, said: Said) -> str | None:
        if said.feed not in self.given.feeds:
            return "feed.unknown"
        return self._over(act, self.given.feeds[said.feed][0])

    def _invite(self, act: Span, said: Said) -> str | None:
        if not self.is_root(act):
            return "member.not_root"
        made = (one for one in self.counting if one.kind == "invite.create" and one in act.past)
        return "invite.exists" if any(said_by(one).invite == said.invite for one in made) else None

    def _by_root(self, act: Span, _: Said) -> str | None:
        return None if self.is_root(act) else "member.not_root"

    def _recovery(self, act: Span, said: Said) -> str | None:
        if said.key != act.author:
            return "binding.invalid"
        keys = self.declared(said.key, act.past)
        agreed = [key for key in keys if said.is_signed_by(key)]
        self.given_up += [(act, self.node_of(said.key), key) for key in agreed]
        return "identity.declared" if keys and not agreed else None

    def _rotate(self, act: Span, said: Said) -> str | None:
        if not self.is_by_old_key(act) and not self.is_by_recovery(act):
            return "binding.invalid"
        if self.level(said.key, act.past, self.without_own(act)) == NOBODY:
            return "member.unknown"
        return "member.exists" if self.grants_of(said.new_key, act.past) else None

    def _revoke(self, act: Span, said: Said) -> str | None:
        if not self.grants_of(said.key, act.past):
            return "member.unknown"
        return None if self.is_by_recovery(act) else "binding.invalid"

    def _create(self, _act: Span, _said: Said) -> str | None:
        return "tenant.created"


RULES = {
    "tenant.create": Judgement._create,
    "member.admit": Judgement._admit,
    "member.level": Judgement._level,
    "member.remove": Judgement._remove,
    "feed.adopt": Judgement._adopt,
    "invite.create": Judgement._invite,
    "invite.revoke": Judgement._by_root,
    "tenant.policy": Judgement._by_root,
    "identity.recovery": Judgement._recovery,
    "identity.rotate": Judgement._rotate,
    "identity.revoke": Judgement._revoke,
}
