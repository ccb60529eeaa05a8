"""What `--help` says of a command above and below its options, from the command's docstring.

Below them stand the sections `Examples` and `Notes`, which are numpy's, so that cyclopts does not take them for
options. An example is a line with `$ ` before it, in the form of a shell; a test reads each with the real commands.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

_SECTION: Final = re.compile(r"^(\w[\w ]*)\n-+$", re.MULTILINE)


def sections_of(doc: str) -> Iterator[tuple[str, str]]:
    """Titles and texts of the sections of a docstring."""
    _, *parts = _SECTION.split(inspect.cleandoc(doc))
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        yield title, text.strip("\n")


def help_of(command: Callable[..., Any]) -> str:
    """What stands above the options of a command, a paragraph a line, since the terminal wraps it."""
    return _unwrapped(_SECTION.split(inspect.cleandoc(command.__doc__ or ""))[0])


def epilogue_of(command: Callable[..., Any], further: Iterable[str] = ()) -> str:
    """What stands below the options of a command; `further` examples go with its own."""
    sections = dict(sections_of(command.__doc__ or ""))
    examples = [*sections.get("Examples", "").splitlines(), *further]
    shown = [examples_text(examples)] if examples else []
    return "\n\n".join(shown + ([_unwrapped(sections["Notes"])] if "Notes" in sections else []))


def examples_of(command: Callable[..., Any]) -> list[str]:
    """The command lines among the examples of a command, each with its `$ `."""
    examples = dict(sections_of(command.__doc__ or "")).get("Examples", "")
    return [line for line in examples.splitlines() if line.startswith("$ ")]


def examples_text(lines: Iterable[str]) -> str:
    """Examples as `--help` shows them."""
    return "\n".join(("Examples", *(f"  {line}" for line in lines if line)))


def _unwrapped(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))
