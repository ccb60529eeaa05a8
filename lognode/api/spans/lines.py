"""An uploaded body as lines, in bounded memory however it was cut or compressed.

Pure: bytes in, lines out. Invariant: what is held never exceeds one line and one part.
"""

import zlib
from collections.abc import Iterator
from typing import Final

from lognode.core.errors import CallerError
from lognode.core.limits import DRAFT_LINE_BYTES_MAX, PART_BYTES_MAX

_GZIP: Final = 16 + zlib.MAX_WBITS


class Lines:
    """Cuts parts into lines at LF."""

    def __init__(self) -> None:
        self._carry = bytearray()

    def feed(self, part: bytes) -> Iterator[bytes]:
        """The lines that end in `part`.

        Raises CallerError("draft.too_large") after them when the line that follows is too long already.
        """
        head, newline, rest = part.partition(b"\n")
        self._carry += head
        if newline:
            yield bytes(self._carry)
            *lines, last = rest.split(b"\n")
            self._carry = bytearray(last)
            yield from lines
        if len(self._carry) > DRAFT_LINE_BYTES_MAX:
            raise CallerError("draft.too_large", f"a line takes at most {DRAFT_LINE_BYTES_MAX} bytes")

    def rest(self) -> bytes:
        """The last line, when the body did not end in LF; else nothing."""
        return bytes(self._carry)


class Inflater:
    """Inflates gzip, several members and zeros behind them too, in parts of bounded size."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._is_inside = False
        self._has_ended = False  # a member has

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What `chunk` inflates to. Raises CallerError("request.malformed") for anything but gzip."""
        while True:
            if self._has_ended and not self._is_inside:
                chunk = chunk.lstrip(b"\x00")  # padding, which gzip takes too
            self._is_inside = self._is_inside or bool(chunk)
            try:
                part = self._member.decompress(chunk, PART_BYTES_MAX)
            except zlib.error as error:
                raise CallerError("request.malformed", f"the body is no gzip: {error}") from None
            if part:
                yield part
            if self._member.eof:
                chunk = self._member.unused_data
                self._member = zlib.decompressobj(_GZIP)
                self._is_inside = False
                self._has_ended = True
            else:
                chunk = self._member.unconsumed_tail
            # A full part may have more behind it, even when all input was taken.
            if not chunk and len(part) < PART_BYTES_MAX:
                return

    def end(self) -> None:
        """Say that no chunk follows. Raises CallerError("request.malformed") in the middle of a member."""
        if self._is_inside:
            raise CallerError("request.malformed", "the gzip stream ends early")
