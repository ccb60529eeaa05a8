"""One row of the table of errors: what a code means."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["caller", "peer", "node"]
Row = tuple[str, Kind, int, bool, str, str]


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """What one code means: HTTP status, whether the same request may succeed later, and a way out."""

    code: str
    kind: Kind
    status: int
    retryable: bool
    title: str
    hint: str
