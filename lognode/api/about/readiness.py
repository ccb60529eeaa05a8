"""Whether this node can do its work now: a real write to its database, and room on its disk.

Anyone may ask, so the answer is terse and one write a second is enough for all who ask. Invariant: the
answer comes within READY_S_MAX, also while the disk hangs.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

import structlog
import trio

from lognode.api.services import Services
from lognode.core.errors import LognodeError, NodeFault
from lognode.core.limits import BUSY_RETRY_S, DISK_FREE_BYTES_MIN, MIB, READY_S_MAX
from lognode.timeline.store.write import write_heartbeat

VALID_S: Final = 1.0  # how long an answer stands for those who ask next
_log = structlog.get_logger(__name__)


class Readiness:
    """The newest finding, and the probe that may be under way."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._detail: str | None = None  # what is wrong; None: nothing
        self._found_s: float | None = None
        self._probing: trio.Event | None = None

    async def check(self) -> None:
        """Return when the node is ready. Raises NodeFault node.not_ready or node.stopping."""
        if self._services.stopping.is_set():
            raise NodeFault("node.stopping", retry_after_s=BUSY_RETRY_S)
        if self._found_s is None or self._services.world.monotonic_s() - self._found_s > VALID_S:
            with trio.move_on_after(READY_S_MAX) as waiting:
                await self._probe()
            if waiting.cancelled_caught:
                self._detail = f"the database took no write within {READY_S_MAX} seconds"
        if self._detail is not None:
            raise NodeFault("node.not_ready", self._detail, retry_after_s=BUSY_RETRY_S)

    async def _probe(self) -> None:
        """Wait for the probe that runs, or a new one.

        A write that was handed over runs to its end, whatever becomes of the request: so it belongs to a task
        of its own, and a disk that hangs holds one of them, however many ask.
        """
        if self._probing is None:
            self._probing = trio.Event()
            trio.lowlevel.spawn_system_task(self._run_probe, self._probing)
        await self._probing.wait()

    async def _run_probe(self, done: trio.Event) -> None:
        services = self._services
        try:
            free = await services.store.write(_write_and_measure, services.settings.data_dir, services.world.now_ms())
            self._detail = (
                None if free >= DISK_FREE_BYTES_MIN else f"less than {DISK_FREE_BYTES_MIN // MIB} MiB of disk are free"
            )
        except (LognodeError, sqlite3.Error, OSError) as error:
            _log.warning("the node is not ready", error=str(error))
            self._detail = "the database takes no write"
        self._found_s = services.world.monotonic_s()
        self._probing = None
        done.set()


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write below `folder`."""
    stats = os.statvfs(folder)
    return stats.f_bavail * stats.f_frsize


def _write_and_measure(conn: sqlite3.Connection, folder: Path, unix_ms: int) -> int:
    """Bytes free for this user below `folder`, after a durable write."""
    write_heartbeat(conn, unix_ms)
    return free_bytes(folder)
