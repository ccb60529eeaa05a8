"""After the trouble: machines compare in pairs, round by round, and must come to hold the same within few rounds.

Owns what "the same" means. Invariant: a verdict that says so was checked against every disk.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from lognode.core.access import Level
from lognode.core.clock import Clock
from lognode.core.errors import LognodeError
from lognode.core.ids import FeedId
from lognode.protocol.summary import Summary
from lognode.sim.machines.exchange import Exchange
from lognode.sim.machines.machine import CLONED, Down, Machine
from lognode.sim.verdicts.checks import Checks, controls, evidence
from lognode.sim.verdicts.decisions import Decisions
from lognode.sim.verdicts.graph import Edge, diameter, pieces
from lognode.timeline.members import Membership, membership
from lognode.timeline.store.controls import read_evidence
from lognode.timeline.store.read.ranges import read_clock

if TYPE_CHECKING:
    from lognode.sim.simulation import Simulation

_HASH_BYTES: Final = 32
_HISTORY: Final = """
SELECT seq, hlc, header FROM spans JOIN feeds USING (feed) WHERE feed_id = :feed UNION ALL
SELECT seq, hlc, header FROM inert JOIN feeds USING (feed) WHERE feed_id = :feed
"""
_PHASES_MAX: Final = 12
_IDLE_MS: Final = 2_000
_CAUGHT_UP_MS: Final = 2 * 3_600_000  # by then no clock is ahead of what was written


class Verdict(NamedTuple):
    """Whether all members hold the same, after how many rounds, of how many at most, and what is wrong."""

    converged: bool
    members: int
    pieces: int  # more than one where some were let in by nodes that were thrown out, and know nobody else
    rounds: int
    rounds_max: int
    state: str  # hash of what they hold
    faults: tuple[str, ...]


async def heal(world: Simulation) -> Verdict:
    """Rounds until nothing differs, at most as many as the graph's diameter and one; then every disk is checked."""
    healing = _Healing(world)
    return await healing.run()


