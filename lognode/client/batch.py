"""Lines gathered into requests of bounded size, and errors told in the numbers of the caller's lines."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from lognode.core.errors import LognodeError
from lognode.core.limits import GROUP_BYTES_MAX, GROUP_SPANS_MAX

BATCH_BYTES_MAX: Final = GROUP_BYTES_MAX  # held in memory until answered, so that it can be sent again
BATCH_LINES_MAX: Final = 8 * GROUP_SPANS_MAX  # some commits for each round trip

_PLACE: Final = re.compile(r"^line [0-9]+")


def batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lists of consecutive lines, each within both bounds or of one line."""
    batch, size = list[bytes](), 0
    for line in lines:
        if batch and (size + len(line) > BATCH_BYTES_MAX or len(batch) == BATCH_LINES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch


def renumber(error: LognodeError, numbers: Sequence[int]) -> None:
    """Let `line` and place of an error name the caller's line; `numbers` are those of the batch's lines."""
    line = error.extra.get("line")
    if isinstance(line, int) and 1 <= line <= len(numbers):
        place = f"line {numbers[line - 1]}"
        error.extra["line"] = numbers[line - 1]
        error.place = _PLACE.sub(place, error.place or place)
