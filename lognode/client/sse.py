"""Server-sent events from a stream of bytes, cut anywhere.

Knows no HTTP. Only LF ends a line here: `str.splitlines` would also cut JSON at U+2028 and its like.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Event(NamedTuple):
    """One event: its id (None: none given), its name and its data."""

    id: str | None
    name: str
    data: bytes


def events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The events of a stream, each as soon as its last byte is there.

    A comment comes as an event without id, name and data, since it shows that the connection lives.
    """
    cursor: str | None = None
    name, data = "message", list[bytes]()
    for line in _lines(chunks):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            if cursor is not None or data:
                yield Event(cursor, name, b"\n".join(data))
            cursor, name, data = None, "message", []
        elif not field:
            yield Event(None, "", b"")
        elif field == b"id":
            cursor = value.decode("utf-8", "replace")
        elif field == b"event":
            name = value.decode("utf-8", "replace")
        elif field == b"data":
            data.append(value)


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    pending = list[bytes]()
    for chunk in chunks:
        *complete, rest = chunk.split(b"\n")
        for line in complete:
            pending.append(line)
            yield b"".join(pending).removesuffix(b"\r")
            pending = []
        if rest:
            pending.append(rest)
