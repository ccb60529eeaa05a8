"""What control spans come to: cuts settled by rank, contests, votes. From docs/protocol.md, Membership.

Shares no code with lognode.
"""

from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from tests.independent.protocol.control import Said
from tests.independent.protocol.fields import sha256
from tests.independent.protocol.membership.judgement import (
    CUT_REASONS,
    NOBODY,
    ROOT,
    Given,
    Judgement,
    newest,
    said_by,
)
from tests.independent.protocol.membership.links import Span, forks_of, founding_of, link, read_span, taken_in

JUDGINGS_MAX = 512
EASY_JUDGINGS = 7  # of a row; from the eighth on, what is void is left out as well
ADMITTING = ("member.admit", "identity.rotate")


@dataclass
class Membership:
    """In the form of the vectors."""

    members: list[dict[str, Any]] = field(default_factory=list)
    cuts: list[list[Any]] = field(default_factory=list)
    voids: list[list[Any]] = field(default_factory=list)
    forks: list[list[Any]] = field(default_factory=list)
    invites: list[dict[str, Any]] = field(default_factory=list)
    policies: list[list[str]] = field(default_factory=list)


def membership(tenant: bytes, rows: list[dict[str, object]]) -> Membership:
    held = [read_span(tenant, row) for row in rows]
    founding = founding_of(held)
    forks = forks_of(held, founding)
    dropped = {span: "feed.forked" for span in held if span.seq >= forks.get(span.feed, span.seq + 1)}
    spans = [span for span in held if span not in dropped]
    keys = taken_in(spans, founding) if founding else set()
    dropped |= {span: "member.unknown" for span in spans if founding and span.author not in keys}
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
            losers = _losers(judgement)
            if not losers:
                return judgement
            if row > EASY_JUDGINGS:
                losers = {act: why for act, why in judgement.why.items() if act.kind in ADMITTING} | losers
            self.given.lost |= losers
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
        grants = judgement.in_force(key, self.everything)
        these = judgement.lines(grants) | judgement.above(grants)
        found = set()
        for voter in judgement.about:
            for grant in judgement.in_force(voter, self.everything):
                held = judgement.grants[grant]
                fits = held.lines & these or (held.parents and held.parents <= these)
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
    if act.kind == "identity.revoke":
        turn = 0
    elif act.kind == "identity.rotate":
        turn = 3 if judgement.is_by_old_key(act, said.key) else 0
    elif said.key == act.author:
        turn = {"member.remove": 1, "member.level": 2}[act.kind]
    else:
        turn = 4
    return judgement.depth(judgement.grants_of(said.key if turn < 4 else act.author, act.past)), turn


def _losers(judgement: Judgement) -> dict[Span, str]:
    return _overfull(judgement) | _rotated_twice(judgement) | _replaced(judgement)


def _overfull(judgement: Judgement) -> dict[Span, str]:
    lost: dict[Span, str] = {}
    for id_, invites in judgement.invites.items():
        for invite in invites:
            joiners = sorted({said_by(act).key for act in invite.joined}, key=partial(sha256, id_))
            out = joiners[said_by(invite.act).uses :]
            lost |= {act: "invite.used" for act in invite.joined if said_by(act).key in out}
    return lost


def _rotated_twice(judgement: Judgement) -> dict[Span, str]:
    rotations: dict[bytes, dict[Span, tuple[bool, bytes]]] = {}
    for act in judgement.counting:
        if act.kind == "identity.rotate":
            key = said_by(act).key
            rotations.setdefault(key, {})[act] = (judgement.is_by_old_key(act, key), _placed(said_by(act)))
    lost: dict[Span, str] = {}
    for ranks in rotations.values():
        best = min(ranks.values())
        lost |= {act: "identity.contested" for act, rank in ranks.items() if rank != best}
    return lost


def _placed(said: Said) -> bytes:
    return sha256(said.key, said.new_key)


def _replaced(judgement: Judgement) -> dict[Span, str]:
    return {
        act: "identity.replaced"
        for act, node, key in judgement.by_recovery
        for newer, *given_up in judgement.given_up
        if given_up == [node, key] and act not in newer.past
    }


def _describe(result: Membership, judgement: Judgement, ordered: list[Span]) -> None:
    everything = set(ordered)
    for key in sorted(judgement.about):
        level = judgement.level(key, everything)
        rotated = [act for act in judgement.about[key] if act.kind == "identity.rotate" and judgement.ends(act, key)]
        successor = said_by(rotated[-1]).new_key.hex() if rotated else None
        row = {"node_key": key.hex(), "level": max(level, 0), "removed": level == NOBODY, "successor": successor}
        result.members.append(row)
    for id_, invites in sorted(judgement.invites.items()):
        joiners = {said_by(act).key.hex() for act in invites[0].joined}
        left = max(0, said_by(invites[0].act).uses - len(joiners))
        result.invites.append({"id": id_.hex(), "uses_left": left, "joiners": sorted(joiners)})
    policies = [act for act in judgement.counting if act.kind == "tenant.policy"]
    for kind in sorted({said_by(act).policy[0] for act in policies}):
        last = max(newest([act for act in policies if said_by(act).policy[0] == kind]), key=lambda act: act.id)
        result.policies.append(list(said_by(last).policy))


def _describe_ends(result: Membership, judgement: Judgement | None, held: list[Span], dropped: dict[Span, str]) -> None:
    """Cuts of all feeds, and what is void."""
    forks = {bytes.fromhex(str(feed)): int(str(seq)) for feed, seq in result.forks}
    strangers = {span.feed for span, why in dropped.items() if why == "member.unknown"}
    cuts: dict[bytes, tuple[int, str]] = {}
    for feed in {span.feed for span in held} | forks.keys():
        cut = judgement.cut(feed) if judgement else (0, "member.unknown")
        if feed in strangers:
            cut = (0, "member.unknown")
        if cut:
            cuts[feed] = cut
    result.cuts = [[feed.hex(), *cut] for feed, cut in sorted(cuts.items())]
    voids = {span.id: why for span in held if (why := _void(span, cuts.get(span.feed), judgement, dropped))}
    result.voids = [[id_.hex(), why] for id_, why in sorted(voids.items())]


def _void(span: Span, cut: tuple[int, str] | None, judgement: Judgement | None, dropped: dict[Span, str]) -> str | None:
    why = dropped.get(span) or span.fault
    if judgement is None:
        return why or "tenant.unknown"
    return why or judgement.why.get(span) or (cut[1] if cut and span.seq >= cut[0] else None)
