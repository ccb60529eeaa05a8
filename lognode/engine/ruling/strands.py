"""What a window holds under one key, kept in order of time so that the next question costs no look at all of it.

Pure. Must not know where samples come from. Invariants: what is measured is what `measured` of these samples is, in
whatever order they were added and questions were asked; sums are exact until they are rounded once at the end.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from lognode.core.limits import WINDOW_COUNTED_MAX, WINDOW_MEASURED_MAX
from lognode.rules.document import Window
from lognode.rules.evaluation.context import OverBudget
from lognode.rules.evaluation.samples import FLOAT_MAX, Sample

Value = int | float | bytes | None
_UNIT: Final = 1 << 1074  # of these parts of 1, each float is a whole number
_KEY_WEIGHT: Final = 16  # of a strand without samples
_SURE: Final = 2**53  # each whole number up to here is a float


class _Sum:
    """The sum of some numbers, to which others may be added, and from which they may be taken again."""

    __slots__ = ("_exact", "_floats", "_rounded", "_whole")

    def __init__(self) -> None:
        self._floats = 0  # how many of the numbers are floats
        self._exact = 0  # the sum of these, in units
        self._whole = 0  # the sum of the whole numbers
        self._rounded = 0  # what it would be more, were each a float

    def change(self, values: Iterable[Value], sign: int) -> None:
        for value in values:
            if value.__class__ is int:
                self._whole += sign * value
                if not -_SURE <= value <= _SURE:
                    self._rounded += sign * (int(float(value)) - value)
            elif value.__class__ is float:
                top, bottom = value.as_integer_ratio()
                self._floats += sign
                self._exact += sign * top * (_UNIT // bottom)

    def result(self, _sample: Sample) -> int | float:
        if not self._floats:
            return self._whole
        try:
            # Which rounds to the nearest, as math.fsum does. Whole numbers alone never come to so much.
            return (self._exact + (self._whole + self._rounded) * _UNIT) / _UNIT
        except OverflowError:
            return FLOAT_MAX if self._exact > 0 else -FLOAT_MAX


class _Different:
    """How often each value stands among some, to which others may be added, and from which they may be taken again."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: dict[Value, int] = {}

    def change(self, values: Iterable[Value], sign: int) -> None:
        times = self._times
        for value in values:
            count = times.get(value, 0) + sign
            if count:
                times[value] = count
            else:
                del times[value]

    def result(self, sample: Sample) -> int:
        return len(self._times) - (sample.value in self._times)


class Strand:
    """The samples of one window and key that are later than `floor_ms`."""

    __slots__ = ("_ats", "_high", "_low", "_tally", "_values", "_window", "floor_ms")

    def __init__(self, window: Window, floor_ms: int, samples: Sequence[tuple[int, Value]] = ()) -> None:
        """`samples` are times and values, in order of time."""
        self._window = window
        self.floor_ms = floor_ms
        self._ats = array("q", [at_ms for at_ms, _ in samples])
        self._values = [] if window.measure == "count" else [value for _, value in samples]
        self._low = self._high = 0  # the tally is of what stands in [low, high)
        self._tally = _tally_of(window)

    @property
    def weight(self) -> int:
        """How much memory it takes, in samples."""
        return len(self._ats) + _KEY_WEIGHT

    def add(self, at_ms: int, value: Value) -> int:
        """Take in one more sample; by how much that made the strand heavier."""
        if at_ms <= self.floor_ms:
            return 0
        ats = self._ats
        place = len(ats) if not ats or ats[-1] <= at_ms else bisect_right(ats, at_ms)
        ats.insert(place, at_ms)
        if self._tally is None:
            return 1
        self._values.insert(place, value)
        if place < self._high:
            self._high += 1
            if place <= self._low:
                self._low += 1
            else:
                self._tally.change((value,), 1)
        return 1

    def measured(self, sample: Sample) -> int | float:
        """The measure at (sample.at_ms - over, sample.at_ms], as `measured` says. Raises OverBudget.

        The floor must not be later than what is asked for.
        """
        after_ms = sample.at_ms - self._window.over_ms
        assert after_ms >= self.floor_ms
        low, high = bisect_right(self._ats, after_ms), bisect_right(self._ats, sample.at_ms)
        if self._tally is None:
            return min(high - low, WINDOW_COUNTED_MAX)
        if high - low > WINDOW_MEASURED_MAX:
            raise _too_many(self._window)
        self._move(low, high)
        return self._tally.result(sample)

    def cut(self, floor_ms: int) -> int:
        """Forget what is not later than this; by how much that made the strand lighter."""
        first = bisect_right(self._ats, floor_ms)
        del self._ats[:first], self._values[:first]
        self.floor_ms = max(floor_ms, self.floor_ms)
        self._low = self._high = 0
        self._tally = _tally_of(self._window)
        return first

    def _move(self, low: int, high: int) -> None:
        assert self._tally is not None
        if abs(low - self._low) + abs(high - self._high) > high - low:
            self._tally = _tally_of(self._window)
            assert self._tally is not None
            self._low = self._high = low
        values = self._values
        for start, stop in ((low, self._low), (self._high, high)):
            if start < stop:
                self._tally.change(values[start:stop], 1)
        for start, stop in ((self._low, low), (high, self._high)):
            if start < stop:
                self._tally.change(values[start:stop], -1)
        self._low, self._high = low, high


def measured(window: Window, sample: Sample, values: Sequence[Value]) -> int | float:
    """What the values of a window come to for whoever adds a sample, as rules.evaluation.context.Context says.

    Of a count no more is told than WINDOW_COUNTED_MAX, so that nobody gets below a limit by going far beyond it. What
    the values of more than WINDOW_MEASURED_MAX are is not told at all. Raises OverBudget.
    """
    tally = _tally_of(window)
    if tally is None:
        return min(len(values), WINDOW_COUNTED_MAX)
    if len(values) > WINDOW_MEASURED_MAX:
        raise _too_many(window)
    tally.change(values, 1)
    return tally.result(sample)


def looked_at_max(window: Window) -> int:
    """How many samples it takes to tell what a window comes to."""
    return WINDOW_COUNTED_MAX if window.measure == "count" else WINDOW_MEASURED_MAX + 1


def _tally_of(window: Window) -> _Sum | _Different | None:
    if window.measure == "count":
        return None
    return _Sum() if window.measure == "sum" else _Different()


def _too_many(window: Window) -> OverBudget:
    return OverBudget(f"the window {window.name} holds more than {WINDOW_MEASURED_MAX:,} spans")
