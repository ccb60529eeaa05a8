"""TOML with the line of every top-level key, and with all its mistakes at once.

Python's parser tells neither: it stops at the first mistake and forgets where keys stood. So the statement with a
mistake is taken out and the rest is read again; and lines are found by reading the file statement by statement,
which text that only looks like a key does not mislead.
"""

import re
import tomllib
from typing import Any, Final, NamedTuple

MISTAKES_MAX: Final = 20  # who makes more is helped by the first ones
_KEY: Final = re.compile(r"""\s*["']?([\w-]+)["']?\s*=""")
# What people mostly did where the parser says no more.
_ADVICE: Final = {
    "Invalid value": "this is no value; text needs quotes",
    "Cannot overwrite a value": "it stands here a second time",
}
_PLACE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class Entry(NamedTuple):
    """A top-level key or table, the line that introduces it, and its value."""

    name: str
    line: int
    value: object


class Mistake(NamedTuple):
    """What is not TOML, the line where its statement begins, and the key that it seems to be about."""

    line: int
    reason: str
    name: str | None


def read_toml(text: str) -> tuple[list[Entry], list[Mistake]]:
    """The entries of all that is TOML, in their order, and the mistakes, in theirs."""
    lines = text.replace("\r\n", "\n").split("\n")
    mistakes = list[Mistake]()
    while len(mistakes) < MISTAKES_MAX:
        try:
            table = tomllib.loads("\n".join(lines))
        except tomllib.TOMLDecodeError as error:
            mistakes.append(_take_out(lines, str(error)))
        else:
            line_of = _lines_of_names(lines)
            return [Entry(name, line_of[name], value) for name, value in table.items()], sorted(mistakes)
    return [], sorted(mistakes)


def _take_out(lines: list[str], message: str) -> Mistake:
    """The mistake that a parser's message is about; its statement's lines are left empty."""
    found = _PLACE.search(message)
    last = int(found[1]) if found and found[1] else len(lines)
    # Where a string or an array is never closed, the parser notices only behind the next keys.
    first = next(number for number in range(last, 0, -1) if _parsed(lines[: number - 1]) is not None)
    key = _KEY.match(lines[first - 1])
    lines[first - 1 : last] = [""] * (last - first + 1)
    reason = _PLACE.sub("", message)
    return Mistake(first, _ADVICE.get(reason, reason), key and key[1])


def _lines_of_names(lines: list[str]) -> dict[str, int]:
    """Top-level names of a text that is TOML, with the lines where they first stand."""
    line_of = dict[str, int]()
    header, statement, first = "", "", 1
    for number, line in enumerate(lines, 1):
        statement += line + "\n"
        table = _parsed([header, statement])
        if table is None:
            continue
        for name in table:
            line_of.setdefault(name, first)
        if statement.lstrip().startswith("["):
            header = statement
        statement, first = "", number + 1
    return line_of


def _parsed(lines: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return None
