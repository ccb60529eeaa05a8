"""Strict CBOR and JSON: whatever two decoders could read differently is refused."""

import json

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.codec import decode_array, decode_value, encode, parse_json
from lognode.core.errors import CallerError

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


def test_text_that_looks_like_a_key_is_no_key() -> None:
    assert parse_json(b'{"a\\":":"\\":\\":", "b":["\\"x\\":"]}') == {'a":': '":":', "b": ['"x":']}
