"""Lines gathered into requests of bounded size, and errors told in the numbers of the caller's lines."""

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import Final

from lognode.client.draft import Draft
from lognode.core.errors import CallerError, LognodeError
from lognode.core.limits import GROUP_BYTES_MAX, GROUP_SPANS_MAX

BATCH_BYTES_MAX: Final = GROUP_BYTES_MAX  # held in memory until answered, so that it can be sent again
BATCH_LINES_MAX: Final = 8 * GROUP_SPANS_MAX  # some commits for each round trip

Line = bytes | str | Draft
Lines = Iterable[Line]
AsyncLines = Iterable[Line] | AsyncIterable[Line]

_PLACE: Final = re.compile(r"^line [0-9]+")


class Batcher:
    """Gathers lines in their order into batches, each within both bounds or of one line."""

    def __init__(self) -> None:
        self._batch = list[bytes]()
        self._bytes = 0

    def add(self, line: Line) -> list[bytes]:
        """The batch that had no room for this line; empty while there is room."""
        raw = encoded(line)
        is_full = self._bytes + len(raw) > BATCH_BYTES_MAX or len(self._batch) == BATCH_LINES_MAX
        batch = self.rest() if is_full else []
        self._batch.append(raw)
        self._bytes += len(raw)
        return batch

    def rest(self) -> list[bytes]:
        """What no batch was made of yet."""
        batch, self._batch, self._bytes = self._batch, [], 0
        return batch


class Each:
    """Lines one by one for `async for`, whether they are there or come in their time."""

    def __init__(self, lines: AsyncLines) -> None:
        self._next = aiter(lines) if isinstance(lines, AsyncIterable) else iter(lines)

    def __aiter__(self) -> AsyncIterator[Line]:
        return self

    async def __anext__(self) -> Line:
        if isinstance(self._next, AsyncIterator):
            return await anext(self._next)
        for line in self._next:
            return line
        raise StopAsyncIteration


def encoded(line: Line) -> bytes:
    """A line as it is sent. Raises CallerError("json.not_utf8") for text that UTF-8 cannot hold."""
    if isinstance(line, Draft):
        return line.line()
    if isinstance(line, bytes):
        return line
    if isinstance(line, str):
        try:
            return line.encode()
        except UnicodeEncodeError as error:
            raise CallerError("json.not_utf8", error.reason) from error
    raise TypeError(f"a line is a Draft or its JSON as text or bytes, not {type(line).__name__}")


def renumber(error: LognodeError, numbers: Sequence[int]) -> None:
    """Let `line` and place of an error name the caller's line; `numbers` are those of the batch's lines."""
    line = error.extra.get("line")
    if isinstance(line, int) and 1 <= line <= len(numbers):
        place = f"line {numbers[line - 1]}"
        error.extra["line"] = numbers[line - 1]
        error.place = _PLACE.sub(place, error.place or place)
