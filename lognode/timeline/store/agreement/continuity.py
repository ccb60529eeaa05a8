"""The mark of the last start, how much was committed since, why own feeds end, and what the owner was told.

Synchronous functions for the writing connection's thread.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from lognode.core.ids import FeedId
from lognode.timeline.agreement.alerts import Alert, read_alert, seal_alert
from lognode.timeline.store.database import file_fault
from lognode.timeline.store.write import newest_position

_COUNT_BYTES: Final = 8


def read_mark(conn: sqlite3.Connection) -> bytes | None:
    """The mark of the last start; None before the first that left one."""
    found = conn.execute("SELECT mark FROM continuity").fetchone()
    return found[0] if found else None


def write_mark(conn: sqlite3.Connection, mark: bytes) -> None:
    """Put a mark in the place of the one before."""
    conn.execute("INSERT OR REPLACE INTO continuity VALUES (1, ?)", (mark,))


def load_alerts(conn: sqlite3.Connection) -> list[tuple[int, Alert]]:
    """What the owner was told, each with the number of its tenant; without those that are damaged."""
    rows = conn.execute("SELECT tenant, code, said FROM alerts").fetchall()
    found = [(tenant, read_alert(tenant, code, said)) for tenant, code, said in rows]
    return [(tenant, alert) for tenant, alert in found if alert is not None]


def save_alert(conn: sqlite3.Connection, tenant: int, alert: Alert) -> None:
    """Put an alert in the place of the one of its code before."""
    said = seal_alert(tenant, alert)
    conn.execute("INSERT OR REPLACE INTO alerts VALUES (?, ?, ?)", (tenant, alert.code, said))


def count_spans(conn: sqlite3.Connection) -> int:
    """How many spans of all tenants were ever committed; it never falls."""
    numbers = [number for (number,) in conn.execute("SELECT tenant FROM tenants")]
    return sum(newest_position(conn, number) for number in numbers)


class Watermark:
    """A file beside the database that says how many spans were committed, so that a database that was set back shows.

    It is written after each commit and never synced: a power cut may lose what it says, and then the machine started
    anew, which shows as well.
    """

    def __init__(self, path: Path) -> None:
        """Raises NodeFault data_dir.unwritable or disk.full."""
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise file_fault(path, error) from error

    def read(self) -> int | None:
        """How many spans were committed; None where nothing says so."""
        raw = os.pread(self._handle, _COUNT_BYTES + 1, 0)
        return int.from_bytes(raw) if len(raw) == _COUNT_BYTES else None

    def write(self, count: int) -> None:
        """Say how many spans are committed."""
        with suppress(OSError):  # a full disk: what stands there is less, and hides nothing but a later setting back
            os.pwrite(self._handle, count.to_bytes(_COUNT_BYTES), 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


def replace_ending(conn: sqlite3.Connection, feed: FeedId, before: str | None, after: str | None) -> None:
    """Have a feed end for another reason than `before`, or for none; durable on return."""
    if after is None:
        conn.execute("DELETE FROM endings WHERE feed_id = ? AND reason = ?", (feed, before))
    elif before is None:
        conn.execute("INSERT OR IGNORE INTO endings VALUES (?, ?)", (feed, after))
    else:
        conn.execute("UPDATE endings SET reason = ? WHERE feed_id = ? AND reason = ?", (after, feed, before))
