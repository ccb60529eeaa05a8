"""`lognode`, made wrong in some way: what a test must find, or else it proves nothing.

python launcher.py PATCH[,PATCH...] lognode-arguments...
"""

import os
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from ctypes import CDLL, c_ulong
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from lognode.__main__ import main
from lognode.api.live import socket, tail
from lognode.api.server.client import Client
from lognode.api.spans import intake, upload
from lognode.api.spans.admission import Admission
from lognode.core.draft import Draft, parse_json_draft
from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import TenantId
from lognode.engine.ruling import judging
from lognode.engine.service.ruling.approvals.ending import Waiting
from lognode.engine.service.ruling.reactions import Looked, Reactions
from lognode.engine.service.upkeep import mirror
from lognode.engine.service.writer import Writer
from lognode.engine.subscriptions.progress import Progress
from lognode.engine.tasks.service.runner import Tasks
from lognode.federation.sync.service.linking.links import Links
from lognode.federation.sync.service.state.tie import Tie
from lognode.federation.sync.service.state.ties import Ties
from lognode.federation.transport.doors.handshake import PeerDoor
from lognode.federation.transport.doors.peer_app import PeerApp
from lognode.timeline.record import TenantRef
from lognode.timeline.state import WritePlan
from lognode.timeline.store import database
from lognode.timeline.store.opening import migrate
from lognode.timeline.store.rules.held import HeldDraft, held_rows
from lognode.timeline.store.write import apply_write

PR_SET_PTRACER: Final = 0x59616D61
ANYBODY: Final = c_ulong(-1)
SLOW_DISK_S: Final = 0.02
SMALL_WAL_PAGES: Final = 64
LATER_NS: Final = 4 * 3600 * 10**9


def adopt(writer: Any, step: Any) -> None:
    """Take for committed what a plan says."""
    writer._ledger.keep(step)
    writer._heads.publish(step.state.tenant.number, step.state.position)


def hasty() -> None:
    """Answers before the commit, on a disk that takes its time."""

    def write_slowly(conn: sqlite3.Connection, plan: WritePlan) -> None:
        time.sleep(SLOW_DISK_S)
        apply_write(conn, plan)

    commit = Writer._commit

    async def commit_later(self: Any, steps: Any) -> None:
        if any("feeds" in step.write.rows for step in steps):
            await commit(self, steps)  # nobody waits for an answer when a feed is opened
            return
        for step in steps:
            trio.lowlevel.spawn_system_task(self._store.write, write_slowly, step.write)
            adopt(self, step)

    Writer._commit = commit_later  # type: ignore[method-assign]


def parting() -> None:
    """Once it is asked to stop, it answers at once, and commits nothing more."""
    commit = Writer._commit
    stopping = _when_asked_to_stop()

    async def commit_no_more(self: Any, steps: Any) -> None:
        if not stopping:
            await commit(self, steps)
            return
        for step in steps:
            adopt(self, step)

    Writer._commit = commit_no_more  # type: ignore[method-assign]


