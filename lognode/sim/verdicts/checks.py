"""What must be so once all agree, on every disk and between them.

Owns the list of promises that a world is held to. Invariant: it changes nothing, but for what it lets machines write
in the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from lognode.core.access import Level
from lognode.core.clock import HLC_MAX, Clock
from lognode.core.draft import Draft
from lognode.core.errors import LognodeError
from lognode.core.ids import FeedId, SpanId, b32encode
from lognode.core.span import PRIVATE
from lognode.engine.receipt import AppendStopped
from lognode.sim.machines.machine import Down, Machine
from lognode.sim.verdicts.looks import spots_until
from lognode.sim.verdicts.questions import COUNTED, Questions
from lognode.timeline.agreement.merges import MERGE
from lognode.timeline.agreement.restoring import STRANDING
from lognode.timeline.members import Control, Membership
from lognode.timeline.record import ORIGIN, RECORD_COLUMNS, Record, body_of, header_of, id_of
from lognode.timeline.store.agreement.settling import settled_hlc
from lognode.timeline.store.agreement.subjects import Registers, next_subjects
from lognode.timeline.store.audit import audit
from lognode.timeline.store.controls import foretold_controls, held_controls, read_evidence
from lognode.timeline.store.read.lookup import find_restored, find_span
from lognode.timeline.store.read.ranges import read_clock

if TYPE_CHECKING:
    from lognode.sim.simulation import Simulation

_SUBJECTS_MAX: Final = 100
_COPIES: Final = (
    "SELECT l.value, count(*) FROM labels l JOIN spans s ON s.row = l.row LEFT JOIN cuts c ON c.feed = s.feed"
    f" WHERE l.field = {ORIGIN} AND (c.size IS NULL OR s.seq < c.size) GROUP BY l.value"
)
_ENDED_COPIES: Final = (
    "SELECT value FROM labels l JOIN spans s USING (row) JOIN cuts c USING (feed)"
    f" WHERE field = {ORIGIN} AND seq >= size"
)
_MERGES: Final = f"SELECT count(*) FROM spans s JOIN kinds k ON k.kind = s.kind WHERE k.name = '{MERGE}'"


class Checks:
    """The checks of a world whose honest members are these."""

    def __init__(self, world: Simulation, honest: Sequence[Machine], final: Membership) -> None:
        self._world = world
        self._honest = honest
        self._final = final
        self._random = world.random
        self.faults: list[str] = []

    async def run(self) -> None:
        """All of them."""
        for machine in self._honest:
            if machine.membership.common != self._final.common:
                self._say(machine, "has another membership")
            if _clock(machine) != _clock(self._honest[0]):
                self._say(machine, "has another clock")
            if spots_until(machine, HLC_MAX) != spots_until(self._honest[0], HLC_MAX):
                self._say(machine, "has another order")
        self._check_spans()
        self._check_copies()
        self._check_forks()
        self._check_merges()
        self._check_state()
        self._check_looks()
        machine = self._random.choice(self._honest)
        for finding in audit(machine.disk.conn, node_public=machine.keys.public):
            if finding.severity == "damage":
                self._say(machine, f"{finding.code} {finding.place} {finding.detail}")
        questions = Questions(world=self._world, machine=machine, cuts=self._final.cuts)
        self.faults += questions.ask()
        await self._check_writers()

    def _say(self, machine: Machine, fault: str) -> None:
        self.faults.append(f"{machine.name}: {fault}")

    def _check_spans(self) -> None:
        """What was acknowledged is where it may be."""
        honest, world = self._honest, self._world
        held = {machine.name: _spans(machine) for machine in world.machines if machine.tenant}
        for span, (author, visibility) in world.acknowledged.items():
            is_rewound = span in world.rewound or self._is_liar(author)
            if author.name in held and span not in held[author.name].whole and not is_rewound:
                self._say(author, f"lost its span {span.hex()}")
            is_gone = is_rewound and not any(span in held[machine.name].whole for machine in honest)
            for machine in honest if author in honest and not is_gone else ():
                is_held = span in held[machine.name].whole
                is_own = machine.keys.public == author.keys.public and visibility == PRIVATE
                if machine is author or is_own or is_held == (visibility != PRIVATE):
                    continue
                if not is_held and self._is_void(author, span) and not self._is_owed(machine, author, span):
                    continue
                self._say(machine, f"{span.hex()} of {author.name} is not as it may be")
        for name, found in held.items():
            self.faults += [f"{name}: {fault}" for fault in found.faults]

    def _is_liar(self, machine: Machine) -> bool:
        liar = self._world.liar
        return liar is not None and liar.is_forking and machine.name == liar.name

    def _is_owed(self, machine: Machine, author: Machine, span: SpanId) -> bool:
        """Whether a span's author was to restore it, and nothing of that is here."""
        tenant, key = machine.tenant, author.keys.public
        assert tenant is not None
        is_writer = self._final.level(key) >= Level.TRUSTED
        is_lacking = find_restored(machine.disk.conn, tenant, key, span) is None
        return is_writer and is_lacking and self._is_void(author, span, STRANDING)

    def _check_copies(self) -> None:
        """What a fork took from an honest author counts again, once; nothing else does."""
        machine, world = self._honest[0], self._world
        conn, feeds = machine.disk.conn, machine.process.store.feeds
        counted = {id_of(record, feeds[record.feed].feed_id) for record in map(Record._make, conn.execute(COUNTED))}
        copies: dict[str, int] = dict(conn.execute(_COPIES).fetchall())
        ended = {name for (name,) in conn.execute(_ENDED_COPIES)}  # which were cut in their turn
        for span, (author, visibility) in world.acknowledged.items():
            if visibility == PRIVATE or author not in self._honest or span in world.rewound or self._is_liar(author):
                continue
            times = (span in counted) + copies.get(b32encode(span), 0)
            is_writer = self._final.level(author.keys.public) >= Level.TRUSTED
            # Machines with one key know nothing of what the other restores.
            twins = sum(machine.keys.public == author.keys.public for machine in world.machines)
            is_owed = is_writer and b32encode(span) not in ended and self._is_void(author, span, STRANDING)
            if times > twins or (not times and is_owed):
                self._say(author, f"its span {span.hex()} counts {times} times")

    def _is_void(self, author: Machine, span: SpanId, reasons: Collection[str] | None = None) -> bool:
        """Whether a span lies beyond the end of its feed, for one of some reasons; or its author has it no longer."""
        tenant, feeds = author.tenant, author.process.store.feeds
        assert tenant is not None
        record = find_span(author.disk.conn, tenant, feeds, span)
        if record is None:
            return True
        cut = self._final.cuts.get(feeds[record.feed].feed_id)
        return cut is not None and record.seq >= cut.size and (reasons is None or cut.reason in reasons)

    def _check_forks(self) -> None:
        """Nobody forks but liars and clones; who knows both sides of a fork holds a proof."""
        truth, world = self._world.truth, self._world
        for feed, name in truth.forks.items():
            machine = world.machines[name]
            is_cloned = sum(other.keys.public == machine.keys.public for other in world.machines) > 1
            # What only a lost disk held is no history: the others vouched that they have nothing of it.
            if feed in self._final.forks and not is_cloned and not self._is_liar(machine):
                self._say(machine, f"signed a second history of {feed.hex()}")
        for feed in self._final.forks:
            if feed not in truth.forks:
                self.faults.append(f"a fork of {feed.hex()} is proven that nobody made")

    def _check_merges(self) -> None:
        """Merges are written for what is no merge, by each other writer once."""
        self.faults += self._world.truth.faults
        writers = len(set(self._world.truth.authors.values()))
        for machine in self._honest:
            merges = machine.disk.conn.execute(_MERGES).fetchone()[0]
            if merges > self._world.truth.data_commits * (writers - 1):
                self._say(machine, f"{merges} merges of {writers} for {self._world.truth.data_commits} commits")

    def _check_state(self) -> None:
        """Subjects come to the same everywhere."""
        found = {machine.name: _state(machine) for machine in self._honest}
        first = self._honest[0]
        for machine in self._honest[1:]:
            if found[machine.name] != found[first.name]:
                self._say(machine, f"subjects come to something else than on {first.name}")

    def _check_looks(self) -> None:
        """What was settled stayed so, but for feeds that were cut or forked, and for nodes that run twice.

        Nor does it hold for what a node had written that a backup does not hold: where it comes back, from others or
        from a newer backup, it counts where it was. Nor for feeds that begin before what their node once wrote, or
        before its admission: whose clock was ahead there, or who forgot, cannot know all that others hold now.
        """
        machine, world = self._honest[0], self._world
        keys = [other.keys.public for other in world.machines]
        unsure = {key for key in keys if keys.count(key) > 1}
        forked = {world.truth.authors[feed] for feed in self._final.forks}
        for look in self._world.looks:
            if look.machine not in self._honest:
                continue
            exempt = unsure | forked | look.silent
            changed = [
                (feed, seq)
                for feed, seq in look.spots ^ spots_until(machine, look.hlc)
                if feed not in world.truth.early and feed not in self._final.cuts and (feed, seq) not in world.lost
                if world.truth.authors[feed] not in exempt
            ]
            if wrong := sorted(changed):
                (feed, seq), is_new = wrong[0], wrong[0] not in look.spots
                what = "came" if is_new else "went"
                self._say(look.machine, f"entry {seq} of {feed.hex()} {what} before what was settled at {look.hlc:x}")

    async def _check_writers(self) -> None:
        """Who may write writes what counts, and is not kept from it."""
        for machine in self._honest:
            if machine.membership.level(machine.keys.public) < Level.TRUSTED:
                continue
            try:
                receipts = await machine.append([Draft(kind="note", visibility=1)] * 2)
            except (AppendStopped, LognodeError, Down) as error:
                self._say(machine, f"may write, and cannot: {error!r}")
                continue
            if receipts[0].feed in machine.membership.cuts or receipts[0].feed != receipts[1].feed:
                self._say(machine, "may write, and what it writes is void")


