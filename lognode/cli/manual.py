"""What `--help` says below the options: the sections `Examples` and `Notes` of a command's docstring.

Both are sections of numpy's style, so that cyclopts does not take them for options. An example is a line with `$ `
before it, in the form of a shell; a test reads each with the real commands.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

_SECTION: Final = re.compile(r"^(\w[\w ]*)\n-+$", re.MULTILINE)
_SHOWN: Final = ("Examples", "Notes")


def sections_of(doc: str) -> Iterator[tuple[str, str]]:
    """Titles and texts of the sections of a docstring."""
    _, *parts = _SECTION.split(inspect.cleandoc(doc))
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        yield title, text.strip("\n")


def epilogue_of(command: Callable[..., Any]) -> str:
    """What stands below the options of a command."""
    shown = (f"{title}\n{_indented(text)}" for title, text in sections_of(command.__doc__ or "") if title in _SHOWN)
    return "\n\n".join(shown)


def examples_of(command: Callable[..., Any]) -> list[str]:
    """The command lines among the examples of a command."""
    texts = [text for title, text in sections_of(command.__doc__ or "") if title == "Examples"]
    return [line[2:] for text in texts for line in text.splitlines() if line.startswith("$ ")]


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" if line else "" for line in text.splitlines())
