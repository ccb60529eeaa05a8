"""Tasks of a node without its API, for tests: a clock that tests own, and a runner that they start and stop."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import trio

from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.core.span import decode_body, decode_header
from lognode.engine.tasks.service.runner import Tasks
from lognode.engine.tasks.service.webhooks import Webhooks
from lognode.engine.tasks.store import Selection, insert_task, list_tasks
from lognode.engine.tasks.task import Task, Work
from lognode.engine.tasks.work import EMIT, Notice, emit_payload, new_task, notice_payload
from lognode.timeline.record import Record
from tests.engine.nodes import Engine, Wall, all_records, run_engine

T = TypeVar("T")
START_MS = 1_760_000_000_000


@dataclass
class Workshop:
    """An engine, the runner of its tasks, and its clock."""

    engine: Engine
    tasks: Tasks
    wall: Wall
    stopping: trio.Event

    async def add(self, *tasks: Task) -> None:
        for task in tasks:
            await self.engine.store.write(insert_task, task)
        self.tasks.poke()

    async def all(self, state: str | None = None, tenant: int = 0) -> list[Task]:
        return await self.engine.store.read(list_tasks, tenant, Selection(state), None, 10_000)

    async def wait_state(self, state: str, count: int, tenant: int = 0) -> list[Task]:
        """The tasks in a state, once there are so many."""
        return await eventually(lambda: self.all(state, tenant), count)

    async def spans(self, kind: str) -> list[Record]:
        """The spans of a kind, by arrival."""
        records = await self.engine.store.read(all_records)
        return [record for record in records if decode_header(record.header).kind == kind]

    async def titles(self, kind: str = "later") -> list[str]:
        return [decode_body(record.body or b"").title or "" for record in await self.spans(kind)]


async def eventually(look: Callable[[], Awaitable[list[T]]], count: int) -> list[T]:
    """What `look` finds, once it finds so many."""
    with trio.fail_after(20):
        while len(found := await look()) < count:  # noqa: ASYNC110 - it looks into a database
            await trio.sleep(0.01)
    assert len(found) == count
    return found


@asynccontextmanager
async def run_workshop(
    folder: Path,
    wall: Wall | None = None,
    webhooks: Webhooks | None = None,
    tenants: tuple[str, ...] = ("default",),
    *,
    is_idle: bool = False,
) -> AsyncIterator[Workshop]:
    """Tasks that run, unless they are to be idle; stopped as by a node at the end."""
    wall = wall or Wall(START_MS)
    async with run_engine(folder, wall, tenants) as engine, trio.open_nursery() as nursery:
        world = wall.world()
        tasks = Tasks(
            engine.store, engine.writer, world, engine.meters.tasks, engine.keys.logline, webhooks or Webhooks(world)
        )
        shop = Workshop(engine, tasks, wall, trio.Event())
        if not is_idle:
            nursery.start_soon(tasks.run, shop.stopping)
        yield shop
        shop.stopping.set()


def emit_task(number: int, *, due_ms: int = START_MS, tenant: int = 0, draft: Draft | None = None) -> Task:
    """A task that writes a span with its number as title."""
    draft = draft or Draft(kind="later", title=f"{number}", data=encode({"n": number}))
    return new_task(tenant, number.to_bytes(16, "big"), Work(EMIT, emit_payload(draft)), now_ms=START_MS, due_ms=due_ms)


def notice_task(number: int, notice: Notice, *, due_ms: int = START_MS) -> Task:
    """A task that tells somebody something."""
    work = Work(notice.what, notice_payload(notice))
    return new_task(0, number.to_bytes(16, "big"), work, now_ms=START_MS, due_ms=due_ms)
