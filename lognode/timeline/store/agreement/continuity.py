"""The mark of the last start, and why own feeds end.

Synchronous functions for the writing connection's thread.
"""

import sqlite3

from lognode.core.ids import FeedId


def read_mark(conn: sqlite3.Connection) -> bytes | None:
    """The mark of the last start; None before the first that left one."""
    found = conn.execute("SELECT mark FROM continuity").fetchone()
    return found[0] if found else None


def write_mark(conn: sqlite3.Connection, mark: bytes) -> None:
    """Put a mark in the place of the one before."""
    conn.execute("INSERT OR REPLACE INTO continuity VALUES (1, ?)", (mark,))


def replace_ending(conn: sqlite3.Connection, feed: FeedId, before: str | None, after: str | None) -> None:
    """Have a feed end for another reason than `before`, or for none; durable on return."""
    if after is None:
        conn.execute("DELETE FROM endings WHERE feed_id = ? AND reason = ?", (feed, before))
    elif before is None:
        conn.execute("INSERT OR IGNORE INTO endings VALUES (?, ?)", (feed, after))
    else:
        conn.execute("UPDATE endings SET reason = ? WHERE feed_id = ? AND reason = ?", (after, feed, before))
