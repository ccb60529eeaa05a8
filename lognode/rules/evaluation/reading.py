"""What the rules of one evaluation read, and what they have spent and written so far.

Owns the facts that differ from rule to rule: variables, windows, last spans, notes of earlier rules; and the budget.
Invariant: what is read here depends on facts, context and rules alone, and each question to the context is asked once.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from lognode.core.codec import INT_MAX, INT_MIN
from lognode.core.limits import (
    CEL_COST_SMALL,
    CEL_PAYLOAD_BYTES_MAX,
    LAST_COST,
    RULE_COST_MAX,
    RULE_COST_SURE,
    SPAN_COST_MAX,
    WINDOW_COST,
)
from lognode.rules.conditions.cel.cost import ESTIMATE_COST, WALK_COST, Extent, Segments, extent_of
from lognode.rules.conditions.cel.expression import Expression, activation_of
from lognode.rules.conditions.paths import follow
from lognode.rules.conditions.unclear import Unclear
from lognode.rules.document import SPAN_FACTS, Last, Path, Window
from lognode.rules.evaluation.context import Context, OverBudget
from lognode.rules.evaluation.decision import Notes
from lognode.rules.evaluation.facts import Facts
from lognode.rules.evaluation.program import Ready
from lognode.rules.evaluation.samples import FLOAT_MAX, extract, sample_at

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_MS_MAX: Final = 253_402_300_799_999  # the last millisecond that CEL knows
_OWN: Final = frozenset({"vars", "windows", "last", "annotations"})  # facts that are not the span's
_CHANGING: Final = frozenset({"windows", "last", "annotations"})  # from rule to rule of one set
_EMPTY_MAPS: Final = frozenset({"data", "metadata"})  # to CEL they are maps, so that has() may be asked
_LAST_FACTS: Final = (*SPAN_FACTS, "time")


class Span:
    """The state of one evaluation."""

    __slots__ = ("_lasts", "_windows", "context", "extents", "facts", "notes", "spent", "views")

    def __init__(self, facts: Facts, context: Context) -> None:
        self.facts = facts
        self.context = context
        self.notes = facts.written  # those that the span came with, and those of the rules so far
        self.spent = 0.0
        self._windows: dict[bytes, int | float | Unclear] = {}
        self._lasts: dict[tuple[str | None, tuple[str, ...]], Facts | Unclear | None] = {}
        # By the facts that are read, and by set where its variables are.
        self.views: dict[frozenset[str] | tuple[str, frozenset[str]], View] = {}
        self.extents: dict[int, Extent] = {}  # of values of the span's facts, by identity: they stay alive

    def has_window(self, window: Window) -> bool:
        """Whether the context was asked for the window already."""
        return window.digest in self._windows

    def has_last(self, last: Last) -> bool:
        """Whether the context was asked for the subject already."""
        return (self._subject(last), last.kinds) in self._lasts

    def _subject(self, last: Last) -> str | None:
        subject = follow(self.facts.fact(last.subject.fact), last.subject.segments[1:])
        return subject if isinstance(subject, str) else None

    def window(self, window: Window) -> int | float:
        """The measure of a window at this span, which is counted where it belongs to it; 0 where it has no key.

        Raises Unclear where the context cannot tell.
        """
        found = self._windows.get(window.digest)
        if found is None:
            try:
                found = self._measured(window)
            except Unclear as unclear:
                found = unclear
            self._windows[window.digest] = found
        if isinstance(found, Unclear):
            raise type(found)(str(found))
        return found

    def _measured(self, window: Window) -> int | float:
        own = extract(window, self.facts)
        place = own or sample_at(window, self.facts)
        if place is None:
            return 0
        others = self.context.window(window, place)
        if own is None:
            total = others
        elif window.measure == "sum":
            assert isinstance(own.value, int | float)
            total = others + own.value
            if isinstance(total, float):
                total = max(-FLOAT_MAX, min(FLOAT_MAX, total))  # nobody gets below a limit by going beyond
        else:
            total = others + 1
        return total if isinstance(total, float) or INT_MIN <= total <= INT_MAX else float(total)

    def last(self, last: Last) -> Facts | None:
        """The newest span of the subject that the rule names, None where there is none.

        Raises Unclear where the context cannot tell.
        """
        subject = self._subject(last)
        key = (subject, last.kinds)
        if key not in self._lasts:
            try:
                self._lasts[key] = None if subject is None else self.context.last(last, subject)
            except Unclear as unclear:
                self._lasts[key] = unclear
        found = self._lasts[key]
        if isinstance(found, Unclear):
            raise type(found)(str(found))
        return found


class View(NamedTuple):
    """Facts as an expression reads them, and how many bytes they hold."""

    activation: Any
    size: int


class Reading:
    """What the rule reads whose turn it is, within its budget.

    A rule is judged once. Whoever traces it judges it once more, by what came out then and without spending.
    """

    __slots__ = ("_charges", "_is_retold", "_ready", "_refused", "_results", "_span", "facts", "is_crowded", "spent")

    def __init__(self, span: Span, ready: Ready) -> None:
        self.facts = span.facts
        self._span = span
        self.turn(ready)

    def turn(self, ready: Ready) -> None:
        """Begin with a rule, which has spent nothing."""
        self._ready = ready
        self._is_retold = False
        self._results: dict[str, bool | Unclear] = {}
        self._refused: dict[int, Unclear] = {}
        self._charges = 0
        self.spent = 0.0
        self.is_crowded = False  # whether it asked for more than rules read: of the past, or of the span in expressions

    def retell(self) -> None:
        """Begin with the same rule once more."""
        self._is_retold = True
        self._charges = 0

    def read(self, path: Path) -> Any:
        """The JSON value at the path, None where there is none."""
        segments = path.segments
        name = segments[0]
        if name not in _OWN:
            return follow(self.facts.fact(name), segments[1:])  # type: ignore[arg-type]
        if name == "vars":
            return follow(self._ready.variables if len(segments) == 1 else self._variable(segments[1]), segments[2:])
        if name == "annotations":
            return follow(shown_notes(self._span.notes), segments[1:])
        if len(segments) == 1:
            return self._named(str(name), None)
        return self._below(str(name), segments[1:])

    def _variable(self, name: str | int) -> Any:
        return self._ready.variables.get(name) if isinstance(name, str) else None

    def _below(self, fact: str, segments: Sequence[str | int]) -> Any:
        """What stands below a window or a last span, of which no more is read than that."""
        if fact == "windows":
            window = self._ready.windows.get(str(segments[0]))
            return None if window is None or len(segments) > 1 else self._window(window)
        last = self._ready.last.get(str(segments[0]))
        found = None if last is None else self._last(last)
        if found is None:
            return None
        if len(segments) == 1:
            return _shown(found)
        return follow(found.fact(str(segments[1])), segments[2:]) if segments[1] in _LAST_FACTS else None

    def _named(self, fact: str, names: Sequence[str] | None) -> dict[str, Any]:
        """Windows or last spans by name: those that are asked for, or all."""
        if fact == "windows":
            windows = self._ready.windows
            return {name: self._window(windows[name]) for name in names or windows if name in windows}
        known = self._ready.last
        spans = {name: self._last(known[name]) for name in names or known if name in known}
        return {name: _shown(found) for name, found in spans.items() if found is not None}

    def _window(self, window: Window) -> int | float:
        """What a window comes to; the first rule of a span that reads it pays for it."""
        if not self._span.has_window(window):
            self._spend(WINDOW_COST)
        try:
            return self._span.window(window)
        except OverBudget:
            self.is_crowded = True
            raise

    def _last(self, last: Last) -> Facts | None:
        if not self._span.has_last(last):
            self._spend(LAST_COST)
        try:
            return self._span.last(last)
        except OverBudget:
            self.is_crowded = True
            raise

    def has_tag(self, tag: str) -> bool:
        """Whether the span has the tag, from its author or from a rule before."""
        return tag in self.facts.fact("tags") or tag in self._span.notes.tags

    def charge(self, cost: float) -> None:
        """Count work before it is done. Raises Unclear where the rule, or all rules of the span, would do too much."""
        self._charges += 1
        if self._is_retold:
            if self._charges in self._refused:
                raise self._refused[self._charges]
            return
        try:
            self._spend(cost)
        except Unclear as unclear:
            self._refused[self._charges] = unclear
            raise

    def _spend(self, cost: float) -> None:
        spent = self.spent + cost
        if spent > RULE_COST_SURE:
            if spent > RULE_COST_MAX:
                raise Unclear(f"would take about {spent / 1e6:.0f} ms, at most {RULE_COST_MAX / 1e6:.0f}")
            if self._span.spent + cost > SPAN_COST_MAX:
                most = f"{SPAN_COST_MAX / 1e6:.0f}"
                raise Unclear(f"would take more than is left of the {most} ms for all rules of a span")
        self.spent = spent
        self._span.spent += cost

    def evaluate(self, expression: Expression) -> bool:
        """What the expression comes to; it is evaluated once. Raises Unclear."""
        found = self._results.get(expression.text)
        if found is None:
            try:
                found = self._evaluated(expression)
            except Unclear as unclear:
                found = unclear
            self._results[expression.text] = found
        if isinstance(found, Unclear):
            raise found
        return found

    def _evaluated(self, expression: Expression) -> bool:
        view = self._view(expression)
        if view.size > CEL_PAYLOAD_BYTES_MAX:
            self.is_crowded = True
            raise Unclear(f"it reads {view.size} bytes, at most {CEL_PAYLOAD_BYTES_MAX}")
        cost = expression.cost_below(view.size)
        if cost > CEL_COST_SMALL:
            self._spend(ESTIMATE_COST * expression.nodes)
            cost = expression.cost(self._extent)
        self._spend(cost)
        return expression.evaluate(view.activation)

    def _size(self, name: str) -> int:
        if name not in _OWN:
            return self.facts.size(name)
        if name == "last":
            spans = [found for last in self._ready.last.values() if (found := self._last(last)) is not None]
            return sum(found.size(fact) for found in spans for fact in ("data", "metadata", "tags"))
        return 0

    def _extent(self, path: Segments) -> Extent:
        value = self.read(Path(path))
        known = {} if path[0] in _OWN else self._span.extents
        found = known.get(id(value))
        if found is None:
            found = known[id(value)] = extent_of(value)
            self._spend(WALK_COST * found.parts)
        return found

    def _view(self, expression: Expression) -> View:
        names = expression.facts
        views = self._span.views
        key = (self._ready.set, names) if "vars" in names else names
        view = views.get(key)
        if view is not None:
            return view
        size = sum(map(self._size, expression.ordered))
        # What is too large is not decoded either.
        values = {} if size > CEL_PAYLOAD_BYTES_MAX else self._values(expression)
        view = View(activation_of(values), size)
        if not names & _CHANGING:
            views[key] = view
        return view

    def _values(self, expression: Expression) -> Mapping[str, Any]:
        values: dict[str, Any] = {}
        for name in expression.ordered:
            if name == "time":
                values[name] = _EPOCH + timedelta(milliseconds=min(self.facts.time_ms, _TIME_MS_MAX))
            elif name == "vars":
                values[name] = dict(self._ready.variables)
            elif name in {"windows", "last"}:
                paths = [path for path in expression.reads if path[0] == name]
                whole = any(len(path) == 1 for path in paths)
                values[name] = self._named(name, None if whole else [str(path[1]) for path in paths])
            else:
                value = self.read(Path((name,))) if name in _OWN else self.facts.fact(name)
                values[name] = {} if value is None and name in _EMPTY_MAPS else value
        return values


def shown_notes(notes: Notes) -> dict[str, Any]:
    """Notes as rules read them and annotations hold them."""
    return {
        "tags": list(notes.tags),
        "metadata": dict(notes.metadata),
        "notes": list(notes.notes),
        "processed": notes.processed,
    }


def _shown(facts: Facts) -> dict[str, Any]:
    return {name: facts.fact(name) for name in _LAST_FACTS}
