"""Server-sent events from bytes, however they are cut."""

import pytest

from lognode.client.sse import Event, EventParser

STREAM = (
    b"retry: 1000\nid: c0\n\n"
    b':\n\nid: c1\nevent: span\ndata: {"a":"\xe2\x80\xa8"}\n\n'
    b"id: c2\r\nevent: span\r\ndata:one\r\ndata: two\r\n\r\n"
    b":\nid: c3\n\n"
    b"id: c4\nevent: span\ndata: never ended"
)
EVENTS = [
    Event("c0", "message", b""),
    Event(None, "", b""),
    Event("c1", "span", '{"a":"\u2028"}'.encode()),
    Event("c2", "span", b"one\ntwo"),
    Event(None, "", b""),
    Event("c3", "message", b""),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(STREAM)])
def test_any_cut_of_the_stream_gives_the_same_events(size: int) -> None:
    parser = EventParser()
    chunks = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]

    assert [event for chunk in chunks for event in parser.feed(chunk)] == EVENTS


def test_an_event_comes_with_its_last_byte_and_not_later() -> None:
    parser = EventParser()

    assert [parser.feed(chunk) for chunk in (b"id: c\n", b"data: x\n")] == [[], []]
    assert parser.feed(b"\nid: d\n") == [Event("c", "message", b"x")]
