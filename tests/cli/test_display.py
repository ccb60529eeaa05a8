"""Times and texts as people write and read them."""

from datetime import UTC, datetime

import pytest

from lognode.cli.display import ago, span_line
from lognode.cli.options import parse_moment
from lognode.cli.output import safe
from lognode.client.answers import Span

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPAN: Span = {
    "id": "0" * 39,
    "kind": "order.paid",
    "at": "2026-03-01T11:58:00.000Z",
    "actor": None,
    "status": "executed",
    "visibility": "organization",
    "caused_by": None,
    "node": "n",
    "feed": "f",
    "seq": 1,
    "position": 2,
    "leaf": "00",
}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", "2026-03-01T11:58:30Z"),
        ("5m", "2026-03-01T11:55:00Z"),
        ("2h", "2026-03-01T10:00:00Z"),
        ("3d", "2026-02-26T12:00:00Z"),
        ("1w", "2026-02-22T12:00:00Z"),
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("2026-01-31T10:00:00", "2026-01-31T10:00:00Z"),
        ("2026-01-31T10:00:00.5+02:00", "2026-01-31T08:00:00.5Z"),
    ],
)
def test_a_moment_is_a_duration_ago_a_date_or_a_time_in_utc(text: str, moment: str) -> None:
    assert parse_moment(text, NOW) == datetime.fromisoformat(moment)


@pytest.mark.parametrize(
    "text", ["", "2", "h", "2y", "-2h", "999999w", "yesterday", "2026-13-01", "0001-01-01T00:00+02:00"]
)
def test_what_is_no_moment_says_what_would_be_one(text: str) -> None:
    with pytest.raises(ValueError, match="write 2h, 3d"):
        parse_moment(text, NOW)


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        ("2026-03-01T12:00:09.000Z", "0s ago"),
        ("2026-03-01T11:59:01.000Z", "59s ago"),
        ("2026-03-01T11:01:00.000Z", "59m ago"),
        ("2026-02-28T12:00:01.000Z", "23h ago"),
        ("2026-02-27T12:00:00.000Z", "2d ago"),
        ("2025-11-01T12:00:00.000Z", "2025-11"),
        ("281474976710655", "28147497"),
    ],
)
def test_the_age_of_a_span_fits_its_column(at: str, shown: str) -> None:
    assert ago(at, NOW) == shown


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("title", ["short", "long " * 100, "広い文字" * 50, "line\nfeed"])
def test_a_span_takes_one_line_with_its_whole_id_at_any_width(width: int, title: str) -> None:
    line = span_line({**SPAN, "title": title, "tags": ["x"]}, "2m ago", max(width, 70))

    assert line.plain.endswith(SPAN["id"])
    assert line.cell_len == max(width, 70)
    assert "\n" not in line.plain


def test_a_span_without_a_title_shows_its_subject_else_its_data_else_why_it_shows_nothing() -> None:
    assert "order 17" in span_line({**SPAN, "subject": "order 17", "data": {"n": 1}}, "", 120).plain
    assert '{"n":1}' in span_line({**SPAN, "data": {"n": 1}}, "", 120).plain
    assert "(body missing)" in span_line({**SPAN, "body": "missing"}, "", 120).plain
    assert "[simulated] [private]" in span_line({**SPAN, "status": "simulated", "visibility": "private"}, "", 120).plain


def test_safe_text_has_no_control_characters_but_line_feeds() -> None:
    every = "".join(map(chr, range(0x110000 - 1)))

    shown = safe(every)

    assert all(char.isprintable() or char == "\n" for char in shown)
    assert safe("plain é 文") == "plain é 文"
