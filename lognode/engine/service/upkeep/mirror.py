"""Keeps each tenant's timeline as NDJSON files besides: what anybody can read, copy and import without a node.

Follows the store from its own place, as a live tail does; nothing waits for it. Invariants: the lines of a mirror
were those of an export when they were written, each position at most once and in order; it holds no more than one small
batch; a segment that has a successor never changes again. A file system that hangs keeps a thread or two, and nobody
waits for them.
"""

import errno
import fcntl
import math
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeVar, TypeVarTuple

import msgspec
import trio

from lognode.core.errors import NodeFault
from lognode.core.ids import b32encode
from lognode.core.limits import (
    MIRROR_CLOSE_S_MAX,
    MIRROR_SEGMENT_BYTES_MAX,
    MIRROR_SILENCE_S_MAX,
    MIRROR_SYNC_S,
    TAIL_BATCH_BYTES_MAX,
    TAIL_BATCH_STEPS_MAX,
    TAIL_STEP_SPANS_MAX,
)
from lognode.engine.service.heads import Heads
from lognode.timeline.query import Query
from lognode.timeline.record import FeedRef, TenantRef, feed_of, id_of, span_json
from lognode.timeline.store.database import Store
from lognode.timeline.store.read.lookup import records_at
from lognode.timeline.store.read.pages import select_new

T = TypeVar("T")
Args = TypeVarTuple("Args")
_EVERYTHING: Final = Query(order="arrival")
_SEGMENT: Final = re.compile(r"[0-9]{12,13}\.ndjson")

_encode = msgspec.json.Encoder().encode


class Mirror:
    """The mirror of a node's tenants below `folder`."""

    def __init__(self, store: Store, heads: Heads, folder: Path) -> None:
        self._store = store
        self._heads = heads
        self._folder = folder
        self._segments: dict[int, Segments] = {}  # of each tenant, by its number; also those of a run that ended

    async def run(self, tenant: TenantRef) -> None:
        """Keep one tenant's files up to its timeline, until cancelled.

        Raises NodeFault mirror.unwritable, mirror.foreign, disk.full or database.damaged.
        """
        before = self._segments.get(tenant.number)
        if before is not None and not before.is_closed:
            # Threads that wait for ever are not to become more with each try.
            raise NodeFault("mirror.unwritable", f"{before.folder} does not answer")
        segments = self._segments[tenant.number] = Segments(self._folder / b32encode(tenant.tenant_id))
        try:
            last = await _patiently(segments, segments.open)
            await self._follow(tenant, segments, await self._position(tenant, segments.folder, last))
        finally:
            with trio.move_on_after(MIRROR_CLOSE_S_MAX, shield=True):
                await _in_thread(segments.close)

    async def _position(self, tenant: TenantRef, folder: Path, last: "Mirrored | None") -> int:
        """The position to go on behind: that of the last line, if it is a span of this timeline."""
        if last is None:
            return 0
        if await self._store.read(_id_at, tenant, self._store.feeds, last.position) != last.id:
            detail = f"{folder} ends with the span {last.id}, which this timeline has not at position {last.position}"
            raise NodeFault("mirror.foreign", detail)
        return last.position

    async def _follow(self, tenant: TenantRef, segments: "Segments", position: int) -> None:
        sync_at = math.inf
        while True:
            first, lines, reached = await self._store.read(_read_lines, tenant, self._store.feeds, position)
            if lines:
                await _patiently(segments, segments.append, first, lines)
                sync_at = min(sync_at, trio.current_time() + MIRROR_SYNC_S)
            if trio.current_time() >= sync_at:
                await _patiently(segments, segments.sync)
                sync_at = math.inf
            position, before = reached, position
            if position == before:
                with trio.move_on_at(sync_at):
                    await self._heads.wait_beyond(tenant.number, position)


async def _patiently(segments: "Segments", fn: Callable[[*Args], T], *args: *Args) -> T:
    """What `fn(*args)` returns. Raises what it does, and NodeFault("mirror.unwritable") when nothing comes."""
    with trio.move_on_after(MIRROR_SILENCE_S_MAX):
        return await _in_thread(fn, *args)
    detail = f"{segments.folder} has not answered for {MIRROR_SILENCE_S_MAX} seconds"
    raise NodeFault("mirror.unwritable", detail)


async def _in_thread(fn: Callable[[*Args], T], *args: *Args) -> T:
    """What `fn(*args)` returns, in a thread that goes on alone when the wait for it is cancelled."""
    # Not one of the threads that all share: those that hang would be missing there.
    limiter = trio.CapacityLimiter(1)
    return await trio.to_thread.run_sync(fn, *args, abandon_on_cancel=True, limiter=limiter)


