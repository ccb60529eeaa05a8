"""Server-sent events from bytes, cut anywhere.

Knows no HTTP. Only LF ends a line here: `str.splitlines` would also cut JSON at U+2028 and its like.
"""

from typing import NamedTuple


class Event(NamedTuple):
    """One event: its id (None: none given), its name and its data."""

    id: str | None
    name: str
    data: bytes


class EventParser:
    """Takes the bytes of one stream as they come, and gives each event with its last byte."""

    def __init__(self) -> None:
        self._rest = list[bytes]()  # of a line that has not ended
        self._begin()

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes.

        A comment comes as an event without id, name and data, since it shows that the connection lives.
        """
        *ends, rest = chunk.split(b"\n")
        found = list[Event]()
        for end in ends:
            line = b"".join((*self._rest, end)).removesuffix(b"\r")
            self._rest.clear()
            event = self._take(line)
            if event is not None:
                found.append(event)
        if rest:
            self._rest.append(rest)
        return found

    def _begin(self) -> None:
        self._id: str | None = None
        self._name = "message"
        self._data = list[bytes]()

    def _take(self, line: bytes) -> Event | None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            event = Event(self._id, self._name, b"\n".join(self._data))
            is_empty = self._id is None and not self._data
            self._begin()
            return None if is_empty else event
        if not field:
            return Event(None, "", b"")
        if field == b"id":
            self._id = value.decode("utf-8", "replace")
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        elif field == b"data":
            self._data.append(value)
        return None
