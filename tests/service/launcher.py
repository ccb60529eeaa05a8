"""`lognode` with a subsystem that fails, or that strace may look at: python launcher.py PATCH lognode-arguments..."""

import sys
from collections.abc import Callable, Mapping
from ctypes import CDLL, c_ulong
from typing import Any, Final

import trio

from lognode.__main__ import main
from lognode.api.app import ApiApp
from lognode.api.server.serve import serve_api
from lognode.api.server.sockets import Listening
from lognode.engine.service.upkeep.indexer import Indexer
from lognode.node import subsystems
from lognode.service.watchdog import Watchdog

PR_SET_PTRACER: Final = 0x59616D61
ANYBODY: Final = c_ulong(-1)


def failing_index() -> None:
    """No index can be filled."""

    async def run(_self: Any, _tenant: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(5, "the index is broken")

    Indexer.run = run  # type: ignore[assignment, method-assign]


def stumbling_api() -> None:
    """The server breaks down once, at its first request."""
    serve = serve_api
    fallen = trio.Event()
    call = ApiApp.__call__

    async def fall(app: ApiApp, *args: Any) -> None:
        if fallen.is_set():
            await call(app, *args)
        else:
            fallen.set()
            await trio.sleep_forever()

    async def serve_until_fallen(app: ApiApp, listening: Listening, stopping: trio.Event) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, app, listening, stopping)
            if not fallen.is_set():
                await fallen.wait()
                raise RuntimeError("the server fell")

    ApiApp.__call__ = fall  # type: ignore[assignment, method-assign]
    subsystems.serve_api = serve_until_fallen  # type: ignore[attr-defined]


def traceable() -> None:
    """Nothing is wrong, but strace may come, also where the kernel lets only parents trace."""
    CDLL(None).prctl(PR_SET_PTRACER, ANYBODY, 0, 0, 0)


def blind() -> None:
    """The watchdog pings without a look at the database; and strace may come."""

    async def look(_self: Any, _reader: Any) -> None:
        await trio.lowlevel.checkpoint()

    Watchdog._look = look  # type: ignore[assignment, method-assign]
    traceable()


PATCHES: Final[Mapping[str, Callable[[], None]]] = {
    patch.__name__: patch for patch in (blind, failing_index, stumbling_api, traceable)
}

if __name__ == "__main__":
    PATCHES[sys.argv.pop(1)]()
    main()
