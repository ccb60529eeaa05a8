"""All that can be typed behind `lognode`, as rows of text that every shell can read.

A row is four columns with tabs between them: the words so far (`lognode config show`), a word that may follow, what
follows that, and its help. Nothing is ever empty, since shells read several tabs as one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, get_args

from cyclopts import App

# What may follow a word, besides `choice:` with words behind it.
COMMAND: Final = "command"  # the word is one: its own words
NOTHING: Final = "-"
FILE: Final = "file"
TEXT: Final = "text"
POSITIONAL: Final = "."  # in place of a word: what stands behind a command without an option's name


class Row(NamedTuple):
    """A word that may follow the words of `command`, and what it takes."""

    command: str
    word: str
    takes: str
    summary: str

    def __str__(self) -> str:
        return "\t".join(" ".join(column.split()) or NOTHING for column in self)


def rows_of(app: App, command: str = "lognode") -> Iterator[Row]:
    """The rows of a command and of all below it."""
    for name in app:
        if not name.startswith("-"):
            yield Row(command, name, COMMAND, app[name].help.partition("\n")[0])
            yield from rows_of(app[name], f"{command} {name}")
    arguments = app.assemble_argument_collection(parse_docstring=True) if app.default_command else ()
    positional: Row | None = None  # of several, the one whose words are known
    for argument in arguments:
        names = [name for name in argument.names if name.startswith("-")]
        takes = _takes(argument.hint, argument.get_choices(force=True) or ())
        summary = (argument.parameter.help or "").partition("\n")[0]
        if argument.index is not None and (positional is None or takes.startswith("choice:")):
            positional = Row(command, POSITIONAL, FILE if argument.name == "FILE" else takes, summary)
        yield from (Row(command, name, takes, summary) for name in names)
    if positional is not None:
        yield positional
    yield Row(command, "--help", NOTHING, "Say what it does, and all its options.")


def _takes(hint: object, choices: tuple[str, ...]) -> str:
    """What follows an option whose value has this type."""
    types = {hint, *get_args(hint)}
    if choices:
        return "choice:" + ",".join(choices)
    if bool in types:
        return NOTHING
    return FILE if Path in types else TEXT
