"""How long the event loop and the writer stand still for others while one tenant does its worst.

One tenant has rules and sends spans that were made to hurt; another writes one span after the other, and a task looks
at the clock each millisecond. What is shown is the longest gap of that task, and the longest write of the other tenant,
which is one group of the writer and a commit at best: in processor time of this process, so that other programs of the
machine are no part of it. The same without anybody who hurts comes first.
"""

import gc
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import trio
from figure import Figure
from process_bench import engine

from lognode.api.spans.admission import read_draft
from lognode.core.draft import Draft, parse_json_draft
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId
from lognode.core.limits import GC_OBJECTS, UPLOAD_SPANS_MAX
from lognode.core.world import World
from lognode.engine.receipt import AppendStopped
from lognode.engine.service.ruling.publishing import Publishing
from lognode.engine.service.writer import Writer
from lognode.identity.keys import NodeKeys
from lognode.timeline.agreement.rules.publications import PUBLISH, rule_publish_data
from lognode.timeline.members import Membership
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store

REST_S: Final = 1.0  # of looking before and after
WORLD: Final = World(lambda: time.time_ns() // 1_000_000, time.monotonic, os.urandom)
DATA_RULE: Final = "rules: data\ndo:\n  - {id: x, on: draft, if: {equals: {data.y: 1}}, then: [{reject: no}]}\n"


class Stalls:
    """The longest gaps so far, in seconds."""

    def __init__(self) -> None:
        self.loop = 0.0
        self.write = 0.0

    async def look(self) -> None:
        """Look at the clock until cancelled."""
        before = time.process_time()
        while True:
            await trio.sleep(0.001)
            now = time.process_time()
            self.loop, before = max(self.loop, now - before), now

    async def write_on(self, writer: Writer, tenant: TenantRef) -> None:
        """Write one span after the other until cancelled."""
        while True:
            before = time.process_time()
            await writer.append(tenant, [Draft("note", title="x")], wait=True)
            self.write = max(self.write, time.process_time() - before)


@asynccontextmanager
async def looking(writer: Writer, other: TenantRef) -> AsyncIterator[Stalls]:
    """What others feel of all that is done inside."""
    stalls = Stalls()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stalls.look)
        nursery.start_soon(stalls.write_on, writer, other)
        await trio.sleep(REST_S / 10)
        yield stalls
        await trio.sleep(REST_S)
        nursery.cancel_scope.cancel()


Hurt = Callable[[Store, Writer, TenantRef], Awaitable[None]]


async def rest(_store: Store, _writer: Writer, _tenant: TenantRef) -> None:
    """Nobody hurts."""
    await trio.sleep(REST_S)


async def publish(store: Store, writer: Writer, tenant: TenantRef, text: str) -> None:
    """Have a set in force."""
    await Publishing(store, writer, WORLD, NodeKeys.from_seed(bytes(32)).public).publish(tenant, text.encode(), "yaml")


async def send(writer: Writer, tenant: TenantRef, lines: list[bytes]) -> None:
    """What a connection does with each of some lines, at the same time."""
    parsing = trio.CapacityLimiter(1)

    async def one(line: bytes) -> None:
        try:
            draft, _ = await read_draft(parse_json_draft, line, parsing)
            await writer.append(tenant, [draft], wait=True)
        except (AppendStopped, CallerError):
            pass  # refused, which is an answer as well

    async with trio.open_nursery() as nursery:
        for line in lines:
            nursery.start_soon(one, line)


async def values(store: Store, writer: Writer, tenant: TenantRef, *, item: str, count: int) -> None:
    """Drafts of many small values, which a rule reads."""
    await publish(store, writer, tenant, DATA_RULE)
    line = f'{{"kind":"a.b","data":{{"x":[{",".join([item] * count)}]}}}}'.encode()
    await send(writer, tenant, [line] * 24)


def made(said: Callable[[list[SpanId]], bytes], _members: Membership, after: list[SpanId]) -> bytes:
    """The data of a span that names what its author knew."""
    return said(after)


async def sets(_store: Store, writer: Writer, tenant: TenantRef, *, is_sound: bool) -> None:
    """The largest texts, as another root publishes them, and drafts that are judged by them."""
    for number in range(12):
        end = "" if is_sound else "oops"
        rules = "".join(
            f"  - {{id: r{place}, on: draft, when: 'data.a > {place}', then: [{{note: x}}]}}\n" for place in range(975)
        )
        text = f"rules: a{number % 4}\ndo:\n{rules}#{number}\n{end}".encode()
        said = partial(rule_publish_data, name=f"a{number % 4}", media="yaml", text=text)
        like = Draft(kind=PUBLISH, visibility=1)
        await writer.append_control(tenant, PUBLISH, partial(made, said), like=like)
        await writer.append(tenant, [Draft("a.b")], wait=True)


async def costly(store: Store, writer: Writer, tenant: TenantRef, *, batch: int) -> None:
    """Rules that take all that they may, on each draft of full batches."""
    loops = "".join(
        f"  - {{id: r{place}, on: draft, when: 'data.x.exists(i, i == -{place})', then: [{{reject: no}}]}}\n"
        for place in range(1, 40)
    )
    await publish(store, writer, tenant, f"rules: costly\ndo:\n{loops}")
    line = f'{{"kind":"a.b","data":{{"x":{list(range(600))}}}}}'.encode()
    draft, _ = parse_json_draft(line)
    for _ in range(3):
        await writer.append(tenant, [draft] * batch, wait=True)


HURTS: Final[dict[str, Hurt]] = {
    "nobody": rest,
    "24 drafts of 65,000 numbers": partial(values, item="1", count=65_000),
    "24 drafts of 21,000 lists in lists": partial(values, item="[[1]]", count=21_000),
    "24 drafts of 800 kB of lists": partial(values, item="[1]", count=200_000),
    "12 sets of 64 KiB": partial(sets, is_sound=True),
    "12 texts of 64 KiB that are no sets": partial(sets, is_sound=False),
    "costly rules, one draft a call": partial(costly, batch=1),
    "costly rules, full batches": partial(costly, batch=UPLOAD_SPANS_MAX),
}


def stalls(folder: Path, spans: int, runs: int) -> Iterator[Figure]:  # noqa: ARG001 - as all benchmarks are called
    """The longest stall of loop and writer."""
    gc.freeze()
    gc.set_threshold(GC_OBJECTS, *gc.get_threshold()[1:])  # as a daemon does
    for place, (name, hurt) in enumerate(HURTS.items()):
        found = [trio.run(felt, folder / f"{place}-{run}", hurt) for run in range(runs)]
        yield Figure(f"loop, {name}", "ms", [one.loop * 1e3 for one in found])
        yield Figure(f"write of another tenant, {name}", "ms", [one.write * 1e3 for one in found])


async def felt(folder: Path, hurt: Hurt) -> Stalls:
    """What another tenant feels of it."""
    async with engine(folder) as (store, writer, tenant):
        other = await writer.create_tenant("other")
        async with looking(writer, other) as found:
            await hurt(store, writer, tenant)
        return found
