"""What rules ask of the past of a span, answered from the writing connection.

For one commit: windows and newest spans of what is stored and was named, and of what stands before in the commit.
Synchronous, for the database's thread. Invariant: whoever asks about a stored span later gets what the gate got.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from lognode.core.clock import HLC_MAX
from lognode.core.errors import NodeFault
from lognode.core.ids import LogLine, LogLineKind, logline
from lognode.core.limits import LAST_TRIED_MAX
from lognode.engine.ruling.strands import Value, looked_at_max, measured
from lognode.engine.service.writing.windows import Held, Line, Room, Windows
from lognode.rules.document import Last, Window, matches_kind
from lognode.rules.evaluation.context import OverBudget
from lognode.rules.evaluation.facts import Facts, Writer
from lognode.rules.evaluation.samples import Sample, extract
from lognode.timeline.record import FeedRef, Record, TenantRef, body_of, feed_of, header_of
from lognode.timeline.store.rules.subjects import newest_about
from lognode.timeline.store.rules.windows import Entry


class Ground(NamedTuple):
    """Where the past of a span is read, and how much of each feed belongs to it."""

    conn: sqlite3.Connection
    tenant: TenantRef
    feeds: Mapping[int, FeedRef]
    kinds: Mapping[str, int]
    named: Mapping[int, int]
    hlc: int = HLC_MAX  # of the first span that is judged: what is later is not in its past


class Past:
    """The past of a stored span, or of drafts that are only tried; a Context of rules.

    Of a commit it knows what was noted, and leaves nothing behind.
    """

    def __init__(self, ground: Ground, windows: Windows, room: Room) -> None:
        self._ground = ground
        self._windows = windows
        self._room = room
        self._noted: list[Facts | None] = []
        self._newest: dict[str, list[Facts]] = defaultdict(list)

    def window(self, window: Window, sample: Sample) -> int | float:
        """The measure over this window, as rules.evaluation.context.Context says. Raises Unclear, NodeFault."""
        after_ms = sample.at_ms - window.over_ms
        ground = self._ground
        held = self._windows.find(ground.conn, ground.tenant, None, window, after_ms, ground.kinds, self._room)
        most = looked_at_max(window)
        found = (extract(window, facts) for facts in self._noted if facts is not None)
        values: list[Value] = [
            one.value for one in found if one and one.key == sample.key and after_ms < one.at_ms <= sample.at_ms
        ]
        values += held.table.within(sample.key, after_ms, sample.at_ms, ground.named, max(0, most - len(values)))
        return measured(window, sample, values)

    def last(self, last: Last, subject: str) -> Facts | None:
        """The newest span of these kinds about a subject. Raises OverBudget, NodeFault("database.damaged")."""
        for facts in reversed(self._newest.get(subject, [])):
            if matches_kind(last.kinds, facts.kind):
                return facts
        ground = self._ground
        record, is_sure = newest_about(
            ground.conn, ground.tenant, ground.feeds, subject, self._kinds(last.kinds), ground.named, ground.hlc
        )
        if not is_sure:
            raise OverBudget(f"of the {LAST_TRIED_MAX} newest spans about {last.name} none was named")
        return facts_of(record, feed_of(record, ground.feeds)) if record else None

    def note(self, facts: Facts, windows: tuple[Window, ...]) -> None:
        """A span of the commit that the next ones follow, and all that may be asked of it; private ones stay out."""
        is_private = facts.fact("visibility") == "private"
        self._noted.append(None if is_private or not windows else facts)  # of many windows few are ever asked for
        if not is_private:
            self._note_newest(facts)

    def _note_newest(self, facts: Facts) -> None:
        subject = facts.fact("subject")
        if subject is not None and facts.fact("status") == "executed":
            self._newest[subject].append(facts)

    def _kinds(self, kinds: tuple[str, ...]) -> list[int]:
        return [number for name, number in self._ground.kinds.items() if matches_kind(kinds, name)]


class CommitPast(Past):
    """The past of the drafts of one commit, which go on from one another and from what is stored."""

    def __init__(self, ground: Ground, windows: Windows, room: Room, line: Line) -> None:
        super().__init__(ground, windows, room)
        self._line = line
        self._held: dict[bytes, Held] = {}

    def window(self, window: Window, sample: Sample) -> int | float:
        """The measure over this window, as rules.evaluation.context.Context says. Raises Unclear, NodeFault."""
        held = self._held.get(window.digest)
        if held is None:
            ground, after_ms = self._ground, sample.at_ms - window.over_ms
            held = self._windows.find(
                ground.conn, ground.tenant, self._line, window, after_ms, ground.kinds, self._room
            )
            held.sampled = 0
            self._held[window.digest] = held
        if held.sampled < len(self._noted):
            self._count(held)
        return self._windows.measured(self._line, held, sample)

    def note(self, facts: Facts, windows: tuple[Window, ...]) -> None:
        """A span of the commit: windows that were asked for count it at once, others once they are."""
        place, is_waited_for = len(self._noted), False
        if facts.fact("visibility") != "private":
            self._note_newest(facts)
            kind = facts.kind
            for window in windows:
                if matches_kind(window.kinds, kind):
                    held = self._held.get(window.digest)
                    if held is not None and held.sampled == place:
                        held.sampled += 1
                        self._add(held, facts, place)
                    else:
                        is_waited_for = True
        self._noted.append(facts if is_waited_for else None)

    def _count(self, held: Held) -> None:
        """Have a window count what was noted since it did last."""
        for place in range(held.sampled, len(self._noted)):
            facts = self._noted[place]
            if facts is not None:
                self._add(held, facts, place)
        held.sampled = len(self._noted)

    def _add(self, held: Held, facts: Facts, place: int) -> None:
        if found := extract(held.window, facts):
            key, at_ms, value = found
            held.added[key].append((at_ms, place, value))
            self._windows.push(held, key, at_ms, value)

    def finish(self, spans: int) -> None:
        """Take note that all drafts are judged, and that the commit comes to so many spans."""
        for held in self._held.values():
            self._count(held)
        self._line.counted, self._line.spans, self._line.asked = len(self._noted), spans, self._held.keys()


def measure(feeds: Mapping[int, FeedRef], window: Window, record: Record) -> Entry | None:
    """What a stored span adds to a window. Raises NodeFault("database.damaged")."""
    found = extract(window, facts_of(record, feed_of(record, feeds)))
    return Entry(found.key, found.at_ms, found.value) if found else None


def facts_of(record: Record, feed: FeedRef, level: str = "") -> Facts:
    """The facts of a stored span. Raises NodeFault("database.damaged")."""
    header = header_of(record)
    body = body_of(record, header)
    if body is None:
        raise NodeFault("database.damaged", "a span without its body", place=f"position {record.position}")
    writer = Writer(LogLine(logline(LogLineKind.NODE, feed.node_key)), level)
    return Facts.of_span(header, body, writer, hlc=record.hlc, visibility=record.visibility)
