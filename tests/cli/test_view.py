"""Times, colours and spans as people write and read them, and fields as programs do."""

import json
import re
import signal
import time
from datetime import UTC, datetime
from io import StringIO
from subprocess import Popen
from typing import Any, Final, cast

import pytest
from rich.console import Console
from rich.text import Text

from lognode.cli.options import parse_moment
from lognode.cli.output import print_problem, safe, say, wants_color
from lognode.cli.view import pager
from lognode.cli.view.columns import TIME_CELLS, Columns, time_text
from lognode.cli.view.fields import parse_fields, pick, tsv_line
from lognode.cli.view.pager import paged, pager_command
from lognode.cli.view.span import why_tree
from lognode.client.answers import Span, Walk
from lognode.core.errors import CallerError

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
    assert time_text(at, "relative", NOW) == shown


def test_a_time_is_shown_as_it_is_here_or_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        at = "2026-03-01T11:58:00.123Z"
        shown = {form: time_text(at, form, NOW) for form in TIME_CELLS}
        assert shown == {
            "relative": "1m ago",
            "clock": "20:58:00",
            "local": "2026-03-01 20:58:00",
            "utc": "2026-03-01T11:58:00Z",
        }
        assert time_text("2026-02-27T20:00:00Z", "clock", NOW) == "28 Feb"
    finally:
        monkeypatch.undo()
        time.tzset()


def line_of(span: Span, width: int = 120, time: str = "relative") -> Text:
    return Columns(width, time, lambda: NOW).line(span)


TITLES: Final = ["short", "long " * 100, "広い文字" * 50, "line\nfeed", "a\x1b[2Jb\x9bc\u202ed" * 20, ""]


@pytest.mark.parametrize("width", [30, 40, 60, 80, 99, 100, 120, 200])
@pytest.mark.parametrize("title", TITLES)
@pytest.mark.parametrize("form", TIME_CELLS)
def test_a_span_takes_one_line_at_any_width_and_shows_its_whole_id_where_there_is_room(
    width: int, title: str, form: str
) -> None:
    line = line_of({**SPAN, "title": title, "tags": ["x"]}, width, form)

    assert line.cell_len <= width
    assert line.plain.isprintable()
    assert line.plain.endswith(SPAN["id"]) == (width >= 100)


def test_at_80_columns_a_kind_has_room_for_20_cells_and_more() -> None:
    kind = "order.payment.refused"

    assert kind in line_of({**SPAN, "kind": kind, "title": "x" * 100}, 80).plain


def test_columns_are_as_wide_as_the_widest_kind_and_stay_in_line() -> None:
    spans: list[Span] = [{**SPAN, "kind": kind, "title": "title"} for kind in ("a", "k" * 20, "b.c")]
    columns = Columns(80, "relative", lambda: NOW)
    columns.fit(spans)

    assert {columns.line(span).plain.index("title") for span in spans} == {8 + 1 + 20 + 1}


def test_a_span_without_a_title_shows_its_subject_else_its_data_else_why_it_shows_nothing() -> None:
    assert "order 17" in line_of({**SPAN, "subject": "order 17", "data": {"n": 1}}).plain
    assert '{"n":1}' in line_of({**SPAN, "data": {"n": 1}}).plain
    assert "(body missing)" in line_of({**SPAN, "body": "missing"}).plain
    assert "[simulated] [private]" in line_of({**SPAN, "status": "simulated", "visibility": "private"}).plain


@pytest.mark.parametrize(
    ("choice", "environ", "on_terminal", "in_pipe"),
    [
        ("auto", {}, True, False),
        ("auto", {"NO_COLOR": "1"}, False, False),
        ("auto", {"NO_COLOR": ""}, True, False),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ("auto", {"FORCE_COLOR": "1"}, True, True),
        ("auto", {"FORCE_COLOR": "0"}, True, False),
        ("auto", {"CLICOLOR_FORCE": "1"}, True, True),
        ("auto", {"CLICOLOR": "0"}, False, False),
        ("auto", {"TERM": "dumb"}, False, False),
        ("always", {"NO_COLOR": "1", "TERM": "dumb"}, True, True),
        ("never", {"FORCE_COLOR": "1"}, False, False),
    ],
)
def test_colours_follow_the_option_then_what_programs_agreed_on(
    choice: str, environ: dict[str, str], *, on_terminal: bool, in_pipe: bool
) -> None:
    assert wants_color(choice, environ, is_terminal=True) == on_terminal
    assert wants_color(choice, environ, is_terminal=False) == in_pipe


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"TERM": "xterm"}, ["less"]),
        ({"TERM": "dumb"}, []),
        ({}, []),
        ({"PAGER": "more -d"}, ["more", "-d"]),
        ({"PAGER": "more", "LOGNODE_PAGER": "less '-P my prompt'"}, ["less", "-P my prompt"]),
        ({"PAGER": "more", "LOGNODE_PAGER": ""}, []),
        ({"PAGER": "cat", "TERM": "xterm"}, []),
    ],
)
def test_the_pager_is_the_one_of_lognode_then_the_one_of_the_user_then_less(
    environ: dict[str, str], words: list[str]
) -> None:
    assert pager_command(environ)[0] == words


