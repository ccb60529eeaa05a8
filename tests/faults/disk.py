"""What a disk may hold after a power cut, given what a program did to its files. Pure.

The model. A call has begun, and at some later moment it has ended.

- What a file held when an fsync or fdatasync of it began is there once that sync has ended, with the file's size.
- Of the writes after it any may be there and any may not, whatever their order; and of one write any of the
  512-byte sectors that it touches. A sector itself is never torn.
- A file that grew may have its new size without its new content, which then is zeros. One that was truncated may
  be as long as before, with what it held.
- A name that was made, moved or removed is so for certain once an fsync of its directory has ended; before, it may
  be, and a move is whole or not at all. A file whose name is lost is lost, however often it was synced itself, and
  so is everything below a directory whose name is lost.
- Nothing that was synced is ever lost.

This is harsher than the usual file systems with their usual settings, which write names in order, or together with
the file. It leaves out what no program can be safe from: disks that lie about a sync, and decay.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from random import Random
from typing import Any, Final, NamedTuple

SECTOR_BYTES: Final = 512

Image = Mapping[str, bytes | None]  # content by path; None is a directory


@dataclass(frozen=True)
class Write:
    """Bytes into a file. Without an offset they go to its end."""

    path: str
    offset: int | None
    data: bytes


@dataclass(frozen=True)
class Truncate:
    path: str
    size: int


@dataclass(frozen=True)
class Sync:
    """fsync or fdatasync, of a file or a directory."""

    path: str


@dataclass(frozen=True)
class Create:
    """A file or directory, unless there is one."""

    path: str
    is_folder: bool = False


@dataclass(frozen=True)
class Rename:
    """Names that change together: each takes over the file of another, or is removed."""

    sources: Mapping[str, str | None]


@dataclass(frozen=True)
class Sent:
    """Bytes that left through a socket: nothing to the disk, but whoever got them relies on it."""

    data: bytes


class Certain(Random):
    """Chance that always finds everything, or nothing, of what may be."""

    def __init__(self, *, is_kind: bool) -> None:
        self._is_kind = is_kind

    def random(self) -> float:
        return 0.0

    def choice(self, seq: Any) -> Any:
        return seq[-1 if self._is_kind else 0]


class Event(NamedTuple):
    """An operation, and when it began and ended, counted in lines of a trace."""

    began: float
    ended: float
    operation: Write | Truncate | Sync | Create | Rename | Sent


@dataclass(eq=False)
class _File:
    is_folder: bool
    kept: bytearray = field(default_factory=bytearray)
    pending: list[tuple[float, Write | Truncate]] = field(default_factory=list)  # with the ends of the calls
    seen: bytearray = field(default_factory=bytearray)  # by the running system


class Disk:
    """Files while a program works on them: what it sees, and what a power cut now could leave."""

    def __init__(self, events: Sequence[Event], cut: float = math.inf) -> None:
        """The disk at the moment `cut`, which is in the middle of whatever began before and ended after it."""
        self._seen: dict[str, _File] = {}
        self._kept: dict[str, _File] = {}
        self._pending: list[tuple[str, float, dict[str, _File | None]]] = []  # directory, end, names
        for event in events:
            if event.began >= cut:
                break
            self._do(event.operation, event.began, event.ended, has_ended=event.ended < cut)

    def seen(self) -> Image:
        """Everything, as the running system sees it."""
        return {path: None if file.is_folder else bytes(file.seen) for path, file in self._seen.items()}

    def found(self, chance: Random) -> Image:
        """What is found after a power cut; chance decides within what may be."""
        names = dict(self._kept)
        rate = _rate(chance)
        for _, _, changes in self._pending:
            if chance.random() < rate:
                _rename(names, changes)
        contents: dict[int, bytes] = {}  # a file may have two names
        image: dict[str, bytes | None] = {}
        for path, file in names.items():
            if any(str(above) not in names for above in _folders_above(path)):
                continue
            if not file.is_folder and id(file) not in contents:
                contents[id(file)] = _content_found(file, chance)
            image[path] = None if file.is_folder else contents[id(file)]
        return image

    def _do(self, operation: object, began: float, ended: float, *, has_ended: bool) -> None:
        if isinstance(operation, Write | Truncate):
            file = self._seen[operation.path]
            if isinstance(operation, Write) and operation.offset is None:
                operation = Write(operation.path, len(file.seen), operation.data)
            _apply(operation, file.seen)
            file.pending.append((ended, operation))
        elif isinstance(operation, Create):
            if operation.path not in self._seen:
                self._change(ended, {operation.path: _File(operation.is_folder)})
        elif isinstance(operation, Rename):
            self._change(ended, {to: at if at is None else self._seen[at] for to, at in operation.sources.items()})
        elif isinstance(operation, Sync) and has_ended:
            self._sync(operation.path, began)

    def _change(self, ended: float, changes: dict[str, _File | None]) -> None:
        _rename(self._seen, changes)
        (folder,) = {str(PurePosixPath(path).parent) for path in changes}
        self._pending.append((folder, ended, changes))

    def _sync(self, path: str, began: float) -> None:
        """Keep what had ended when the sync began."""
        pending, self._pending = self._pending, []
        for folder, ended, changes in pending:
            if folder == path and ended < began:
                _rename(self._kept, changes)
            else:
                self._pending.append((folder, ended, changes))
        if file := self._seen.get(path):
            for ended, operation in file.pending:
                if ended < began:
                    _apply(operation, file.kept)
            file.pending = [one for one in file.pending if one[0] >= began]


def write_image(image: Image, folder: Path) -> None:
    """Put an image's files below a directory."""
    for path in sorted(image):
        content = image[path]
        if content is None:
            (folder / path).mkdir(mode=0o700)
        else:
            (folder / path).write_bytes(content)
            (folder / path).chmod(0o600)


def sectors_of(write: Write) -> Iterator[Write]:
    """A write cut where sectors of the disk end."""
    start = write.offset or 0
    stop = start + len(write.data)
    while start < stop:
        end = min(stop, start - start % SECTOR_BYTES + SECTOR_BYTES)
        at = start - (write.offset or 0)
        yield Write(write.path, start, write.data[at : at + end - start])
        start = end


def _content_found(file: _File, chance: Random) -> bytes:
    rate, is_torn = _rate(chance), chance.random() < 0.5
    content, whole = bytearray(file.kept), bytearray(file.kept)
    sizes = [len(file.kept)]
    for _, operation in file.pending:
        _apply(operation, whole)
        sizes.append(len(whole))
        pieces = sectors_of(operation) if is_torn and isinstance(operation, Write) else [operation]
        for piece in pieces:
            if chance.random() < rate:
                _apply(piece, content)
    if chance.random() < 0.5:
        _resize(content, chance.choice(sizes))
    return bytes(content)


def _rate(chance: Random) -> float:
    """How likely each of some operations is to be found: often all or none."""
    return chance.choice((0.0, 0.5, chance.random(), 1.0))


def _apply(operation: Write | Truncate, content: bytearray) -> None:
    if isinstance(operation, Truncate):
        _resize(content, operation.size)
        return
    assert operation.offset is not None
    if operation.offset > len(content):
        _resize(content, operation.offset)
    content[operation.offset : operation.offset + len(operation.data)] = operation.data


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


def _rename(names: dict[str, _File], changes: Mapping[str, _File | None]) -> None:
    for path, file in changes.items():
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file


def _folders_above(path: str) -> list[PurePosixPath]:
    return list(PurePosixPath(path).parents)[:-1]
