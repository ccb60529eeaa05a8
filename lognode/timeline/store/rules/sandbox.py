"""What rules on trial read of the past: samples of windows and newest spans, in a database of its own.

It lies in a file without a name that is gone once it is closed: history of any length costs disk and not memory, and
nothing of a trial can reach the timeline. Synchronous. Must not know rules.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from itertools import islice
from typing import Final, NamedTuple

from lognode.core.limits import LAST_TRIED_MAX
from lognode.timeline.store.rules.windows import Measured

_TABLES: Final = """
CREATE TABLE samples (window BLOB, key BLOB, at INTEGER, feed INTEGER, seq INTEGER, value ANY) STRICT;
CREATE INDEX samples_by_key ON samples (window, key, at);
CREATE TABLE newest (subject TEXT, hlc INTEGER, kind TEXT, feed INTEGER, seq INTEGER, content BLOB) STRICT;
CREATE INDEX newest_by_subject ON newest (subject, hlc);
BEGIN;
"""
_WITHIN: Final = "SELECT feed, seq, value FROM samples WHERE window = ? AND key = ? AND at > ? AND at <= ?"
_ABOUT: Final = "SELECT kind, hlc, feed, seq, content FROM newest WHERE subject = ? ORDER BY hlc DESC, rowid DESC"


class Noted(NamedTuple):
    """A span about a subject; `content` is what whoever noted it needs to read it again."""

    kind: str
    hlc: int
    feed: int
    seq: int
    content: bytes


class Sandbox:
    """What passed a trial so far."""

    def __init__(self) -> None:
        # Closed by whoever ends the trial, in whatever thread that is.
        self._conn = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._conn.executescript(_TABLES)

    def close(self) -> None:
        """Forget all of it."""
        self._conn.close()

    def add_sample(self, window: bytes, key: bytes, at_ms: int, place: tuple[int, int], value: Measured) -> None:
        """Have a window count a span that stands at (feed, seq)."""
        self._conn.execute("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?)", (window, key, at_ms, *place, value))

    def add_subject(self, subject: str, noted: Noted) -> None:
        """Have a span be the newest about a subject, unless a later one is."""
        values = (subject, noted.hlc, noted.kind, noted.feed, noted.seq, noted.content)
        self._conn.execute("INSERT INTO newest VALUES (?, ?, ?, ?, ?, ?)", values)

    def within(
        self, window: bytes, key: bytes, after_ms: int, until_ms: int, named: Mapping[int, int], most: int
    ) -> list[Measured]:
        """The values that a window holds under a key at (after, until], of what is named; at most so many."""
        with closing(self._conn.execute(_WITHIN, (window, key, after_ms, until_ms))) as rows:
            found = (value for feed, seq, value in rows if seq < named.get(feed, 0))
            return list(islice(found, most))

    def newest(self, subject: str, is_wanted: Callable[[str], bool], named: Mapping[int, int]) -> Noted | None:
        """The newest span about a subject of what is named and of the kinds that are wanted.

        None too where it is not among the LAST_TRIED_MAX newest of these kinds, as it would be for rules in force.
        """
        with closing(self._conn.execute(_ABOUT, (subject,))) as rows:
            wanted = (noted for noted in map(Noted._make, rows) if is_wanted(noted.kind))
            tried = islice(wanted, LAST_TRIED_MAX)
            return next((one for one in tried if one.seq < named.get(one.feed, 0)), None)
