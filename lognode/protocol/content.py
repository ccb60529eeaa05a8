"""Ranges and control spans as bytes behind the head of a message.

Owns their layout: lengths stand in the head and in records of 15 bytes, so a reader knows what it will hold before it
holds it. Judges no proof. Invariant: whatever decodes gives the same bytes when it is encoded again.
Source: docs/protocol.md, Between nodes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby, pairwise
from struct import Struct
from typing import Final, NoReturn

from lognode.core.clock import HLC_MAX
from lognode.core.errors import PeerError
from lognode.core.ids import FEED_ID_BYTES, FeedId
from lognode.core.limits import (
    BATCH_ITEMS_MAX,
    BODY_BYTES_MAX,
    HEADER_BYTES_MAX,
    MESSAGE_ENTRIES_MAX,
    NOTE_BYTES_MAX,
    RANGE_BYTES_MAX,
    RANGE_SPANS_MAX,
    SIZE_MAX,
)
from lognode.core.span import Entry, Foretold, Range

_RECORD: Final = Struct(">QBHI")  # hlc, visibility, length of the header or of its hash, length of the body
_NO_BODY: Final = 2**32 - 1
_HASH_BYTES: Final = 32
_PATH_HASHES_MAX: Final = 63
# Entry._make without its Python frame.
_entry: Final[Callable[[tuple[int, int, bytes, bytes | None]], Entry]] = partial(tuple.__new__, Entry)


class Cursor:
    """The content of a message while it is read."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes. Raises PeerError("message.malformed") where there are fewer."""
        start, self._at = self._at, self._at + size
        if self._at > len(self._content):
            malformed("the content ends early")
        return self._content[start : self._at]

    def take_entries(self, records: Iterable[tuple[int, int, int, int]]) -> list[Entry]:
        """The next entries, as their records say. Raises PeerError("message.malformed").

        Every entry that comes from another node passes here, so slices are written out.
        """
        content, at = self._content, self._at
        entries: list[Entry] = []
        for hlc, visibility, header_bytes, body_bytes in records:
            if hlc > HLC_MAX or not _HASH_BYTES <= header_bytes <= HEADER_BYTES_MAX:
                malformed("an entry's time or header")
            start, at = at, at + header_bytes
            if body_bytes == _NO_BODY:
                entries.append(_entry((hlc, visibility, content[start:at], None)))
                continue
            if body_bytes > BODY_BYTES_MAX or header_bytes == _HASH_BYTES:
                malformed("an entry's body")
            middle, at = at, at + body_bytes
            entries.append(_entry((hlc, visibility, content[start:middle], content[middle:at])))
        if at > len(content):
            malformed("the content ends early")
        self._at = at
        return entries

    def close(self) -> None:
        """Pass if all was taken. Raises PeerError("message.malformed")."""
        if self._at != len(self._content):
            malformed("the content goes on behind its end")


def malformed(detail: str) -> NoReturn:
    """Refuse a message."""
    raise PeerError("message.malformed", detail)


def encode_ranges(ranges: Iterable[Range]) -> tuple[list[object], list[bytes]]:
    """What stands of ranges in the head of a message, and the pieces of its content."""
    head: list[object] = []
    pieces: list[bytes] = []
    for feed, start, entries, note in ranges:
        head.append([feed, start, len(entries), len(note)])
        pieces += (note, *map(_record, entries))
        for entry in entries:
            pieces += (entry.header, entry.body or b"")
    return head, pieces


def decode_ranges(head: object, cursor: Cursor) -> tuple[Range, ...]:
    """Ranges, none beyond the limits. Raises PeerError message.malformed, message.too_large or range.too_large."""
    ranges: list[Range] = []
    left = MESSAGE_ENTRIES_MAX
    for item in items_of(head, "ranges"):
        ranges.append(_decode_range(item, cursor, left))
        left -= len(ranges[-1].entries)
    return tuple(ranges)


def _decode_range(item: object, cursor: Cursor, entries_max: int) -> Range:
    feed, start, count, note_bytes = parts_of(item, 4, "range")
    feed_id = FeedId(bytes_of(feed, FEED_ID_BYTES, "feed"))
    first = int_of(start, SIZE_MAX, "start")
    if int_of(count, SIZE_MAX, "entries") > RANGE_SPANS_MAX:
        raise PeerError("range.too_large", f"{count} entries, at most {RANGE_SPANS_MAX}")
    if int_of(count, SIZE_MAX, "entries") > entries_max:
        raise PeerError("message.too_large", f"more than {MESSAGE_ENTRIES_MAX} entries")
    note = cursor.take(int_of(note_bytes, NOTE_BYTES_MAX, "note"))
    entries = _decode_entries(int_of(count, SIZE_MAX - first, "entries"), cursor)
    if not entries:
        malformed("a range without entries")
    return Range(feed_id, first, entries, note)


