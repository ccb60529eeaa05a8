"""Strict CBOR and strict JSON.

Two encodings, two rules. Arrays that are hashed (headers, bodies, signed arrays) are RFC 8949 section
4.2.1 deterministic: they are decoded, encoded again and compared. Values that an author encoded (data,
metadata, annotations) are never re-encoded, so they need no canonical form, only one meaning: unique text
keys, 64-bit integers, finite floats, bounded depth, no tags, nothing after the end. Invariant: what is
accepted here has the same meaning for every strict decoder, and what is refused costs no more than its length.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import cbor2
import msgspec

from lognode.core.errors import CallerError
from lognode.core.limits import COPY_BYTES_MAX, DEPTH_MAX, DRAFT_LINE_BYTES_MAX, PARTS_MAX

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
_SMALL: Final = 2**62
_JSON_PARTS_MAX: Final = 2 * PARTS_MAX + 1024  # commas and colons of a draft: of data, metadata and all else
_KEY: Final = re.compile(rb'"\s*:')
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[,:\[{]', re.DOTALL)  # of JSON: texts, and what values are told by
_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}  # of what follows the first byte of a CBOR item
# By that byte how long its head is, with what follows where that is told by the byte itself.
_STEPS: Final = bytes(
    1 + _WIDTHS.get(byte & 31, 0) + (byte & 31 if byte >> 5 in (2, 3) and byte & 31 < 24 else 0) for byte in range(256)
)
_LONG: Final = frozenset(major << 5 | info for major in (2, 3) for info in _WIDTHS)  # strings that say how long
_decode_json = msgspec.json.Decoder().decode


def encode(value: object) -> bytes:
    """Deterministic CBOR of arrays, text, bytes, integers, booleans and null; maps keep their order."""
    return cbor2.dumps(value)


def encode_value(value: object) -> bytes:
    """CBOR of a JSON value that check_value let pass. Raises CallerError("json.not_utf8" or "json.too_many")."""
    try:
        encoded = cbor2.dumps(value)
    except UnicodeEncodeError:
        raise CallerError("json.not_utf8", "a lone surrogate") from None
    check_parts(encoded)
    return encoded


class _NoTags(dict[int, Any]):
    """Decoders of tags, asked at a tag's head: refuses it before anything of its content is read.

    What tags mean is work without bound: shared references (28, 29) grow exponentially, decimals (4, 5) take
    quadratic time, big integers (2, 3) have as many digits as their sender likes.
    """

    def __missing__(self, tag: int) -> NoReturn:
        raise ValueError("tags are not allowed")


_NO_TAGS: Final = _NoTags()


def _load(data: bytes, depth_max: int) -> Any:
    """The one item that `data` begins with, in linear time. Raises CallerError("cbor.malformed").

    Keys that are no strings are refused too, before a map takes them: the hashes of numbers and of arrays can be made
    to collide, so that each key is compared with all before it.
    """
    try:
        return cbor2.loads(
            data,
            semantic_decoders=_NO_TAGS,
            max_depth=depth_max,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except Exception as error:  # noqa: BLE001 - cbor2 raises many types on hostile bytes; all mean one thing
        raise CallerError("cbor.malformed", f"{error.__cause__ or error!s:.200}") from None


def decode_array(data: bytes, length: int) -> list[object]:
    """The array of `length` elements that `data` encodes deterministically.

    Raises CallerError("cbor.malformed") for any other bytes, also for another encoding of the same array; and
    "json.too_many".
    """
    check_parts(data)
    value = decode_any_array(data)
    if len(value) != length:
        raise CallerError("cbor.malformed", f"not an array of {length} but of {len(value)}")
    return value


def decode_any_array(data: bytes) -> list[object]:
    """The array that `data` encodes deterministically, whatever its length. Raises CallerError("cbor.malformed")."""
    value = _load(data, DEPTH_MAX)
    if not isinstance(value, list) or cbor2.dumps(value) != data:
        raise CallerError("cbor.malformed", "not the deterministic encoding of an array")
    return value


def decode_value(data: bytes) -> object:
    """The JSON value that the CBOR `data` holds; empty bytes are an absent value, None.

    Raises CallerError("cbor.malformed", "json.number", "json.too_deep" or "json.too_many").
    """
    if not data:
        return None
    check_parts(data)
    value = _load(data, DEPTH_MAX + 2)
    check_value(value)
    if cbor2.dumps(value) != data and _item_end(data, 0) != len(data):
        raise CallerError("cbor.malformed", "bytes follow the value")
    return value


def check_parts(data: bytes) -> None:
    """Refuse CBOR of more than PARTS_MAX items, before any is made: a decoder makes all of them without a pause.

    Raises CallerError("json.too_many"). Bytes that are no CBOR may pass.
    """
    end = len(data)
    if end <= PARTS_MAX:
        return
    at = parts = 0
    while at < end:
        parts += 1
        if parts > PARTS_MAX:
            raise CallerError("json.too_many", f"more than {PARTS_MAX} values and keys")
        head = data[at]
        step = _STEPS[head]
        if head in _LONG:
            step += int.from_bytes(data[at + 1 : at + step], "big")
        at += step


def check_json_parts(raw: bytes) -> None:
    """Refuse JSON text that surely holds more than data and metadata may, before any of it is made.

    What passes holds four times PARTS_MAX at most. Raises CallerError("json.too_many").
    """
    if len(raw) <= PARTS_MAX:
        return
    commas, colons, openings = raw.count(b","), raw.count(b":"), raw.count(b"[") + raw.count(b"{")
    if commas + colons <= _JSON_PARTS_MAX and openings <= _JSON_PARTS_MAX:
        return
    between = openings = 0
    for found in _TOKEN.finditer(raw):  # texts may hold any number of these
        token = found[0]
        if token in b",:":
            between += 1
        elif token in b"[{":
            openings += 1
        if openings > 2 * DEPTH_MAX * (between + 1):
            return  # too deep, as whoever decodes it says
        if between > _JSON_PARTS_MAX or openings > _JSON_PARTS_MAX:
            raise CallerError("json.too_many", f"more than {PARTS_MAX} values and keys")


def check_copyable(values: Sequence[bytes], texts: object, room: int) -> None:
    """Refuse CBOR `values` whose copy no line or body could hold: as JSON, they may take eight times as much.

    Made of that JSON, CBOR has all floats in 64 bits; for these it may grow by `room` bytes. `texts` stand beside them.
    Raises CallerError("draft.too_large").
    """
    read = [decode_value(value) for value in values]
    size, size_max = len(msgspec.json.encode([read, texts])), DRAFT_LINE_BYTES_MAX - COPY_BYTES_MAX
    if size > size_max:
        raise CallerError("draft.too_large", f"about {size} bytes as JSON, at most {size_max}")
    growth = sum(len(cbor2.dumps(value)) for value in read) - sum(map(len, values))
    if growth > room:
        raise CallerError("draft.too_large", f"{growth} bytes more with all floats in 64 bits, at most {room}")


def _item_end(data: bytes, start: int) -> int:
    """Where the item at `start` ends, for bytes that decoded well."""
    major, info = data[start] >> 5, data[start] & 31
    size = 1 << (info - 24) if 24 <= info <= 27 else 0
    at = start + 1 + size
    argument = int.from_bytes(data[start + 1 : at], "big") if size else info
    if major in (2, 3):
        return at + argument
    if major in (4, 5):
        for _ in range(argument * (major - 3)):
            at = _item_end(data, at)
    return at


def check_value(value: object, depth: int = 1) -> int:
    """Count of map keys in a decoded value, at any depth.

    Raises CallerError "json.number", "json.too_deep" or "cbor.malformed" (a key that is no text, a type that JSON
    has not).
    """
    kind = value.__class__
    if kind is dict or kind is list:
        if depth > DEPTH_MAX:
            raise CallerError("json.too_deep", f"more than {DEPTH_MAX} levels")
        keys = 0
        items = value
        if kind is dict:
            keys = len(value)  # type: ignore[arg-type]
            for key in value:  # type: ignore[attr-defined]
                if key.__class__ is not str:
                    raise CallerError("cbor.malformed", "a key is no text")
            items = value.values()  # type: ignore[attr-defined]
        for item in items:  # type: ignore[attr-defined]
            # Inline for the two most common types, since every appended value passes here.
            if item.__class__ is str or (item.__class__ is int and -_SMALL < item < _SMALL):
                continue
            keys += check_value(item, depth + 1)
        return keys
    if kind is int:
        if not INT_MIN <= value <= INT_MAX:  # type: ignore[operator]
            raise CallerError("json.number", "an integer does not fit 64 bits")
    elif kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]
            raise CallerError("json.number", f"{value} is not finite")
    elif value is not None and kind is not bool and kind is not str:
        raise CallerError("cbor.malformed", f"{kind.__name__} is no JSON type")
    return 0


def parse_json(raw: bytes) -> object:
    """The value of strict JSON text: UTF-8, unique keys, numbers in range, bounded depth.

    Raises CallerError json.malformed, json.not_utf8, json.duplicate_key, json.number, json.too_deep or json.too_many.
    """
    check_json_parts(raw)
    try:
        value = _decode_json(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        _blame(raw, error)
    except RecursionError:
        raise CallerError("json.too_deep", f"more than {DEPTH_MAX} levels") from None
    check_keys(raw, check_value(value))
    return value


def check_keys(raw: bytes, keys: int) -> None:
    """Refuse JSON text in which a key appears twice; `keys` is how many its decoded value holds.

    The decoder keeps the last of two equal keys. Every key is followed by a colon, so a text with as many
    quotes before colons as decoded keys has none twice; only a text with more is looked at again.
    """
    if len(_KEY.findall(raw)) == keys:
        return
    try:
        json.loads(raw, object_pairs_hook=_unique)
    except ValueError:
        raise CallerError("json.malformed", "not readable as JSON") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise CallerError("json.duplicate_key", f"{key!r:.80}")
        found[key] = value
    return found


def _blame(raw: bytes, error: Exception) -> NoReturn:
    """Raise the code that says what is wrong with `raw`, which the JSON decoder refused."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as bad:
        raise CallerError("json.not_utf8", f"byte {bad.start + 1} is {raw[bad.start]:#04x}") from None
    detail = str(error).removeprefix("JSON is malformed: ")  # the title says so
    if "out of range" in detail or re.search(r"(?<![\"\w])-?(NaN|Infinity)\b", text):
        raise CallerError("json.number", detail) from None
    raise CallerError("json.malformed", detail) from None
