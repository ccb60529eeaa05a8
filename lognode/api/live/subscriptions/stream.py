""".../subscriptions/NAME/stream: the spans of a subscription as server-sent events."""

from collections.abc import AsyncIterator
from typing import Final

import msgspec
import trio
from quart import Response
from quart_trio.wrappers import TrioResponse

from lognode.api.app import ApiApp, Caller, Docs, Parameter, current
from lognode.api.live.events import EVENTS_MEDIA
from lognode.api.live.subscriptions.values import (
    CREDIT,
    SUBSCRIPTIONS,
    consumed,
    credit_of,
    number_of,
    offer_json,
    parameters_of,
)
from lognode.api.spans.filters import url_parameters
from lognode.core.access import Action
from lognode.core.errors import CallerError, LognodeError
from lognode.core.limits import (
    TAIL_HEARTBEAT_S,
)
from lognode.engine.subscriptions.service.sharing import Sharing

_LIMIT_MAX: Final = 10**9 - 1
_PARAMETERS: Final = (
    Parameter("in_flight", f"How many spans this connection may hold that are not settled; {CREDIT} without it", int),
    Parameter("limit", "End once so many spans came and are settled", int),
    Parameter("follow", "false: end once nothing is due", bool),
)
_encode = msgspec.json.Encoder().encode


def register(app: ApiApp) -> None:
    """Add the route of the stream."""
    app.register_route(
        f"{SUBSCRIPTIONS}/<name>/stream",
        consume_spans,
        action=Action.SUBSCRIPTION_USE,
        docs=Docs(query=_PARAMETERS, answers={200: {EVENTS_MEDIA: {"type": "string"}}}),
    )


async def consume_spans(name: str) -> Response:
    """Consume a subscription by server-sent events, beside any others that do.

    An event `span` carries `delivery`, `attempt`, `replay` and `span`; say what became of it by `.../ack`, `.../retry`
    or `.../park`. When the connection ends, what it holds is due again at once. An event `error` carries a problem, and
    is the last one: the subscription was deleted, or has too many consumers.
    """
    caller, given = current(), parameters_of(url_parameters(), _PARAMETERS)
    follow = given.get("follow", "true")
    if follow not in {"true", "false"}:
        raise CallerError("filter.invalid", f"{follow!r:.80} is neither true nor false", place="follow")
    limit = number_of(given, "limit", _LIMIT_MAX, _LIMIT_MAX)
    sharing = await consumed(name)
    events = _events(caller, sharing, credit_of(given, sharing), limit, is_endless=follow == "true")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return TrioResponse(events, 200, headers, content_type=EVENTS_MEDIA)


async def _events(
    caller: Caller, sharing: Sharing, credit: int, left: int, *, is_endless: bool
) -> AsyncIterator[bytes]:
    services = caller.services
    stopping = services.stopping
    try:
        with services.meters.api.tails.track_inprogress(), sharing.join() as holder:
            yield b":\n\n"
            beat_at = trio.current_time() + TAIL_HEARTBEAT_S
            while not stopping.is_set():
                changed, held = sharing.watch(), sharing.holds(holder)
                room = min(credit - held, left)
                offers = await sharing.take(holder, room) if room > 0 else []
                if offers:
                    left -= len(offers)
                    yield b"".join([b"event: span\ndata: %s\n\n" % offer_json(offer) for offer in offers])
                    beat_at = trio.current_time() + TAIL_HEARTBEAT_S
                    continue
                if held == 0 and (left == 0 or (not is_endless and sharing.is_idle)):
                    return
                if trio.current_time() >= beat_at:
                    yield b":\n\n"
                    beat_at = trio.current_time() + TAIL_HEARTBEAT_S
                with trio.move_on_at(beat_at):
                    await sharing.wait(changed, stopping.wait, has_room=room > 0)
    except LognodeError as error:
        services.meters.api.count_error(error)
        yield b"event: error\ndata: %s\n\n" % _encode(error.problem())