def encode_controls(foretold: Iterable[Foretold]) -> tuple[list[object], list[bytes]]:
    """What stands of control spans in the head of a message, and the pieces of its content.

    Those of one feed under one checkpoint stand together.
    """
    head: list[object] = []
    pieces: list[bytes] = []
    for (feed, note), group in groupby(foretold, key=lambda span: (span.feed, span.note)):
        spans = list(group)
        head.append([feed, len(note), [number for span in spans for number in (span.seq, len(span.path))]])
        pieces += (note, *(_record(span.entry) for span in spans))
        for span in spans:
            pieces += (span.entry.header, span.entry.body or b"", *span.path)
    return head, pieces


def decode_controls(head: object, cursor: Cursor) -> tuple[Foretold, ...]:
    """Control spans, none beyond the limits. Raises PeerError("message.malformed")."""
    groups: list[list[Foretold]] = []
    left = BATCH_ITEMS_MAX
    for item in items_of(head, "control spans"):
        groups.append(list(_decode_group(item, cursor, left)))
        left -= len(groups[-1])
    if any(one[0].feed == other[0].feed and one[0].note == other[0].note for one, other in pairwise(groups)):
        malformed("control spans under one checkpoint stand apart")
    return tuple(chain.from_iterable(groups))


def _decode_group(item: object, cursor: Cursor, spans_max: int) -> Iterator[Foretold]:
    feed, note_bytes, places = parts_of(item, 3, "control spans")
    feed_id = FeedId(bytes_of(feed, FEED_ID_BYTES, "feed"))
    if places.__class__ is not list or not 0 < len(places) <= 2 * spans_max or len(places) % 2:
        malformed("places of control spans")
    note = cursor.take(int_of(note_bytes, NOTE_BYTES_MAX, "note"))
    seqs = [int_of(seq, SIZE_MAX - 1, "seq") for seq in places[::2]]
    hops = [int_of(count, _PATH_HASHES_MAX, "path") for count in places[1::2]]
    for seq, count, record in zip(seqs, hops, list(_records(len(seqs), cursor)), strict=True):
        (entry,) = cursor.take_entries([record])
        if entry.body is None:
            malformed("a control span without its body")
        path = cursor.take(count * _HASH_BYTES)
        hashes = tuple([path[at : at + _HASH_BYTES] for at in range(0, len(path), _HASH_BYTES)])
        yield Foretold(feed_id, seq, entry, note, hashes)


def _record(entry: Entry) -> bytes:
    body_bytes = _NO_BODY if entry.body is None else len(entry.body)
    return _RECORD.pack(entry.hlc, entry.visibility, len(entry.header), body_bytes)


def _decode_entries(count: int, cursor: Cursor) -> tuple[Entry, ...]:
    records = list(_records(count, cursor))
    weight = sum(
        [header_bytes + (0 if body_bytes == _NO_BODY else body_bytes) for *_, header_bytes, body_bytes in records]
    )
    if weight > RANGE_BYTES_MAX:
        raise PeerError("range.too_large", f"{weight} bytes, at most {RANGE_BYTES_MAX}")
    return tuple(cursor.take_entries(records))


def _records(count: int, cursor: Cursor) -> Iterator[tuple[int, int, int, int]]:
    return _RECORD.iter_unpack(cursor.take(count * _RECORD.size))


def items_of(value: object, what: str, items_max: int = BATCH_ITEMS_MAX) -> Sequence[object]:
    """A bounded array. Raises PeerError("message.malformed")."""
    if value.__class__ is not list or len(value) > items_max:
        malformed(f"{what}: no array of at most {items_max}")
    return value


def parts_of(value: object, count: int, what: str) -> list[object]:
    """An array of `count` parts. Raises PeerError("message.malformed")."""
    if value.__class__ is not list or len(value) != count:
        malformed(f"{what}: no array of {count}")
    return value


def bytes_of(value: object, size: int, what: str, *, is_optional: bool = False) -> bytes:
    """`size` bytes; none, where that is allowed. Raises PeerError("message.malformed")."""
    if value.__class__ is not bytes or not (len(value) == size or (is_optional and not value)):
        malformed(f"{what}: not {size} bytes")
    return value


def int_of(value: object, number_max: int, what: str) -> int:
    """A number from 0 on. Raises PeerError("message.malformed")."""
    if value.__class__ is not int or not 0 <= value <= number_max:
        malformed(f"{what}: no number up to {number_max}")
    return value
