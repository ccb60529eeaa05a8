"""Serving an application until the node stops.

Owns the order in which serving ends. Invariant: after `stopping`, no new request begins, those that had begun get
up to STOP_S_MAX, and then nothing of the server is left.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import trio
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework

from lognode.api.app import ApiApp
from lognode.api.server.client import Client, Opened, http_config
from lognode.api.server.sockets import Listening
from lognode.core.limits import CONNECTIONS_MAX, STOP_S_MAX

# From an accepted socket to a connection that is served while inside; None where it is refused.
Door = Callable[[trio.SocketStream], AbstractAsyncContextManager[Opened | None]]


async def serve_api(app: ApiApp, listening: Listening, stopping: trio.Event) -> None:
    """Serve the API until `stopping` is set, then close what listens; after a failure it may be called again."""
    meters = app.services.meters.api
    count = 0

    @asynccontextmanager
    async def door(stream: trio.SocketStream) -> AsyncIterator[Opened | None]:
        nonlocal count
        if count >= CONNECTIONS_MAX:
            meters.connections_refused.inc()
            yield None
            return
        count += 1
        try:
            with meters.connections.track_inprogress():
                yield stream, {}
        finally:
            count -= 1

    await serve(app, door, listening, stopping)


async def serve(app: ASGIFramework, door: Door, listening: Listening, stopping: trio.Event) -> None:
    """Serve whom `door` lets in until `stopping` is set, then close what listens."""
    context = WorkerContext(None)
    config = http_config()
    clients: set[Client] = set()

    async def serve_client(stream: trio.SocketStream) -> None:
        async with door(stream) as opened:
            if opened is None or context.terminated.is_set():
                await trio.aclose_forcefully(stream)
                return
            client = Client(app, config, context, stream.socket, opened)
            clients.add(client)
            try:
                await client.run()
            finally:
                clients.discard(client)

    async with trio.open_nursery() as serving:
        async with trio.open_nursery() as accepting:
            listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in listening.copies()]
            accepting.start_soon(partial(trio.serve_listeners, serve_client, listeners, handler_nursery=serving))
            await stopping.wait()
            listening.close()
            accepting.cancel_scope.cancel()
        await context.terminated.set()  # from now on a connection ends with the answer that is due
        for client in list(clients):
            client.close_if_idle()
        serving.cancel_scope.deadline = trio.current_time() + STOP_S_MAX
