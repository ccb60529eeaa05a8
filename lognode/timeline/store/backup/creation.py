"""Makes a backup of a node's data directory, whether the node runs or not, without stopping its writer.

Reads the database as `lognode verify` does and asks no node. Invariants: the copy is one snapshot, with every span
that was acknowledged before it began; whoever opens the copy as a node goes on in no feed of the original; a
directory with a backup's name holds a whole backup or nothing.
"""

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Final

from lognode.core.clock import time_text
from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import LogLineKind, b32encode, format_logline, logline
from lognode.identity.store import read_public, sync_directory, write_secret_file
from lognode.timeline.state import RESTORED, seal_of
from lognode.timeline.store.backup.manifest import (
    CONFIG,
    DATABASE,
    FORMAT,
    KEY,
    MANIFEST,
    FeedEntry,
    FileEntry,
    Manifest,
    TenantEntry,
    encode_manifest,
    sealed,
)
from lognode.timeline.store.database import file_fault, open_fault
from lognode.timeline.store.opening.migrate import apply_migrations, check_version, connect_reader
from lognode.timeline.store.write import end_open_feeds, load_feeds, load_tenants, newest_checkpoint

_TAKEN: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EBUSY})
STEP_PAGES: Final = 1024  # 4 MiB: some milliseconds between two looks at Ctrl-C

Progress = Callable[[int, int], None]


def create_backup(data_dir: Path, folder: Path, *, version: str, now_ms: int, progress: Progress) -> Manifest:
    """Back up the node on `data_dir` into `folder`, which must not exist or be empty.

    `progress` is told how many pages of how many are copied. Raises CallerError backup.exists, file.unreadable, key.*,
    NodeFault key.foreign, database.*, disk.full, or OSError where the folder cannot be made.
    """
    source, key = data_dir / DATABASE, data_dir / KEY
    if not source.exists():
        raise CallerError("file.unreadable", f"{source}: no node keeps its history there")
    public = read_public(key)
    # A rename takes the place of an empty directory, but not of a link to one.
    target = folder.resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise _taken(folder)
    if target.is_mount():  # nothing can take its place, and the copy would be made on the disk above it
        raise CallerError("backup.exists", f"{folder} is a mount point; name a new directory in it")
    if not target.parent.is_dir():  # a mount that is not there must not fill the disk below it
        raise CallerError("file.unreadable", f"{target.parent}: there is no such directory")
    with _whole_or_nothing(target) as draft:
        copy_database(source, draft / DATABASE, progress)
        write_secret_file(draft / KEY, key.read_bytes())
        if (data_dir / CONFIG).exists():
            write_secret_file(draft / CONFIG, (data_dir / CONFIG).read_bytes())
        with closing(connect_reader(draft / DATABASE, is_still=True)) as conn:
            if any(feed.own and feed.node_key != public for feed in load_feeds(conn)):
                raise NodeFault("key.foreign", f"{source} was written by another node than {key}")
            manifest = sealed(
                Manifest(
                    FORMAT,
                    version,
                    check_version(conn),
                    format_logline(logline(LogLineKind.NODE, public)),
                    time_text(now_ms),
                    {path.name: describe_file(path) for path in sorted(draft.iterdir())},
                    describe_tenants(conn),
                )
            )
        write_secret_file(draft / MANIFEST, encode_manifest(manifest))
    return manifest


def copy_database(source: Path, copy: Path, progress: Progress) -> None:
    """One snapshot of the database in one file, with the newest schema, in whose open feeds nothing may follow.

    Raises NodeFault database.newer, database.damaged, data_dir.unwritable or disk.full.
    """
    try:
        copy.touch(mode=0o600)
        with closing(connect_reader(source)) as reader, closing(sqlite3.connect(copy, isolation_level=None)) as conn:
            conn.execute("PRAGMA synchronous = OFF")  # fsynced below, once for all
            # The read transaction makes the copy one snapshot. Without it, SQLite would begin again at each commit of
            # the daemon, and under load never end.
            reader.execute("BEGIN")
            check_version(reader)
            reader.backup(conn, pages=STEP_PAGES, progress=lambda _, left, total: progress(total - left, total))
            conn.execute("PRAGMA journal_mode = DELETE")  # one file, without WAL
            apply_migrations(conn)
            # In the copy rather than by who restores it, so that a node started on it by any way opens a new epoch.
            end_open_feeds(conn, RESTORED)
            _renew_runs(conn)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
    except sqlite3.DatabaseError as error:
        fault = open_fault(copy, error)
        raise open_fault(source, error) if fault.code == "database.damaged" else fault from error
    except OSError as error:
        raise file_fault(copy, error) from error


def _renew_runs(conn: sqlite3.Connection) -> None:
    """Have what subscriptions delivered count for nothing in the copy, where other spans may get these positions."""
    found = conn.execute("SELECT * FROM subscriptions")
    run = [name for name, *_ in found.description].index("run")
    for *values, seal in found.fetchall():
        if seal == seal_of("subscriptions", values):  # damage is left as it is, to be found
            values[run] += 1
            row = [*values, seal_of("subscriptions", values)]
            conn.execute(f"REPLACE INTO subscriptions VALUES ({', '.join('?' * len(row))})", row)


def describe_file(path: Path) -> FileEntry:
    """A file's length and hash."""
    with path.open("rb") as file:
        return FileEntry(os.fstat(file.fileno()).st_size, file_digest(file, sha256).hexdigest())


def describe_tenants(conn: sqlite3.Connection) -> list[TenantEntry]:
    """The tenants with their feeds, and the newest checkpoint of each. Raises NodeFault("database.damaged")."""
    feeds: dict[int, list[FeedEntry]] = {}
    for feed in load_feeds(conn):
        head = newest_checkpoint(conn, feed)
        size, root = (head.size, head.root.hex()) if head else (0, "")
        feeds.setdefault(feed.tenant, []).append(FeedEntry(b32encode(feed.feed_id), size, root))
    tenants = {tenant.number: tenant for tenant in load_tenants(conn)}
    return [
        TenantEntry(b32encode(tenant.tenant_id), tenant.alias, feeds.get(number, []))
        for number, tenant in sorted(tenants.items())
    ]


@contextmanager
def _whole_or_nothing(target: Path) -> Iterator[Path]:
    """A directory that takes the place of `target` at the end, durably; whatever is raised, it is gone."""
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))  # made with mode 0700
    try:
        yield draft
        try:
            draft.rename(target)
        except OSError as error:  # another backup, or whatever else, came first
            raise _taken(target) if error.errno in _TAKEN else error from error
        sync_directory(target.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _taken(folder: Path) -> CallerError:
    return CallerError("backup.exists", f"{folder} is there, and not an empty directory")
