"""The database file: how it is opened, and how its schema moves forward.

Schema changes are numbered SQL files, each applied in one transaction that also sets `user_version`. A
database of a newer lognode is refused untouched.
"""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from lognode.core.errors import NodeFault
from lognode.timeline.store.agreement.merges import rebuild_merges
from lognode.timeline.store.rules.publications import rebuild_publications

CACHE_KIB: Final = 64 * 1024
WRITER_CACHE_KIB: Final = 16 * 1024  # a commit touches the ends of indexes; more makes none quicker
READER_CACHE_KIB: Final = 8 * 1024  # each of several; the system keeps pages too, and more makes no read quicker
WAL_PAGES: Final = 4096  # 16 MiB between checkpoints: hot index pages are copied back once, not every 4 MiB
BUSY_MS: Final = 10_000
ENDINGS_VERSION: Final = 3  # the schema that first had the table of endings
FEDERATION_VERSION: Final = 4  # and that first had those of what other nodes write
AGREEMENT_VERSION: Final = 6  # and that first had those of what nodes agree on
KEPT_VERSION: Final = 7  # and in which checkpoints that are kept name each other
RULES_VERSION: Final = 10  # and that first had those of rules
ALERTS_VERSION: Final = 8  # and that first had what the owner was told
TASKS_VERSION: Final = 9  # and that first had tables whose rows have seals


@cache
def migrations() -> Sequence[str]:
    """The SQL of every migration; number n brings user_version n - 1 to n."""
    folder = files("lognode.timeline.store") / "schema"
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1)), names
    return [(folder / name).read_text("utf-8") for name in names]


def connect_writer(path: Path) -> sqlite3.Connection:
    """The one writing connection, with the schema brought up to date.

    Raises NodeFault database.newer, database.damaged or data_dir.unwritable, and sqlite3.OperationalError when it
    cannot be opened.
    """
    if path.exists():
        if not os.access(path, os.W_OK):  # SQLite would open it read-only, and say so at the first commit
            raise NodeFault("data_dir.unwritable", f"{path} is read-only")
        # A newer database stays as it is: even closing a writing connection copies the WAL into it. Where reading
        # alone is not possible, as with the half-made database of a killed daemon, the writing one looks.
        with suppress(sqlite3.OperationalError), closing(_connect(path, "ro")) as reader:
            check_version(reader)
    conn = _connect(path, "rwc", WRITER_CACHE_KIB)
    try:
        check_version(conn)
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("PRAGMA synchronous = FULL")
        conn.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        conn.execute(f"PRAGMA journal_size_limit = {4 * WAL_PAGES * 4096}")
        apply_migrations(conn)
    except sqlite3.DatabaseError as error:
        conn.close()
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise NodeFault("database.damaged", f"{path}: {error}") from error
    except BaseException:
        conn.close()
        raise
    return conn


def connect_reader(path: Path, *, is_still: bool = False, cache_kib: int = CACHE_KIB) -> sqlite3.Connection:
    """A connection that can only read. A file that `is_still` is read without locks, and whatever lies beside it."""
    conn = _connect(path, "ro&immutable=1" if is_still else "ro", cache_kib)
    conn.execute("PRAGMA query_only = ON")
    return conn


def check_version(conn: sqlite3.Connection) -> int:
    """The schema version of a database. Raises NodeFault("database.newer")."""
    version: int = conn.execute("PRAGMA user_version").fetchone()[0]
    newest = len(migrations())
    if version > newest:
        raise NodeFault("database.newer", f"its schema is version {version}, this lognode knows {newest}")
    return version


def apply_migrations(conn: sqlite3.Connection, version: int | None = None) -> None:
    """Bring the schema to the newest version, or up to `version`, one transaction a step."""
    for number, sql in enumerate(migrations()[check_version(conn) : version], start=check_version(conn) + 1):
        try:
            conn.executescript(f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version = {number};")
            if number == AGREEMENT_VERSION:
                rebuild_merges(conn)
            if number == RULES_VERSION:
                rebuild_publications(conn)
            conn.execute("COMMIT")
        except sqlite3.Error:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            raise


def _connect(path: Path, mode: str, cache_kib: int = CACHE_KIB) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    conn = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=512)
    conn.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    conn.execute(f"PRAGMA cache_size = -{cache_kib}")
    conn.execute("PRAGMA temp_store = MEMORY")
    return conn
