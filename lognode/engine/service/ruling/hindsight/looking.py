"""The past of one stored span as its own node had named it, looked at without tables made for it.

A Context of rules, synchronous, for a reader's thread. Invariant: where it cannot be told whether the node that decided
saw the same, `lacks` says so, in words.
"""

from collections.abc import Generator
from contextlib import closing

from lognode.core.clock import HLC_MAX, hlc_from_ms
from lognode.core.limits import LAST_TRIED_MAX, LOOKED_SPANS_MAX
from lognode.engine.ruling.strands import Value, measured
from lognode.engine.service.ruling.past import Ground, facts_of
from lognode.rules.conditions.unclear import Unclear
from lognode.rules.document import Last, Window, matches_kind
from lognode.rules.evaluation.context import OverBudget
from lognode.rules.evaluation.facts import Facts
from lognode.rules.evaluation.samples import Sample, extract
from lognode.timeline.record import Record, feed_of, id_of
from lognode.timeline.store.rules.looking import spans_about, spans_of_kinds

TOO_MANY = "more spans than are looked at for one"
NO_BODY = "the body of a span that was read is not held here"


class Lookback:
    """The past of a span with time `hlc`."""

    def __init__(self, ground: Ground, hlc: int) -> None:
        self._ground = ground
        self._hlc = hlc
        self.lacks: dict[str, None] = {}

    def window(self, window: Window, sample: Sample) -> int | float:
        """The measure over this window, as Context says. Raises Unclear, NodeFault."""
        values: list[Value] = []
        looked = 0
        with closing(self._candidates(window, sample)) as records:
            for record in records:
                looked += 1
                if looked > LOOKED_SPANS_MAX:
                    self.lacks[TOO_MANY] = None
                    raise Unclear(f"the window {window.name} would take too long to look at")
                is_named = record.seq < self._ground.named.get(record.feed, 0)
                if record.body is None:
                    self.lacks.update({NO_BODY: None} if is_named else {})
                    continue
                found = extract(window, facts_of(record, feed_of(record, self._ground.feeds)))
                if found and found.key == sample.key and 0 <= sample.at_ms - found.at_ms < window.over_ms:
                    values += [found.value] if is_named else []
        return measured(window, sample, values)

    def _candidates(self, window: Window, sample: Sample) -> Generator[Record, None, None]:
        """What may be counted, and more."""
        first = 0 if window.at is not None else hlc_from_ms(max(0, sample.at_ms - window.over_ms))
        kinds = self._kinds(window.kinds)
        return spans_of_kinds(self._ground.conn, kinds, (first, self._hlc))

    def last(self, last: Last, subject: str) -> Facts | None:
        """The newest span of these kinds about a subject. Raises OverBudget, NodeFault("database.damaged")."""
        ground, kinds = self._ground, self._kinds(last.kinds)
        if not kinds:
            return None
        before = min(self._hlc, HLC_MAX)
        found = spans_about(ground.conn, ground.tenant, subject, kinds, before, LAST_TRIED_MAX)
        named = [record for record in found if record.seq < ground.named.get(record.feed, 0)]
        if not named:
            if len(found) == LAST_TRIED_MAX:
                self.lacks[TOO_MANY] = None
                raise OverBudget(f"of the {LAST_TRIED_MAX} newest spans about {last.name} none was named")
            return None
        newest = max(named, key=lambda record: id_of(record, feed_of(record, ground.feeds).feed_id))
        if newest.body is None:
            self.lacks[NO_BODY] = None
            return None
        return facts_of(newest, feed_of(newest, ground.feeds))

    def note(self, facts: Facts, windows: tuple[Window, ...]) -> None:
        """Nothing: what a commit added is stored by now."""

    def _kinds(self, kinds: tuple[str, ...]) -> list[int]:
        return [number for name, number in self._ground.kinds.items() if matches_kind(kinds, name)]