def _state(machine: Machine) -> Mapping[str, tuple[object, ...]]:
    """What each subject comes to on a machine, and what is settled there."""
    tenant, store, conn = machine.tenant, machine.process.store, machine.disk.conn
    assert tenant is not None
    registers = Registers(conn, tenant, store.feeds, machine.membership.policies)
    found: dict[str, tuple[object, ...]] = {}
    for subject in next_subjects(conn, tenant, "", None, _SUBJECTS_MAX):
        fold = registers.read(subject).fold
        if fold.heads:  # else only private spans of this node are about it
            found[subject] = ([head.span.id for head in fold.heads], fold.value and fold.value.means.id)
    return {**found, "settled": (settled_hlc(conn, tenant, store.feeds, machine.membership),)}


def _clock(machine: Machine) -> Clock:
    assert machine.tenant is not None
    return read_clock(machine.disk.conn, machine.tenant)


def _cut(conn: sqlite3.Connection) -> list[int]:
    return [number for (number,) in conn.execute("SELECT feed FROM cuts")]


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


def controls(machines: Iterable[Machine]) -> Iterable[Control]:
    """Every control span that any machine knows."""
    for machine in machines:
        tenant = machine.tenant
        if tenant is not None:
            conn, feeds = machine.disk.conn, machine.process.store.feeds
            yield from (control for control, _ in held_controls(conn, tenant, feeds).values())
            yield from foretold_controls(conn, tenant, feeds)


def evidence(machines: Iterable[Machine]) -> Mapping[FeedId, int]:
    """Where feeds fork by proofs that any machine found itself."""
    found: dict[FeedId, int] = {}
    for machine in machines:
        tenant = machine.tenant
        for feed, proof in read_evidence(machine.disk.conn, tenant).items() if tenant is not None else ():
            found[feed] = min(proof.seq, found.get(feed, proof.seq))
    return found
