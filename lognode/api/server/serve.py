"""Serving the application until the node stops.

Owns the order in which serving ends. Invariant: after `stopping`, no new request begins, those that had begun get
up to STOP_S_MAX, and then nothing of the server is left.
"""

from functools import partial

import trio
from hypercorn.trio.worker_context import WorkerContext

from lognode.api.app import ApiApp
from lognode.api.server.client import Client, http_config
from lognode.api.server.sockets import Listening
from lognode.core.limits import CONNECTIONS_MAX, STOP_S_MAX


async def serve_api(app: ApiApp, listening: Listening, stopping: trio.Event) -> None:
    """Serve until `stopping` is set, then close what listens; after a failure it may be called again."""
    context = WorkerContext(None)
    config = http_config()
    clients: set[Client] = set()
    meters = app.services.meters.api

    async def serve_client(stream: trio.SocketStream) -> None:
        if len(clients) >= CONNECTIONS_MAX:
            meters.connections_refused.inc()
            await trio.aclose_forcefully(stream)
            return
        client = Client(app, config, context, stream)
        clients.add(client)
        try:
            with meters.connections.track_inprogress():
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
