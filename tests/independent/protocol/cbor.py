"""Reads and writes the two uses of CBOR that docs/protocol.md describes. Shares no code with lognode.

Invariant: `read_array` takes no bytes but those that `write` makes of what it gives back; `read_value` takes any
spelling that has one meaning.
"""

import math
import struct

DEPTH_MAX = 16
PARTS_MAX = 65_536
FLOATS = {25: ">e", 26: ">f", 27: ">d"}
SIMPLE = {20: False, 21: True, 22: None}


class Refused(Exception):
    """The bytes break a rule of the page; the text says which."""


class Unbound(Refused):
    """Control data that has its form, and whose ids or signatures do not fit."""


def need(holds: object, why: str) -> None:
    if not holds:
        raise Refused(why)


class _Reader:
    def __init__(self, data: bytes, *, value: bool, booleans: bool = False, parts: float = math.inf) -> None:
        self.data, self.at, self.value, self.booleans, self.parts = data, 0, value, booleans, parts

    def take(self, count: int) -> bytes:
        need(count <= len(self.data) - self.at, "CBOR ends early")
        self.at += count
        return self.data[self.at - count : self.at]

    def item(self, depth: int = 1) -> object:
        need(self.parts > 0, "too many items")
        self.parts -= 1
        initial = self.take(1)[0]
        major, info = initial >> 5, initial & 31
        if major == 7:
            return self.simple(info)
        need(info < 28, "an indefinite length or a reserved head")
        width = 0 if info < 24 else 1 << (info - 24)
        number = info if not width else int.from_bytes(self.take(width), "big")
        shortest = not width or number >= (24 if width == 1 else 1 << (4 * width))
        need(self.value or shortest, "a head longer than needed")
        need(major != 6, "a tag")
        if major < 2:
            number = -1 - number if major else number
            need(-(2**63) <= number < 2**63 if self.value else number < 2**64, "an integer beyond its bounds")
            return number
        if major == 2:
            need(not self.value, "a byte string in a value")
            return self.take(number)
        if major == 3:
            return self.text(number)
        need(depth <= DEPTH_MAX, "too many levels")
        if major == 4:
            return [self.item(depth + 1) for _ in range(number)]
        return self.map(number, depth)

    def text(self, count: int) -> str:
        try:
            return self.take(count).decode()
        except UnicodeDecodeError as error:
            raise Refused("text that is not UTF-8") from error

    def map(self, count: int, depth: int) -> dict[str, object]:
        need(self.value, "a map outside of values")
        found: dict[str, object] = {}
        for _ in range(count):
            need(self.at < len(self.data) and self.data[self.at] >> 5 == 3, "a key that is no text")
            key = self.item()
            need(isinstance(key, str) and key not in found, "a key twice")
            found[str(key)] = self.item(depth + 1)
        return found

    def simple(self, info: int) -> object:
        is_boolean = self.booleans and info in (20, 21)
        need(self.value or is_boolean or info == 22, "a boolean, float or simple value")
        if info in SIMPLE:
            return SIMPLE[info]
        need(info in FLOATS, "a simple value")
        (number,) = struct.unpack(FLOATS[info], self.take(1 << (info - 24)))
        need(math.isfinite(number), "a float that is not finite")
        return float(number)


def read_array(data: bytes, count: int | None = None, parts: float = math.inf) -> list[object]:
    """The elements of a deterministic array, of so many if `count` says so, and with so many items at most."""
    reader = _Reader(data, value=False, parts=parts)
    found = reader.item()
    need(reader.at == len(data), "bytes behind the array")
    need(isinstance(found, list) and count in (None, len(found)), "not an array of so many elements")
    assert isinstance(found, list)
    return found


def read_head(data: bytes) -> list[object]:
    """The elements of the head of a message, which may hold booleans."""
    reader = _Reader(data, value=False, booleans=True)
    found = reader.item()
    need(reader.at == len(data), "bytes behind the array")
    need(isinstance(found, list) and len(found) >= 2, "no array, or one without a type")
    assert isinstance(found, list)
    return found


def read_value(data: bytes) -> object:
    """What a value holds; absent is None."""
    if not data:
        return None
    reader = _Reader(data, value=True, parts=PARTS_MAX)
    found = reader.item()
    need(reader.at == len(data), "bytes behind the value")
    return found


def write(value: object) -> bytes:
    """The deterministic CBOR of arrays, integers, text, bytes and null."""
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return _head(1, -1 - value) if value < 0 else _head(0, value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    assert isinstance(value, list | tuple)
    return _head(4, len(value)) + b"".join(map(write, value))


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    step = next(step for step in range(4) if number < 256 ** (1 << step))
    return bytes([major << 5 | 24 + step]) + number.to_bytes(1 << step, "big")
