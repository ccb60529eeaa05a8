"""What the join door serves: strangers who bring a part of an invite, one small request each.

Must not know what an invite is: a handler gets bytes and gives bytes. Invariant: whatever the
handler says is a success of HTTP, so that strangers whom it tells nothing learn nothing either from how it is said.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from lognode.core.errors import LognodeError, PeerError
from lognode.core.limits import JOIN_BYTES_S, JOIN_CALLS_EACH_S, JOIN_CALLS_S, JOIN_REQUEST_BYTES_MAX
from lognode.federation.transport.doors.budget import Budgets
from lognode.federation.transport.doors.intake import Receive, Request, Send, refuse_upgrade
from lognode.federation.transport.doors.session import Session

JOIN_PATH: Final = "/v1/join"
_ALL: Final = b""  # the key of what all strangers together may spend
_log = structlog.get_logger(__name__)


class JoinApp:
    """The application of the join door; `handler` takes the request's bytes and gives the answer's."""

    def __init__(self, handler: Callable[[bytes], Awaitable[bytes]], on_bytes: Callable[[int, int], None]) -> None:
        self._handler = handler
        self._count = on_bytes
        self._all = Budgets(calls_s=JOIN_CALLS_S, bytes_s=JOIN_BYTES_S)
        self._each = Budgets(calls_s=JOIN_CALLS_EACH_S, bytes_s=JOIN_BYTES_S)  # by address

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await refuse_upgrade(scope, send)
            return
        session: Session = scope["state"]["session"]
        request = Request(scope, receive, send)
        with session.serving():
            try:
                await self._serve(request, session.address.encode())
            except PeerError as error:
                await request.refuse(error)
            except LognodeError as error:
                _log.warning("join_call_failed", code=error.code, detail=error.detail)
                await request.answer(503, b"")
            except Exception:  # noqa: BLE001 - a mistake of ours must not end the connection without a word
                _log.exception("join_call_failed", code="node.internal")
                await request.answer(503, b"")

    async def _serve(self, request: Request, address: bytes) -> None:
        if request.method != "POST" or request.path != JOIN_PATH:
            await request.answer(404, b"")
            return
        size = request.body_size(JOIN_REQUEST_BYTES_MAX)
        await self._each.wait_turn(address)
        await self._all.wait_turn(_ALL)
        body = await request.read(lambda part: self._each.spend_bytes(address, part))
        if body is not None:
            answer = await self._handler(body)
            self._count(size, len(answer))
            await request.answer(200, answer)
