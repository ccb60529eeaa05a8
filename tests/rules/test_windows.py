"""What a span adds to windows, and what a rule reads of them."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import pytest

from lognode.rules.document import Always, Equals, Path, Window
from lognode.rules.evaluation.program import compile_rules
from lognode.rules.evaluation.samples import Sample, extract, moment_ms, scalar_bytes
from tests.rules.judged import NOON_MS, Past, a_rule, decide, draft_facts, made

COUNT: Final = Window("w", 300_000, Path(("data", "by")), ("test.done",), "count")
SUM: Final = Window("w", 300_000, Path(("data", "by")), ("test.done",), "sum", of=Path(("data", "n")))
DISTINCT: Final = Window("w", 300_000, Path(("data", "by")), ("test.done",), "distinct", of=Path(("data", "n")))
ELSEWHERE: Final = Window("w", 300_000, Path(("data", "by")), ("other.kind",), "count")


@pytest.mark.parametrize(
    ("window", "others", "data", "wanted"),
    [
        (COUNT, 20, {"by": "x"}, 21),
        (COUNT, 20, {}, 0),
        (COUNT, 20, {"by": [1]}, 0),
        (ELSEWHERE, 20, {"by": "x"}, 20),
        (SUM, 10, {"by": 1, "n": 5}, 15),
        (SUM, 10, {"by": 1, "n": 2.5}, 12.5),
        (SUM, 10, {"by": 1, "n": "5"}, 10),
        (SUM, 2**63 - 1, {"by": 1, "n": 1}, float(2**63)),
        (DISTINCT, 3, {"by": True, "n": "v"}, 4),
        (DISTINCT, 3, {"by": True}, 3),
    ],
)
def test_a_window_counts_the_span_itself_where_it_belongs_to_it(
    window: Window, others: float, data: Mapping[str, Any], wanted: float
) -> None:
    rules = made(a_rule("r", Equals(Path(("windows", "w")), wanted), windows=(window,)))

    assert decide(rules, facts=draft_facts({"data": data}), past=Past({"w": others})).steps[0].outcome == "fired"


def test_samples_have_one_key_for_equal_scalars_and_none_for_others() -> None:
    assert scalar_bytes(1) == scalar_bytes(1.0) != scalar_bytes(value=True)
    assert scalar_bytes("1") != scalar_bytes(1)
    assert scalar_bytes(0) == scalar_bytes(-0.0)
    assert scalar_bytes(2**63 - 1) != scalar_bytes(2.0**63)
    assert len(scalar_bytes("x" * 10_000) or b"") == 33
    assert scalar_bytes("x" * 10_000) != scalar_bytes("x" * 10_001)
    assert scalar_bytes(None) is scalar_bytes([1]) is scalar_bytes({}) is None


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("2026-01-01T12:00:00Z", NOON_MS),
        ("2026-01-01t12:00:00.1239z", NOON_MS + 123),
        ("2026-01-01 14:00:00.5+02:00", NOON_MS + 500),
        ("1969-12-31T23:59:59Z", -1000),
        (NOON_MS, NOON_MS),
        ("2026-01-01T12:00:00", None),
        ("2026-01-01", None),
        ("2026-13-01T12:00:00Z", None),
        ("2026-01-01T24:00:00Z", None),
        ("\uff12026-01-01T12:00:00Z", None),
        ("2026-W01-1T12:00:00Z", None),
        (1.5, None),
        (True, None),
        (10**18, None),
        (None, None),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000),
    ],
)
def test_moments_are_rfc_3339_or_milliseconds(said: Any, moment: int | None) -> None:
    assert moment_ms(said) == moment


def test_a_window_by_a_time_of_the_data_needs_that_time() -> None:
    window = Window("w", 1000, Path(("data", "by")), (), "count", at=Path(("data", "at")))

    assert extract(window, draft_facts({"data": {"by": 1, "at": NOON_MS - 5}})) == Sample(b"\x01", NOON_MS - 5)
    assert extract(window, draft_facts({"data": {"by": 1, "at": "noon"}})) is None
    assert extract(window, draft_facts({"kind": "a", "data": {"by": 1, "at": 1}})) is not None


def test_a_program_names_its_windows_once_by_phase() -> None:
    named = msgspec.structs.replace(COUNT, name="other")
    total = msgspec.structs.replace(SUM, name="total")
    program = compile_rules(
        [
            made(
                a_rule("a", Always(), windows=(COUNT, total, named)),
                a_rule("b", Always(), windows=(named,), gate=False),
                name="x",
            )
        ]
    )

    assert {window.digest for window in program.windows(gate=True)} == {COUNT.digest, SUM.digest}
    assert [window.digest for window in program.windows(gate=False)] == [COUNT.digest]
    assert program.hashes == {"x": made(name="x").hash}
