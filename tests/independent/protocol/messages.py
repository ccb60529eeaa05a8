"""Reads and writes messages between nodes, in the form of the vectors. From docs/protocol.md, Messages and after it."""

import re
from collections.abc import Callable
from itertools import pairwise

from tests.independent.protocol.cbor import need
from tests.independent.protocol.cbor import read_head as read_cbor
from tests.independent.protocol.fields import as_bytes, as_int, as_list, as_text, or_null, sha256

HEAD_BYTES_MAX = 1_048_576
REQUEST_HEAD_BYTES_MAX = 131_072
MESSAGE_BYTES_MAX = 18_874_368
RECORD_BYTES = 15
ABSENT = 2**32 - 1
HEADER_BYTES_MAX = 1_024
BODY_BYTES_MAX = 1_048_576
HASHES_MAX = 63
RANGE_ENTRIES_MAX = 3_072
ENTRIES_MAX = 8_192
ITEMS_MAX = 1_024
PREFIXES_MAX = 256
VERSIONS_MAX = 8
ADDRESSES_MAX = 8
ADDRESS_CHARS_MAX = 261
LEAVES_MAX = 16
CODE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
PREFIX = re.compile(r"[0-9a-f]{0,31}")
Said = dict[str, object]


class Content:
    """What follows the head, taken from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.entries = 0

    def take(self, count: int) -> bytes:
        need(count <= len(self.data), "content that ends early")
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def count(self, entries: int) -> None:
        self.entries += entries
        need(self.entries <= ENTRIES_MAX and entries * RECORD_BYTES <= len(self.data), "more entries than there can be")


def read_message(data: bytes, *, is_request: bool) -> Said:
    """What a message says. Raises Refused."""
    need(4 <= len(data) <= MESSAGE_BYTES_MAX, "a message that is too short or too long")
    length = int.from_bytes(data[:4], "big")
    need(length <= (REQUEST_HEAD_BYTES_MAX if is_request else HEAD_BYTES_MAX), "a head that is too long")
    need(4 + length <= len(data), "a head that ends early")
    head, content = data[4 : 4 + length], Content(data[4 + length :])
    version, kind, *fields = read_cbor(head)
    layouts = REQUESTS if is_request else ANSWERS
    need(isinstance(kind, int) and kind in layouts, "an unknown type")
    assert isinstance(kind, int)
    name, reads = layouts[kind]
    need(version == (0 if kind < 16 else 1) and not isinstance(version, bool), "another version")
    need(len(fields) == len(reads), "another number of fields")
    said: Said = {"is": name, **({"version": 1} if is_request and kind >= 16 else {})}
    for (field, read), value in zip(reads.items(), fields, strict=True):
        said[field] = read(value, content)
    need(not content.data, "bytes behind the content")
    return said


Read = Callable[[object, Content], object]


def alone(read: Callable[[object], object]) -> Read:
    return lambda value, _: read(value)


def of_bytes(*counts: int) -> Read:
    def read(value: object) -> str:
        need(len(as_bytes(value)) in counts, "another length")
        return as_bytes(value).hex()

    return alone(read)


def many(read: Callable[[object], object], least: int, most: int) -> Callable[[object], list[object]]:
    def read_all(value: object) -> list[object]:
        items = as_list(value)
        need(least <= len(items) <= most, "too few or too many")
        return [read(item) for item in items]

    return read_all


def as_address(value: object) -> str:
    text = as_text(value)
    need(1 <= len(text) <= ADDRESS_CHARS_MAX and text.isprintable(), "no address")
    return text


def as_code(value: object) -> str:
    text = as_text(value)
    need(CODE.fullmatch(text), "no code")
    return text


def as_prefix(value: object) -> str:
    text = as_text(value)
    need(PREFIX.fullmatch(text), "no prefix")
    return text


def as_prefixes(value: object) -> list[object]:
    found = many(as_prefix, 1, PREFIXES_MAX)(value)
    need(len(set(map(str, found))) == len(found), "a prefix twice")
    return found


def as_want(value: object) -> Said:
    feed, start = _parts(value, 2)
    return {"is": "RangeWant", "feed": as_bytes(feed, 16).hex(), "start": as_int(start)}


def as_controls_want(value: object) -> Said:
    feed, start, known = _parts(value, 3)
    need(len(as_bytes(known)) in (0, 8), "no digest")
    return {
        "is": "ControlsWant", "feed": as_bytes(feed, 16).hex(), "start": as_int(start), "known": as_bytes(known).hex()
    }  # fmt: skip


def as_node(value: object) -> Said:
    prefix, below = _parts(value, 2)
    text, items = as_prefix(prefix), as_list(below)
    if any(isinstance(item, bytes) for item in items):
        need(len(items) == 16, "not sixteen fingerprints")
        prints = [as_bytes(item) for item in items]
        need(all(len(item) in (0, 16) for item in prints), "no fingerprint")
        return {"is": "Branch", "prefix": text, "children": [item.hex() for item in prints]}
    heads = many(as_head, 0, LEAVES_MAX)(items)
    feeds = [str(head["feed"]) for head in heads if isinstance(head, dict)]
    need(all(a < b for a, b in pairwise(feeds)) and all(feed.startswith(text) for feed in feeds), "feeds elsewhere")
    return {"is": "Leaves", "prefix": text, "heads": heads}


def as_head(value: object) -> Said:
    feed, size, root, digest = _parts(value, 4)
    need(len(as_bytes(root)) == (32 if as_int(size) else 0), "an empty feed with a root, or the reverse")
    need(len(as_bytes(digest)) in (0, 8) and (size or digest), "no digest, or a feed without anything")
    return {
        "is": "FeedHead", "feed": as_bytes(feed, 16).hex(), "size": as_int(size),
        "root": as_bytes(root).hex(), "foretold": as_bytes(digest).hex(),
    }  # fmt: skip


def as_outcome(value: object) -> int | str:
    return as_code(value) if isinstance(value, str) else as_int(value)


def _parts(value: object, count: int) -> list[object]:
    parts = as_list(value)
    need(len(parts) == count, "another number of parts")
    return parts


def ranges(value: object, content: Content) -> list[Said]:
    heads = [_parts(item, 4) for item in as_list(value)]
    need(len(heads) <= ITEMS_MAX, "too many ranges")
    return [_range(head, content) for head in heads]


def _range(head: list[object], content: Content) -> Said:
    feed, start, entries, note = head
    count = as_int(entries, 1, RANGE_ENTRIES_MAX)
    text = content.take(as_int(note, 1))
    content.count(count)
    records = [content.take(RECORD_BYTES) for _ in range(count)]
    return {
        "feed": as_bytes(feed, 16).hex(), "start": as_int(start), "entries": [_entry(one, content) for one in records],
        "note": text.hex(),
    }  # fmt: skip


def _entry(record: bytes, content: Content) -> Said:
    hlc, visibility = int.from_bytes(record[:8], "big"), record[8]
    header_len, body_len = int.from_bytes(record[9:11], "big"), int.from_bytes(record[11:], "big")
    need(hlc < 2**63 and 32 <= header_len <= HEADER_BYTES_MAX, "a time or header beyond its bounds")
    need(body_len == ABSENT or body_len <= BODY_BYTES_MAX, "a body that is too long")
    need(header_len != 32 or body_len == ABSENT, "a body behind a withheld header")
    header = content.take(header_len)
    body = None if body_len == ABSENT else content.take(body_len)
    return {"hlc": hlc, "visibility": visibility, "header": header.hex(), "body": None if body is None else body.hex()}


def controls(value: object, content: Content) -> list[Said]:
    found: list[Said] = []
    for item in as_list(value):
        feed, note, places = _parts(item, 3)
        numbers = as_list(places)
        need(numbers and len(numbers) % 2 == 0, "a span without its place or the length of its path")
        text = content.take(as_int(note, 1))
        content.count(len(numbers) // 2)
        records = [content.take(RECORD_BYTES) for _ in numbers[::2]]
        for record, seq, hashes in zip(records, numbers[::2], numbers[1::2], strict=True):
            entry = _entry(record, content)
            need(entry["body"] is not None and len(str(entry["header"])) != 64, "a control span in part")
            path = [content.take(32).hex() for _ in range(as_int(hashes, 0, HASHES_MAX))]
            place = {"feed": as_bytes(feed, 16).hex(), "seq": as_int(seq)}
            found.append({**place, "entry": entry, "note": text.hex(), "path": path})
    need(len(found) <= ITEMS_MAX, "too many control spans")
    return found


def as_bool(value: object) -> bool:
    need(isinstance(value, bool), "neither true nor false")
    return bool(value)


def optional(read: Callable[[object], object]) -> Read:
    return alone(lambda value: or_null(value, read))


ADDRESSES = many(as_address, 0, ADDRESSES_MAX)
TENANT = of_bytes(20)
REQUESTS: dict[int, tuple[str, dict[str, Read]]] = {
    1: ("Hello", {
        "tenant": TENANT, "versions": alone(many(lambda one: as_int(one, 1), 1, VERSIONS_MAX)),
        "instance": of_bytes(16), "summary": of_bytes(32), "addresses": alone(ADDRESSES), "known": of_bytes(0, 8),
    }),
    17: ("Expand", {"tenant": TENANT, "prefixes": alone(as_prefixes)}),
    19: ("ControlsWanted", {"tenant": TENANT, "wants": alone(many(as_controls_want, 0, ITEMS_MAX))}),
    21: ("Pull", {"tenant": TENANT, "wants": alone(many(as_want, 0, ITEMS_MAX))}),
    23: ("Push", {"tenant": TENANT, "ranges": ranges, "foretold": controls}),
    25: ("Follow", {"tenant": TENANT, "instance": of_bytes(16)}),
}  # fmt: skip
ANSWERS: dict[int, tuple[str, dict[str, Read]]] = {
    2: ("Welcome", {
        "version": alone(lambda one: as_int(one, 1)), "instance": of_bytes(16), "summary": of_bytes(32),
        "addresses": optional(ADDRESSES), "root": optional(as_node),
    }),
    4: ("Refused", {"code": alone(as_code)}),
    18: ("Expanded", {"nodes": alone(many(as_node, 0, PREFIXES_MAX))}),
    20: ("Controls", {"foretold": controls, "more": alone(as_bool)}),
    22: ("Ranges", {"ranges": ranges}),
    24: ("Pushed", {"outcomes": alone(many(as_outcome, 0, ITEMS_MAX + 1))}),
    26: ("Pulse", {"summary": of_bytes(32)}),
}  # fmt: skip


# Summaries.


def digest_of(seqs: list[int]) -> bytes:
    return sha256(*(seq.to_bytes(8, "big") for seq in seqs))[:8] if seqs else b""


def line_of(feed: bytes, size: int, root: bytes, seqs: list[int]) -> bytes:
    return feed + size.to_bytes(8, "big") + root + digest_of(seqs)


def fingerprint(lines: dict[bytes, bytes], prefix: str) -> bytes:
    held = [line for feed, line in sorted(lines.items()) if feed.hex().startswith(prefix)]
    return sha256(*held)[:16] if held else b""


def addresses_digest(addresses: list[str]) -> bytes:
    return sha256("\n".join(addresses).encode())[:8] if addresses else b""