def curt() -> None:
    """Once it is asked to stop, it breaks off its answers."""
    send = Client._send
    stopping = _when_asked_to_stop()

    async def send_half(self: Any, data: bytes) -> None:
        await send(self, data[: len(data) // 2] if stopping else data)
        if stopping:
            await self._close()

    Client._send = send_half  # type: ignore[method-assign]


def _when_asked_to_stop() -> list[bool]:
    """A list that is filled once connections are closed."""
    asked: list[bool] = []
    close = Client.close_if_idle

    def close_if_idle(self: Client) -> None:
        asked.append(True)
        close(self)

    Client.close_if_idle = close_if_idle  # type: ignore[method-assign]
    return asked


def forgetful() -> None:
    """Takes no notice of idempotency keys."""
    admit = Admission.admit

    def admit_without_key(self: Admission, draft: Draft, key: str | None) -> Draft:
        return admit(self, draft, None)

    Admission.admit = admit_without_key  # type: ignore[method-assign]


def lenient() -> None:
    """Takes a line of a stream that it cannot read for a draft without content."""

    def parse_anything(line: bytes) -> tuple[Draft, str | None]:
        try:
            return parse_json_draft(line)
        except CallerError:
            return Draft(kind="line.unreadable"), None

    upload.parse_json_draft = parse_anything  # type: ignore[attr-defined]


def deaf() -> None:
    """Answers before it knows how the commit ended; and lets itself be traced."""
    commit = Writer._commit

    async def commit_anyhow(self: Any, steps: Any) -> None:
        try:
            await commit(self, steps)
        except (sqlite3.Error, NodeFault):
            for step in steps:
                adopt(self, step)

    Writer._commit = commit_anyhow  # type: ignore[method-assign]
    traceable()


def hoarding() -> None:
    """Reads all that lies behind a live tail at once, whether or not its client takes any of it."""
    tail.TAIL_BATCH_BYTES_MAX = tail.TAIL_BATCH_STEPS_MAX = sys.maxsize  # type: ignore[attr-defined]


def greedy() -> None:
    """Takes in what a socket sends, whether or not its client reads the receipts."""
    socket.GATHERING_MAX = intake.GROUP_BYTES_MAX = sys.maxsize  # type: ignore[attr-defined,misc]


def checkpointing() -> None:
    """Nothing is wrong, but the log is copied into the database after some commits, not after thousands."""
    migrate.WAL_PAGES = SMALL_WAL_PAGES  # type: ignore[misc]


def careless() -> None:
    """Syncs the log only before it is copied into the database: SQLite's synchronous=NORMAL."""
    _synchronous("NORMAL")


def reckless() -> None:
    """Syncs no write to the database at all."""
    checkpointing()
    _synchronous("OFF")


def _synchronous(level: str) -> None:
    def connect(path: Path) -> sqlite3.Connection:
        conn = migrate.connect_writer(path)
        conn.execute(f"PRAGMA synchronous = {level}")
        return conn

    database.connect_writer = connect  # type: ignore[attr-defined]


def unsynced() -> None:
    """Takes a key file, and the directory that holds it, for durable as soon as they are written."""
    checkpointing()
    os.fsync = lambda fd: None  # noqa: ARG005 - by the name that callers may use


def traceable() -> None:
    """Nothing is wrong, but strace may come later, also where the kernel lets only parents trace."""
    CDLL(None).prctl(PR_SET_PTRACER, ANYBODY, 0, 0, 0)


def uncut() -> None:
    """Goes on behind a mirror's last sound line, and leaves a torn one where it is."""
    sound_part = mirror._sound_part

    def take_all(path: Path) -> tuple[mirror.Mirrored | None, int]:
        return sound_part(path)[0], path.stat().st_size

    mirror._sound_part = take_all


def skipping() -> None:
    """Takes a mirror's torn line for a whole one."""
    position = mirror.Mirror._position

    async def take_next(self: Any, tenant: Any, folder: Path, last: mirror.Mirrored | None) -> int:
        return await position(self, tenant, folder, last) + (last is not None)

    mirror.Mirror._position = take_next  # type: ignore[method-assign]


def trusting() -> None:
    """Asks once who is a member, and ends no session."""
    admit, relink = Ties.admit, Links._relink
    admitted: dict[tuple[bytes, bytes], Tie] = {}

    def admit_once(self: Any, node_key: bytes, tenant_id: TenantId) -> Tie | None:
        tie = admitted.get((node_key, tenant_id)) or admit(self, node_key, tenant_id)
        if tie is not None:
            admitted[node_key, tenant_id] = tie
        return tie

    def keep_linked(self: Any, tenant: TenantRef, members: set[bytes]) -> None:
        relink(self, tenant, members | {tie.node_key for tie in self.ties.of(tenant)})

    Ties.admit = admit_once  # type: ignore[method-assign]
    Links._relink = keep_linked  # type: ignore[method-assign]
    PeerDoor.recheck = PeerApp.recheck = lambda self: None  # type: ignore[assignment,method-assign]  # noqa: ARG005


def noting() -> None:
    """Writes what a task is for, and only then notes that it was done; nothing in the span tells it from another."""

    async def note_later(self: Any, tenant: TenantRef, drafts: Any, beside: Any) -> None:
        plain = [msgspec.structs.replace(draft, idem=None) for draft in drafts]
        receipts = await self._writer.append(tenant, plain, wait=True)
        await trio.sleep(10 * SLOW_DISK_S)
        await self._writer.append(tenant, [], beside=lambda _: beside(receipts), wait=True)

    Tasks._append = note_later  # type: ignore[method-assign]


def later() -> None:
    """Nothing is wrong, but hours have passed since."""
    now_ns = time.time_ns
    time.time_ns = lambda: now_ns() + LATER_NS


def reacting() -> None:
    """Writes what reactions come to, and only then how far it looked; nothing in the spans tells them from others."""
    write = Reactions._write

    async def write_later(self: Any, tenant: TenantRef, looked: Looked) -> bool:
        drafts = [draft for following in looked.following for draft in following.drafts]
        await self._writer.append(tenant, [msgspec.structs.replace(draft, idem=None) for draft in drafts], wait=True)
        await trio.sleep(10 * SLOW_DISK_S)
        return await write(self, tenant, looked._replace(following=[]))

    Reactions._write = write_later  # type: ignore[method-assign]


def approving() -> None:
    """Writes what enough have approved, and only then notes that it did; nothing else tells it from another."""

    async def note_later(self: Any, tenant: TenantRef, held: HeldDraft, drafts: Any) -> None:
        plain = [msgspec.structs.replace(draft, idem=None) for draft in drafts]
        await self._writer.append(tenant, plain, wait=True)
        await trio.sleep(10 * SLOW_DISK_S)
        await self._writer.append(tenant, [], beside=lambda _: held_rows([held]), wait=True)

    Waiting._write = note_later  # type: ignore[method-assign]
    judging._ending = lambda draft, approval: None  # noqa: ARG005


def presuming() -> None:
    """Has a subscription's checkpoint move with what is handed out, before anything is acknowledged."""
    Progress.checkpoint = property(lambda self: self.looked)  # type: ignore[assignment,method-assign]


PATCHES: Final[Mapping[str, Callable[[], None]]] = {
    patch.__name__: patch
    for patch in (
        hasty,
        parting,
        curt,
        forgetful,
        lenient,
        deaf,
        hoarding,
        greedy,
        checkpointing,
        careless,
        reckless,
        unsynced,
        traceable,
        uncut,
        skipping,
        trusting,
        noting,
        later,
        reacting,
        approving,
        presuming,
    )
}

if __name__ == "__main__":
    for name in sys.argv.pop(1).split(","):
        PATCHES[name]()
    main()
