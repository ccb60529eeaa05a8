"""Messages are what they were when they were written, and nothing else is one."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.codec import encode
from lognode.core.errors import PeerError
from lognode.core.ids import FeedId
from lognode.core.limits import (
    BATCH_ITEMS_MAX,
    BODY_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    MESSAGE_ENTRIES_MAX,
    MESSAGE_HEAD_BYTES_MAX,
    RANGE_SPANS_MAX,
    REQUEST_HEAD_BYTES_MAX,
    SIZE_MAX,
)
from lognode.core.span import Entry, Foretold, Range
from lognode.protocol.messages import Controls, Push, Ranges
from lognode.protocol.wire import decode_answer, decode_request, encode_answer, encode_request
from tests.protocol.samples import ANSWERS, FEED, FORETOLD, RANGE, REQUESTS, SPAN, STUB, TENANT, foretold, ranges

Decode = Callable[[bytes], object]


def message(*head: object, content: bytes = b"") -> bytes:
    encoded = encode(list(head))
    return len(encoded).to_bytes(4, "big") + encoded + content


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_read_as_it_was_written(name: str) -> None:
    assert decode_request(encode_request(REQUESTS[name])) == REQUESTS[name]


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read_as_it_was_written(name: str) -> None:
    assert decode_answer(encode_answer(ANSWERS[name], 1)) == ANSWERS[name]


@given(st.lists(ranges, max_size=3).map(tuple), st.lists(foretold, max_size=4).map(tuple))
def test_spans_are_read_as_they_were_written(found: tuple[Range, ...], controls: tuple[Foretold, ...]) -> None:
    push = Push(1, TENANT, found, controls)

    assert decode_request(encode_request(push)) == push
    assert decode_answer(encode_answer(Ranges(found), 1)) == Ranges(found)
    assert decode_answer(encode_answer(Controls(controls, more=False), 1)) == Controls(controls, more=False)


ENCODED = [
    *((decode_request, encode_request(request)) for request in REQUESTS.values()),
    *((decode_answer, encode_answer(answer, 1)) for answer in ANSWERS.values()),
]


@pytest.mark.parametrize(("decode", "encoded"), ENCODED)
def test_a_message_that_ends_early_or_late_is_malformed(decode: Decode, encoded: bytes) -> None:
    for cut in [encoded[:length] for length in range(len(encoded))] + [encoded + b"\x00"]:
        with pytest.raises(PeerError) as refused:
            decode(cut)
        assert refused.value.code == "message.malformed"


@given(st.sampled_from(ENCODED), st.data())
def test_any_changed_byte_gives_another_message_or_an_error_of_the_peer(
    sample: tuple[Decode, bytes], data: st.DataObject
) -> None:
    decode, encoded = sample
    at = data.draw(st.integers(0, len(encoded) - 1))
    changed = encoded[:at] + bytes([data.draw(st.integers(0, 255))]) + encoded[at + 1 :]
    try:
        read = decode(changed)
    except PeerError:
        return
    again = encode_request(read) if decode is decode_request else encode_answer(read, 1)  # type: ignore[arg-type]
    assert again == changed, "a message has one encoding"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_an_error_of_the_peer(data: bytes) -> None:
    for decode in (decode_request, decode_answer):
        for sent in (data, len(data).to_bytes(4, "big") + data):
            try:
                decode(sent)
            except PeerError:
                continue


RECORD = (6).to_bytes(8, "big") + b"\x01" + len(SPAN.header).to_bytes(2, "big")
REFUSED: dict[str, tuple[Decode, bytes]] = {
    "no array": (decode_request, (1).to_bytes(4, "big") + b"\x00"),
    "an array of nothing": (decode_request, message()),
    "an unknown type": (decode_request, message(1, 30, TENANT)),
    "an answer for a request": (decode_request, encode_answer(ANSWERS["pulse"], 1)),
    "a request for an answer": (decode_answer, encode_request(REQUESTS["pull"])),
    "a hello with a version": (decode_request, message(1, 1, TENANT, [1], b"i" * 16, b"s" * 32, [], b"")),
    "an expand without one": (decode_request, message(0, 17, TENANT, [])),
    "too many versions": (decode_request, message(0, 1, TENANT, [1] * 9, b"i" * 16, b"s" * 32, [], b"")),
    "too many addresses": (decode_request, message(0, 1, TENANT, [1], b"i" * 16, b"s" * 32, ["a:1"] * 9, b"")),
    "an address with a line end": (decode_request, message(0, 1, TENANT, [1], b"i" * 16, b"s" * 32, ["a:1\n"], b"")),
    "a short tenant": (decode_request, message(1, 17, TENANT[:19], [])),
    "a text for a tenant": (decode_request, message(1, 17, "t" * 20, [])),
    "a prefix that is no hexadecimal": (decode_request, message(1, 17, TENANT, ["g"])),
    "a prefix of a whole id": (decode_request, message(1, 17, TENANT, ["0" * 32])),
    "too many prefixes": (decode_request, message(1, 17, TENANT, [f"{number:x}" for number in range(257)])),
    "a prefix twice": (decode_request, message(1, 17, TENANT, ["ab", "c", "ab"])),
    "too many wants": (decode_request, message(1, 21, TENANT, [[FEED, 0]] * 1025)),
    "a negative start": (decode_request, message(1, 21, TENANT, [[FEED, -1]])),
    "true for a start": (decode_request, message(1, 21, TENANT, [[FEED, True]])),
    "a start beyond 63 bits": (decode_request, message(1, 21, TENANT, [[FEED, 2**63]])),
    "a range without entries": (decode_answer, message(1, 22, [[FEED, 0, 0, 0]])),
    "more entries than bytes": (decode_answer, message(1, 22, [[FEED, 0, RANGE_SPANS_MAX, 0]])),
    "a note without its bytes": (decode_answer, message(1, 22, [[FEED, 0, 1, 100_000]])),
    "a header of 33 bytes that has 31": (
        decode_answer,
        message(1, 22, [[FEED, 0, 1, 0]], content=RECORD[:9] + b"\x00\x1f" + bytes(4) + b"h" * 31),
    ),
    "a header beyond a KiB": (
        decode_answer,
        message(1, 22, [[FEED, 0, 1, 0]], content=RECORD[:9] + b"\x04\x01" + bytes(4) + b"h" * 1025),
    ),
    "a body beyond a MiB": (
        decode_answer,
        message(
            1,
            22,
            [[FEED, 0, 1, 0]],
            content=RECORD + (BODY_BYTES_MAX + 1).to_bytes(4, "big") + SPAN.header + bytes(BODY_BYTES_MAX + 1),
        ),
    ),
    "a body behind a withheld header": (
        decode_answer,
        message(1, 22, [[FEED, 0, 1, 0]], content=RECORD[:9] + b"\x00\x20" + (1).to_bytes(4, "big") + b"h" * 32 + b"b"),
    ),
    "a time beyond 63 bits": (
        decode_answer,
        message(1, 22, [[FEED, 0, 1, 0]], content=b"\xff" * 8 + RECORD[8:] + b"\xff" * 4 + SPAN.header),
    ),
    "a control span without its body": (
        decode_answer,
        message(1, 20, [[FEED, 0, [9, 0]]], False, content=RECORD + b"\xff" * 4 + SPAN.header),  # noqa: FBT003
    ),
    "a control span without a path's length": (decode_answer, message(1, 20, [[FEED, 0, [9]]], False)),  # noqa: FBT003
    "a path of 64 hashes": (
        decode_answer,
        message(1, 20, [[FEED, 0, [9, 64]]], False, content=RECORD + bytes(4) + SPAN.header + bytes(64 * 32)),  # noqa: FBT003
    ),
    "a branch of 15": (decode_answer, message(1, 18, [["", [b"f" * 16] * 15]])),
    "feeds that do not rise": (decode_answer, message(1, 18, [["", [[FEED, 1, b"r" * 32, b""]] * 2]])),
    "a feed elsewhere": (decode_answer, message(1, 18, [["0", [[FEED, 1, b"r" * 32, b""]]]])),
    "a feed without anything": (decode_answer, message(1, 18, [["", [[FEED, 0, b"", b""]]]])),
    "an empty feed with a root": (decode_answer, message(1, 18, [["", [[FEED, 0, b"r" * 32, b"d" * 8]]]])),
    "a code with a line end": (decode_answer, message(0, 4, "peer.refused\n")),
    "a code of one word": (decode_answer, message(0, 4, "refused")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_malformed_is(name: str) -> None:
    decode, data = REFUSED[name]
    with pytest.raises(PeerError) as refused:
        decode(data)
    assert refused.value.code == "message.malformed"


def test_lengths_are_checked_before_anything_is_decoded() -> None:
    for data in (bytes(MESSAGE_BYTES_MAX + 1), (MESSAGE_HEAD_BYTES_MAX + 1).to_bytes(4, "big")):
        with pytest.raises(PeerError) as refused:
            decode_request(data)
        assert refused.value.code == "message.too_large"


def test_the_head_of_a_request_is_short() -> None:
    """A peer may send them as often as it likes, and each costs time before anything in it is looked at."""
    head = encode([1, 21, TENANT, [[FEED, 0]] * (REQUEST_HEAD_BYTES_MAX // 19)])
    with pytest.raises(PeerError) as refused:
        decode_request(len(head).to_bytes(4, "big") + head)
    assert refused.value.code == "message.too_large"


def test_the_fullest_request_has_room() -> None:
    feeds = [FeedId(number.to_bytes(16)) for number in range(BATCH_ITEMS_MAX)]
    ranges = tuple(Range(feed, SIZE_MAX - 1, (STUB,), b"note") for feed in feeds)
    push = Push(1, TENANT, ranges, tuple(FORETOLD._replace(feed=feed, seq=SIZE_MAX - 1) for feed in feeds))

    assert decode_request(encode_request(push)) == push


def test_many_small_things_in_one_message_are_too_many() -> None:
    """By its bytes alone a message could hold 380,000 entries, and keep a node busy for seconds."""
    feeds = [FeedId(number.to_bytes(16)) for number in range(MESSAGE_ENTRIES_MAX // 1000 + 1)]
    ranges = tuple(Range(feed, 0, (STUB,) * 1000, b"note") for feed in feeds)
    told = tuple(
        FORETOLD._replace(feed=FeedId((number // 1000).to_bytes(16)), seq=number)
        for number in range(BATCH_ITEMS_MAX + 1)
    )
    for push, code in (
        (Push(1, TENANT, ranges, ()), "message.too_large"),
        (Push(1, TENANT, (), told), "message.malformed"),
    ):
        with pytest.raises(PeerError) as refused:
            decode_request(encode_request(push))
        assert refused.value.code == code
    fewer = Push(1, TENANT, ranges[:-1], told[:-1])
    assert decode_request(encode_request(fewer)) == fewer


def test_a_range_beyond_its_bounds_is_too_large() -> None:
    many = Range(FEED, 0, (STUB,) * (RANGE_SPANS_MAX + 1), b"note")
    heavy = Range(FEED, 0, (Entry(6, 1, SPAN.header, bytes(BODY_BYTES_MAX)),) * 17, b"note")
    for found in (many, heavy):
        with pytest.raises(PeerError) as refused:
            decode_answer(encode_answer(Ranges((found,)), 1))
        assert refused.value.code == "range.too_large"


def test_a_version_that_is_not_spoken_is_named() -> None:
    pull = REQUESTS["pull"]._replace(version=2)  # type: ignore[call-arg]
    with pytest.raises(PeerError) as refused:
        decode_request(encode_request(pull))
    assert refused.value.code == "version.unsupported"
    assert decode_request(encode_request(pull), versions=(1, 2)) == pull


def test_control_spans_under_one_checkpoint_share_its_bytes() -> None:
    one = len(encode_answer(Controls((FORETOLD._replace(note=b"n" * 300),), more=False), 1))
    ten = tuple(FORETOLD._replace(note=b"n" * 300, seq=seq) for seq in range(10))
    assert len(encode_answer(Controls(ten, more=False), 1)) < one + 9 * 200
    assert RANGE.stop == 6
