"""The fenced blocks of a Markdown document, and what their fences say."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent

RUN: Final = frozenset({"sh", "console", "python"})
SHOWN: Final = frozenset({"text", "json", "ndjson", "toml", "sql", "cddl", "yaml"})
# The exceptions, and the languages that each is for.
WORDS: Final = {
    "exit": {"sh", "console"},
    "until": {"sh"},
    "background": {"sh"},
    "finally": {"sh"},
    "node": {"console"},
    "elsewhere": {"sh"},
}
_FENCE: Final = re.compile(r"^ *(`{3,})([^`]*)$")


@dataclass(frozen=True)
class Command:
    """What is typed, and the lines that it is shown to print."""

    typed: str
    printed: str


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, the further words of its fence, and its text."""

    place: str
    line: int  # of the text's first line
    language: str
    words: dict[str, str]
    text: str

    @property
    def is_run(self) -> bool:
        return self.language in RUN

    def commands(self) -> list[Command]:
        """The commands of a terminal, each with its output."""
        typed: list[str] = []
        printed: list[list[str]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                typed.append(line[2:])
                printed.append([])
            elif line.startswith("> ") and typed and not printed[-1]:
                typed[-1] += "\n" + line[2:]
            else:
                assert typed, f"{self.place}: a terminal begins with a command, behind `$ `"
                printed[-1].append(line)
        return [Command(what, "\n".join(lines)) for what, lines in zip(typed, printed, strict=True)]


def blocks_of(path: Path) -> list[Block]:
    """All fenced blocks. Fails on a fence that does not say what its block is."""
    return list(parse_blocks(str(path.relative_to(ROOT)), path.read_text("utf-8")))


def parse_blocks(name: str, text: str) -> Iterator[Block]:
    """The fenced blocks in the text of the document called `name`."""
    fence, info, start = "", "", 0
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        found = _FENCE.match(line)
        if fence:
            if found and found[1] == fence and not found[2].strip():
                yield _block(name, start, info, dedent("\n".join(lines)) + "\n")
                fence = ""
            else:
                lines.append(line)
        elif found:
            fence, info, start, lines = found[1], found[2], number + 1, []
    assert not fence, f"{name}:{start - 1}: this fence is not closed"


def _block(name: str, line: int, info: str, text: str) -> Block:
    place = f"{name}:{line - 1}"
    language, *rest = shlex.split(info) or [""]
    assert language in RUN | SHOWN, f"{place}: a fence says one of {', '.join(sorted(RUN | SHOWN))}, not {language!r}"
    words = {key: value for key, _, value in (word.partition("=") for word in rest)}
    for word in words:
        assert language in WORDS.get(word, ()), f"{place}: {word!r} is no word for a block of {language}"
    return Block(place, line, language, words, text)
