"""Frames of a streamed answer: four bytes of length, most significant first, then so many bytes.

A frame without bytes is a sign of life. Invariant: a length beyond the bound is refused before anything of the frame
is kept.
"""

from typing import Final

from lognode.core.errors import PeerError
from lognode.core.limits import MESSAGE_BYTES_MAX

LENGTH_BYTES: Final = 4
SIGN_OF_LIFE: Final = bytes(LENGTH_BYTES)


def frame(message: bytes) -> bytes:
    """The frame of a message that has at least one byte."""
    assert 0 < len(message) <= MESSAGE_BYTES_MAX, "a message is neither empty nor beyond its bound"
    return len(message).to_bytes(LENGTH_BYTES) + message


class FrameReader:
    """Cuts what comes into frames, wherever it was cut on its way."""

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def is_between(self) -> bool:
        """Whether no frame has begun and not ended."""
        return not self._held

    def feed(self, part: bytes) -> list[bytes]:
        """The messages that end in this part, an empty one for a sign of life.

        Raises PeerError("message.too_large").
        """
        held = self._held
        held += part
        start, messages = 0, []
        while len(held) - start >= LENGTH_BYTES:
            stop = start + LENGTH_BYTES
            size = int.from_bytes(held[start:stop])
            if size > MESSAGE_BYTES_MAX:
                raise PeerError("message.too_large", f"a frame of {size} bytes, at most {MESSAGE_BYTES_MAX}")
            if len(held) < stop + size:
                break
            messages.append(bytes(held[stop : stop + size]))
            start = stop + size
        del held[:start]
        return messages
