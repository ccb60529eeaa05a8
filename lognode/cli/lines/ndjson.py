"""NDJSON files as batches to send: lines with their numbers, each with a key that makes sending it twice harmless.

Knows no node. Invariant: a draft leaves here as it stands in the file, but for a key added at its end, so that
whatever is wrong with it is found where it is.
"""

import zlib
from collections.abc import Callable, Iterator
from gzip import GzipFile
from hashlib import sha256
from io import BufferedIOBase, BufferedReader
from typing import Final, NamedTuple

import msgspec

from lognode.cli.lines.copies import LeftOut
from lognode.core.errors import CallerError, LognodeError
from lognode.core.ids import b32encode
from lognode.core.limits import DRAFT_LINE_BYTES_MAX, GROUP_BYTES_MAX, GROUP_SPANS_MAX

IMPORT_BYTES_MAX: Final = GROUP_BYTES_MAX
IMPORT_LINES_MAX: Final = 4 * GROUP_SPANS_MAX  # often enough for a progress bar to move
CHUNK_BYTES: Final = 256 * 1024
GZIP_MAGIC: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"  # which editors and spreadsheets put before UTF-8
_BUNDLE_MAGIC: Final = b"lognode.bundle"
_BUNDLE_MAGIC_WITHIN: Final = 32  # behind the heads of its item, its array and itself
_KEY_FIELD: Final = "idempotency_key"


class Batch(NamedTuple):
    """Lines to send as one request, and their numbers in the file, from 1; blank lines are left out.

    `others` tells of the spans between them that are not sent: why, or None where the tenant has them.
    """

    lines: list[bytes]
    numbers: list[int]
    others: list[LeftOut | None]

    @property
    def total(self) -> int:
        """How many lines of the file it stands for."""
        return len(self.lines) + len(self.others)


def unpacked(stream: BufferedReader) -> BufferedIOBase:
    """The stream itself, or what a gzip stream holds; told by its first bytes, not by its name.

    Raises CallerError("usage.invalid") for a bundle.
    """
    first = stream.peek(_BUNDLE_MAGIC_WITHIN)
    if begins_as_bundle(first):
        raise CallerError("usage.invalid", "it is a bundle; use 'lognode bundle import'")
    return GzipFile(fileobj=stream) if first[:2] == GZIP_MAGIC else stream


def begins_as_bundle(first: bytes) -> bool:
    """Whether these are the first bytes of a bundle, of whatever version."""
    return first[:1] != b"{" and _BUNDLE_MAGIC in first[:_BUNDLE_MAGIC_WITHIN]


def read_batches(
    stream: BufferedIOBase,
    is_waiting: Callable[[], bool],
    to_draft: Callable[[bytes], bytes | LeftOut | None],
) -> Iterator[Batch]:
    """All lines of a stream, in batches; one is closed early when `is_waiting` says that no input is there.

    `to_draft` makes the line to send. Raises what it raises and CallerError draft.too_large or file.unreadable, after
    the lines before that place.
    """
    keys = LineKeys()
    batch, size, number = Batch([], [], []), 0, 0
    fault: LognodeError | None = None
    try:
        for lines in _line_groups(stream):
            for raw in lines:
                number += 1
                line = raw.removeprefix(_BOM) if number == 1 else raw
                if not line or line.isspace():
                    continue
                draft = _at_line(number, to_draft, line)
                keyed = keys.add(draft) if isinstance(draft, bytes) else b""
                if batch.total and (size + len(keyed) > IMPORT_BYTES_MAX or batch.total == IMPORT_LINES_MAX):
                    yield batch
                    batch, size = Batch([], [], []), 0
                if isinstance(draft, bytes):
                    batch.lines.append(keyed)
                    batch.numbers.append(number)
                    size += len(keyed)
                else:
                    batch.others.append(draft)
            if batch.total and is_waiting():
                yield batch
                batch, size = Batch([], [], []), 0
    except LognodeError as error:
        error.place = error.place or f"line {number + 1}"
        fault = error
    if batch.total:
        yield batch
    if fault is not None:
        raise fault


def _at_line(number: int, to_draft: Callable[[bytes], bytes | LeftOut | None], line: bytes) -> bytes | LeftOut | None:
    try:
        return to_draft(line)
    except LognodeError as error:
        error.place = f"line {number}" if error.place is None else f"line {number}: {error.place}"
        error.extra["line"] = number
        raise


def _line_groups(stream: BufferedIOBase) -> Iterator[list[bytes]]:
    """The lines that each chunk completes; a last line needs no line feed."""
    rest = b""
    while chunk := _read_chunk(stream):
        *lines, rest = (rest + chunk).split(b"\n")
        yield lines
        if len(rest) > DRAFT_LINE_BYTES_MAX:
            raise CallerError("draft.too_large", f"a line of more than {DRAFT_LINE_BYTES_MAX} bytes")
    yield [rest]


def _read_chunk(stream: BufferedIOBase) -> bytes:
    try:
        return stream.read1(CHUNK_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise CallerError("file.unreadable", f"the input ends badly: {error}") from error


class LineKeys:
    """Gives each line the key SHA-256(line):n, where n counts equal lines of the file up to this one."""

    def __init__(self) -> None:
        # One number a line, of 56 bits of its hash: two lines that share them by chance only count on
        # together, which leaves their keys different. Of 64 bits Python would take half as much again.
        self._first: set[int] = set()
        self._more: dict[int, int] = {}

    def add(self, line: bytes) -> bytes:
        """The line with its key; unchanged if it brings its own, or is no JSON object."""
        content = line.rstrip(b"\r")
        digest = sha256(content).digest()
        return with_key(content, f"{b32encode(digest)}:{self._count(int.from_bytes(digest[:7], 'big'))}")

    def _count(self, mark: int) -> int:
        if mark not in self._first:
            self._first.add(mark)
            return 1
        self._more[mark] = self._more.get(mark, 1) + 1
        return self._more[mark]


def with_key(line: bytes, key: str) -> bytes:
    """The JSON object `line` with an idempotency key as its last member, unless it has one.

    The bytes before it stay, so an object is valid with the key exactly when it was without.
    """
    text = line.strip()
    if not text.startswith(b"{") or not text.endswith(b"}") or _has_key(line):
        return line
    members = line.rstrip()[:-1]
    comma = b"" if members.strip() == b"{" else b","
    return b'%s%s"%s":"%s"}' % (members, comma, _KEY_FIELD.encode(), key.encode())


def _has_key(line: bytes) -> bool:
    # The name may be spelled with escapes; without any, and without the name, nothing need be parsed.
    if _KEY_FIELD.encode() not in line and b"\\u" not in line:
        return False
    try:
        return _KEY_FIELD in msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
