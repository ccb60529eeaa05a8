"""What control spans come to: cuts settled by rank, contests, votes. From docs/protocol.md, Membership.

Shares no code with lognode.
"""

from dataclasses import dataclass, field
from itertools import count

from tests.independent.protocol.fields import sha256
from tests.independent.protocol.membership.judgement import (
    CUT_REASONS,
    NOBODY,
    ROOT,
    Given,
    Judgement,
    said_by,
)
from tests.independent.protocol.membership.links import Span, forks_of, founding_of, link, read_span, taken_in

JUDGINGS_MAX = 512
EASY_JUDGINGS = 7  # of a row; from the eighth on, what is void is left out as well
ADMITTING = ("member.admit", "identity.rotate")


@dataclass
class Membership:
    """In the form of the vectors."""

    members: list[dict[str, object]] = field(default_factory=list)
    cuts: list[list[object]] = field(default_factory=list)
    voids: list[list[object]] = field(default_factory=list)
    forks: list[list[object]] = field(default_factory=list)
    invites: list[dict[str, object]] = field(default_factory=list)
    policies: list[list[str]] = field(default_factory=list)


def membership(tenant: bytes, rows: list[dict[str, object]]) -> Membership:
    held = [read_span(tenant, row) for row in rows]
    founding = founding_of(held)
    forks = forks_of(held, founding)
    dropped = {span: "feed.forked" for span in held if span.seq >= forks.get(span.feed, span.seq + 1)}
    spans = [span for span in held if span not in dropped]
    keys = taken_in(spans, founding) if founding else set()
    dropped |= {span: "member.unknown" for span in spans if span.author not in keys}
    result = Membership(forks=[[feed.hex(), seq] for feed, seq in sorted(forks.items())])
    if founding:
        ordered = link([span for span in spans if span not in dropped], founding)
        judgement = _Settling(ordered, Given(founding, forks)).run()
        _describe(result, judgement, ordered)
    else:
        judgement = None
    _describe_ends(result, judgement, held, dropped)
    return result


class _Settling:
    def __init__(self, ordered: list[Span], given: Given) -> None:
        self.ordered = ordered
        self.given = given
        self.everything = set(ordered)
        self.judgings = 0

    def run(self) -> Judgement:
        while True:
            judgement = self.judged()
            if self.judgings >= JUDGINGS_MAX or not (self.settle(judgement) or self.decide(judgement)):
                return judgement

    def judged(self) -> Judgement:
        """All acts judged without those that lose against others."""
        self.given.lost = {}
        for row in count(1):
            self.judgings += 1
            judgement = Judgement(self.ordered, self.given)
            losers = {act: why for act, why in _losers(judgement).items() if act not in self.given.settled}
            if not losers or self.judgings >= JUDGINGS_MAX:
                return judgement
            self.given.lost |= losers
            if row > EASY_JUDGINGS:
                self.given.lost |= {act: why for act, why in judgement.why.items() if act.kind in ADMITTING}
        raise AssertionError

    def settle(self, judgement: Judgement) -> bool:
        """Whether there was something to settle: all of the smallest rank."""
        open_ = {act: _rank(judgement, act) for act in judgement.counting if _settles(judgement, act)}
        open_ = {act: rank for act, rank in open_.items() if act not in self.given.settled | self.given.votes}
        least = min(open_.values(), default=None)
        self.given.settled |= {act for act, rank in open_.items() if rank == least}
        return bool(open_)

    def decide(self, judgement: Judgement) -> bool:
        """Whether votes decided about a key."""
        votes: dict[bytes, list[Span]] = {}
        for act, why in judgement.why.items():
            if act.kind == "member.remove" and why == "member.not_senior":
                votes.setdefault(said_by(act).key, []).append(act)
        found = False
        for key, cast in sorted(votes.items()):
            if key in self.given.decided:
                continue
            electorate = self.electorate(judgement, key)
            ballots = {voter: [act for act in cast if act.author == voter] for voter in electorate}
            ballots = {voter: acts for voter, acts in ballots.items() if acts}
            if 2 * len(ballots) <= len(electorate):
                continue
            feeds = [feed for feed, author in judgement.feeds.items() if author == key]
            self.given.decided[key] = {feed: _majority(ballots, len(electorate), feed) for feed in feeds}
            self.given.votes |= {act for acts in ballots.values() for act in acts}
            found = True
        if found:
            self.given.settled = set()
        return found

    def electorate(self, judgement: Judgement, key: bytes) -> set[bytes]:
        grants = judgement.grants_of(key, self.everything)
        these = grants | judgement.above(grants)
        found = set()
        for voter in judgement.about:
            in_force = judgement.in_force(voter, self.everything)
            fits = any(grant in these or judgement.grants[grant].parents <= these for grant in in_force)
            if fits and judgement.level(voter, self.everything) == ROOT:
                found.add(voter)
        return found


