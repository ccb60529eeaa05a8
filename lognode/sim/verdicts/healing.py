"""After the trouble: machines compare in pairs, round by round, and must come to hold the same within few rounds.

Owns what "the same" means. Invariant: a verdict that says so was checked against every disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lognode.core.access import Level
from lognode.core.clock import Clock
from lognode.core.draft import Draft
from lognode.core.errors import LognodeError
from lognode.core.ids import SpanId
from lognode.core.span import PRIVATE
from lognode.engine.receipt import AppendStopped
from lognode.protocol.summary import Summary
from lognode.sim.machines.exchange import Exchange
from lognode.sim.machines.machine import Down, Machine
from lognode.timeline.members import Control, Membership, membership
from lognode.timeline.record import RECORD_COLUMNS, Record, body_of, header_of, id_of
from lognode.timeline.store.audit import audit
from lognode.timeline.store.controls import foretold_controls, held_controls
from lognode.timeline.store.read.ranges import read_clock

if TYPE_CHECKING:
    from lognode.sim.simulation import Simulation

Edge = tuple[int, int]


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
        self._final = self._membership(self._members)

    async def run(self) -> Verdict:
        """Rounds, then checks."""
        members = self._members
        for machine in members:
            if machine.tenant is None:  # it was let in, and the answer was lost
                await machine.adopt(self._tenant_id, self._final.members)
        liar = self._world.liar
        honest = [machine for machine in members if liar is None or machine.name != liar.name]
        edges = self._edges(honest)
        pieces = _pieces(honest, edges)
        rounds_max = max(_diameter(piece, edges) for piece in pieces) + 1 if pieces else 0
        knows_liar = liar is not None and self._world.machines[liar.name] in members
        lies = [(machine.name, liar.name) for machine in honest if liar and knows_liar and self._random.random() < 0.7]
        rounds = 0
        is_forked = liar is not None and liar.is_forking
        while rounds < rounds_max and ((is_forked and not rounds) or not self._is_agreed(pieces)):
            rounds += 1
            if await self._round([*edges, *lies]):
                rounds = 0  # what a liar gives away late has just begun its way
            if len(pieces) > 1:  # those that did not know each other may do so now
                edges = self._edges(honest)
                pieces = _pieces(honest, edges)
                rounds_max = 2 * len(honest)
        if not self._is_agreed(pieces):
            self._faults.append(f"no agreement after {rounds} rounds")
        elif len(pieces) == 1:
            self._check(honest)
            await self._check_writers(honest)
        views = {(self._summary(machine)).hex() for machine in honest}
        self._world.say(f"{len(honest)} of {len(members)} members, {rounds} rounds, {sorted(views)}, {self._faults}")
        return Verdict(
            not self._faults, len(members), len(pieces), rounds, rounds_max, min(views, default=""), tuple(self._faults)
        )

    def _membership(self, machines: Iterable[Machine]) -> Membership:
        """What the control spans of these machines come to."""
        return membership(self._tenant_id, list(_controls(machines)))

    def _find_members(self) -> list[Machine]:
        """The machines that are members by what these know; who was removed may know more, and is not heard."""
        members = list(self._world.machines)
        while True:
            final = self._membership(members)
            found = [machine for machine in members if final.level(machine.keys.public) >= Level.OBSERVER]
            if len(found) == len(members):
                return found
            members = found

    def _edges(self, honest: Sequence[Machine]) -> list[Edge]:
        """Who compares with whom: a random tree over those that know each other, and some more."""
        known = [
            (one.name, other.name)
            for at, one in enumerate(honest)
            for other in honest[at + 1 :]
            if one.accepts(other.keys.public) and other.accepts(one.keys.public)
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
        """Every pair compares once; whether a liar let others have something new."""
        is_news = False
        pairs = list(edges)
        self._random.shuffle(pairs)
        for pair in pairs:
            one, other = self._random.sample(pair, 2)
            dialer, answerer = self._world.machines[one], self._world.machines[other]
            told = [machine for machine in (dialer, answerer) if self._is_beside_liar(machine, pair)]
            before = [self._summary(machine) for machine in told]
            exchange = Exchange(0, dialer, answerer, self._world.liar)
            try:
                report = await exchange.finish()
            except (LognodeError, Down) as error:
                self._world.say(f"{one} with {other}: {error!r}")
                continue
            is_news |= before != [self._summary(machine) for machine in told]
            codes = sorted({found.code for found in report.refusals.values()})
            self._world.say(f"{one} with {other}: {report.state} {report.code} {codes} {len(report.wants)} wants")
            if report.state == "equal" and self._clock(dialer) != self._clock(answerer):
                self._faults.append(f"{one} and {other} took a difference for agreement")
        return is_news

    def _is_beside_liar(self, machine: Machine, pair: Edge) -> bool:
        liar = self._world.liar
        return liar is not None and liar.name in pair and machine.name != liar.name

    def _is_agreed(self, pieces: Sequence[Sequence[Machine]]) -> bool:
        """Whether those hold the same that can reach each other."""
        return all(len({self._summary(machine) for machine in piece}) == 1 for piece in pieces)

    def _summary(self, machine: Machine) -> bytes:
        """Of what a machine holds."""
        return Summary(machine.holdings.view()).value

    def _clock(self, machine: Machine) -> Clock:
        assert machine.tenant is not None
        return read_clock(machine.disk.conn, machine.tenant)

    def _check(self, honest: Sequence[Machine]) -> None:
        """What must be so once all agree."""
        final = self._membership(honest)
        for machine in honest:
            if machine.membership.common != final.common:
                self._faults.append(f"{machine.name} has another membership")
        liar = self._world.liar
        held = {machine.name: _spans(machine) for machine in self._world.machines if machine.tenant}
        for span, (author, visibility) in self._world.acknowledged.items():
            is_rewound = liar is not None and liar.is_forking and author.name == liar.name
            if span not in held[author.name].whole and not is_rewound and span not in self._world.rewound:
                self._faults.append(f"{author.name} lost its span {span.hex()}")
            is_gone = span in self._world.rewound and not any(span in held[machine.name].whole for machine in honest)
            for machine in honest if author in honest and not is_gone else ():
                if machine is not author and (span in held[machine.name].whole) != (visibility != PRIVATE):
                    self._faults.append(f"{span.hex()} of {author.name} is not as it may be on {machine.name}")
        machine = self._random.choice(honest)
        for finding in audit(machine.disk.conn, node_public=machine.keys.public):
            if finding.severity == "damage":
                self._faults.append(f"{machine.name}: {finding.code} {finding.place} {finding.detail}")
        for name, found in held.items():
            self._faults += [f"{name}: {fault}" for fault in found.faults]

    async def _check_writers(self, honest: Sequence[Machine]) -> None:
        """Who may write writes what counts, and is not kept from it."""
        for machine in honest:
            if machine.membership.level(machine.keys.public) < Level.TRUSTED:
                continue
            try:
                receipts = await machine.append([Draft(kind="note", visibility=1)] * 2)
            except (AppendStopped, LognodeError, Down) as error:
                self._faults.append(f"{machine.name} may write, and cannot: {error!r}")
                continue
            if receipts[0].feed in machine.membership.cuts or receipts[0].feed != receipts[1].feed:
                self._faults.append(f"{machine.name} may write, and what it writes is void")


class _Spans(NamedTuple):
    """The spans on a disk at full depth, and what is wrong with any."""

    whole: set[SpanId]
    faults: list[str]


def _spans(machine: Machine) -> _Spans:
    conn, store = machine.disk.conn, machine.process.store
    whole, faults = set(), []
    sql = f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b ON b.row = s.row"
    for row in conn.execute(sql):
        record = Record(*row)
        feed = store.feeds[record.feed]
        if body_of(record, header_of(record)) is not None:
            whole.add(id_of(record, feed.feed_id))
        if record.visibility == PRIVATE and not feed.own:
            faults.append(f"holds a private span of another, entry {record.seq}")
    shown = "SELECT count(*) FROM inert WHERE visibility = 0 AND (length(header) <> 32 OR body IS NOT NULL)"
    if conn.execute(shown).fetchone()[0]:
        faults.append("holds more than the stub of a private span of another")
    return _Spans(whole, faults)


def _controls(machines: Iterable[Machine]) -> Iterable[Control]:
    """Every control span that any machine knows."""
    for machine in machines:
        tenant = machine.tenant
        if tenant is not None:
            conn, feeds = machine.disk.conn, machine.process.store.feeds
            yield from (control for control, _ in held_controls(conn, tenant, feeds).values())
            yield from foretold_controls(conn, tenant, feeds)


def _distances(start: int, edges: Sequence[Edge]) -> dict[int, int]:
    """How far it is from one to all that it reaches."""
    far = {start: 0}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        for edge in edges:
            if name in edge:
                other = sum(edge) - name
                if other not in far:
                    far[other] = far[name] + 1
                    queue.append(other)
    return far


def _pieces(machines: Sequence[Machine], edges: Sequence[Edge]) -> list[list[Machine]]:
    """The machines in groups that reach each other."""
    pieces: list[list[Machine]] = []
    for machine in machines:
        if not any(machine in piece for piece in pieces):
            reached = _distances(machine.name, edges)
            pieces.append([other for other in machines if other.name in reached])
    return pieces


def _diameter(machines: Sequence[Machine], edges: Sequence[Edge]) -> int:
    """The longest of the shortest ways between two."""
    return max(max(_distances(machine.name, edges).values()) for machine in machines)
