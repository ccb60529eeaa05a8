"""Decides between acts that know nothing of each other, and counts the votes of electorates.

Works on a ruling as a whole. Invariant: a decision is a function of which acts count, never of their arrival.
Source: docs/protocol.md, Membership.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import chain
from typing import NamedTuple

from lognode.core.access import Level
from lognode.timeline.members.cuts import Cutter
from lognode.timeline.members.history import Act
from lognode.timeline.members.ruling import Invitation, Rotation, Ruling
from lognode.timeline.members.standing import union


def losers(ruling: Ruling) -> dict[int, str]:
    """The acts that lose against others that count, each with the reason."""
    found: dict[int, str] = {}
    for invite, held in ruling.invites.items():
        for invitation in held:
            found.update(_overused(invite, invitation))
    for old_key, rotations in ruling.rotations.items():
        found.update(_outdone(old_key, rotations))
    for act, node, key in ruling.recoveries:
        if any(not declared.past >> act.number & 1 for declared in ruling.replaced.get((node, key), ())):
            found[act.number] = "identity.replaced"
    return found


def _overused(invite: bytes, invitation: Invitation) -> dict[int, str]:
    """Admissions of one joiner too many: the smallest hashes of invite id and key win."""
    joiners = {act.data.node_key for act in invitation.joined}
    ranked = sorted(joiners, key=lambda key: sha256(invite + key).digest())
    out = set(ranked[invitation.act.data.uses :])
    return {act.number: "invite.used" for act in invitation.joined if act.data.node_key in out}


def _outdone(old_key: bytes, rotations: Iterable[Rotation]) -> dict[int, str]:
    """Rotations of one key but for one: a recovery key's wins, then the smallest hash of both keys."""

    def rank(rotation: Rotation) -> tuple[bool, bytes]:
        return not rotation.is_recovery, sha256(old_key + rotation.act.data.new_key).digest()

    best = min(map(rank, rotations))
    return {held.act.number: "identity.contested" for held in rotations if rank(held) != best}


class Roots(NamedTuple):
    """The roots of a ruling in the end, by the acts that grants of theirs in force stand for, and by those above."""

    ruling: Ruling
    by_line: Mapping[int, set[bytes]]
    by_parents: Mapping[int, set[bytes]]


def decisions(ruling: Ruling) -> list[Cutter]:
    """Removals that more than half of an electorate voted for, with as much of each feed as more than half let go."""
    if not ruling.votes:
        return []
    found, roots = [], _find_roots(ruling)
    for target, votes in ruling.votes.items():
        electors = electorate(roots, target)
        counted = [act for act in votes if act.control.author in electors]
        voters = {act.control.author for act in counted}
        if 2 * len(voters) > len(electors):
            found.append(_decide(target, counted, voters, len(electors)))
    return found


class Poll(NamedTuple):
    """Votes to remove a member that are not enough yet, of those that may vote. It takes `needed` of them."""

    voters: tuple[bytes, ...]
    electors: tuple[bytes, ...]

    @property
    def needed(self) -> int:
        """More than half of all that may vote."""
        return len(self.electors) // 2 + 1


def polls(ruling: Ruling) -> dict[bytes, Poll]:
    """The open votes of a ruling in which nothing is left to decide, by the member that is to go."""
    found: dict[bytes, Poll] = {}
    roots = _find_roots(ruling) if ruling.votes else None
    for target, votes in ruling.votes.items():
        if roots is not None and ruling.standing.level(target, ruling.history.everything) is not None:
            electors = electorate(roots, target)
            voters = {act.control.author for act in votes} & electors
            found[target] = Poll(tuple(sorted(voters)), tuple(sorted(electors)))
    return found


def electorate(roots: Roots, target: bytes) -> set[bytes]:
    """The roots that decide about `target`: itself, its seniors, and those that one of these let in by itself."""
    grants = roots.ruling.standing.grants_in_force(target, roots.ruling.history.everything)
    circle = union(grant.lines | grant.above for grant in grants)
    found = set[bytes]()
    for number in _numbers(circle):
        found |= roots.by_line.get(number, set())
    for parents, keys in roots.by_parents.items():
        if not parents & ~circle:
            found |= keys
    return found


def _find_roots(ruling: Ruling) -> Roots:
    standing, everything = ruling.standing, ruling.history.everything
    roots = Roots(ruling, defaultdict(set), defaultdict(set))
    for key in standing.keys:
        if standing.level(key, everything) == Level.ROOT:
            for grant in standing.grants_in_force(key, everything):
                for number in _numbers(grant.lines):
                    roots.by_line[number].add(key)
                if grant.parents:
                    roots.by_parents[grant.parents].add(key)
    return roots


def _numbers(acts: int) -> Iterator[int]:
    """The numbers of the acts in a bit set."""
    while acts:
        number = acts.bit_length() - 1
        yield number
        acts &= ~(1 << number)


def _decide(target: bytes, votes: list[Act], voters: set[bytes], electors: int) -> Cutter:
    """An entry is gone when more than half of the electorate let it go."""
    feeds = set(chain.from_iterable((feed for feed, _, _ in act.data.cuts) for act in votes))
    named = {
        voter: [{feed: size for feed, size, _ in act.data.cuts} for act in votes if act.control.author == voter]
        for voter in voters
    }
    sizes = {
        feed: sorted(min(cuts.get(feed, 0) for cuts in named[voter]) for voter in voters)[electors // 2]
        for feed in feeds
    }
    return Cutter(union(1 << act.number for act in votes), target, sizes, None, (0, 0), "member.removed")
