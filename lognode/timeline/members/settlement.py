"""The membership of a tenant: what all its control spans come to.

Owns the answer. It is found by ruling again and again, each time with more settled: first what seniors cut, then
juniors, so that of two that remove each other the senior's act stands. Invariant: the answer is a function of the set
of spans, never of their order; whatever the spans hold, there is an answer.
Source: docs/protocol.md, Membership.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from lognode.core.access import Level
from lognode.core.ids import FeedId, SpanId, TenantId
from lognode.core.limits import CONTESTS_MAX, JUDGINGS_MAX
from lognode.timeline.members import admission, identity, removal
from lognode.timeline.members.contest import Poll, decisions, losers, polls
from lognode.timeline.members.cuts import Counted, Cut, Cutter
from lognode.timeline.members.history import Act, Control, History, read_history
from lognode.timeline.members.ruling import Invitation, Rule, Ruling
from lognode.timeline.members.standing import NO_LEVELS, Levels, union


class Member(NamedTuple):
    """A key that is, or was, a member's. Level BLOCKED and `removed` go together unless it was lowered to that."""

    node_key: bytes
    level: Level
    certificate: bytes
    witness_key: bytes
    admitted_by: bytes | None  # None: the founder
    admission: SpanId
    removed: bool
    successor: bytes | None  # the key that took its place
    recovery_keys: tuple[bytes, ...]


class Invite(NamedTuple):
    """An invite that was made by somebody who might; whether it still lets anybody in depends on time too."""

    invite_id: bytes
    invite_key: bytes
    level: Level
    uses: int
    joiners: tuple[bytes, ...]
    expires_ms: int
    approve: bool
    revoked: bool
    creator: bytes
    creation: SpanId

    @property
    def uses_left(self) -> int:
        """How many more nodes may join by it."""
        return max(0, self.uses - len(self.joiners))


_NONE: Final[Mapping[FeedId, int]] = MappingProxyType({})


class Membership(NamedTuple):
    """Who may do what. `members` holds all that ever were; `cuts` and `voids` say what does not count, and why.

    `forks` has the first entry that differs of feeds with two histories; `untold` those of them that are known from
    spans alone that do not count themselves. `bounds` says how much of a feed nodes have in common, where that is not
    all of it: of forked feeds, and nothing of feeds of whom nobody let in. `unknown` are control spans of which nothing
    follows, as if nobody knew them. `let_in` are keys whose feeds are taken in, whether or not it counts that somebody
    let them in.
    """

    members: Mapping[bytes, Member]
    cuts: Mapping[FeedId, Cut]
    voids: Mapping[SpanId, str]
    invites: Mapping[bytes, Invite]
    certificates: Mapping[bytes, bytes]  # of those that are members: certificate -> node key
    policies: Mapping[str, str] = MappingProxyType({})  # kind -> how conflicts are settled, where somebody said so
    polls: Mapping[bytes, Poll] = MappingProxyType({})  # open votes, by the member that is to be removed
    forks: Mapping[FeedId, int] = _NONE
    untold: frozenset[FeedId] = frozenset()
    bounds: Mapping[FeedId, int] = _NONE
    unknown: frozenset[SpanId] = frozenset()
    let_in: frozenset[bytes] = frozenset()
    levels: Levels = NO_LEVELS

    @property
    def authors(self) -> Collection[bytes]:
        """Keys that ever had an effective admission: feeds of others are not taken in."""
        return self.members.keys()

    @property
    def common(self) -> "Membership":
        """The part of it that is the same whichever history of forked feeds a node holds."""
        strangers = self.strangers
        cuts = {feed: cut for feed, cut in self.cuts.items() if feed not in strangers}
        voids = {span: reason for span, reason in self.voids.items() if span not in self.unknown}
        return self._replace(cuts=cuts, voids=voids, bounds=self.forks, unknown=frozenset())

    @property
    def strangers(self) -> Collection[FeedId]:
        """Feeds of whom nobody let in: nothing of them is compared with anybody."""
        return self.bounds.keys() - self.forks.keys()

    def level(self, node_key: bytes) -> Level:
        """What a node may do; BLOCKED for whoever is no member."""
        member = self.members.get(node_key)
        return member.level if member else Level.BLOCKED

    @property
    def ever_root(self) -> Collection[bytes]:
        """Keys that were a root's at some point by acts that count."""
        changes = self.levels.changes.items()
        return [key for key, said in changes if any(level == Level.ROOT for _, level in said)]

    def level_at(self, node_key: bytes, after: Iterable[SpanId]) -> Level:
        """What a node might do by all that these control spans follow from, with themselves.

        It depends on the acts among those alone that count. For a span of another kind that names in its data the
        newest control spans that its author knew, `after` holds these and the `feed.open` of its feed.
        """
        return self.levels.level(node_key, after)


_RULES: Final[Mapping[str, Rule]] = {
    "tenant.create": lambda _ruling, _act: "tenant.created",
    "tenant.policy": lambda ruling, act: None if ruling.is_root(act) else "member.not_root",
    "feed.adopt": removal.adopt,
    "member.admit": admission.admit,
    "member.level": removal.change_level,
    "member.remove": removal.remove,
    "invite.create": admission.create_invite,
    "invite.revoke": admission.revoke_invite,
    "identity.rotate": identity.rotate,
    "identity.recovery": identity.declare_recovery,
    "identity.revoke": identity.revoke,
}


def membership(tenant: TenantId, controls: Collection[Control], evidence: Mapping[FeedId, int] = _NONE) -> Membership:
    """What these control spans of a tenant come to; nobody is a member before its founding is among them.

    `evidence` says where feeds fork by proofs that stand in no span yet.
    """
    history, judgings = read_history(tenant, controls, evidence), Judgings()
    decided: list[Cutter] = []
    while True:
        ruling = _settle(history, decided, judgings)
        removed = {cutter.target for cutter in decided}
        more = [cutter for cutter in decisions(ruling) if cutter.target not in removed]
        if not more or judgings.are_over:
            return _answer(ruling)
        decided += more