def _majority(ballots: dict[bytes, list[Span]], electors: int, feed: bytes) -> int:
    """The smallest size for which more than half named it or less."""
    named = sorted(min(said_by(act).cuts.get(feed, 0) for act in acts) for acts in ballots.values())
    return named[electors // 2]


def _settles(judgement: Judgement, act: Span) -> bool:
    if act.kind != "member.level":
        return act.kind == "feed.adopt" or act.kind in CUT_REASONS
    return said_by(act).level < judgement.level(said_by(act).key, act.past)


def _rank(judgement: Judgement, act: Span) -> tuple[int, int]:
    said = said_by(act)
    turn = 4
    if act.kind == "identity.revoke" or (act.kind == "identity.rotate" and not judgement.is_by_old_key(act)):
        turn = 0
    elif act.kind == "identity.rotate":
        turn = 3
    elif said.key == act.author:
        turn = {"member.remove": 1, "member.level": 2}.get(act.kind, 4)
    return judgement.depth(said.key if turn < 4 else act.author, act.past), turn


def _losers(judgement: Judgement) -> dict[Span, str]:
    return _overfull(judgement) | _rotated_twice(judgement) | _replaced(judgement)


def _overfull(judgement: Judgement) -> dict[Span, str]:
    joined: dict[bytes, dict[bytes, list[Span]]] = {}
    uses: dict[bytes, int] = {}
    for act in judgement.counting:
        said = said_by(act)
        if act.kind == "member.admit" and said.invite:
            joined.setdefault(said.invite, {}).setdefault(said.key, []).append(act)
            invite = judgement.invite(act, said)
            assert invite
            uses[said.invite] = said_by(invite).uses
    lost = {}
    for invite, joiners in joined.items():
        placed = sorted(joiners, key=lambda key, named=invite: sha256(named, key))
        lost |= {act: "invite.used" for key in placed[uses[invite] :] for act in joiners[key]}
    return lost


def _rotated_twice(judgement: Judgement) -> dict[Span, str]:
    rotations: dict[bytes, list[Span]] = {}
    for act in judgement.counting:
        if act.kind == "identity.rotate":
            rotations.setdefault(said_by(act).key, []).append(act)
    lost = {}
    for key, acts in rotations.items():
        placed = sorted(
            acts, key=lambda act, old=key: (judgement.is_by_old_key(act), sha256(old, said_by(act).new_key))
        )
        lost |= dict.fromkeys(placed[1:], "identity.contested")
    return lost


def _replaced(judgement: Judgement) -> dict[Span, str]:
    declared = [act for act in judgement.counting if act.kind == "identity.recovery"]
    return {
        act: "identity.replaced"
        for act in judgement.counting
        if act.kind in ("identity.rotate", "identity.revoke") and not judgement.is_by_old_key(act)
        for newer in declared
        if act not in newer.past and _gave_up(judgement, newer, act)
    }


def _gave_up(judgement: Judgement, newer: Span, act: Span) -> bool:
    """Whether a declaration gives up the key that signed an act."""
    keys = judgement.recovery_keys(said_by(newer).key, newer.past)
    former = [key for key in keys if said_by(newer).is_signed_by(key)]
    return any(said_by(act).is_signed_by(key) for key in former)


def _describe(result: Membership, judgement: Judgement, ordered: list[Span]) -> None:
    everything = set(ordered)
    for key in sorted(judgement.about):
        level = judgement.level(key, everything)
        rotated = [act for act in judgement.acts_about(key, everything) if act.kind == "identity.rotate"]
        successor = next((said_by(act).new_key.hex() for act in rotated if judgement.ends(act, key)), None)
        row = {"node_key": key.hex(), "level": max(level, 0), "removed": level == NOBODY, "successor": successor}
        result.members.append(row)
    for act in sorted(judgement.counting, key=lambda one: said_by(one).invite or b""):
        if act.kind == "invite.create":
            said = said_by(act)
            admitted = [one for one in judgement.counting if one.kind == "member.admit"]
            joiners = {said_by(one).key.hex() for one in admitted if said_by(one).invite == said.invite}
            assert said.invite
            row = {"id": said.invite.hex(), "uses_left": said.uses - len(joiners), "joiners": sorted(joiners)}
            result.invites.append(row)
    policies = [act for act in judgement.counting if act.kind == "tenant.policy"]
    for kind in sorted({said_by(act).policy[0] for act in policies}):
        acts = [act for act in policies if said_by(act).policy[0] == kind]
        newest = [act for act in acts if not any(act in other.past for other in acts)]
        result.policies.append(list(said_by(max(newest, key=lambda act: act.id)).policy))


def _describe_ends(result: Membership, judgement: Judgement | None, held: list[Span], dropped: dict[Span, str]) -> None:
    """Cuts of all feeds, and what is void."""
    forks = {feed: int(str(seq)) for feed, seq in result.forks}
    voids: dict[bytes, str] = {}
    for feed in sorted({span.feed for span in held}):
        author = next(span.author for span in held if span.feed == feed)
        if judgement and feed in judgement.feeds:
            cut = judgement.cut(feed)
        else:
            cut = (forks[feed.hex()], "feed.forked") if feed.hex() in forks else None
            if not judgement or author not in judgement.feeds.values():
                cut = (0, "member.unknown")
        if cut:
            result.cuts.append([feed.hex(), *cut])
        for span in held:
            if span.feed == feed and (why := _void(span, cut, judgement, dropped)):
                voids[span.id] = why
    result.voids = [[id_.hex(), why] for id_, why in sorted(voids.items())]


def _void(span: Span, cut: tuple[int, str] | None, judgement: Judgement | None, dropped: dict[Span, str]) -> str | None:
    if cut and span.seq >= cut[0]:
        return cut[1]
    if span in dropped:
        return dropped[span]
    return span.fault or (judgement.why.get(span) if judgement else "member.unknown")
