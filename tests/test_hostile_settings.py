"""Settings files that nobody would write: each is refused with a place, whatever a parser bears."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.settings import check_settings
from tests.test_settings import FILE, HOME, reader, refusal

# What is TOML, or nearly, and more than a parser or a message bears.
HOSTILE_VALUES: Final = (
    (f"search = {'[' * 3000}{']' * 3000}", "settings.invalid", "nested too deeply"),
    (f"api = {'{a=' * 3000}1{'}' * 3000}", "settings.invalid", "nested too deeply"),
    (f"log_level = {'9' * 5000}", "settings.invalid", "5000 digits"),
    (f"log_level = 0x{'f' * 5000}", "settings.invalid", "one of debug"),
    (f"log_level = [{'[' * 400}1{']' * 400}]", "settings.invalid", "one of debug"),
    (f"search.{'.'.join('a' * 3000)} = 1", "settings.invalid", "names"),
    (f"unix_socket.{'.'.join('a' * 3000)} = 1", "settings.invalid", "text"),
    (f"{'.'.join('a' * 3000)} = 1", "settings.unknown", "'a' is not a setting"),
    (f"{'x' * 100_000} = 1", "settings.unknown", "is not a setting"),
    (f"unix_socket = '{'[' * 100_000}'", "settings.invalid", "at most 107 bytes"),
)
HOSTILE_PIECES: Final = (
    *("search", "api", "unix_socket", "=", " ", "\n", "\r", ".", ",", "#", '"', "'", '"""', "\\u0000", "\0"),
    *("[", "]", "{a=", "}", "[" * 999, "]" * 999, "{a=" * 999, "a." * 999, "9" * 4301, "0x" + "f" * 4301, "1e999"),
)


@pytest.mark.parametrize(("toml", "code", "said"), HOSTILE_VALUES)
def test_a_hostile_value_is_refused_with_its_line(toml: str, code: str, said: str) -> None:
    error = refusal(f"\n{toml}")

    assert (error.code, error.place) == (code, f"{FILE}:2")
    assert said in error.detail


@pytest.mark.parametrize("toml", [toml for toml, _, _ in HOSTILE_VALUES])
def test_a_hostile_value_hides_no_other_mistake(toml: str) -> None:
    files = {FILE: f"\n{toml}\nlog_format = 3\nlistn = 1\n".encode()}

    problems = check_settings({"config": FILE}, HOME, reader(files)).problems

    assert [problem.place for problem in problems] == [f"{FILE}:{line}" for line in (2, 3, 4)]


def test_a_value_that_spans_lines_and_is_too_deep_is_refused_where_it_begins() -> None:
    assert refusal("api = true\nsearch = [\n" + "[" * 3000).place == f"{FILE}:2"


def test_what_is_just_not_too_deep_has_a_place_too() -> None:
    for depth in range(200, 1000):
        assert refusal(f"\nsearch = [{'[' * depth}{']' * depth}]").place == f"{FILE}:2"


@given(st.text() | st.lists(st.sampled_from(HOSTILE_PIECES)).map("".join))
def test_whatever_a_file_holds_is_read_or_refused_with_a_place(text: str) -> None:
    problems = check_settings({"config": FILE}, HOME, reader({FILE: text.encode()})).problems

    assert all(str(problem.place).startswith(str(FILE)) for problem in problems)
