"""GET .../ws: appends and subscriptions over one WebSocket.

One task reads frames, one appends and acknowledges, one follows for each subscription. Invariants: appends
land in the order in which they were sent; each gets one answer; a client that does not read its answers is
not read either, so that no queue grows.
"""

from typing import Any, Final

import msgspec
import trio
from quart import websocket

from lognode.api.app import ApiApp, Caller, Docs, current
from lognode.api.live.frames import (
    Append,
    Request,
    Subscribe,
    error_frame,
    event_frame,
    parse_frame,
    receipt_frame,
    ref_of,
    span_frame,
    state_frame,
)
from lognode.api.live.tail import Tail, open_tail
from lognode.api.spans.admission import Admission, read_draft
from lognode.api.spans.intake import Intake
from lognode.api.spans.wire import receipt_json
from lognode.core.access import Action
from lognode.core.draft import Draft, parse_json_draft
from lognode.core.errors import CallerError, LognodeError
from lognode.core.limits import SOCKET_APPENDS_MAX, SUBSCRIPTIONS_MAX
from lognode.engine.receipt import AppendStopped
from lognode.federation.sync.service.notices import Listener

GATHERING_MAX: Final = SOCKET_APPENDS_MAX // 2  # as many again are being committed
GOING_AWAY: Final = 1001


def register(app: ApiApp) -> None:
    """Add the WebSocket route."""
    app.register_route(
        "/v1/tenants/<tenant>/ws",
        open_socket,
        action=Action.SPAN_READ,
        docs=Docs(),
        is_websocket=True,
    )


async def open_socket() -> None:
    """Append and follow spans over a WebSocket, by JSON text frames; `ref` is any JSON, and comes back.

    `{"type": "append", "ref", "draft", "idempotency_key"?}` answers `receipt` with the receipt, or `error` with
    the problem. `{"type": "subscribe", "ref", "filter": {query parameters}, "after": cursor or null}` answers
    `subscribed` with a cursor, then a `span` with cursor and span for each, and an `event` with name and content for
    what happens between nodes. `{"type": "unsubscribe", "ref"}` answers `unsubscribed`.
    """
    proxy: Any = websocket
    socket = proxy._get_current_object()  # noqa: SLF001 - looking it up again costs on each frame
    await socket.accept()
    with current().services.meters.api.websockets.track_inprogress():
        await Session(current(), socket).run()


class Session:
    """One client's socket."""

    def __init__(self, caller: Caller, socket: Any) -> None:
        self._caller = caller
        self._stopping = caller.services.stopping
        self._meters = caller.services.meters.api
        self._socket = socket
        self._send = socket.send
        self._admission = Admission(caller)
        self._intake: Intake[msgspec.Raw] = Intake(GATHERING_MAX)  # labelled by ref
        self._receiving = trio.CancelScope()
        self._following: dict[bytes, trio.Event] = {}  # by ref; set to end it

    async def run(self) -> None:
        """Serve the socket until the client leaves or the node stops; what was read before that is answered.

        Nothing here is cancelled while it sends: nothing could follow half a frame.
        """
        async with trio.open_nursery() as answering:
            answering.start_soon(self._append)
            async with trio.open_nursery() as following:
                following.start_soon(self._read_frames, following)
                await self._stopping.wait()
                self._receiving.cancel()
            self._intake.close()
        await self._socket.close(GOING_AWAY, "node.stopping")

    async def _read_frames(self, nursery: trio.Nursery) -> None:
        while not self._stopping.is_set():
            with trio.CancelScope() as self._receiving:
                frame = await self._socket.receive()
            if self._receiving.cancelled_caught:
                break
            try:
                await self._serve(parse_frame(frame), nursery)
            except LognodeError as error:
                await self._refuse(ref_of(frame), error)
        for ended in self._following.values():
            ended.set()

    async def _serve(self, asked: Request, nursery: trio.Nursery) -> None:
        if isinstance(asked, Append):
            draft, key = await read_draft(parse_json_draft, bytes(asked.draft), self._caller.services.parsing)
            if not self._caller.may(Action.SPAN_APPEND):
                raise CallerError("role.insufficient")
            await self._intake.put(self._admission.admit(draft, key or asked.idempotency_key), asked.ref.copy())
            self._intake.ripen()
        elif isinstance(asked, Subscribe):
            await self._subscribe(asked, nursery)
        else:
            ended = self._following.pop(bytes(asked.ref), None)
            if ended is None:
                raise CallerError("request.malformed", "no subscription has this ref", place="ref")
            ended.set()
            await self._send(state_frame("unsubscribed", asked.ref))

    async def _append(self) -> None:
        while True:
            drafts, refs = await self._intake.take()
            if not drafts:
                return
            while drafts:
                done = await self._append_some(drafts, refs)
                drafts, refs = drafts[done:], refs[done:]

    async def _append_some(self, drafts: list[Draft], refs: list[msgspec.Raw]) -> int:
        """How many of the drafts, from the first on, were appended or refused, and answered."""
        writer, tenant = self._caller.services.writer, self._caller.tenant
        fault: LognodeError | None = None
        try:
            receipts = await writer.append(tenant, drafts, wait=True)
        except AppendStopped as stopped:
            # One refused draft says nothing of those behind it.
            receipts, fault = stopped.receipts, stopped.error
        except LognodeError as error:
            for ref in refs:
                await self._refuse(ref, error)
            return len(refs)
        for ref, receipt in zip(refs, receipts, strict=False):
            await self._send(receipt_frame(ref, receipt_json(receipt)))
        if fault is not None:
            await self._refuse(refs[len(receipts)], fault)
            return len(receipts) + 1
        return len(receipts)

    async def _subscribe(self, asked: Subscribe, nursery: trio.Nursery) -> None:
        ref = asked.ref.copy()
        name = bytes(ref)
        if name in self._following:
            raise CallerError("request.malformed", "a subscription has this ref already", place="ref")
        if len(self._following) >= SUBSCRIPTIONS_MAX:
            raise CallerError("request.malformed", f"a socket has at most {SUBSCRIPTIONS_MAX} subscriptions")
        tail = await open_tail(self._caller, asked.parameters(), after=asked.after)
        await self._send(state_frame("subscribed", ref, tail.cursor(tail.position)))
        self._following[name] = trio.Event()
        nursery.start_soon(self._follow, ref, tail, self._following[name])

    async def _follow(self, ref: msgspec.Raw, tail: Tail, ended: trio.Event) -> None:
        try:
            notices, tenant = self._caller.services.notices, self._caller.tenant
            with self._meters.tails.track_inprogress(), notices.listen(tenant.number) as listener:
                await self._send_spans(ref, tail, ended, listener)
        except LognodeError as error:
            if not ended.is_set():
                del self._following[bytes(ref)]
                await self._refuse(ref, error)

    async def _send_spans(self, ref: msgspec.Raw, tail: Tail, ended: trio.Event, listener: Listener) -> None:
        while not ended.is_set():
            for notice in listener.take():
                if ended.is_set():
                    return
                await self._send(event_frame(ref, notice.name, notice.content))
            arrivals = await tail.read()
            for position, span in arrivals:
                if ended.is_set():
                    return
                await self._send(span_frame(ref, tail.cursor(position), span))
            if not arrivals:
                await tail.wait(ended, listener)

    async def _refuse(self, ref: msgspec.Raw, error: LognodeError) -> None:
        self._meters.count_error(error)
        await self._send(error_frame(ref, error))
