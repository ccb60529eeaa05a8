"""Frames: a CBOR sequence of byte strings, each of which holds one item.

Cuts items out of chunks of any size, in memory bounded by one item. Knows nothing of what items say. Invariant: a
sequence of payloads has one spelling, so that the frames of a file can be hashed as they are read.
Source: RFC 8742; docs/protocol.md, Bundles.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.limits import BUNDLE_ITEM_BYTES_MAX

_BYTE_STRING: Final = 2  # CBOR major type
# Additional information -> bytes of length that follow, and the least length that needs them.
_WIDTHS: Final = {24: (1, 24), 25: (2, 1 << 8), 26: (4, 1 << 16)}


class Frame(NamedTuple):
    """One item as it stands in a file: its number and the offset of its first byte, its head and its payload."""

    number: int
    offset: int
    head: bytes
    payload: bytes

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return place_of(self.number, self.offset)


def frame(payload: bytes) -> bytes:
    """The payload as one frame."""
    return encode(payload)


def place_of(number: int, offset: int) -> str:
    """The place of an error: number of the item from 0, offset of its first byte."""
    return f"item {number}, byte {offset}"


def read_frames(chunks: Iterable[bytes]) -> Iterator[Frame]:
    """The frames of a file that comes in chunks cut anywhere. Raises CallerError("bundle.invalid")."""
    held = bytearray()
    number = offset = 0
    for chunk in chunks:
        held += chunk
        start = 0
        while (span := _next_frame(held, start, number, offset)) is not None:
            middle, stop = span
            yield Frame(number, offset, bytes(held[start:middle]), bytes(held[middle:stop]))
            number, offset, start = number + 1, offset + stop - start, stop
        del held[:start]
    if held:
        raise CallerError("bundle.invalid", "the file ends in the middle of an item", place=place_of(number, offset))


def _next_frame(held: bytearray, start: int, number: int, offset: int) -> tuple[int, int] | None:
    """Where the payload of the frame at `start` begins and ends; None while it has not come whole."""
    if start == len(held):
        return None
    major, info = held[start] >> 5, held[start] & 31
    width, least = _WIDTHS.get(info, (0, 0))
    middle = start + 1 + width
    if middle > len(held):
        return None
    length = int.from_bytes(held[start + 1 : middle]) if width else info
    fault = None
    if major != _BYTE_STRING or info > max(_WIDTHS) or length < least:
        fault = "no byte string with the shortest head begins here"
    elif length > BUNDLE_ITEM_BYTES_MAX:
        fault = f"an item of {length} bytes, at most {BUNDLE_ITEM_BYTES_MAX}"
    if fault:
        raise CallerError("bundle.invalid", fault, place=place_of(number, offset))
    stop = middle + length
    return (middle, stop) if stop <= len(held) else None
