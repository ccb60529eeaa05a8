"""What a ping stands for, and what it does not wait for."""

import sqlite3
import threading
from pathlib import Path
from typing import Final

import pytest
import trio

from lognode.core.limits import READERS
from lognode.service.notify import Notifier
from lognode.service.watchdog import Watchdog
from lognode.timeline.store import database
from lognode.timeline.store.database import open_store
from lognode.timeline.store.opening.migrate import connect_reader

HANG_S_MAX: Final = 30
WATCHDOG_S: Final = 0.03


class Heard(Notifier):
    """A notifier whose pings can be waited for."""

    def __init__(self) -> None:
        super().__init__({}, 0)
        self._pings, self._heard = trio.open_memory_channel[None](1000)

    def ping(self) -> None:
        self._pings.send_nowait(None)

    async def hear(self, count: int) -> None:
        with trio.fail_after(HANG_S_MAX):
            for _ in range(count):
                await self._heard.receive()


async def test_pings_do_not_wait_for_what_clients_read(tmp_path: Path) -> None:
    gate = threading.Event()

    def hold(_: sqlite3.Connection) -> None:
        gate.wait(HANG_S_MAX)

    heard = Heard()
    async with open_store(tmp_path / "lognode.db") as store, trio.open_nursery() as nursery:
        for _ in range(2 * READERS):
            nursery.start_soon(store.read, hold)
        nursery.start_soon(Watchdog(store, heard, WATCHDOG_S).run)
        await heard.hear(3)
        gate.set()
        nursery.cancel_scope.cancel()


async def test_a_reader_that_cannot_be_opened_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = list[int]()

    def connect(path: Path, *, cache_kib: int) -> sqlite3.Connection:
        if len(failures) < 3:
            failures.append(1)
            raise sqlite3.OperationalError("unable to open database file")
        return connect_reader(path, cache_kib=cache_kib)

    heard = Heard()
    async with open_store(tmp_path / "lognode.db") as store, trio.open_nursery() as nursery:
        monkeypatch.setattr(database, "connect_reader", connect)
        nursery.start_soon(Watchdog(store, heard, WATCHDOG_S).run)
        await heard.hear(1)
        assert len(failures) == 3
        nursery.cancel_scope.cancel()