class _Healing:
    """The machines that belong together in the end, and who compares with whom."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._random = world.random
        self._faults: list[str] = []
        tenant_id = world.machines[0].tenant_id
        assert tenant_id is not None
        self._tenant_id = tenant_id
        self._members = self._find_members()
        liar = world.liar
        self._honest = [machine for machine in self._members if liar is None or machine.name != liar.name]
        self._met: list[tuple[Machine, FeedId]] = []  # in the last round: who met both sides of a feed's fork
        self._edges: list[Edge] = []
        self._pieces: list[list[int]] = []
        self._rounds = self._rounds_max = 0
        self._is_refused = False
        self._final = self._membership(self._members)

    async def run(self) -> Verdict:
        """Rounds, then checks."""
        for machine in self._members:
            if machine.tenant is None:  # it was let in, and the answer was lost
                await machine.adopt(self._tenant_id, self._final.members)
        self._find_edges()
        await self._agree()
        if self._is_one and not self._faults:
            await self._go_quiet()
            self._world.now_ms += _CAUGHT_UP_MS
            await self._go_quiet()
        if self._is_one and not self._faults and self._world.rules:
            decisions = Decisions(self._world, self._honest, self._membership(self._honest))
            decisions.check()
            self._faults += decisions.faults
            self._world.decided.update(decisions.answers)
            self._world.say(f"decisions: {dict(decisions.answers)}")
        if self._is_one and not self._faults:
            checks = Checks(self._world, self._honest, self._membership(self._honest))
            await checks.run()
            self._faults += checks.faults
        honest = self._honest
        views = {(self._summary(machine)).hex() for machine in honest}
        self._world.say(
            f"{len(honest)} of {len(self._members)} members, {self._rounds} rounds, {sorted(views)}, {self._faults}"
        )
        return Verdict(
            not self._faults, len(self._members), len(self._pieces), self._rounds, self._rounds_max,
            min(views, default=""), tuple(self._faults),
        )  # fmt: skip

    @property
    def _is_one(self) -> bool:
        return len(self._pieces) == 1

    def _find_edges(self) -> None:
        self._edges = self._choose_edges()
        names = [machine.name for machine in self._honest]
        self._pieces = pieces(names, self._edges)
        self._rounds_max = max(diameter(piece, self._edges) for piece in self._pieces) + 1 if self._pieces else 0

    async def _agree(self) -> None:
        """Rounds until all hold the same."""
        liar, honest = self._world.liar, self._honest
        knows_liar = liar is not None and self._world.machines[liar.name] in self._members
        lies = [(machine.name, liar.name) for machine in honest if liar and knows_liar and self._random.random() < 0.7]
        rounds = 0
        is_forked = liar is not None and liar.is_forking
        while rounds < self._rounds_max and ((is_forked and not rounds) or not self._is_agreed()):
            rounds += 1
            if await self._round([*self._edges, *lies]):
                rounds = 0  # what a liar gives away late has just begun its way
            if not self._is_one or self._is_refused:  # who knows whom has changed
                self._is_refused = False
                self._find_edges()
                self._rounds_max = 2 * len(honest)
        self._check_proofs()
        self._rounds = max(rounds, self._rounds)
        if not self._is_agreed():
            self._faults.append(f"no agreement after {rounds} rounds")

    async def _go_quiet(self) -> None:
        """Let machines do what they do by themselves, until none of them does anything."""
        for _ in range(_PHASES_MAX):
            self._world.now_ms += _IDLE_MS
            await self._ask_all()
            restored = 0
            for machine in self._honest:
                try:
                    restored += await machine.restore()
                except LognodeError as error:
                    self._world.say(f"{machine.name} restores nothing: {error!r}")
            merged = await self._world.merge()
            rules = self._world.rules
            reacted = await rules.settle(self._honest) if rules else 0
            self._world.say(f"{restored} restored, {merged} merged" + (f", {reacted} reacted" if rules else ""))
            if not restored and not merged and not reacted:
                return
            await self._agree()
        self._faults.append("they never go quiet")

    async def _ask_all(self) -> None:
        """Let each machine ask all members, its neighbours or not, for what they hold of its feeds behind their forks.

        A node does so once after its start. What it forgot may be with one member alone, and nobody else passes it on.
        """
        asked = False
        for dialer in self._honest:
            for answerer in self._honest:
                is_known = dialer.accepts(answerer.keys.public) and answerer.accepts(dialer.keys.public)
                heard = dialer.process.heard[answerer.name]
                if is_known and dialer.keys != answerer.keys and not heard.issuperset(dialer.holdings.view().ended):
                    asked |= await self._compare(dialer, answerer)
        if asked:
            await self._agree()

    def _membership(self, machines: Collection[Machine]) -> Membership:
        """What these machines know comes to: their control spans, and the proofs of forks that they found themselves.

        Without the proofs it would be what nobody thinks: an observer that found a fork writes no span of it.
        """
        return membership(self._tenant_id, list(controls(machines)), evidence(machines))

    def _find_members(self) -> list[Machine]:
        """The machines that are members by what these know; who was removed may know more, and is not heard."""
        members = list(self._world.machines)
        while True:
            final = self._membership(members)
            found = [machine for machine in members if final.level(machine.keys.public) >= Level.OBSERVER]
            if len(found) == len(members):
                return found
            members = found

    def _choose_edges(self) -> list[Edge]:
        """Who compares with whom: a random tree over those that know each other, and some more."""
        honest = self._honest
        known = [
            (one.name, other.name)
            for at, one in enumerate(honest)
            for other in honest[at + 1 :]
            if one.accepts(other.keys.public) and other.accepts(one.keys.public) and one.keys != other.keys
        ]
        self._random.shuffle(known)
        joined = {machine.name: {machine.name} for machine in honest}
        edges = []
        for one, other in known:
            is_needed = joined[one] is not joined[other]
            if is_needed:
                joined[one] |= joined[other]
                for name in joined[other]:
                    joined[name] = joined[one]
            if is_needed or self._random.random() < 0.2:
                edges.append((one, other))
        return edges

    async def _round(self, edges: Iterable[Edge]) -> bool:
        """Every pair compares, where somebody forked by either's wish; whether a liar let others have something new."""
        pairs = list(edges)
        self._random.shuffle(pairs)
        is_news, new = False, list[tuple[Machine, FeedId]]()
        for pair in pairs:
            first, second = self._random.sample(pair, 2)
            for one, other in ((first, second), (second, first)) if self._world.truth.forks else ((first, second),):
                dialer, answerer = self._world.machines[one], self._world.machines[other]
                told = [machine for machine in (dialer, answerer) if self._is_beside_liar(machine, pair)]
                before = [self._summary(machine) for machine in told]
                sides = self._sides(dialer, answerer)
                if await self._compare(dialer, answerer):
                    is_news |= before != [self._summary(machine) for machine in told]
                    new += [(dialer, feed) for feed in sides if dialer in self._honest and not self._alters(answerer)]
        self._check_proofs()
        self._met = new
        return is_news

    async def _compare(self, dialer: Machine, answerer: Machine) -> bool:
        """Whether one heard what the other holds; who is told that it is one of two asks again."""
        for _ in range(2):
            exchange = Exchange(0, dialer, answerer, self._world.liar)
            who = f"{dialer.name} with {answerer.name}"
            try:
                report = await exchange.finish()
            except (LognodeError, Down) as error:
                self._world.say(f"{who}: {error!r}")
                return False
            codes = sorted({found.code for found in report.refusals.values()})
            self._world.say(f"{who}: {report.state} {report.code} {codes} {len(report.wants)} wants")
            if report.state == "equal" and self._clock(dialer) != self._clock(answerer):
                self._faults.append(f"{who}: took a difference for agreement")
            if report.code != CLONED:
                self._is_refused |= report.state == "refused"
                return report.state != "refused"
        return False

    def _sides(self, one: Machine, other: Machine) -> list[FeedId]:
        """The feeds of which two machines hold different histories, and both something that they compare.

        A feed of whom nobody let in stands in no clock and no summary: its histories are void as a whole, and nobody
        looks for a fork there before somebody lets its author in.
        """
        strangers = {feed for found in (one, other) for feed in found.membership.strangers}
        feeds = [feed for feed in self._world.truth.forks if feed not in strangers]
        held = [[_history(machine, feed) for feed in feeds] for machine in (one, other)]
        return [
            feed
            for feed, mine, theirs in zip(feeds, *held, strict=True)
            if any(entry != theirs.get(seq, entry) for seq, entry in mine.items())
        ]

    def _check_proofs(self) -> None:
        """Who met both sides of a fork before the last round holds a proof."""
        for machine, feed in self._met:
            assert machine.tenant is not None
            if feed not in machine.membership.forks and feed not in read_evidence(machine.disk.conn, machine.tenant):
                self._faults.append(f"{machine.name} met both sides of {feed.hex()} and proves nothing")
        self._met = []

    def _alters(self, machine: Machine) -> bool:
        """Whether a machine changes what it gives: nobody proves what its author did not sign."""
        liar = self._world.liar
        return liar is not None and machine.name == liar.name and not liar.is_forking

    def _is_beside_liar(self, machine: Machine, pair: Edge) -> bool:
        liar = self._world.liar
        return liar is not None and liar.name in pair and machine.name != liar.name

    def _is_agreed(self) -> bool:
        """Whether those hold the same that can reach each other."""
        summaries = {machine.name: self._summary(machine) for machine in self._honest}
        return all(len({summaries[name] for name in piece}) == 1 for piece in self._pieces)

    def _summary(self, machine: Machine) -> bytes:
        """Of what a machine holds."""
        return Summary(machine.holdings.view()).value

    def _clock(self, machine: Machine) -> Clock:
        assert machine.tenant is not None
        return read_clock(machine.disk.conn, machine.tenant)


def _history(machine: Machine, feed: FeedId) -> Mapping[int, tuple[int, bytes]]:
    """Time and header's hash of each entry of a feed that a machine holds."""
    rows = machine.disk.conn.execute(_HISTORY, {"feed": feed})
    return {seq: (hlc, header if len(header) == _HASH_BYTES else sha256(header).digest()) for seq, hlc, header in rows}
