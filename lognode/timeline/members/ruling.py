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
from lognode.timeline.members.cuts import OTHERS_TURN, OWN_TURNS, RECOVERY_TURN, Adoption, Counted, Cut, Cutter
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
        self.recoveries: list[tuple[Act, bytes, bytes]] = []  # act, node and key of those that a recovery key signed
        self.replaced: dict[tuple[bytes, bytes], list[Act]] = defaultdict(list)  # (node, key) -> what gave it up
        self._rules = rules
        self._cuts: dict[FeedId, Cut | None] = {}
        self._decided = union(cutter.acts for cutter in counted.decisions)
        self._cutters_of: dict[bytes, list[Cutter]] = defaultdict(list)
        self._acts_of: dict[bytes, dict[str, int]] = defaultdict(lambda: defaultdict(int))  # by target and reason
        self._naming: dict[tuple[bytes, FeedId], list[Cutter]] = defaultdict(list)
        self._adopting: dict[FeedId, list[Adoption]] = defaultdict(list)
        for cutter in (*counted.decisions, *counted.cutters.values()):
            self._cutters_of[cutter.target].append(cutter)
            self._acts_of[cutter.target][cutter.reason] |= cutter.acts
            for feed in {*cutter.sizes, *([cutter.own[0]] if cutter.own else [])}:
                self._naming[cutter.target, feed].append(cutter)
        for adoption in counted.adoptions.values():
            self._adopting[adoption.feed].append(adoption)
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
            size = self.history.counted.forks.get(feed)
            cuts = [self._find_cut(feed) if feed in self.history.feeds else None]
            cuts += [None if size is None else Cut(size, "feed.forked")]
            self._cuts[feed] = min((cut for cut in cuts if cut), default=None)
        return self._cuts[feed]

    def is_root(self, act: Act) -> bool:
        """Whether the author of an act is root by all that it knew."""
        return self.standing.level(act.control.author, act.past) == Level.ROOT

    def is_settled(self, act: Act) -> bool:
        """Whether an act counts whatever is found out later."""
        return act.number in self.counted.cutters or act.number in self.counted.adoptions

    def add_cutter(self, act: Act, target: bytes, reason: str, *, is_recovery: bool = False) -> None:
        """An act that counts ends the feeds of a key; one that `is_recovery` was signed by a recovery key of it."""
        control = act.control
        is_own = control.kind.startswith("identity.") or control.author == target
        who = self.standing.grants(target if is_own else control.author, act.past)
        own = (control.feed, control.seq) if control.author == target else None
        sizes = {feed: size for feed, size, _ in act.data.cuts}
        turn = RECOVERY_TURN if is_recovery else OWN_TURNS[control.kind] if is_own else OTHERS_TURN
        self.cutters[act.number] = Cutter(1 << act.number, target, sizes, own, (depth(who), turn), reason)

    def void(self, act: Act) -> str:
        """Why an idle act is void."""
        reason = act.fault or self._rule(act)
        assert reason is not None, "it was to count in no case"
        return reason

    def _judge(self, act: Act) -> str | None:
        index, created = act.number, act.data
        if index == 0:
            grant = Grant(act, created.node_key, created.certificate, created.witness_key, None, 1, 0, 0, 0)
            self.standing.grant(grant, Level.ROOT)
            return None
        if self._decided >> index & 1:
            self.standing.end(act, act.data.node_key)
            return None
        if index in self.counted.barred:
            return self.counted.barred[index]
        return self._rule(act)

    def _rule(self, act: Act) -> str | None:
        control = act.control
        cut = self.cut(control.feed)
        if cut and control.seq >= cut.size and not self.is_settled(act):
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
        known = union(grant.act.past for grant in grants)
        naming, adoptions = self._naming.get((author, feed), ()), self._adopting.get(feed, ())
        cuts = []
        # Those that do not name the feed let all of it go: without adoptions, who they are makes no difference.
        for cutter in self._cutters_of.get(author, ()) if adoptions else naming:
            if not cutter.acts & ~_heeded(cutter.reason, known, past):
                continue
            size = cutter.sizes.get(feed, 0)
            if cutter.own and cutter.own[0] == feed:
                size = max(size, cutter.own[1] + 1)
            raised = [adoption.size for adoption in adoptions if adoption.act.past & cutter.acts]
            cuts.append(Cut(max([least, size, *raised]), cutter.reason))
        if not adoptions:
            named = union(cutter.acts for cutter in naming)
            for reason, acts in self._acts_of.get(author, {}).items():
                if acts & ~named & ~_heeded(reason, known, past):
                    cuts.append(Cut(least, reason))
        return min(cuts, default=None)


def _heeded(reason: str, known: int, past: int) -> int:
    """The acts that cut no feed with this past: those `known` to who admitted its author again; levels it may know."""
    return known | past if reason == "member.lowered" else known


Rule = Callable[[Ruling, Act], str | None]
