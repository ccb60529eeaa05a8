"""Strict CBOR and JSON: whatever two decoders could read differently is refused."""

import json
from collections.abc import Callable
from typing import Final

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core import codec
from lognode.core.codec import (
    check_json_parts,
    check_parts,
    check_value,
    decode_array,
    decode_value,
    encode,
    parse_json,
)
from lognode.core.errors import CallerError
from lognode.core.limits import PARTS_MAX

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | FLOATS | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_a_json_value_survives_cbor_and_json(value: object) -> None:
    assert decode_value(cbor2.dumps(value)) == value
    assert parse_json(json.dumps(value).encode()) == json.loads(json.dumps(value))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("a2616101616102", "cbor.malformed"),  # one key twice
        ("a10101", "cbor.malformed"),  # a key that is no text
        ("c11a514b67b0", "cbor.malformed"),  # a tag: time
        ("c24101", "cbor.malformed"),  # a tag that hides in an integer
        ("81d9d9f701", "cbor.malformed"),  # a tag that leaves no trace
        ("a1c2410101", "cbor.malformed"),  # a tag in a key
        ("a1810102", "cbor.malformed"),  # an array as key
        ("a1410102", "cbor.malformed"),  # bytes as key
        ("9f01ff", "cbor.malformed"),  # indefinite length
        ("5f4101ff", "cbor.malformed"),
        ("7f6161ff", "cbor.malformed"),
        ("0101", "cbor.malformed"),  # bytes after the value
        ("a16161180100", "cbor.malformed"),  # bytes after a value that is not shortest form
        ("4101", "cbor.malformed"),  # bytes
        ("f7", "cbor.malformed"),  # undefined
        ("f0", "cbor.malformed"),  # a simple value
        ("61ff", "cbor.malformed"),  # not UTF-8
        ("18", "cbor.malformed"),  # cut short
        ("", None),
        ("f97e00", "json.number"),  # NaN
        ("f97c00", "json.number"),  # infinity
        ("fb7ff0000000000000", "json.number"),
        ("1b8000000000000000", "json.number"),  # 2^63
        ("3b8000000000000000", "json.number"),
        ("81" * 17 + "00", "json.too_deep"),
        ("81" * 5000 + "00", "cbor.malformed"),
    ],
)
def test_cbor_that_is_no_single_json_value_is_refused(data: str, code: str | None) -> None:
    if code is None:
        assert decode_value(bytes.fromhex(data)) is None
        return
    with pytest.raises(CallerError) as caught:
        decode_value(bytes.fromhex(data))
    assert caught.value.code == code


def shared_lists(levels: int) -> bytes:
    """Lists of 12 references to one list, each with 12 to the next: tags 28 and 29."""
    inner = b"\xd8\x1c\x81\x00"
    for number in range(levels, 0, -1):
        inner = b"\xd8\x1c\x8c" + inner + (b"\xd8\x1d" + cbor2.dumps(number)) * 11
    return inner


# Some hundred bytes to some thousand, all within the depth; decoders that take tags need seconds to years for them.
@pytest.mark.parametrize(
    ("item", "said"),
    [
        pytest.param(shared_lists(4), "tags are not allowed", id="shared lists, 12^4 elements"),
        pytest.param(b"\xc4" * 2000 + b"\x00", "tags are not allowed", id="tags of tags"),
        pytest.param(b"\xc4\x82\x00" + cbor2.dumps(2**80_000), "tags are not allowed", id="a decimal fraction"),
        pytest.param(b"\xc5\x82\x01" + cbor2.dumps(2**80_000), "tags are not allowed", id="a bigfloat"),
        pytest.param(cbor2.dumps(10**5000), "tags are not allowed", id="a long number"),
        pytest.param(cbor2.dumps(-(10**5000)), "tags are not allowed", id="a long negative number"),
        # All with one hash, as numbers and as arrays of numbers.
        pytest.param(cbor2.dumps({n * (2**61 - 1): 0 for n in range(500)}), "tags|key", id="keys that collide"),
        pytest.param(cbor2.dumps({(n, -n): 0 for n in range(500)}), "key", id="arrays as keys"),
        pytest.param(b"\x9b" + b"\x7f" * 8, "end", id="more elements than memory"),
        pytest.param(b"\xbb" + b"\x7f" * 8, "end", id="more pairs than memory"),
        pytest.param(b"\x5b\x0f" + b"\x7f" * 7, "end", id="more bytes than memory"),
        pytest.param(b"\x7b\x0f" + b"\x7f" * 7, "end", id="more text than memory"),
    ],
)
def test_what_costs_more_than_its_length_is_refused_before_it_is_built(item: bytes, said: str) -> None:
    for decode in (decode_value, lambda data: decode_array(data, 1)):
        with pytest.raises(CallerError, match=said) as caught:
            decode(b"\x81" + item)
        assert caught.value.code == "cbor.malformed"
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("tag", [*range(300), 1004, 43000, 55799, 2**16, 2**32, 2**64 - 1])
def test_no_tag_is_known(tag: int) -> None:
    head = cbor2.dumps(cbor2.CBORTag(tag, 0))[:-1]
    for content in ("00", "80", "820102", "4101", "6161", "a0", "f6", "8100"):
        with pytest.raises(CallerError, match="tags are not allowed"):
            decode_value(head + bytes.fromhex(content))


