""".../subscriptions/NAME/ws: spans of a subscription over a WebSocket, and what became of them the other way.

One task reads frames, one has rows say what they tell, one sends spans. Invariants: a client that does not read is not
read either, so that no queue grows; what several frames tell at once is one transaction.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import trio
from quart import websocket

from lognode.api.app import ApiApp, Caller, Docs, Parameter, current
from lognode.api.live.frames import NO_REF, error_frame, read_frame
from lognode.api.live.subscriptions.values import (
    CREDIT,
    SUBSCRIPTIONS,
    AcknowledgeJson,
    ParkJson,
    RetryJson,
    change_of,
    consumed,
    credit_of,
    offer_json,
    parameters_of,
    settled_json,
)
from lognode.core.access import Action
from lognode.core.errors import CallerError, LognodeError
from lognode.engine.subscriptions.progress import Outcome
from lognode.engine.subscriptions.service.sharing import Change, Sharing

GOING_AWAY: Final = 1001
_WORDS_WAITING: Final = 64  # frames that were read, and are to be answered
_PARAMETERS: Final = (
    Parameter("in_flight", f"How many spans this connection may hold that are not settled; {CREDIT} without it", int),
)


class _Acknowledge(AcknowledgeJson, tag="ack", forbid_unknown_fields=True, frozen=True):
    ref: msgspec.Raw = NO_REF


class _Retry(RetryJson, tag="retry", forbid_unknown_fields=True, frozen=True, kw_only=True):
    ref: msgspec.Raw = NO_REF


class _Park(ParkJson, tag="park", forbid_unknown_fields=True, frozen=True, kw_only=True):
    ref: msgspec.Raw = NO_REF


_Frame = _Acknowledge | _Retry | _Park
_decode = msgspec.json.Decoder(_Frame).decode
_encode = msgspec.json.Encoder().encode


def register(app: ApiApp) -> None:
    """Add the WebSocket route."""
    app.register_route(
        f"{SUBSCRIPTIONS}/<name>/ws",
        consume_by_socket,
        action=Action.SUBSCRIPTION_USE,
        docs=Docs(query=_PARAMETERS),
        is_websocket=True,
    )


async def consume_by_socket(name: str) -> None:
    """Consume a subscription over a WebSocket, by JSON text frames, beside any others that do.

    A frame `span` carries `delivery`, `attempt`, `replay` and `span`. `{"type": "ack", "deliveries": [...]}`, or with
    `up_to` instead, `{"type": "retry", "deliveries", "after_ms"?, "reason"?}` and `{"type": "park", "deliveries",
    "reason"?}` are answered by `settled` with `done` and `stale`, or by `error` with the problem; `ref`, any JSON,
    comes back. When the connection ends, what it holds is due again at once.
    """
    proxy: Any = websocket
    socket = proxy._get_current_object()  # noqa: SLF001 - looking it up again costs on each frame
    given, sharing = parameters_of(dict(socket.args.lists()), _PARAMETERS), await consumed(name)
    credit = credit_of(given, sharing)
    with sharing.join() as holder:
        await socket.accept()
        with current().services.meters.api.websockets.track_inprogress():
            await _Consumer(current(), socket, sharing, holder, credit).run()


class _Consumer:
    """One client's socket."""

    def __init__(self, caller: Caller, socket: Any, sharing: Sharing, holder: int, credit: int) -> None:
        self._stopping = caller.services.stopping
        self._meters = caller.services.meters.api
        self._socket = socket
        self._sharing = sharing
        self._holder = holder
        self._credit = credit
        self._receiving = trio.CancelScope()

    async def run(self) -> None:
        """Serve the socket until the client leaves, the subscription ends or the node stops.

        Nothing here is cancelled while it sends: nothing could follow half a frame. Raises LognodeError.
        """
        ours, theirs = trio.open_memory_channel[str | bytes](_WORDS_WAITING)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_frames, ours)
            nursery.start_soon(self._settle, theirs)
            try:
                await self._send_spans()
            finally:
                self._receiving.cancel()
        await self._socket.close(GOING_AWAY, "node.stopping")

    async def _read_frames(self, words: trio.MemorySendChannel[str | bytes]) -> None:
        with words, self._receiving:
            while True:
                await words.send(await self._socket.receive())

    async def _settle(self, words: trio.MemoryReceiveChannel[str | bytes]) -> None:
        """Have rows say what frames tell, as many as wait at once, and answer each."""
        async for first in words:
            frames = [first]
            while len(frames) < _WORDS_WAITING:
                try:
                    frames.append(words.receive_nowait())
                except (trio.WouldBlock, trio.EndOfChannel):
                    break
            for answer in await self._answers(frames):
                await self._socket.send(answer)

    async def _answers(self, frames: Sequence[str | bytes]) -> list[str]:
        """What frames are answered, in their order, once rows say what they tell."""
        refs, changes = [NO_REF] * len(frames), dict[int, Change]()
        found: dict[int, Outcome | LognodeError] = {}
        for at, frame in enumerate(frames):
            try:
                word: _Frame = read_frame(frame, _decode)
                refs[at] = word.ref.copy()
                changes[at] = change_of(word)
            except CallerError as error:
                found[at] = error
        try:
            found.update(zip(changes, await self._sharing.settle_all(list(changes.values())), strict=True))
        except LognodeError as error:
            found.update(dict.fromkeys(changes, error))
        return [self._answer(ref, found[at]) for at, ref in enumerate(refs)]

    def _answer(self, ref: msgspec.Raw, outcome: Outcome | LognodeError) -> str:
        if isinstance(outcome, LognodeError):
            self._meters.count_error(outcome)
            return error_frame(ref, outcome)
        settled = settled_json(outcome)
        return _encode({"type": "settled", "ref": ref, "done": settled.done, "stale": settled.stale}).decode()

    async def _send_spans(self) -> None:
        sharing = self._sharing
        while not self._stopping.is_set():
            changed, room = sharing.watch(), self._credit - sharing.holds(self._holder)
            offers = await sharing.take(self._holder, room) if room > 0 else []
            for offer in offers:
                await self._socket.send(offer_json(offer, type="span").decode())
            if not offers:
                await sharing.wait(changed, self._stopping.wait, has_room=room > 0)
