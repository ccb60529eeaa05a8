"""Tells the service manager that the node lives, as long as its database answers.

Owns the times between pings and what a ping stands for. Invariant: no ping is sent before a read that began after
the ping before it came back, and before the writing connection answered too; so a database that hangs, in a read or
in a commit, ends the pings. It has a reading connection of its own: that clients wait for theirs is no reason to be
killed.
"""

import sqlite3
from contextlib import suppress
from typing import Final

import structlog
import trio

from lognode.service.notify import Notifier
from lognode.timeline.store.database import Store
from lognode.timeline.store.opening.connection import Connection

# Managers advise a ping in half of the time; a third leaves room for a look that takes its time.
PINGS_PER_PERIOD: Final = 3
_log = structlog.get_logger(__name__)


class Watchdog:
    """The pings of a node, `watchdog_s` being the longest silence that its manager bears."""

    def __init__(self, store: Store, notifier: Notifier, watchdog_s: float) -> None:
        self._store = store
        self._notifier = notifier
        self._interval_s = watchdog_s / PINGS_PER_PERIOD

    async def run(self) -> None:
        """Look and ping, until cancelled."""
        while True:
            try:
                async with self._store.own_reader() as reader:
                    while True:
                        next_s = trio.current_time() + self._interval_s
                        await self._look(reader)
                        self._notifier.ping()
                        await trio.sleep_until(next_s)
            except sqlite3.Error as error:
                # A disk that fails may come back before the manager's patience ends.
                _log.warning("watchdog_read_failed", error=str(error))
            await trio.sleep(self._interval_s)

    async def _look(self, reader: Connection) -> None:
        """Return once the database answered on a reading and on the writing connection. Raises what reading does."""
        await reader.run(_read)
        # A refusal is an answer: the writer deals with a disk that is full or broken, and a restart would not help.
        with suppress(sqlite3.Error):
            await self._store.write(_read)


def _read(conn: sqlite3.Connection) -> None:
    conn.execute("SELECT count(*) FROM tenants").fetchone()