def _read_lines(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], position: int
) -> tuple[int, bytes, int]:
    """The next lines behind a position, a small batch of them: where the first stands, they, and how far was looked.

    What is void has no line, so some positions are passed over.
    """
    lines: list[bytes] = []
    first, size, tenant_text = 0, 0, b32encode(tenant.tenant_id)
    for _ in range(TAIL_BATCH_STEPS_MAX):
        records, reached = select_new(conn, tenant, _EVERYTHING, position, TAIL_STEP_SPANS_MAX)
        is_at_end = reached == position
        for record in records:
            _check_passed(conn, tenant, position + 1, record.position)
            line = (
                _encode({**span_json(record, feed_of(record, feeds), tenant.tenant_id), "tenant": tenant_text}) + b"\n"
            )
            lines.append(line)
            first = first or record.position
            size += len(line)
            position = record.position
        _check_passed(conn, tenant, position + 1, reached + 1)
        position = reached
        if is_at_end or size > TAIL_BATCH_BYTES_MAX:
            break
    return first, b"".join(lines), position


def _check_passed(conn: sqlite3.Connection, tenant: TenantRef, start: int, stop: int) -> None:
    """Pass if no span is missing at the positions [start, stop). Raises NodeFault("database.damaged")."""
    if start < stop:
        held = [record.position for record in records_at(conn, tenant, start, stop)]
        if held != list(range(start, stop)):
            lost = min(set(range(start, stop)).difference(held))
            raise NodeFault("database.damaged", "it is missing", place=f"position {lost}")


def _id_at(conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], position: int) -> str | None:
    """The id of the span at a position; None where there is none."""
    for record in records_at(conn, tenant, position, position + 1):
        return b32encode(id_of(record, feed_of(record, feeds).feed_id))
    return None


class Mirrored(NamedTuple):
    """The last span of a mirror."""

    position: int
    id: str


class _Line(msgspec.Struct):
    """What is read of a line."""

    id: str
    position: int


_decode: Final = msgspec.json.Decoder(_Line).decode


class Segments:
    """The files of one tenant: `<first position, 12 digits>.ndjson`, of which only the newest grows.

    Its methods do input and output, for a thread that may wait, one after the other. They raise NodeFault
    mirror.unwritable or disk.full. What is called after `close` does nothing: a thread that nobody waits for any more
    may be late.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_closed = False
        self._turn = threading.RLock()
        self._lock: int | None = None
        self._file: int | None = None  # the newest segment
        self._bytes = 0

    def open(self) -> Mirrored | None:
        """The last span that is there for good; what follows it, a torn line for instance, is cut off.

        Only the newest segment is read: the others were on disk before it was begun.
        """
        with self._working():
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise NodeFault("mirror.unwritable", f"another daemon writes to {self.folder}") from None
            for path in sorted(self.folder.iterdir(), key=lambda path: path.name.zfill(20), reverse=True):
                if not _SEGMENT.fullmatch(path.name):
                    continue
                last, size = _sound_part(path)
                if last is None:  # it was begun, and nothing more
                    path.unlink()
                    continue
                self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
                self._bytes = size
                os.ftruncate(self._file, size)
                os.fsync(self._file)
                return last
            return None

    def append(self, first: int, lines: bytes) -> None:
        """Add whole lines, of which the first is at position `first`; a full segment is ended before."""
        with self._working():
            if self._file is None or self._bytes + len(lines) > MIRROR_SEGMENT_BYTES_MAX:
                self._begin(first)
            assert self._file is not None
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            self._bytes += len(lines)

    def sync(self) -> None:
        """Have what was added on disk."""
        with self._working():
            if self._file is not None:
                os.fsync(self._file)

    def close(self) -> None:
        """Let go of the files, behind what has begun; for good."""
        with self._turn:
            handles, self._file, self._lock = (self._file, self._lock), None, None
            try:
                for handle in handles:
                    if handle is not None:
                        os.close(handle)
            finally:
                self.is_closed = True

    def _begin(self, first: int) -> None:
        """Begin a segment. The one before is on disk by then, and never touched again."""
        self.sync()
        if self._file is not None:
            os.close(self._file)
            self._file = None
        path = self.folder / f"{first:012d}.ndjson"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._bytes = 0
        assert self._lock is not None
        os.fsync(self._lock)

    @contextmanager
    def _working(self) -> Iterator[None]:
        with self._turn:
            if self.is_closed:
                raise NodeFault("mirror.unwritable", f"{self.folder} was let go of")
            try:
                yield
            except OSError as error:
                code = "disk.full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "mirror.unwritable"
                raise NodeFault(code, f"{error.filename or self.folder}: {error.strerror}") from error


def _sound_part(path: Path) -> tuple[Mirrored | None, int]:
    """The last of a segment's lines that follow one another from its beginning, and where that ends.

    After a power cut any part of what was not synced yet may be wrong, not only the last line.
    """
    position, size = int(path.stem), 0
    last = None
    with path.open("rb") as file:
        for raw in file:
            try:
                line = _decode(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                break
            if line.position < position or not raw.endswith(b"\n"):
                break
            last = Mirrored(line.position, line.id)
            position, size = line.position + 1, size + len(raw)
    return last, size
