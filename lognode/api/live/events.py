"""GET .../live: a timeline as server-sent events, resumed by Last-Event-ID."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec
import trio
from quart import Response, request
from quart_trio.wrappers import TrioResponse

from lognode.api.app import ApiApp, Caller, Docs, Parameter, current
from lognode.api.live.tail import Arrival, Tail, open_tail
from lognode.api.spans.filters import FILTERS, url_parameters
from lognode.core.access import Action
from lognode.core.limits import TAIL_HEARTBEAT_S
from lognode.federation.sync.service.notices import Notice

EVENTS_MEDIA: Final = "text/event-stream"
RETRY_MS: Final = 1000  # before a browser connects again

_encode = msgspec.json.Encoder().encode


def register(app: ApiApp) -> None:
    """Add the route of live events."""
    app.register_route(
        "/v1/tenants/<tenant>/live",
        follow_spans,
        action=Action.SPAN_READ,
        docs=Docs(
            query=[*FILTERS, Parameter("after", "Go on behind this cursor; without one, from now on")],
            headers=[Parameter("Last-Event-ID", "Go on behind this event; goes before 'after'")],
            answers={200: {EVENTS_MEDIA: {"type": "string"}}},
        ),
    )


async def follow_spans() -> Response:
    """Follow the timeline as server-sent events, in arrival order.

    An event `span` carries a span as JSON, and as its id the cursor to go on with. A comment comes after 15
    silent seconds; where spans went by that the filter leaves out, an id comes with it. Events `peer.up`,
    `peer.down`, `sync.progress` and `member.admitted` tell of other nodes as it happens, `alert` of what happened to
    this node's own feeds, `conflict.opened` and `conflict.resolved` of subjects, `approval.asked`, `approval.answered`
    and `approval.decided` of drafts that wait; they have no id.
    """
    caller = current()
    tail = await open_tail(caller, url_parameters(), after=request.headers.get("Last-Event-ID"))
    start = tail.position
    first = await tail.read()  # what is wrong with the filter is said before the answer begins
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    events = _events(tail, start, first, caller)
    return TrioResponse(events, 200, headers, content_type=EVENTS_MEDIA)


async def _events(tail: Tail, told: int, arrivals: Sequence[Arrival], caller: Caller) -> AsyncIterator[bytes]:
    services = caller.services
    with services.meters.api.tails.track_inprogress(), services.notices.listen(caller.tenant.number) as listener:
        # The first id lets a client go on from here even when it leaves before the first span.
        yield b"retry: %d\nid: %s\n\n" % (RETRY_MS, tail.cursor(told).encode())
        beat_at = trio.current_time() + TAIL_HEARTBEAT_S
        while not services.stopping.is_set():
            if notices := listener.take():
                yield b"".join(map(_notice, notices))
            if arrivals or trio.current_time() >= beat_at:
                yield b"".join([_event(tail, arrival) for arrival in arrivals]) or _beat(tail, told)
                told = arrivals[-1].position if arrivals else tail.position
                beat_at = trio.current_time() + TAIL_HEARTBEAT_S
            else:
                with trio.move_on_at(beat_at):
                    await tail.wait(services.stopping, listener)
            arrivals = await tail.read()


def _event(tail: Tail, arrival: Arrival) -> bytes:
    return b"id: %s\nevent: span\ndata: %s\n\n" % (tail.cursor(arrival.position).encode(), arrival.span)


def _notice(notice: Notice) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (notice.name.encode(), _encode(notice.content))


def _beat(tail: Tail, told: int) -> bytes:
    return b":\n\n" if told == tail.position else b":\nid: %s\n\n" % tail.cursor(tail.position).encode()
