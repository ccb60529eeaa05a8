"""Strands of windows: whatever was added and asked in whatever order, the answer is that of a look at all samples."""

import sys
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.engine.ruling import strands
from lognode.engine.ruling.strands import Strand, measured
from lognode.rules.document import Path, Window
from lognode.rules.evaluation.context import OverBudget
from lognode.rules.evaluation.samples import Sample

OVER_MS = 10
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(-1e300, 1e300),
    st.sampled_from([0.1, -0.1, 1e300, -1e300, 5e-324, 2**53 + 1]),
)
# A time to ask for, or a sample to add.
STEPS = st.lists(st.one_of(st.integers(0, 40), st.tuples(st.integers(0, 40), st.integers(0, 5))), max_size=60)


def window(measure: str) -> Window:
    of = None if measure == "count" else Path(("data", "x"))
    return Window("w", OVER_MS, Path(("data", "by")), ("k",), measure, None, of)  # type: ignore[arg-type]


def value_of(measure: str, number: int) -> int | float | bytes | None:
    if measure == "count":
        return None
    return b"%d" % number if measure == "distinct" else (0.1, 1e17, 3, -7, 2**60 + 1, -1e17)[number]


@given(st.sampled_from(["count", "sum", "distinct"]), STEPS, STEPS)
def test_a_strand_comes_to_what_a_look_at_all_samples_comes_to(
    measure: str, first: list[int | tuple[int, int]], steps: list[int | tuple[int, int]]
) -> None:
    about = window(measure)
    samples = sorted((step[0], step[1]) for step in first if isinstance(step, tuple))
    held = [(at, value_of(measure, number)) for at, number in samples]
    strand = Strand(about, -100, held)
    for step in steps:
        if isinstance(step, tuple):
            held.append((step[0], value_of(measure, step[1])))
            assert strand.add(*held[-1]) == 1
            continue
        sample = Sample(b"", step, value_of(measure, step % 6))
        within = [value for at, value in held if step - OVER_MS < at <= step]
        found, due = strand.measured(sample), measured(about, sample, within)
        assert found == due
        assert found.__class__ is due.__class__


@given(st.lists(NUMBERS, max_size=20))
def test_a_sum_is_that_of_the_numbers_whatever_their_order(numbers: list[int | float]) -> None:
    found = measured(window("sum"), Sample(b"", 0), numbers)
    if all(isinstance(number, int) for number in numbers):
        assert found == sum(numbers)
    else:
        assert found == fsum(numbers)


def test_what_is_cut_off_is_not_asked_for_again_and_the_rest_stays() -> None:
    about = window("sum")
    strand = Strand(about, 0, [(at, at) for at in range(1, 31)])
    assert strand.measured(Sample(b"", 30)) == sum(range(21, 31))
    assert strand.cut(15) == 15
    assert strand.add(15, 1000) == 0
    assert strand.measured(Sample(b"", 25)) == sum(range(16, 26))
    with pytest.raises(AssertionError):
        strand.measured(Sample(b"", 24))


@pytest.mark.parametrize("measure", ["sum", "distinct"])
def test_more_than_is_added_up_is_told_as_such_and_counts_are_told_up_to_their_bound(
    measure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strands, "WINDOW_MEASURED_MAX", 5)
    monkeypatch.setattr(strands, "WINDOW_COUNTED_MAX", 3)
    about, sample = window(measure), Sample(b"", 1, b"?")
    strand = Strand(about, -100, [(1, value_of(measure, 3))] * 5)
    assert strand.measured(sample) == (1 if measure == "distinct" else -35)
    strand.add(1, value_of(measure, 3))
    with pytest.raises(OverBudget, match="more than 5 spans"):
        strand.measured(sample)
    with pytest.raises(OverBudget, match="more than 5 spans"):
        measured(about, sample, [value_of(measure, 3)] * 6)
    counted = Strand(window("count"), -100, [(1, None)] * 6)
    assert counted.measured(sample) == measured(window("count"), sample, [None] * 6) == 3


def test_a_sum_beyond_all_numbers_is_the_last_of_them() -> None:
    assert measured(window("sum"), Sample(b"", 0), [1.7e308, 1.7e308]) == sys.float_info.max
    assert measured(window("sum"), Sample(b"", 0), [-1.7e308, -1.7e308, 5]) == -sys.float_info.max
    assert measured(window("sum"), Sample(b"", 0), [1.7e308, 1.7e308, -1.7e308]) == 1.7e308
