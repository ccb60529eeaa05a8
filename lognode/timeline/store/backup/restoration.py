"""Restores a backup into a data directory that holds no node yet.

Invariants: nothing is written before the whole backup was verified; what is placed has the hashes that were verified;
a restore that fails or is interrupted leaves nothing, and touches nothing that another made. What keeps the node from
going on in its old feeds stands in the backup's database already.
"""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from lognode.core.errors import CallerError, NodeFault
from lognode.core.limits import MIB
from lognode.identity.store import sync_directory
from lognode.timeline.store.backup.creation import Progress, describe_file
from lognode.timeline.store.backup.manifest import CONFIG, DATABASE, KEY, FileEntry, Manifest
from lognode.timeline.store.backup.verification import read_manifest, verify_backup
from lognode.timeline.store.database import file_fault, lock_directory, make_directory

# What makes a directory a node's. SQLite would take the leavings of another database for those of this one; the token
# would stay valid for whoever had it before.
_TAKEN: Final = (DATABASE, *(f"{DATABASE}-{what}" for what in ("wal", "shm", "journal")), KEY, "admin.token")
# The key comes last: a database without its key is refused at start, a key without its database begins a new one.
_ORDER: Final = (CONFIG, DATABASE, KEY)


async def restore_backup(folder: Path, data_dir: Path, progress: Progress) -> Manifest:
    """Make `data_dir` a node again, as the backup in `folder` has it; a settings file that is there stays.

    Where a restore of the same backup was killed before the key was in place, this one ends it.
    Raises CallerError file.unreadable, backup.damaged, NodeFault database.newer, data_dir.* or disk.full.
    """
    _refuse_taken(data_dir, None)
    manifest = read_manifest(folder)
    _refuse_taken(data_dir, manifest)
    damage = [finding for finding in verify_backup(folder, manifest, progress) if finding.severity == "damage"]
    if damage:
        more = f", and {len(damage) - 1} more" if len(damage) > 1 else ""
        raise CallerError("backup.damaged", f"{damage[0].detail}{more}", place=damage[0].place)
    async with _held(data_dir):
        _refuse_taken(data_dir, manifest)
        _place(folder, manifest, data_dir)
    return manifest


def _refuse_taken(data_dir: Path, manifest: Manifest | None) -> None:
    """Raises NodeFault("data_dir.taken"); a database alone may be there if it is that of the manifest, once known."""
    taken = [data_dir / name for name in _TAKEN if os.path.lexists(data_dir / name)]
    may_be_ours = taken == [data_dir / DATABASE] and taken[0].is_file()
    if may_be_ours and (manifest is None or describe_file(taken[0]) == manifest.files[DATABASE]):
        return  # no node has begun on it
    if taken:
        raise NodeFault("data_dir.taken", f"{taken[0]} is there")


@asynccontextmanager
async def _held(data_dir: Path) -> AsyncIterator[None]:
    """The data directory, made where it was not, and locked; when anything fails, what this call made is gone again.

    Another process may have made a node of the directory before the lock was had. So nothing is removed but files of
    our own, and directories of our own that nobody has put anything into.
    """
    made = make_directory(data_dir)
    try:
        async with lock_directory(data_dir) as lock:
            try:
                yield
            except BaseException:
                if data_dir in made:
                    _remove_lock(lock)
                raise
    except BaseException:
        _remove_empty(made)
        raise


def _remove_lock(lock: Path) -> None:
    """Remove the file of the lock that is held, where it is the last: whoever waits for it sees that it is gone."""
    if list(lock.parent.iterdir()) == [lock]:
        lock.unlink()


def _remove_empty(made: list[Path]) -> None:
    with suppress(OSError):
        for path in reversed(made):
            path.rmdir()


def _place(folder: Path, manifest: Manifest, data_dir: Path) -> None:
    """Copy all files under other names, then give them theirs."""
    names = [name for name in _ORDER if name in manifest.files and not os.path.lexists(data_dir / name)]
    made: list[Path] = []
    try:
        for name in names:
            handle, path = tempfile.mkstemp(prefix=f".{name}.", dir=data_dir)  # made with mode 0600
            made.append(Path(path))
            _copy(folder / name, handle, manifest.files[name])
        for name, copy in zip(names, list(made), strict=True):
            made.append(copy.rename(data_dir / name))
            sync_directory(data_dir)  # each, so that a power cut keeps their order
    except BaseException as error:
        for file in made:
            file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise file_fault(data_dir, error) from error
        raise


def _copy(source: Path, handle: int, listed: FileEntry) -> None:
    """Write a file of the backup through a descriptor, durably. Raises OSError, CallerError("backup.damaged")."""
    found = sha256()
    with source.open("rb") as reading, os.fdopen(handle, "wb") as writing:
        while chunk := reading.read(MIB):
            found.update(chunk)
            writing.write(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    if found.hexdigest() != listed.sha256:
        raise CallerError("backup.damaged", "it changed since it was verified", place=source.name)