class Judgings:
    """How often all acts were judged. Nobody needs many, but somebody could make any number necessary."""

    def __init__(self) -> None:
        self._count = 0

    @property
    def are_over(self) -> bool:
        """Whether what is left undecided stays so."""
        return self._count >= JUDGINGS_MAX

    def judge(self, history: History, counted: Counted) -> Ruling:
        """One more."""
        self._count += 1
        return Ruling(history, counted, _RULES)


def _settle(history: History, decided: list[Cutter], judgings: Judgings) -> Ruling:
    """The ruling in which everything that counts and cuts is settled, in the order of ranks."""
    counted = Counted({}, {}, decided, {})
    while True:
        ruling = _rule(history, counted, judgings)
        cutters = {index: held for index, held in ruling.cutters.items() if index not in counted.cutters}
        adoptions = {index: held for index, held in ruling.adoptions.items() if index not in counted.adoptions}
        if not (cutters or adoptions) or judgings.are_over:
            return ruling
        rank = min([held.rank for held in cutters.values()] + [held.rank for held in adoptions.values()])
        counted = counted._replace(
            cutters={**counted.cutters, **{index: held for index, held in cutters.items() if held.rank == rank}},
            adoptions={**counted.adoptions, **{index: held for index, held in adoptions.items() if held.rank == rank}},
        )


def _rule(history: History, counted: Counted, judgings: Judgings) -> Ruling:
    """The ruling in which no act that counts loses against another."""
    barred: dict[int, str] = {}
    count = 0
    while True:
        ruling = judgings.judge(history, counted._replace(barred=barred))
        more = losers(ruling)
        if not more:
            return ruling
        count += 1
        if count >= CONTESTS_MAX:
            # What a loser kept from counting loses with it. No act comes to count any more, so this ends soon.
            latent = ("member.admit", "identity.rotate")
            voids = ruling.voids.items()
            more.update((index, why) for index, why in voids if history.acts[index].control.kind in latent)
        barred = {**barred, **more}


def _answer(ruling: Ruling) -> Membership:
    history, standing = ruling.history, ruling.standing
    counted = history.counted
    members = {key: _member(ruling, key, history.everything) for key in standing.keys}
    strangers = {span.feed for span, reason in counted.dropped.values() if reason == "member.unknown"}
    cuts = {feed: cut for feed in history.feeds.keys() | counted.forks.keys() if (cut := ruling.cut(feed))}
    cuts.update((feed, Cut(0, "member.unknown")) for feed in strangers)
    voids = {id_: reason for id_, (_, reason) in counted.dropped.items()}
    voids.update(history.faults)
    voids.update({history.acts[index].control.id: reason for index, reason in ruling.voids.items()})
    voids.update((act.control.id, ruling.void(act)) for act in history.idle)
    decided = union(cutter.acts for cutter in ruling.counted.decisions)
    settled = [history.acts[number].control for number in ruling.counted.cutters]
    settled += [act.control for act in history.acts if decided >> act.number & 1]
    for control in (*history.openings, *settled):
        if control.id not in voids and control.feed in cuts and control.seq >= cuts[control.feed].size:
            voids[control.id] = cuts[control.feed].reason
    invites = {
        invite: _invite(ruling, invite, min(held, key=lambda one: one.act.number))
        for invite, held in ruling.invites.items()
        if held
    }
    live = [member for member in members.values() if member.level > Level.BLOCKED]
    certificates = {member.certificate: member.node_key for member in live}
    return Membership(
        members,
        cuts,
        voids,
        invites,
        certificates,
        policies=_policies(ruling),
        polls=polls(ruling),
        forks=counted.forks,
        untold=counted.untold,
        bounds={**counted.forks, **dict.fromkeys(strangers, 0)},
        unknown=frozenset(counted.dropped),
        let_in=counted.authors,
        levels=standing.levels(history.links),
    )


def _policies(ruling: Ruling) -> dict[str, str]:
    """The policy of each kind that has one: of those that no other one knew the one with the greatest id."""
    said: dict[str, int] = {}
    for act in ruling.history.acts:
        if act.control.kind == "tenant.policy" and act.number not in ruling.voids:
            said[act.data.kind] = said.get(act.data.kind, 0) | 1 << act.number
    newest = {kind: ruling.standing.newest(acts) for kind, acts in said.items()}
    return {kind: max(acts, key=lambda act: act.control.id).data.policy for kind, acts in newest.items()}


def _member(ruling: Ruling, key: bytes, past: int) -> Member:
    standing = ruling.standing
    level = standing.level(key, past)
    grant = (standing.grants_in_force(key, past) or standing.grants(key, past))[-1]
    successors = [held.act.data.new_key for held in ruling.rotations.get(key, ())]
    return Member(
        key,
        Level.BLOCKED if level is None else level,
        grant.certificate,
        grant.witness_key,
        grant.admitted_by,
        grant.act.control.id,
        level is None,
        successors[-1] if successors else None,
        tuple(standing.recovery_keys(key, past)),
    )


def _invite(ruling: Ruling, invite: bytes, invitation: Invitation) -> Invite:
    created = invitation.act.data
    joiners: dict[bytes, Act] = {act.data.node_key: act for act in invitation.joined}
    return Invite(
        invite,
        created.invite_key,
        Level(created.level),
        created.uses,
        tuple(joiners),
        created.expires_ms,
        bool(created.approve),
        bool(ruling.revoked.get(invite, 0)),
        invitation.act.control.author,
        invitation.act.control.id,
    )
