"""Headers, bodies and entries have one encoding each."""

from contextlib import suppress

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, LogLine, SpanId
from lognode.core.span import (
    ENTRY_BYTES,
    Body,
    Header,
    decode_body,
    decode_header,
    encode_body,
    encode_header,
    entry_bytes,
    is_control,
    is_kind,
    is_reserved,
    leaf_hash,
    span_id,
)

HEADER = Header(1, "order.paid", None, 0, None, bytes(32), 40)
BODY = Body(bytes(16), None, b"", [], None, None, None, None, [], b"", b"", None, None)


def test_a_header_and_a_body_survive_encoding() -> None:
    assert decode_header(encode_header(HEADER)) == HEADER
    assert decode_body(encode_body(BODY)) == BODY


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"version": True}, {"kind": "Paid"}, {"kind": b"paid"}, {"actor": b"\x09" + bytes(32)},
        {"actor": bytes(3)}, {"status": 2}, {"status": None}, {"caused_by": bytes(23)}, {"body_sha256": bytes(31)},
        {"body_len": -1}, {"body_len": 2**20 + 1}, {"body_len": False},
    ],
)  # fmt: skip
def test_a_header_with_a_wrong_field_is_malformed(change: dict[str, object]) -> None:
    with pytest.raises(CallerError) as caught:
        decode_header(cbor2.dumps(list(HEADER._replace(**change))))  # type: ignore[arg-type]
    assert caught.value.code == "header.malformed"


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": bytes(15)}, {"title": 1}, {"data": None}, {"tags": ["b", "a"]}, {"tags": ["a", "a"]}, {"tags": [1]},
        {"subject": b""}, {"related": [bytes(23)]}, {"metadata": {}}, {"annotations": None},
        {"actor_signature": bytes(63)}, {"idem": bytes(15)},
    ],
)  # fmt: skip
def test_a_body_with_a_wrong_field_is_malformed(change: dict[str, object]) -> None:
    with pytest.raises(CallerError) as caught:
        decode_body(cbor2.dumps(list(BODY._replace(**change))))  # type: ignore[arg-type]
    assert caught.value.code == "body.malformed"


TEXTS = st.none() | st.text(max_size=30)
IDS = st.binary(min_size=24, max_size=24).map(SpanId)
HEADERS = st.builds(
    Header,
    version=st.just(1),
    kind=st.sampled_from(["note", "order.paid"]),
    actor=st.none() | st.binary(min_size=32, max_size=32).map(lambda key: LogLine(b"\x01" + key)),
    status=st.integers(0, 1),
    caused_by=st.none() | IDS,
    body_sha256=st.binary(min_size=32, max_size=32),
    body_len=st.integers(0, 2**20),
)
BODIES = st.builds(
    Body,
    nonce=st.binary(min_size=16, max_size=16),
    title=TEXTS,
    data=st.binary(max_size=300),
    tags=st.lists(st.text(max_size=5), unique=True, max_size=30).map(sorted),
    subject=TEXTS,
    contract_id=TEXTS,
    workflow_id=TEXTS,
    flow_id=TEXTS,
    related=st.lists(IDS, max_size=3),
    metadata=st.binary(max_size=30),
    annotations=st.binary(max_size=30),
    actor_signature=st.none() | st.binary(min_size=64, max_size=64),
    idem=st.none() | st.binary(min_size=16, max_size=16),
)


@given(HEADERS, BODIES)
def test_encoding_in_pieces_gives_what_encoding_the_array_gives(header: Header, body: Body) -> None:
    assert encode_header(header) == cbor2.dumps(list(header))
    assert encode_body(body) == cbor2.dumps(list(body))
    assert decode_header(encode_header(header)) == header
    assert decode_body(encode_body(body)) == body


@given(st.binary(max_size=60))
def test_no_bytes_crash_the_decoders(data: bytes) -> None:
    for decode in (decode_header, decode_body):
        with pytest.raises(CallerError):
            decode(data)


@given(st.integers(0, 46), st.integers(1, 255))
def test_a_changed_byte_of_a_header_is_refused_or_another_header(place: int, change: int) -> None:
    raw = bytearray(encode_header(HEADER))
    raw[place % len(raw)] ^= change
    with suppress(CallerError):
        assert decode_header(bytes(raw)) != HEADER


def test_a_longer_encoding_of_the_same_header_is_refused() -> None:
    raw = encode_header(HEADER)
    assert raw[1] == 1
    with pytest.raises(CallerError, match="deterministic"):
        decode_header(raw[:1] + b"\x18\x01" + raw[2:])
    with pytest.raises(CallerError):
        decode_header(cbor2.dumps(list(HEADER), indefinite_containers=True))


def test_the_entry_is_65_bytes_and_its_id_begins_with_the_time() -> None:
    entry = entry_bytes(FeedId(bytes(16)), 7, 9, 1, encode_header(HEADER))
    assert len(entry) == ENTRY_BYTES == 65
    assert span_id(9, leaf_hash(entry)) == (9).to_bytes(8, "big") + leaf_hash(entry)[:16]


def test_kinds_below_a_reserved_word_are_reserved() -> None:
    assert is_reserved("span.erase")
    assert is_reserved("feed")
    assert not is_reserved("feeder.full")
    assert is_control("tenant.create")
    assert not is_control("timeline.merge")
    assert is_kind("a_b.c9")
    assert not any(map(is_kind, ("", ".", "a.", ".a", "a b", "a\n", "é", "a" * 65)))
