"""One ruling: all acts judged in their order, each by its past and by what is settled about cuts.

Owns what the rules have in common, and how much of a feed counts. Must not know which cuts will be settled in the
end: it is told, and says which acts would cut. Invariant: an act either counts or has one reason why it is void.
Source: docs/protocol.md, Membership.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from lognode.core.access import Level
from lognode.core.ids import FeedId, TenantId
from lognode.timeline.members.cuts import Adoption, Counted, Cut, Cutter
from lognode.timeline.members.history import Act, History
from lognode.timeline.members.standing import Grant, Standing, depth, union


class Invitation(NamedTuple):
    """An invite: grants in force of whoever made it, and the admissions by it that count."""

    act: Act
    grants: list[Grant]
    joined: list[Act]


class Rotation(NamedTuple):
    """A rotation that counts; a recovery key signed it, or the old key."""

    act: Act
    is_recovery: bool


class Ruling:
    """What the acts of a history come to."""

    def __init__(self, history: History, counted: Counted, rules: Mapping[str, "Rule"]) -> None:
        self.history = history
        self.counted = counted
        self.standing = Standing(history.acts)
        self.voids: dict[int, str] = {}
        self.cutters: dict[int, Cutter] = {}
        self.adoptions: dict[int, Adoption] = {}
        self.votes: dict[bytes, list[Act]] = defaultdict(list)  # removals by roots that are not senior
        self.invites: dict[bytes, list[Invitation]] = defaultdict(list)
        self.revoked: dict[bytes, int] = defaultdict(int)
        self.rotations: dict[bytes, list[Rotation]] = defaultdict(list)
        self._rules = rules
        self._cuts: dict[FeedId, Cut | None] = {}
        self._decided = union(cutter.acts for cutter in counted.decisions)
        self._cutters_of: dict[bytes, list[Cutter]] = defaultdict(list)
        for cutter in (*counted.decisions, *counted.cutters.values()):
            self._cutters_of[cutter.target].append(cutter)
        for act in history.acts:
            reason = self._judge(act)
            if reason:
                self.voids[act.number] = reason

    @property
    def tenant(self) -> TenantId:
        """The tenant that all this is about."""
        return self.history.tenant

    def cut(self, feed: FeedId) -> Cut | None:
        """How much of a feed counts; None where all does."""
        if feed not in self._cuts:
            self._cuts[feed] = self._find_cut(feed)
        return self._cuts[feed]

    def is_root(self, act: Act) -> bool:
        """Whether the author of an act is root by all that it knew."""
        return self.standing.level(act.control.author, act.past) == Level.ROOT

    def add_cutter(self, act: Act, target: bytes, reason: str) -> None:
        """An act that counts ends the feeds of a key."""
        control = act.control
        is_own = act.control.kind.startswith("identity.") or control.author == target
        who = self.standing.grants(target if is_own else control.author, act.past)
        own = (control.feed, control.seq) if control.author == target else None
        sizes = {feed: size for feed, size, _ in act.data.cuts}
        rank = (depth(who), 0 if is_own else 1)
        self.cutters[act.number] = Cutter(1 << act.number, target, sizes, own, rank, reason)

    def _judge(self, act: Act) -> str | None:
        index, control, created = act.number, act.control, act.data
        if index == 0:
            grant = Grant(act, created.node_key, created.certificate, created.witness_key, None, 1, 0, 0, 0)
            self.standing.grant(grant, Level.ROOT)
            return None
        if self._decided >> index & 1:
            self.standing.end(act, act.data.node_key)
            return None
        if act.fault or index in self.counted.barred:
            return act.fault or self.counted.barred[index]
        cut = self.cut(control.feed)
        if cut and control.seq >= cut.size:
            return cut.reason
        return self._rules[control.kind](self, act)

    def _find_cut(self, feed: FeedId) -> Cut | None:
        """The smallest cut that was not made before the author, readmitted or lowered, opened this feed."""
        author, past = self.history.feeds[feed]
        level = self.standing.level(author, past)
        if level is None or level < Level.TRUSTED:
            return Cut(0, "member.unknown" if level is None else "member.observer")
        grants = self.standing.grants(author, past)
        founding = self.history.acts[0].control
        least = founding.seq + 1 if founding.feed == feed else 0  # a tenant whose founder is gone is one still
        cuts = []
        for cutter in self._cutters_of[author]:
            is_lowered = cutter.reason == "member.lowered" and past & cutter.acts
            if is_lowered or any(grant.act.past & cutter.acts for grant in grants):
                continue
            size = cutter.sizes.get(feed, 0)
            if cutter.own and cutter.own[0] == feed:
                size = max(size, cutter.own[1] + 1)
            raised = [
                adoption.size
                for adoption in self.counted.adoptions.values()
                if adoption.feed == feed and adoption.act.past & cutter.acts
            ]
            cuts.append(Cut(max([least, size, *raised]), cutter.reason))
        return min(cuts, default=None)


Rule = Callable[[Ruling, Act], str | None]
