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
        except (ValueError, RecursionError) as error:
            mistakes.append(_take_out(lines, error))
        else:
            line_of = _lines_of_names(lines, table)
            return [Entry(name, line_of[name], value) for name, value in table.items()], sorted(mistakes)
    return [], sorted(mistakes)


def _take_out(lines: list[str], error: Exception) -> Mistake:
    """The mistake that a parser's error is about; its statement's lines are left empty."""
    reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    if isinstance(error, tomllib.TOMLDecodeError):
        found = _PLACE.search(reason)
        last = int(found[1]) if found and found[1] else len(lines)
    else:
        # A number or a nesting beyond what Python takes: it does not say where, but fails alike wherever the text ends.
        last = next(number for number in range(1, len(lines) + 1) if _fails_as(error, lines[:number]))
        reason = reason.partition(";")[0]  # behind it stands how a program may raise the limit
    # Where a string or an array is never closed, the parser notices only behind the next keys.
    first = next(number for number in range(last, 0, -1) if _parsed(lines[: number - 1]) is not None)
    key = _KEY.match(lines[first - 1])
    lines[first - 1 : last] = [""] * (last - first + 1)
    reason = _PLACE.sub("", reason)
    return Mistake(first, _ADVICE.get(reason, reason), key and key[1])


def _lines_of_names(lines: list[str], whole: dict[str, Any]) -> dict[str, int]:
    """Top-level names of a text that is TOML, read as `whole`, with the lines where they first stand."""
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
    # A statement nested so deeply that Python bore it once, and two calls further down no more, was not closed.
    return {name: line_of.get(name, first) for name in whole}


def _parsed(lines: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines))
    except (ValueError, RecursionError):
        return None


def _fails_as(error: Exception, lines: list[str]) -> bool:
    try:
        tomllib.loads("\n".join(lines))
    except (ValueError, RecursionError) as other:
        return type(other) is type(error)
    return False
