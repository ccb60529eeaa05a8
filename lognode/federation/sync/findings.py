"""What a peer sent or said that was refused, by code: how often, and what was wrong the last time.

Pure: told the time. One error may hide another that came before it; here each code has its own line. Invariant: there
are no more lines than the table of errors has rows, whatever a peer sends.
"""

from collections.abc import Sequence
from typing import NamedTuple

from lognode.core.errors import ERRORS


class Finding(NamedTuple):
    """One code: how often it was found, the newest detail, and when that was."""

    code: str
    times: int
    detail: str
    at_ms: int


class Findings:
    """The findings of one peer in one tenant, since the node started."""

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}

    def note(self, code: str, detail: str, now_ms: int) -> None:
        """Something was refused again."""
        before = self._found.get(code)
        self._found[code] = Finding(code, before.times + 1 if before else 1, detail, now_ms)

    def settle(self) -> None:
        """Both hold the same now: what ends by itself has ended."""
        self._found = {code: found for code, found in self._found.items() if not ERRORS[code].retryable}

    def all(self) -> Sequence[Finding]:
        """All of them by code."""
        return sorted(self._found.values())
