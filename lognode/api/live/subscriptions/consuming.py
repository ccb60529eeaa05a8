""".../subscriptions/NAME/ack, retry and park: what became of deliveries, where the connection cannot say it."""

from quart import Response

from lognode.api.app import ApiApp, Docs
from lognode.api.federation.requests import JSON_MEDIA, json_answer, read_json, refuse_parameters
from lognode.api.live.subscriptions.values import (
    SUBSCRIPTIONS,
    AcknowledgeJson,
    ParkJson,
    RetryJson,
    SettledJson,
    Word,
    change_of,
    consumed,
    settled_json,
)
from lognode.core.access import Action
from lognode.core.limits.subscriptions import SUBSCRIPTION_REQUEST_BYTES_MAX


def register(app: ApiApp) -> None:
    """Add the routes for consumers."""
    answers = {200: {JSON_MEDIA: SettledJson}}
    for path, handler, body in (
        ("ack", acknowledge_deliveries, AcknowledgeJson),
        ("retry", retry_deliveries, RetryJson),
        ("park", park_deliveries, ParkJson),
    ):
        docs = Docs(body={JSON_MEDIA: body}, answers=answers)
        rule = f"{SUBSCRIPTIONS}/<name>/{path}"
        app.register_route(rule, handler, methods=("POST",), action=Action.SUBSCRIPTION_USE, docs=docs)


async def acknowledge_deliveries(name: str) -> Response:
    """Acknowledge deliveries: these, or all up to one. Once this is answered they never come again by themselves."""
    return await _settle(name, AcknowledgeJson)


async def retry_deliveries(name: str) -> Response:
    """Have deliveries tried again later; those whose attempts are used up are parked."""
    return await _settle(name, RetryJson)


async def park_deliveries(name: str) -> Response:
    """Have deliveries tried no more until somebody asks for them."""
    return await _settle(name, ParkJson)


async def _settle(name: str, type_: type[Word]) -> Response:
    refuse_parameters()
    word = await read_json(type_, SUBSCRIPTION_REQUEST_BYTES_MAX)
    sharing = await consumed(name)
    return json_answer(settled_json(await sharing.settle(change_of(word))))
