"""Ids: one text for one id, and order kept."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.errors import CallerError
from lognode.core.ids import (
    ALPHABET,
    LogLineKind,
    b32decode,
    b32encode,
    format_logline,
    logline,
    parse_logline,
    parse_span_id,
)


@given(st.binary(max_size=40))
def test_decoding_gives_back_what_was_encoded(data: bytes) -> None:
    assert b32decode(b32encode(data), len(data)) == data


@given(st.binary(min_size=24, max_size=24), st.binary(min_size=24, max_size=24))
def test_text_sorts_as_bytes_do(one: bytes, other: bytes) -> None:
    assert (one < other) == (b32encode(one) < b32encode(other))


@given(st.text(alphabet=ALPHABET, min_size=39, max_size=39))
def test_no_second_text_stands_for_an_id(text: str) -> None:
    with suppress(CallerError):  # three in four have pad bits that are not zero
        assert b32encode(parse_span_id(text)) == text


@pytest.mark.parametrize(
    "text", ["", "0" * 38, "0" * 40, "O" + "0" * 38, "i" + "0" * 38, "A" + "0" * 38, "0" * 38 + "1"]
)
def test_a_malformed_span_id_is_refused(text: str) -> None:
    with pytest.raises(CallerError) as caught:
        parse_span_id(text)
    assert caught.value.code == "id.malformed"


@pytest.mark.parametrize("kind", list(LogLineKind))
def test_a_logline_id_names_its_kind(kind: LogLineKind) -> None:
    text = format_logline(logline(kind, bytes(range(32))))
    assert text.startswith(f"logline-id://{kind.name.lower()}/")
    assert parse_logline(text) == bytes([kind]) + bytes(range(32))


@pytest.mark.parametrize(
    "text", ["node/abc", "logline-id://robot/" + "0" * 52, "logline-id://node", "logline-id://node/0"]
)
def test_a_malformed_logline_id_is_refused(text: str) -> None:
    with pytest.raises(CallerError):
        parse_logline(text)