def test_an_author_may_encode_a_value_in_other_ways_than_ours() -> None:
    assert decode_value(bytes.fromhex("a2616218016161f93c00")) == {"b": 1, "a": 1.0}


def test_an_array_has_one_encoding_only() -> None:
    assert decode_array(encode([1, "a", None]), 3) == [1, "a", None]
    for other in ("8318016161f6", "9f016161f6ff", "83016161f600", "8301"):
        with pytest.raises(CallerError, match="CBOR"):
            decode_array(bytes.fromhex(other), 3)
    with pytest.raises(CallerError, match="array of 2"):
        decode_array(encode([1, "a", None]), 2)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b'{"a":1,"a":2}', "json.duplicate_key"),
        (b'{"a" : 1, "b": {"c" :1, "c":2}}', "json.duplicate_key"),
        (b'{"a":1,"a" :2}', "json.duplicate_key"),
        (b'{"a":1,"\\u0061":2}', "json.duplicate_key"),
        (b'{"a":NaN}', "json.number"),
        (b'{"a":-Infinity}', "json.number"),
        (b'{"a":1e999}', "json.number"),
        (b'{"a":9223372036854775808}', "json.number"),
        (b'{"a":"\xff"}', "json.not_utf8"),
        (b'{"a":"\xed\xa0\x80"}', "json.not_utf8"),
        (b'{"a":"\\ud800"}', "json.malformed"),
        (b'{"a":1}x', "json.malformed"),
        (b'{"a":1', "json.malformed"),
        (b"", "json.malformed"),
        (b"[" * 17 + b"]" * 17, "json.too_deep"),
        (b"[" * 100_000, "json.too_deep"),
    ],
)
def test_json_with_two_meanings_is_refused(text: bytes, code: str) -> None:
    with pytest.raises(CallerError) as caught:
        parse_json(text)
    assert caught.value.code == code


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**5000, -(10**5000)], ids=["", "negative", "long", "both"])
def test_a_number_out_of_range_is_refused_however_many_digits_it_has(number: int) -> None:
    """Python writes no number of more than 4,300 digits."""
    with pytest.raises(CallerError) as caught:
        check_value({"a": [number]})
    assert caught.value.code == "json.number"


def test_text_that_looks_like_a_key_is_no_key() -> None:
    assert parse_json(b'{"a\\":":"\\":\\":", "b":["\\"x\\":"]}') == {'a":': '":":', "b": ['"x":']}


MANY: Final = PARTS_MAX - 1  # beside the list that holds them


@pytest.mark.parametrize(
    ("item", "parts"),
    [
        (b"\x01", 1), (b"\x18\x20", 1), (b"\x3a\x00\x01\x00\x00", 1), (b"\xfb" + bytes(8), 1), (b"\xf5", 1),
        (b"\x60", 1), (b"\x61a", 1), (b"\x77" + b"a" * 23, 1), (b"\x78\x18" + b"a" * 24, 1),
        (b"\x79\x00\x18" + b"a" * 24, 1), (b"\x80", 1), (b"\x81\x01", 2), (b"\xa0", 1), (b"\xa1\x61a\x01", 3),
        (b"\x98\x02\x01\x01", 3),
    ],
)  # fmt: skip
def test_a_value_holds_so_many_parts_and_no_more(item: bytes, parts: int) -> None:
    count = MANY // parts
    most = b"\x9a" + (count + MANY % parts).to_bytes(4, "big") + item * count + b"\x01" * (MANY % parts)
    assert isinstance(decode_value(most), list)
    more = b"\x9a" + (count + MANY % parts + 1).to_bytes(4, "big") + most[5:] + b"\x01"
    with pytest.raises(CallerError) as caught:
        decode_value(more)
    assert caught.value.code == "json.too_many"


def parts_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + len(value) + sum(map(parts_of, value.values()))
    return 1 + sum(map(parts_of, value)) if isinstance(value, list) else 1


@given(VALUES | st.lists(VALUES, max_size=12))
def test_parts_are_counted_before_any_is_made(value: object) -> None:
    few, count = 8, parts_of(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "PARTS_MAX", few)
        patch.setattr(codec, "_JSON_PARTS_MAX", few)
        encoded, text = cbor2.dumps(value), msgspec.json.encode(value)
        is_refused = _is_refused(check_parts, encoded)
        assert is_refused == (count > few and len(encoded) > few)
        # Of JSON it is enough that what passes is not much more.
        if count <= few:
            assert not _is_refused(check_json_parts, text)
        if count > 2 * few + 1 and len(text) > few:
            assert _is_refused(check_json_parts, text)


@given(st.binary(max_size=200))
def test_any_bytes_are_counted_without_a_fault(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "PARTS_MAX", 4)
        patch.setattr(codec, "_JSON_PARTS_MAX", 4)
        _is_refused(check_parts, data)
        _is_refused(check_json_parts, data)


def _is_refused(check: Callable[[bytes], None], data: bytes) -> bool:
    try:
        check(data)
    except CallerError as error:
        return error.code == "json.too_many"
    return False


def test_long_texts_are_one_part_however_many_commas_they_hold() -> None:
    text = b'{"a":"' + b"1,[{:" * 100_000 + b'\\",","b":[1,2]}'
    assert len(parse_json(text)) == 2  # type: ignore[arg-type]
    with pytest.raises(CallerError) as caught:
        parse_json(b"[" + b"[]," * 140_000 + b"1]")
    assert caught.value.code == "json.too_many"
