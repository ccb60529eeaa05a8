"""The bytes of a bundle: items and frames have one spelling, and chunks may be cut anywhere."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.clock import HLC_MAX
from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, TenantId
from lognode.core.limits import BUNDLE_FEEDS_MAX, BUNDLE_ITEM_BYTES_MAX, HEADER_BYTES_MAX, SIZE_MAX
from lognode.timeline.proof.bundle.frames import frame, read_frames
from lognode.timeline.proof.bundle.items import (
    FeedItem,
    Head,
    Item,
    Seal,
    SpanItem,
    StubItem,
    TenantItem,
    VoidItem,
    decode_item,
    encode_item,
    pack_path,
    unpack_path,
)

hashes = st.binary(min_size=32, max_size=32)
paths = st.lists(hashes, max_size=63)
joined_paths = paths.map(b"".join)
feed_ids = st.binary(min_size=16, max_size=16).map(FeedId)
numbers = st.integers(0, SIZE_MAX)
hlcs = st.integers(0, HLC_MAX)
seqs = st.integers(0, SIZE_MAX - 1)
feeds = st.integers(0, BUNDLE_FEEDS_MAX - 1)
headers = st.binary(max_size=HEADER_BYTES_MAX)
shared = st.integers(0, 63)
ascii_text = st.text(st.characters(codec="ascii"))
items: st.SearchStrategy[Item] = st.one_of(
    st.builds(
        Head,
        st.binary(min_size=20, max_size=20).map(TenantId),
        hashes,
        feed_ids,
        numbers,
        ascii_text,
        st.integers(0, 1),
    ),
    st.builds(FeedItem, feed_ids, st.binary(), hlcs, headers, st.binary(), joined_paths),
    st.builds(TenantItem, hlcs, headers, st.binary(), shared, joined_paths),
    st.builds(SpanItem, feeds, seqs, hlcs, st.integers(0, 2), headers, st.none() | st.binary(), shared, joined_paths),
    st.builds(StubItem, feeds, seqs, hlcs, hashes, shared, joined_paths),
    st.builds(Seal, st.binary()),
    st.builds(VoidItem, feeds, seqs, hlcs, st.integers(0, 255), headers, shared, joined_paths),
)


@given(items)
def test_an_item_decodes_to_what_was_encoded(item: Item) -> None:
    assert decode_item(encode_item(item)) == item


@given(paths, paths, st.integers(0, 63))
def test_a_path_is_the_same_after_it_was_packed(path: list[bytes], previous: list[bytes], kept: int) -> None:
    # Two paths of one tree end alike.
    previous = previous + path[len(path) - min(kept, len(path)) :]
    count, own = pack_path(path, previous)

    assert count >= min(kept, len(path))
    assert unpack_path(count, own, previous) == path


@given(st.lists(st.binary(max_size=300)), st.data())
def test_frames_are_the_same_however_the_bytes_are_cut(payloads: list[bytes], data: st.DataObject) -> None:
    raw = b"".join(map(frame, payloads))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=20)))

    def chunks() -> Iterator[bytes]:
        for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True):
            yield raw[start:stop]

    found = list(read_frames(chunks()))
    assert [one.payload for one in found] == payloads
    assert b"".join(one.head + one.payload for one in found) == raw
    assert [one.offset for one in found] == [
        len(b"".join(map(frame, payloads[:number]))) for number in range(len(payloads))
    ]


def test_a_length_is_not_trusted_further_than_an_item_can_be() -> None:
    def endless() -> Iterator[bytes]:
        yield b"\x5a" + (BUNDLE_ITEM_BYTES_MAX + 1).to_bytes(4)
        raise AssertionError("it reads on")

    with pytest.raises(CallerError, match="at most") as caught:
        list(read_frames(endless()))
    assert (caught.value.code, caught.value.place) == ("bundle.invalid", "item 0, byte 0")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x43ab", id="cut payload"),
        pytest.param(b"\x58", id="cut head"),
        pytest.param(b"\x63abc", id="text"),
        pytest.param(b"\x83abc", id="array"),
        pytest.param(b"\x58\x03abc", id="one byte of length where none is needed"),
        pytest.param(b"\x59\x00\x18" + bytes(24), id="two where one is enough"),
        pytest.param(b"\x5a\x00\x00\x01\x00" + bytes(256), id="four where two are enough"),
        pytest.param(b"\x5b" + bytes(7) + b"\x01a", id="eight"),
        pytest.param(b"\x5c", id="reserved"),
        pytest.param(b"\x5f\x41a\xff", id="indefinite"),
        pytest.param(b"\xd8\x18\x41a", id="tag"),
    ],
)
def test_a_frame_has_one_spelling(raw: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        list(read_frames([frame(b"first"), raw]))
    assert (caught.value.code, caught.value.place) == ("bundle.invalid", "item 1, byte 6")


SPAN: list[Any] = [3, 0, 1, 2, 1, b"header", b"body", 0, bytes(32)]
HEAD: list[Any] = ["lognode.bundle", 1, bytes(20), bytes(32), bytes(16), 0, "", 0]


def but(fields: list[Any], at: int, value: Any) -> bytes:
    return encode([*fields[:at], value, *fields[at + 1 :]])


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "no item"),
        (b"\xff", "no item"),
        (encode({}), "no item"),
        (encode([]), "no item"),
        (encode("lognode.bundle"), "no item"),
        (encode(SPAN) + b"\x00", "no item"),
        (b"\x98\x09" + encode(SPAN)[1:], "no item"),
        (encode(SPAN)[:1] + b"\x18\x03" + encode(SPAN)[2:], "no item"),
        (encode([0, *HEAD[1:]]), "begins with 0"),
        (encode([7, b""]), "begins with 7"),
        (encode([True, b""]), "begins with True"),
        (encode(["lognode.bundle"]), "no version"),
        (but(HEAD, 1, 2), "version 2"),
        (but(HEAD, 1, "1"), "no version"),
        (but(HEAD, 2, bytes(19)), "tenant"),
        (but(HEAD, 5, -1), "made_ms"),
        (but(HEAD, 5, 1.0), "made_ms"),
        (but(HEAD, 6, "ü"), "query"),
        (but(HEAD, 6, "a" * 65_537), "query"),
        (but(HEAD, 7, 2), "has_private"),
        (encode([*HEAD[:7], False]), "has_private"),
        (encode(SPAN[:-1]), "7 fields, not 8"),
        (encode([*SPAN, None]), "9 fields, not 8"),
        (but(SPAN, 1, BUNDLE_FEEDS_MAX), "feed"),
        (but(SPAN, 2, SIZE_MAX), "seq"),
        (but(SPAN, 2, 1 << 63), "seq"),
        (but(SPAN, 2, 1 << 70), "tags"),
        (encode([10**5000]), "tags"),
        (encode(["lognode.bundle", 10**5000]), "tags"),
        (but(SPAN, 3, HLC_MAX + 1), "hlc"),
        (but(SPAN, 4, 3), "visibility"),
        (but(SPAN, 5, bytes(1025)), "header"),
        (but(SPAN, 5, None), "header"),
        (but(SPAN, 6, bytes(1_048_577)), "body"),
        (but(SPAN, 6, "body"), "body"),
        (but(SPAN, 7, 64), "shared"),
        (but(SPAN, 8, bytes(31)), "hashes"),
        (but(SPAN, 8, bytes(64 * 32)), "hashes"),
        (encode([4, 0, 0, 0, bytes(31), 0, b""]), "header_sha256"),
        (encode([5, bytes(131_073)]), "note"),
    ],
)
def test_anything_else_is_no_item(payload: bytes, said: str) -> None:
    with pytest.raises(CallerError, match=said) as caught:
        decode_item(payload)
    assert caught.value.code == "bundle.invalid"


def test_a_path_shares_no_more_than_there_was() -> None:
    with pytest.raises(CallerError, match="shares 2 hashes with a path of 1"):
        unpack_path(2, b"", [bytes(32)])
