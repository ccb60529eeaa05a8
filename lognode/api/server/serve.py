"""Serving the application until the node stops.

Owns the listening sockets and the order in which serving ends. Invariant: after `stopping`, no new request
begins, those that had begun get up to STOP_S_MAX, and then nothing of the server is left.
"""

from functools import partial
from pathlib import Path

import trio
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework

from lognode.api.server.client import Client, http_config
from lognode.api.server.sockets import bind_tcp, bind_unix, remove_unix, url_of
from lognode.core.limits import CONNECTIONS_MAX, STOP_S_MAX


async def serve_api(
    app: ASGIFramework,
    *,
    host: str,
    port: int,
    unix_socket: Path | None = None,
    stopping: trio.Event,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stopping` is set; started with the URL once clients can connect.

    Raises NodeFault("listen.taken") or CallerError("listen.invalid") before anything is served.
    """
    tcp = bind_tcp(host, port)
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(tcp))]
    try:
        if unix_socket is not None:
            listeners.append(trio.SocketListener(trio.socket.from_stdlib_socket(bind_unix(unix_socket))))
        await _serve(app, listeners, stopping, partial(task_status.started, url_of(tcp)))
    finally:
        tcp.close()
        if len(listeners) > 1 and unix_socket is not None:
            remove_unix(unix_socket)


async def _serve(
    app: ASGIFramework,
    listeners: list[trio.SocketListener],
    stopping: trio.Event,
    started: partial[None],
) -> None:
    context = WorkerContext(None)
    config = http_config()
    clients: set[Client] = set()

    async def serve_client(stream: trio.SocketStream) -> None:
        if len(clients) >= CONNECTIONS_MAX:
            await trio.aclose_forcefully(stream)
            return
        client = Client(app, config, context, stream)
        clients.add(client)
        try:
            await client.run()
        finally:
            clients.discard(client)

    async with trio.open_nursery() as serving:
        async with trio.open_nursery() as accepting:
            await accepting.start(partial(trio.serve_listeners, serve_client, listeners, handler_nursery=serving))
            started()
            await stopping.wait()
            accepting.cancel_scope.cancel()
        await context.terminated.set()  # from now on a connection ends with the answer that is due
        for client in list(clients):
            client.close_if_idle()
        serving.cancel_scope.deadline = trio.current_time() + STOP_S_MAX
