"""Figures of the gate: what rules that look at drafts take of appends, in this process and over HTTP.

One rule looks at the kind that is written, the others at kinds that do not come. Processor time of whoever writes, not
the clock: other programs of the machine, and the disk that is waited for, are no part of a figure, so that the ratio
to a node without rules is what judging takes at the worst. Runs with and without rules take turns.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

import httpx
import trio
from figure import Figure
from http_bench import Running, daemon, stream
from process_bench import drafts_of, engine
from records import web_lines

from lognode.core.draft import Draft
from lognode.core.world import World
from lognode.engine.service.ruling.publishing import Publishing
from lognode.identity.keys import NodeKeys

BATCH: Final = 1_000
NO_RULES: Final = "no rules"
# What the rule does that looks at the kind, by the name of the figure.
FORMS: Final = {
    "equals, does not hold": "if: {equals: {data.method: PATCH}}\n    then: [{reject: 'no'}]",
    "equals, allows": "if: {equals: {data.method: GET}}\n    then: [{allow: 'yes'}]",
    "CEL, does not hold": "when: data.bytes > 1000000000 && data.method == 'GET'\n    then: [{reject: 'no'}]",
    "a window of a client, does not hold": "windows: {requests: {over: 5m, by: data.client}}\n"
    "    if: {greater_than: {windows.requests: 100000}}\n    then: [{reject: 'no'}]",
}
# What it takes to write what such a rule tells is no part of judging: each span is followed by one that tells of it.
MARKING: Final = "equals, marks each span"
MARK: Final = "if: {exists: data.client}\n    then: [{add_tag: seen}]"


def gate(folder: Path, spans: int, runs: int) -> Iterator[Figure]:  # noqa: ARG001 - as all benchmarks are called
    """Appends with 0, 10 and 100 gate rules."""
    sets: dict[str, bytes] = {NO_RULES: b""}
    for count in (1, 10, 100):
        for name, form in FORMS.items() if count == 100 else list(FORMS.items())[:1]:
            sets[f"{count} rule{'s' if count > 1 else ''}, {name}"] = text_of(count, form)
    sets[f"100 rules, {MARKING}"] = text_of(100, MARK)
    yield from shown("in process", in_process(folder, sets, runs))
    yield from shown("NDJSON", over_http(folder, sets, runs))


def text_of(count: int, form: str) -> bytes:
    """A set of so many rules, of which the last looks at web requests."""
    others = "".join(
        f"  - id: other-{place}\n    on: draft\n    kinds: [other.kind{place}]\n"
        "    if: {equals: {data.method: GET}}\n    then: [{reject: 'no'}]\n"
        for place in range(1, count)
    )
    return f"rules: bench\ndo:\n{others}  - id: one\n    on: draft\n    kinds: [http.request]\n    {form}\n".encode()


def shown(way: str, rates: dict[str, list[float]]) -> Iterator[Figure]:
    """A figure of each set, and its ratio to none."""
    alone = median(rates[NO_RULES])
    for name, values in rates.items():
        yield Figure(f"{way}, {name}", "spans/CPU s", values, NO_RULES, None if name == NO_RULES else alone)
        if name.endswith(MARKING):
            all_written = [2 * value for value in values]
            yield Figure(f"{way}, {name}, with what tells of it", "spans/CPU s", all_written, NO_RULES, alone)


def in_process(folder: Path, sets: dict[str, bytes], runs: int) -> dict[str, list[float]]:
    """Spans a second of processor time, 1,000 per batch, from drafts to receipts."""
    drafts = drafts_of(web_lines())
    rates: dict[str, list[float]] = {name: [] for name in sets}
    for run in range(runs):
        for place, (name, text) in enumerate(sets.items()):
            rates[name].append(trio.run(appended, folder / f"{run}-{place}", text, drafts))
    return rates


async def appended(folder: Path, text: bytes, drafts: list[Draft]) -> float:
    """Spans a second of processor time of a new node with these rules."""
    world = World(lambda: time.time_ns() // 1_000_000, time.monotonic, os.urandom)
    async with engine(folder) as (store, writer, tenant):
        if text:
            publishing = Publishing(store, writer, world, NodeKeys.from_seed(bytes(32)).public)
            await publishing.publish(tenant, text, "yaml")
        await writer.append(tenant, drafts[:BATCH])
        start_s = time.process_time()
        for start in range(0, len(drafts), BATCH):
            await writer.append(tenant, drafts[start : start + BATCH])
        return len(drafts) / (time.process_time() - start_s)


def over_http(folder: Path, sets: dict[str, bytes], runs: int) -> dict[str, list[float]]:
    """Spans a second of a daemon's processor time, from one NDJSON stream; all nodes take turns."""
    lines = web_lines()
    rates: dict[str, list[float]] = {name: [] for name in sets}
    with ExitStack() as running:
        nodes = {name: running.enter_context(daemon(folder / f"http-{at}")) for at, name in enumerate(sets)}
        for name, node in nodes.items():
            if sets[name]:
                publish(node, sets[name])
            trio.run(stream, node.url, node.token, lines[:BATCH])
        for _ in range(runs):
            for name, node in nodes.items():
                start_s = processor_s(node.pid)
                trio.run(stream, node.url, node.token, lines)
                rates[name].append(len(lines) / (processor_s(node.pid) - start_s))
    return rates


def publish(node: Running, text: bytes) -> None:
    """Have a set in force on a daemon."""
    headers = {"Authorization": f"Bearer {node.token}", "Content-Type": "application/yaml"}
    answer = httpx.post(f"{node.url}/v1/tenants/default/rules", content=text, headers=headers, trust_env=False)
    answer.raise_for_status()


def processor_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
