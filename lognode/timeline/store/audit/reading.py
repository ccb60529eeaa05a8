"""Reading a database that may be damaged.

Invariant: damage never ends an audit. A read that fails is a finding that names its table, and what was read before
it counts. No TEXT is fetched as such, because damaged text is no UTF-8.
"""

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from lognode.timeline.verify.finding import Report

# What SQLite raises over a damaged file; its messages quote names that may be no UTF-8.
UNREADABLE: Final = (sqlite3.DatabaseError, UnicodeDecodeError)


class Reading:
    """A connection whose failures are findings."""

    def __init__(self, conn: sqlite3.Connection, report: Report) -> None:
        self.conn = conn
        self.report = report
        self.failed = 0  # reads that failed

    def rows(self, place: str, sql: str, *args: object) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, as far as they can be read."""
        try:
            yield from self.conn.execute(sql, args)
        except UNREADABLE as error:
            self.failed += 1
            self.report.add("database.damaged", None, place, f"cannot be read: {error}")


def as_bytes(value: object) -> bytes:
    """A BLOB; anything else in its place reads as empty, which is right nowhere."""
    return value if isinstance(value, bytes) else b""


def as_text(value: object) -> str:
    """The text in a BLOB, for people."""
    return as_bytes(value).decode(errors="backslashreplace")
