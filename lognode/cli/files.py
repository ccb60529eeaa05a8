"""Files that commands read and write; `-` is stdin.

Invariant: a file that a command writes appears whole, or not at all, and takes the place of nothing but a file.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from stat import S_IFREG, S_ISDIR, S_ISREG
from tempfile import TemporaryFile, gettempdir, mkstemp
from typing import BinaryIO, Final, cast

from lognode.cli.output import told_if_stopped
from lognode.core.errors import CallerError, NodeFault

CHUNK_BYTES: Final = 256 * 1024
NOTHING_WRITTEN: Final = "Stopped; nothing was written."


@contextmanager
def open_input(file: str) -> Iterator[BufferedReader]:
    """The file, or stdin. Raises CallerError("file.unreadable")."""
    if file == "-":
        yield cast("BufferedReader", sys.stdin.buffer)
        return
    with ExitStack() as stack:
        try:
            source = stack.enter_context(Path(file).open("rb"))
        except OSError as error:
            raise CallerError("file.unreadable", f"{file}: {error.strerror}") from error
        yield source


@contextmanager
def open_twice(file: str) -> Iterator[BinaryIO]:
    """A copy of the same, to be read again after `seek(0)`: it has no name, so that nobody changes it meanwhile.

    Raises CallerError("file.unreadable"), and NodeFault("system.failed") where temporary files have no room.
    """
    with open_input(file) as source, TemporaryFile() as copy:
        for chunk in chunks_of(source):
            try:
                copy.write(chunk)
                copy.flush()
            except OSError as error:
                raise NodeFault("system.failed", f"{gettempdir()}: {error.strerror}") from error
        copy.seek(0)
        yield cast("BinaryIO", copy)


def chunks_of(source: BinaryIO | BufferedReader) -> Iterator[bytes]:
    """What is left of a file, piece by piece. Raises CallerError("file.unreadable")."""
    try:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk
    except OSError as error:
        raise CallerError("file.unreadable", f"the input ends badly: {error}") from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file for its owner alone that takes the place of `path` when all of it is on disk.

    A link stays, and leads to the new file. What is no file, such as a pipe or a device, is written into.
    Raises CallerError("usage.invalid") for a directory, NodeFault("system.failed").
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = S_IFREG
    except OSError as error:
        raise NodeFault("system.failed", f"{path}: {error.strerror}") from error
    if S_ISDIR(mode):
        raise CallerError("usage.invalid", f"{path} is a directory; name the file to write")
    if not S_ISREG(mode):
        with path.open("wb") as sink:
            yield sink
        return
    path = path.resolve()
    try:
        handle, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise NodeFault("system.failed", f"{path.parent}: {error.strerror}") from error
    try:
        with told_if_stopped(NOTHING_WRITTEN), os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
