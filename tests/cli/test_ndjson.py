"""NDJSON input: lines, numbers, keys and batches, as the import command sends them."""

import gzip
import json
from collections.abc import Callable
from hashlib import sha256
from io import BufferedReader, BytesIO
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.cli.lines.ndjson import IMPORT_BYTES_MAX, IMPORT_LINES_MAX, Batch, read_batches, unpacked, with_key
from lognode.core.codec import parse_json
from lognode.core.errors import CallerError
from lognode.core.ids import b32encode
from lognode.core.limits import DRAFT_LINE_BYTES_MAX

AS_IT_IS: Final[Callable[[bytes], bytes]] = bytes


def batches_of(raw: bytes) -> list[Batch]:
    return list(read_batches(unpacked(BufferedReader(BytesIO(raw))), lambda: False, AS_IT_IS))


def key_of(line: bytes) -> object:
    return json.loads(line)["idempotency_key"]


def test_a_key_is_the_hash_of_the_line_and_its_occurrence_in_the_file() -> None:
    lines = [b'{"kind":"a.b"}', b'{"kind":"a.c"}', b'{"kind":"a.b"}', b'{"kind":"a.b"}']

    keys = [key_of(line) for line in batches_of(b"\n".join(lines))[0].lines]

    digests = [b32encode(sha256(line).digest()) for line in lines]
    assert keys == [f"{digests[0]}:1", f"{digests[1]}:1", f"{digests[0]}:2", f"{digests[0]}:3"]


def test_line_ends_and_a_missing_last_one_change_no_key() -> None:
    unix = batches_of(b'{"kind":"a.b"}\n{"kind":"a.c"}\n')[0].lines

    assert [key_of(line) for line in batches_of(b'{"kind":"a.b"}\r\n{"kind":"a.c"}')[0].lines] == [
        key_of(line) for line in unix
    ]


@pytest.mark.parametrize(
    ("line", "keyed"),
    [
        (b'{"kind":"a.b"}', b'{"kind":"a.b","idempotency_key":"K"}'),
        (b' {"kind":"a.b" } ', b' {"kind":"a.b" ,"idempotency_key":"K"}'),
        (b"{}", b'{"idempotency_key":"K"}'),
        (b"{ }", b'{ "idempotency_key":"K"}'),
        (b'{"data":{}}', b'{"data":{},"idempotency_key":"K"}'),
        (b'{"data":{"idempotency_key":1}}', b'{"data":{"idempotency_key":1},"idempotency_key":"K"}'),
    ],
)
def test_a_key_goes_to_the_end_of_the_object(line: bytes, keyed: bytes) -> None:
    assert with_key(line, "K") == keyed


@pytest.mark.parametrize(
    "line",
    [
        b'{"idempotency_key":"mine","kind":"a.b"}',
        b'{"idempotency\\u005fkey":"mine"}',
        b"[1]",
        b'{"kind":',
        b'"text}',
        b"\xff",
    ],
)
def test_a_line_with_its_own_key_or_that_is_no_object_stays_as_it_is(line: bytes) -> None:
    assert with_key(line, "K") == line


FRAGMENTS = st.sampled_from(
    ["{", "}", "[", "]", ",", ":", '"', "\\", "\\u0041", '"a":1', '"b":{}', '"c":[{}]', '"d"', "null", " ", "1", "é"]
)


def is_object(line: bytes) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except CallerError:
        return False


@given(st.lists(FRAGMENTS, max_size=8).map(lambda parts: "{" + "".join(parts) + "}"))
def test_a_line_is_a_valid_object_with_its_key_exactly_when_it_was_one_without(text: str) -> None:
    line = text.encode()
    keyed = with_key(line, "K")

    assert is_object(keyed) == is_object(line)
    if is_object(line):
        assert json.loads(keyed) == {**json.loads(line), "idempotency_key": "K"}


def test_blank_lines_are_left_out_and_still_counted() -> None:
    (batch,) = batches_of(b'\n{"kind":"a.b"}\n\r\n  \n{"kind":"a.c"}\n\n')

    assert batch.numbers == [2, 5]


def test_gzip_is_told_by_its_first_bytes() -> None:
    raw = b'{"kind":"a.b"}\n{"kind":"a.c"}\n'

    assert batches_of(gzip.compress(raw)) == batches_of(raw)
    assert batches_of(b"") == []
    assert batches_of(b"\x1f") == [Batch([b"\x1f"], [1], [])]


def test_batches_are_bounded_in_lines_and_bytes() -> None:
    many = batches_of(b'{"kind":"a.b"}\n' * (IMPORT_LINES_MAX + 1))
    assert [len(batch.lines) for batch in many] == [IMPORT_LINES_MAX, 1]

    large = b'{"title":"%s"}\n' % (b"x" * (IMPORT_BYTES_MAX // 3))
    assert [batch.numbers for batch in batches_of(large * 5)] == [[1, 2], [3, 4], [5]]


def test_lines_are_sent_as_they_come_when_the_input_pauses() -> None:
    stream = BufferedReader(BytesIO(b'{"kind":"a.b"}\n' * 30_000))

    batches = list(read_batches(stream, lambda: True, AS_IT_IS))

    assert sum(len(batch.lines) for batch in batches) == 30_000
    # Each chunk of input ends a batch; without a pause they would be fuller.
    assert len(batches) > len(batches_of(b'{"kind":"a.b"}\n' * 30_000))


GOOD = b'{"kind":"a.b"}\n{"kind":"a.c"}\n'


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (gzip.compress(GOOD + b'{"kind":"a.d"}')[:-9], "file.unreadable"),
        (GOOD + b'{"title":"' + b"x" * DRAFT_LINE_BYTES_MAX, "draft.too_large"),
    ],
    ids=["cut gzip", "endless line"],
)
def test_what_stands_before_a_bad_end_is_given_out_first(raw: bytes, code: str) -> None:
    batches = read_batches(unpacked(BufferedReader(BytesIO(raw))), lambda: False, AS_IT_IS)

    assert next(batches).numbers == [1, 2]
    with pytest.raises(CallerError) as caught:
        next(batches)
    assert (caught.value.code, caught.value.place) == (code, "line 3")
