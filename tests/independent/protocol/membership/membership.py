"""What control spans come to: cuts settled by rank, contests, votes. From docs/protocol.md, Membership.

Shares no code with lognode.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from tests.independent.protocol.fields import sha256
from tests.independent.protocol.membership.judgement import (
    ADMITTING,
    NOBODY,
    ROOT,
    Given,
    Judgement,
    Vote,
    newest,
    said_by,
)
from tests.independent.protocol.membership.links import Span, forks_of, founding_of, link, read_span, taken_in

JUDGINGS_MAX = 512
EASY_JUDGINGS = 7  # of a row; from the eighth on, what is void is left out as well


@dataclass
class Membership:
    """In the form of the vectors."""

    members: list[dict[str, Any]] = field(default_factory=list)
    cuts: list[list[Any]] = field(default_factory=list)
    voids: list[list[Any]] = field(default_factory=list)
    forks: list[list[Any]] = field(default_factory=list)
    invites: list[dict[str, Any]] = field(default_factory=list)
    policies: list[list[str]] = field(default_factory=list)


@dataclass
class Settled:
    """What control spans come to, to be asked about any point."""

    held: list[Span]
    forks: dict[bytes, int]
    dropped: dict[Span, str]
    ordered: list[Span]
    judgement: Judgement | None

    def level(self, key: bytes, ids: Iterable[bytes]) -> int:
        """The level of a key by all that these spans reach by links, with themselves."""
        if self.judgement is None:
            return NOBODY
        named = {span for span in self.ordered if span.id in set(ids)}
        past = named.union(*(span.past for span in named)) | {self.judgement.given.founding}
        return self.judgement.level(key, past)

    def cut(self, feed: bytes) -> tuple[int, str] | None:
        if any(span.feed == feed and why == "member.unknown" for span, why in self.dropped.items()):
            return 0, "member.unknown"
        return self.judgement.cut(feed) if self.judgement else None


def settle(tenant: bytes, rows: list[dict[str, object]]) -> Settled:
    held = [read_span(tenant, row) for row in rows]
    founding = founding_of(held)
    forks = forks_of(held, founding)
    dropped = {span: "feed.forked" for span in held if span.seq >= forks.get(span.feed, span.seq + 1)}
    spans = [span for span in held if span not in dropped]
    keys = taken_in(spans, founding) if founding else set()
    dropped |= {span: "member.unknown" for span in spans if founding and span.author not in keys}
    if not founding:
        return Settled(held, forks, dropped, [], None)
    ordered = link([span for span in spans if span not in dropped], founding)
    feeds = {span.feed: (span.author, {founding}) for span in ordered}
    feeds |= {span.feed: (span.author, span.past) for span in ordered if span.seq == 0}
    return Settled(held, forks, dropped, ordered, _Settling(ordered, Given(founding, forks, feeds)).run())


def membership(tenant: bytes, rows: list[dict[str, object]]) -> Membership:
    settled = settle(tenant, rows)
    result = Membership(forks=[[feed.hex(), seq] for feed, seq in sorted(settled.forks.items())])
    if settled.judgement:
        _describe(result, settled.judgement, settled.ordered)
    _describe_ends(result, settled.judgement, settled.held, settled.dropped)
    return result


class _Settling:
    """Judges again and again until nothing loses, nothing is left to settle and nothing can be decided."""

    def __init__(self, ordered: list[Span], given: Given) -> None:
        self.ordered, self.given, self.judgings = ordered, given, 0

    def run(self) -> Judgement:
        settled: set[Span] = set()
        while True:
            judgement = self._contest(settled)
            if self.judgings >= JUDGINGS_MAX:
                return judgement
            ranks = {act: _rank(judgement, act) for act in judgement.counting if _cuts(judgement, act)}
            left = {act: rank for act, rank in ranks.items() if act not in settled}
            if left:
                settled |= {act for act, rank in left.items() if rank == min(left.values())}
                continue
            decided = self._decide(judgement)
            if not decided:
                return judgement
            self.given.decided |= decided
            settled = set()

    def _contest(self, settled: set[Span]) -> Judgement:
        lost: dict[Span, str] = {}
        for row in count(1):
            judgement = Judgement(self.ordered, self.given, settled, lost)
            self.judgings += 1
            losers = {act: why for act, why in _losers(judgement).items() if act not in lost}
            if not losers:
                return judgement
            lost = lost | losers
            if row > EASY_JUDGINGS:
                lost = {act: why for act, why in judgement.why.items() if act.kind in ADMITTING} | lost
        raise AssertionError

    def _decide(self, judgement: Judgement) -> dict[bytes, Vote]:
        everything, decided = set(self.ordered), dict[bytes, Vote]()
        for key in judgement.about.keys() - self.given.decided.keys():
            own = {base for grant in judgement.in_force(key, everything) for base in grant.bases}
            among = own | {one for grant in own for one in grant.above}
            electorate = {
                one
                for one in judgement.grants
                if judgement.level(one, everything) == ROOT
                and any(
                    base in among or (base.parents and base.parents <= among)
                    for grant in judgement.in_force(one, everything)
                    for base in grant.bases
                )
            }
            voters: dict[bytes, list[Span]] = {}
            for act, why in judgement.why.items():
                is_vote = act.kind == "member.remove" and why == "member.not_senior" and said_by(act).key == key
                if is_vote and act.author in electorate:
                    voters.setdefault(act.author, []).append(act)
            if 2 * len(voters) > len(electorate):
                acts = {act for each in voters.values() for act in each}
                decided[key] = Vote(acts, voters, len(electorate) // 2 + 1)
        return decided


def _cuts(judgement: Judgement, act: Span) -> bool:
    is_end = act.kind in ("member.remove", "identity.revoke", "identity.rotate")
    return is_end or act.kind == "feed.adopt" or act in judgement.lowering


def _rank(judgement: Judgement, act: Span) -> tuple[int, int]:
    """Depth and turn."""
    said = said_by(act)
    if act.kind == "identity.revoke":
        turn = 0
    elif act.kind == "identity.rotate":
        turn = 3 if judgement.is_by_old_key(act) else 0
    elif act.kind != "feed.adopt" and said.key == act.author:
        turn = {"member.remove": 1, "member.level": 2}[act.kind]
    else:
        turn = 4
    return judgement.depth(judgement.grants_of(said.key if turn < 4 else act.author, act.past)), turn


def _losers(judgement: Judgement) -> dict[Span, str]:
    return _overfull(judgement) | _rotated_twice(judgement) | _replaced(judgement)


def _overfull(judgement: Judgement) -> dict[Span, str]:
    lost: dict[Span, str] = {}
    for invite in {invite for act, invite in judgement.invite_of.items() if act in judgement.counting}:
        joined, said = judgement.joined(invite), said_by(invite)
        assert said.invite
        out = sorted({said_by(act).key for act in joined}, key=partial(sha256, said.invite))[said.uses :]
        lost |= {act: "invite.used" for act in joined if said_by(act).key in out}
    return lost


def _rotated_twice(judgement: Judgement) -> dict[Span, str]:
    lost: dict[Span, str] = {}
    rotations = [act for act in judgement.counting if act.kind == "identity.rotate"]
    for key in {said_by(act).key for act in rotations}:
        ranks = {
            act: (judgement.is_by_old_key(act), sha256(key, said_by(act).new_key))
            for act in rotations
            if said_by(act).key == key
        }
        lost |= {act: "identity.contested" for act, rank in ranks.items() if rank != min(ranks.values())}
    return lost


def _replaced(judgement: Judgement) -> dict[Span, str]:
    """What a recovery key signed that was given up by a declaration that did not know of it."""
    return {
        act: "identity.replaced"
        for act, node, key in judgement.by_recovery
        for newer, keys, former in judgement.given_up
        if former == key and node & keys and act not in newer.past
    }


def _describe(result: Membership, judgement: Judgement, ordered: list[Span]) -> None:
    everything = set(ordered)
    for key in sorted(judgement.about):
        level = judgement.level(key, everything)
        rotated = [act for act in judgement.about[key] if act.kind == "identity.rotate" and judgement.ends(act, key)]
        successor = said_by(rotated[-1]).new_key.hex() if rotated else None
        row = {"node_key": key.hex(), "level": max(level, 0), "removed": level == NOBODY, "successor": successor}
        result.members.append(row)
    shown: dict[bytes, Span] = {}
    for act in judgement.counting:
        if act.kind == "invite.create":
            shown.setdefault(said_by(act).invite or b"", act)
    for id_, invite in sorted(shown.items()):
        joiners = {said_by(act).key.hex() for act in judgement.joined(invite)}
        left = max(0, said_by(invite).uses - len(joiners))
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
