"""Three nodes, a partition, and their way back: what scripts/demo runs.

Each node is a daemon of its own with its own data directory. They reach each other through a switch in this process
that can be opened: then no byte passes between them, and each goes on by itself.
"""

import argparse
import gzip
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Final, Self

import trio
from convergence_picture import Sample, draw

from lognode.client import AsyncClient, connect_async
from lognode.core.errors import LognodeError

RECORDS: Final = Path(__file__).parent.parent / "tests/data/web-requests.ndjson.gz"
NAMES: Final = ("amber", "birch", "cedar")
BATCH_LINES: Final = 20
LOOK_S: Final = 0.1
READY_S_MAX: Final = 30
AGREE_S_MAX: Final = 60
KIND: Final = "http.request"


class Switch:
    """Passes bytes between nodes while it is closed. `doors` are the ports that it was given, by where they lead."""

    def __init__(self) -> None:
        self.is_open = False
        self.doors: dict[int, int] = {}
        self._passing: set[trio.CancelScope] = set()

    def open(self) -> None:
        """Cut what is connected, and let nobody through."""
        self.is_open = True
        for scope in self._passing:
            scope.cancel()

    def close(self) -> None:
        """Let everybody through again."""
        self.is_open = False

    async def serve(self, door: int, port: int) -> None:
        """Lead whoever comes to `door` on to `port`."""
        await trio.serve_tcp(partial(self._pass, port), door, host="127.0.0.1")

    async def _pass(self, port: int, near: trio.SocketStream) -> None:
        if self.is_open:
            return
        with trio.CancelScope() as scope:
            self._passing.add(scope)
            try:
                with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                    async with await trio.open_tcp_stream("127.0.0.1", port) as far, trio.open_nursery() as nursery:
                        nursery.start_soon(self._copy, near, far)
                        nursery.start_soon(self._copy, far, near)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                self._passing.discard(scope)

    async def _copy(self, source: trio.SocketStream, target: trio.SocketStream) -> None:
        async for part in source:
            await target.send_all(part)
        with suppress(trio.BrokenResourceError):
            await target.send_eof()


