"""What is wrong with a rule document: faults with their places, gathered, then raised at once.

Knows nothing of rules. Invariant: a document with a fault gives no RuleSet, and one fault never hides another that
does not follow from it.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final, NamedTuple

import msgspec

from lognode.core.errors import ERRORS, CallerError
from lognode.core.limits import RULE_NAME_CHARS_MAX, RULE_SET_FAULTS_MAX

_SHOWN_CHARS_MAX: Final = 40
_LISTED_MAX: Final = 24  # names in one suggestion
_LIKENESS: Final = 0.6  # of a word that was meant; below, a guess misleads


class Place(NamedTuple):
    """Line and column, both from 1; columns count characters."""

    line: int
    column: int


class Fault(msgspec.Struct, frozen=True, order=True):
    """One mistake; in the order of the text. `suggestion` is a way out, where one is likely."""

    line: int
    column: int
    code: str
    message: str
    suggestion: str = ""

    def shown(self, file: str) -> str:
        """One line for people, which editors take for a place in a file."""
        advice = f" ({self.suggestion})" if self.suggestion else ""
        return f"{file}:{self.line}:{self.column}: {self.message}{advice} [{self.code}]"


class RuleSetFaults(CallerError):
    """All mistakes of one document, in the order of its text; the code is that of the first.

    `faults` are at most RULE_SET_FAULTS_MAX; `count` is how many there are.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        ordered = sorted(set(faults))
        first = ordered[0]
        self.count = len(ordered)
        self.faults = tuple(ordered[:RULE_SET_FAULTS_MAX])
        more = f", and {self.count - 1} more" if self.count > 1 else ""
        super().__init__(
            first.code,
            f"line {first.line}, column {first.column}: {first.message}{more}",
            place=f"{first.line}:{first.column}",
            hint=sentence(first.suggestion) or ERRORS[first.code].hint,
            extra={"faults": [msgspec.to_builtins(fault) for fault in self.faults], "count": self.count},
        )


class Faults:
    """Gathers faults while a document is read."""

    def __init__(self) -> None:
        self._found: list[Fault] = []

    def add(self, code: str, place: Place, message: str, suggestion: str = "") -> None:
        self._found.append(Fault(place.line, place.column, code, message, suggestion))

    def near(self, word: str, known: Iterable[str]) -> str:
        """What did_you_mean says; nothing where so many faults are there that this one may not be told."""
        return did_you_mean(word, known) if self.count < RULE_SET_FAULTS_MAX else ""

    @property
    def count(self) -> int:
        """How many there are so far."""
        return len(self._found)

    def judge(self) -> None:
        """Raise RuleSetFaults if there is any."""
        if self._found:
            raise RuleSetFaults(self._found)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion: the one of `known` that is spelt most like `word`, else all of them."""
    names = sorted(known)
    if len(word) <= RULE_NAME_CHARS_MAX:  # comparing words takes the square of their length
        folded = {name.lower(): name for name in names}
        close = get_close_matches(word.lower(), folded, n=1, cutoff=_LIKENESS)
        if close:
            return f"did you mean {folded[close[0]]!r}?"
    if not names:
        return ""
    listed = ", ".join(names[:_LISTED_MAX])
    return f"there is {listed}" + (", ..." if len(names) > _LISTED_MAX else "")


def shortened(text: str) -> str:
    """The text in quotes, cut where it is long."""
    return repr(text if len(text) <= _SHOWN_CHARS_MAX else text[: _SHOWN_CHARS_MAX - 3] + "...")


def sentence(text: str) -> str:
    """The text with a capital letter and an end."""
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".?" else ".")
