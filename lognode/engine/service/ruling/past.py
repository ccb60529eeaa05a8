"""What rules ask of the past of a span, answered from the writing connection.

For one commit: windows and newest spans of what is stored and was named, and of what stands before in the commit.
Synchronous, for the database's thread. Invariant: whoever asks about a stored span later gets what the gate got.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import fsum
from typing import NamedTuple

from lognode.core.clock import HLC_MAX
from lognode.core.errors import NodeFault
from lognode.core.ids import LogLine, LogLineKind, logline
from lognode.core.limits import WINDOW_SPANS_MAX
from lognode.rules.conditions.unclear import Unclear
from lognode.rules.document import Last, Window, matches_kind
from lognode.rules.evaluation.facts import Facts, Writer
from lognode.rules.evaluation.samples import Sample, extract
from lognode.timeline.record import FeedRef, Record, TenantRef, body_of, feed_of, header_of
from lognode.timeline.store.rules.subjects import newest_about
from lognode.timeline.store.rules.windows import Entry, Measure, Measured, fill_window, spans_within


class Ground(NamedTuple):
    """Where the past of a span is read, and how much of each feed belongs to it."""

    conn: sqlite3.Connection
    tenant: TenantRef
    feeds: Mapping[int, FeedRef]
    kinds: Mapping[str, int]
    named: Mapping[int, int]
    hlc: int = HLC_MAX  # of the first span that is judged: what is later is not in its past


class Past:
    """The past of spans that follow one another in one commit; a Context of rules."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._filled: set[bytes] = set()
        self._samples: defaultdict[tuple[bytes, bytes], list[Sample]] = defaultdict(list)
        self._noted: list[Facts] = []
        self._sampled: defaultdict[bytes, int] = defaultdict(int)  # of these, by window
        self._newest: dict[str, list[Facts]] = defaultdict(list)

    def window(self, window: Window, sample: Sample) -> int | float:
        """The measure over this window, as rules.evaluation.context.Context says. Raises Unclear, NodeFault."""
        ground = self._ground
        if window.digest not in self._filled:
            fill_window(ground.conn, ground.tenant, window.digest, self._kinds(window.kinds), self._measure(window))
            self._filled.add(window.digest)
        for facts in self._noted[self._sampled[window.digest] :]:
            if found := extract(window, facts):
                self._samples[window.digest, found.key].append(found)
        self._sampled[window.digest] = len(self._noted)
        start_ms = sample.at_ms - window.over_ms
        stored = spans_within(
            ground.conn, ground.tenant, window.digest, sample.key, start_ms, sample.at_ms, ground.named
        )
        values = [one.value for one in stored]
        values += [
            one.value
            for one in self._samples.get((window.digest, sample.key), ())
            if start_ms < one.at_ms <= sample.at_ms
        ]
        return measured(window, sample, values)

    def last(self, last: Last, subject: str) -> Facts | None:
        """The newest span of these kinds about a subject. Raises NodeFault("database.damaged")."""
        for facts in reversed(self._newest.get(subject, [])):
            if matches_kind(last.kinds, facts.kind):
                return facts
        ground = self._ground
        record = newest_about(
            ground.conn, ground.tenant, ground.feeds, subject, self._kinds(last.kinds), ground.named, ground.hlc
        )
        return facts_of(record, feed_of(record, ground.feeds)) if record else None

    def note(self, facts: Facts, windows: tuple[Window, ...]) -> None:
        """A span of the commit that the next ones follow, and all that may be asked of it; private ones stay out."""
        if facts.fact("visibility") == "private":
            return
        if windows:
            self._noted.append(facts)  # of many windows few are ever asked for
        if (subject := facts.fact("subject")) is not None and facts.fact("status") == "executed":
            self._newest[subject].append(facts)

    def _kinds(self, kinds: tuple[str, ...]) -> list[int]:
        return [number for name, number in self._ground.kinds.items() if matches_kind(kinds, name)]

    def _measure(self, window: Window) -> Measure:
        def measure(record: Record) -> Entry | None:
            found = extract(window, facts_of(record, feed_of(record, self._ground.feeds)))
            return Entry(found.key, found.at_ms, found.value) if found else None

        return measure


def measured(window: Window, sample: Sample, values: Sequence[Measured]) -> int | float:
    """What the values of a window come to for whoever adds a sample, as rules.evaluation.context.Context says.

    Of a count no more is told than WINDOW_SPANS_MAX, so that nobody gets below a limit by going far beyond it; what
    the values of more are is not. Raises Unclear.
    """
    if window.measure == "count":
        return min(len(values), WINDOW_SPANS_MAX)
    if len(values) > WINDOW_SPANS_MAX:
        raise Unclear(f"the window {window.name} holds too many spans")
    if window.measure == "distinct":
        return len({*values} - {sample.value})
    numbers = [value for value in values if value is not None and not isinstance(value, bytes)]
    return sum(numbers) if all(isinstance(number, int) for number in numbers) else fsum(numbers)


def facts_of(record: Record, feed: FeedRef, level: str = "") -> Facts:
    """The facts of a stored span. Raises NodeFault("database.damaged")."""
    header = header_of(record)
    body = body_of(record, header)
    if body is None:
        raise NodeFault("database.damaged", "a span without its body", place=f"position {record.position}")
    writer = Writer(LogLine(logline(LogLineKind.NODE, feed.node_key)), level)
    return Facts.of_span(header, body, writer, hlc=record.hlc, visibility=record.visibility)