class Node:
    """A daemon, a client of it, and how many spans it has acknowledged."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder / name
        self.port, self.door = free_port(), free_port()
        self.acknowledged = 0
        self.held = 0
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.client: AsyncClient = connect_async(data_dir=self.folder)

    async def start(self) -> Self:
        """Start the daemon; returns once it takes spans."""
        listen = ("--listen", "127.0.0.1:0", "--peer-listen", f"127.0.0.1:{self.port}", "--join-listen", "127.0.0.1:0")
        away = ("--advertise", f"127.0.0.1:{self.door}", "--no-discovery")
        command = (sys.executable, "-m", "lognode", "up", "--data-dir", str(self.folder), *listen, *away)
        with self._log.open("wb") as log:
            environ = {**os.environ, "HOME": str(self.folder)}
            self._process = await trio.to_thread.run_sync(
                lambda: subprocess.Popen(command, stdout=log, stderr=log, env=environ)
            )
        with trio.fail_after(READY_S_MAX):
            while not await self._is_ready():  # noqa: ASYNC110 - another process is waited for
                await trio.sleep(0.05)
        return self

    async def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise SystemExit(f"{self.name} ended:\n{self._log.read_text()}")
        try:
            await self.client.ready()
        except LognodeError:
            return False
        return True

    async def stop(self) -> None:
        """Stop the daemon as a service manager does."""
        with trio.CancelScope(shield=True):
            await self.client.aclose()
            if self._process is not None:
                self._process.send_signal(signal.SIGTERM)
                await trio.to_thread.run_sync(self._process.wait)

    async def write(self, lines: Sequence[bytes], seconds: float) -> None:
        """Append lines at an even pace, in so many seconds where the machine is fast enough."""
        begun = trio.current_time()
        for at in range(0, len(lines), BATCH_LINES):
            await trio.sleep_until(begun + seconds * at / len(lines))
            done = await self.client.append_batch(lines[at : at + BATCH_LINES])
            self.acknowledged += done["appended"]

    async def look(self) -> str:
        """The state hash; takes note of how many requests are held."""
        stats = await self.client.stats()
        self.held = stats["kinds"].get(KIND, 0)
        return stats["state"]


class Demo:
    """The run: what was asked for, and what was seen."""

    def __init__(self, lines: Sequence[bytes], seconds: float) -> None:
        self._lines = lines
        self._seconds = seconds
        self._begun = 0.0
        self.samples: list[Sample] = []
        self.cut = (0.0, 0.0)

    async def run(self, folder: Path) -> bool:
        """Whether the nodes agree in the end, and hold all that was acknowledged."""
        switch = Switch()
        async with AsyncExitStack() as stack:
            nodes = [Node(name, folder) for name in NAMES]
            for node in nodes:
                stack.push_async_callback(node.stop)
            async with trio.open_nursery() as nursery:
                for node in nodes:
                    nursery.start_soon(switch.serve, node.door, node.port)
                await self._found(nodes)
                agreed = await self._play(nodes, switch)
                nursery.cancel_scope.cancel()
            return agreed

    async def _found(self, nodes: Sequence[Node]) -> None:
        """Start the nodes, and have the others join the first."""
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(node.start)
        first, *others = nodes
        for node in others:
            invite = await first.client.create_invite(level="root")
            joined = await node.client.join(invite["invite"])
            say(f"{node.name} joined {first.name}; both show: {joined['words']}")

    async def _play(self, nodes: Sequence[Node], switch: Switch) -> bool:
        self._begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nodes)
            async with trio.open_nursery() as writing:
                for number, node in enumerate(nodes):
                    writing.start_soon(node.write, self._lines[number :: len(nodes)], self._seconds)
                await trio.sleep(self._seconds / 3)
                say(f"{self._now():6.1f} s  the switch opens: no node reaches another, all write on")
                switch.open()
                cut = self._now()
                await trio.sleep(self._seconds / 3)
                say(f"{self._now():6.1f} s  the switch closes")
                switch.close()
                self.cut = cut, self._now()
            total = sum(node.acknowledged for node in nodes)
            say(f"{self._now():6.1f} s  all {total:,} requests are acknowledged")
            agreed = await self._wait_agreed(nodes, total)
            await trio.sleep(2 * LOOK_S)
            nursery.cancel_scope.cancel()
        return agreed

    async def _wait_agreed(self, nodes: Sequence[Node], total: int) -> bool:
        with trio.move_on_after(AGREE_S_MAX):
            while True:
                states = {await node.look() for node in nodes}
                if len(states) == 1 and all(node.held == total for node in nodes):
                    say(f"{self._now():6.1f} s  all hold {total:,} requests, state {states.pop()}")
                    return True
                await trio.sleep(LOOK_S)
        for node in nodes:
            say(f"{node.name}: {node.held:,} of {total:,} requests, state {await node.look()}")
        return False

    async def _watch(self, nodes: Sequence[Node]) -> None:
        while True:
            total = sum(node.acknowledged for node in nodes)
            for node in nodes:
                await node.look()
            self.samples.append(Sample(self._now(), {node.name: max(0, total - node.held) for node in nodes}))
            await trio.sleep(LOOK_S)

    def _now(self) -> float:
        return trio.current_time() - self._begun


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """The exit code: 0 if the nodes agree."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, default=9999, help="how many web requests are written (all 9,999)")
    parser.add_argument("--seconds", type=float, default=30, help="how long writing takes at least (30)")
    parser.add_argument("--picture", type=Path, default=Path("convergence.png"), help="where the picture goes")
    asked = parser.parse_args()
    lines = gzip.decompress(RECORDS.read_bytes()).splitlines()[: asked.lines]
    demo = Demo(lines, asked.seconds)
    with tempfile.TemporaryDirectory(prefix="lognode-demo-") as folder:
        agreed = trio.run(demo.run, Path(folder))
    draw(demo.samples, demo.cut, asked.picture)
    worst = max(lag for sample in demo.samples for lag in sample.lags.values())
    say(f"{asked.picture} shows how far each node was behind: {worst:,} requests at most")
    say("The nodes agree." if agreed else "The nodes disagree.")
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
