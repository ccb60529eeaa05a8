"""A node's discovery alone, as a program: it listens nowhere, but says so, and tells what it hears.

finder.py OWN [WANTED] [PORT]: OWN and WANTED are numbers, of which node keys are made. With PORT it announces itself.
Each change is a line of JSON. Ends with its stdin.
"""

import json
import os
import resource
import sys
import time
from functools import partial
from typing import Any

import structlog
import trio

from lognode.core.world import World
from lognode.federation.discovery.directory import Directory
from lognode.federation.discovery.service import Discovery
from lognode.federation.discovery.whereabouts import Whereabouts


def node_key(number: str) -> bytes:
    return bytes([int(number)] * 32)


async def main(own: str, wanted: str = "", port: str = "") -> None:
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(sys.stderr))
    world = World(lambda: time.time_ns() // 1_000_000, time.monotonic, os.urandom)
    nothing: Any = None  # it keeps nothing
    directory = Directory(nothing, world)
    whereabouts = Whereabouts(directory, world, node_key(own))
    discovery = Discovery(directory, whereabouts, world, is_on=True, is_contained=lambda: False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(discovery.run)
        if port:
            whereabouts.listen("peer", "::", int(port))
            whereabouts.listen("join", "::", int(port) + 1)
        if wanted:
            nursery.start_soon(tell, directory, discovery, node_key(wanted))
        else:
            nursery.start_soon(tell, directory, discovery, None)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


async def tell(directory: Directory, discovery: Discovery, wanted: bytes | None) -> None:
    begun, tries, most = trio.current_time(), 0, 0
    with directory.wanting(*([] if wanted is None else [wanted])):
        while True:
            state = discovery.state()
            tries += 0 if wanted is None else len(directory.reach(wanted))
            most = max(most, len(directory.candidates()))
            line = {
                "announced": [] if wanted is None else [heard._asdict() for heard in directory.announced(wanted)],
                "candidates": len(directory.candidates()),
                "most": most,
                "known": 0 if wanted is None else len(directory.known(wanted)),
                "tries": tries,
                "seconds": trio.current_time() - begun,
                "rss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                "findings": [finding.code for finding in state.findings],
                "is_announcing": state.is_announcing,
                "is_browsing": state.is_browsing,
            }
            print(json.dumps(line), flush=True)
            await trio.sleep(0.1)


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))