def test_ctrl_c_belongs_to_the_pager_from_its_first_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    def start_and_interrupt(*words: Any, **how: Any) -> Popen[bytes]:
        process = Popen(*words, **how)
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            pytest.fail("it ends the command below its pager")
        return process

    monkeypatch.setenv("LOGNODE_PAGER", "true")
    monkeypatch.setattr(pager, "Popen", start_and_interrupt)
    with paged() as screen:
        screen.write("x")

    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_fields_are_text_as_it_is_and_other_values_as_json() -> None:
    span: Span = {**SPAN, "title": "a\tb\nc\\d", "data": {"n": {"m": 1.5}, "a.b": 1}, "tags": ["x", "y"]}

    assert tsv_line(span, ("kind", "title", "data.n.m", "data.x.y", "tags", "actor", "seq")) == (
        'order.paid\ta\\tb\\nc\\\\d\t1.5\t\t["x","y"]\t\t1'
    )
    assert pick(span, ("id", "data.n", "kind.x")) == {"id": SPAN["id"], "data.n": {"m": 1.5}, "kind.x": None}
    assert parse_fields("id, at,data.amount") == ("id", "at", "data.amount")
    with pytest.raises(CallerError, match="no field 'titel'; did you mean 'title'"):
        parse_fields("id,titel")


def test_safe_text_has_no_control_characters_but_line_feeds() -> None:
    every = "".join(map(chr, range(0x110000 - 1)))

    shown = safe(every)

    assert all(char.isprintable() or char == "\n" for char in shown)
    assert safe("plain é 文") == "plain é 文"


def copy(number: int, of: int, caused_by: int | None, *via: int, way: str = "import") -> Span:
    """A span numbered so that ids are in the order of time, which names another one as its origin."""
    ids = [f"{n:038}0" for n in (of, *via)]
    place = {"node": f"logline-id://node/{'0' * 52}", "feed": "0" * 26, "tenant": "0" * 32, "seq": 5}
    origin = {**place, "id": ids[0], "at": "1970-01-01T00:00:00.000Z", "actor_signed": False, "as": way, "via": ids[1:]}
    cause = None if caused_by is None else f"{caused_by:038}0"
    return {**SPAN, "id": f"{number:038}0", "caused_by": cause, "title": "t", "annotations": {"origin": origin}}


def tree_of(span: Span, causes: list[Span], effects: list[Span], missing: list[str] | None = None) -> list[str]:
    """The lines of `why`, an id as its number."""
    screen = Console(file=StringIO(), width=120)
    led_here: Walk = {"spans": causes, "missing": missing or [], "truncated": False}
    screen.print(why_tree(span, led_here, {"spans": effects, "missing": [], "truncated": False}))
    shown = cast("StringIO", screen.file).getvalue()
    return [re.sub("0*([0-9]+)0 order.paid t", r"\1", line).rstrip() for line in shown.splitlines()]


def test_the_tree_of_causes_goes_on_through_copies_and_copies_of_copies() -> None:
    shown = tree_of(copy(12, 2, 1), [copy(11, 1, 0, 5)], [copy(13, 3, 2), copy(14, 4, 8, 3), copy(15, 6, 3)], ["gone"])

    assert shown == [
        "12",
        "├── because of",
        "│   └── 11",
        "│       └── gone (not held by this node)",
        "└── led to",
        "    ├── 13",
        "    │   └── 15",
        "    └── 14",
    ]


def test_the_tree_of_causes_names_the_other_node_that_wrote_a_span() -> None:
    effect: Span = {**SPAN, "id": f"{5:038}0", "node": f"logline-id://node/{'k' * 52}", "caused_by": SPAN["id"]}
    screen = Console(file=StringIO(), width=120)
    screen.print(
        why_tree(
            SPAN,
            {"spans": [], "missing": [], "truncated": False},
            {"spans": [effect], "missing": [], "truncated": False},
        )
    )
    shown = cast("StringIO", screen.file).getvalue()
    assert f"@{'k' * 12} order.paid" in shown
    assert shown.count("@") == 1


def test_an_effect_hangs_on_the_span_itself_or_else_on_its_first_copy() -> None:
    start: Span = {**SPAN, "title": "t"}
    itself: Span = {**SPAN, "id": f"{1:038}0", "caused_by": SPAN["id"], "title": "t"}
    effects = [copy(9, 1, 0, way="replay"), itself, copy(7, 2, 0), copy(6, 2, 0), copy(10, 3, 1), copy(11, 4, 2)]

    assert tree_of(start, [], effects) == [
        "0",
        "├── because of",
        "│   └── nothing recorded",
        "└── led to",
        "    ├── 9",
        "    ├── 1",
        "    │   └── 10",
        "    ├── 7",
        "    └── 6",
        "        └── 11",
    ]


LIE: Final = "unknown field `x\nhint: run this \x1b[2J\x9b2J\u202e`"


def test_nothing_in_an_error_can_steer_a_terminal_or_speak_for_lognode(capsys: pytest.CaptureFixture[str]) -> None:
    print_problem(CallerError("draft.invalid", LIE, place=LIE), as_json=False)

    shown = capsys.readouterr().err
    assert shown.count("x␊hint: run this ␛[2J\\u009b2J\\u202e") == 2
    error, hint, rest = shown.split("\n")
    assert (error.isprintable(), hint[:5], rest) == (True, "hint:", "")


def test_an_error_as_json_means_the_same_and_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    error = CallerError("draft.invalid", LIE, extra={"é": "文\U000e0001"})
    print_problem(error, as_json=True)

    shown = capsys.readouterr().err
    assert shown.removesuffix("\n").isprintable()
    assert json.loads(shown) == error.problem()
    assert "é" in shown


def test_a_message_takes_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("Connection lost (a\nb).")

    assert capsys.readouterr().err == "Connection lost (a␊b).\n"
