"""The client for trio, from which `scripts/sync-client` makes the one for threads, `lognode.client.sync`.

Deadlines and cancellation work at every await: what was being waited for is lost, and nothing else. A cancelled append
may or may not be recorded, and never twice: send it again with the idempotency key that it had. A tail or a walk
through spans goes on where it was.
"""

import trio


def require_trio() -> None:
    """Raise RuntimeError where another loop runs: some requests would work there, until one has to be sent again."""
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError("AsyncClient runs under trio only; under asyncio, call Client by asyncio.to_thread")
