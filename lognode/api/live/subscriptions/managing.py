""".../subscriptions: making, showing and deleting them, what they parked, and having it tried again."""

from typing import Final

from quart import Response

from lognode.api.app import ApiApp, Docs, Parameter, current
from lognode.api.federation.requests import JSON_MEDIA, json_answer, read_json, refuse_parameters
from lognode.api.live.subscriptions.values import (
    SUBSCRIPTIONS,
    NewSubscriptionJson,
    ParkedPageJson,
    ReplayedJson,
    ReplayJson,
    ResetJson,
    SubscriptionJson,
    SubscriptionsJson,
    number_of,
    parameters_of,
    parked_json,
    subscription_json,
)
from lognode.api.spans.filters import url_parameters
from lognode.core.access import Action
from lognode.core.errors import CallerError
from lognode.core.ids import b32decode, b32encode
from lognode.core.limits.subscriptions import (
    SUBSCRIPTION_PARKED_PAGE_MAX,
    SUBSCRIPTION_REQUEST_BYTES_MAX,
)
from lognode.timeline.record import POSITION_MASK

_PLACE_BYTES: Final = 8
_PAGING: Final = (
    Parameter("after", "Begin behind this one; `next` of the page before"),
    Parameter("limit", f"How many at most, up to {SUBSCRIPTION_PARKED_PAGE_MAX}", int),
)


def register(app: ApiApp) -> None:
    """Add the routes that manage subscriptions."""
    one = {JSON_MEDIA: SubscriptionJson}
    read, change = Action.SUBSCRIPTION_READ, Action.SUBSCRIPTION_CHANGE
    docs = Docs(answers={200: {JSON_MEDIA: SubscriptionsJson}})
    app.register_route(SUBSCRIPTIONS, list_subscriptions, action=read, docs=docs)
    docs = Docs(body={JSON_MEDIA: NewSubscriptionJson}, answers={201: one})
    app.register_route(SUBSCRIPTIONS, create_subscription, methods=("POST",), action=change, docs=docs)
    place, docs = f"{SUBSCRIPTIONS}/<name>", Docs(answers={200: one})
    app.register_route(place, show_subscription, action=read, docs=docs)
    app.register_route(place, delete_subscription, methods=("DELETE",), action=change, docs=docs)
    docs = Docs(query=_PAGING, answers={200: {JSON_MEDIA: ParkedPageJson}})
    app.register_route(f"{place}/parked", list_parked_spans, action=read, docs=docs)
    docs = Docs(body={JSON_MEDIA: ReplayJson}, answers={200: {JSON_MEDIA: ReplayedJson}})
    app.register_route(f"{place}/replay", replay_parked_spans, methods=("POST",), action=change, docs=docs)
    docs = Docs(body={JSON_MEDIA: ResetJson}, answers={200: one})
    app.register_route(f"{place}/reset", reset_subscription, methods=("POST",), action=change, docs=docs)


async def list_subscriptions() -> Response:
    """List the subscriptions of the tenant, by name."""
    refuse_parameters()
    caller = current()
    found = await caller.services.subscriptions.standings(caller.tenant)
    return json_answer(SubscriptionsJson([subscription_json(caller, standing) for standing in found]))


async def create_subscription() -> Response:
    """Make a subscription; its place is kept until it is deleted."""
    refuse_parameters()
    caller, asked = current(), await read_json(NewSubscriptionJson, SUBSCRIPTION_REQUEST_BYTES_MAX)
    sharing = await caller.services.subscriptions.create(
        caller.tenant,
        asked.name,
        asked.parameters(),
        start=asked.start,
        webhook=asked.webhook,
        terms=asked.terms(),
    )
    return json_answer(subscription_json(caller, sharing.standing()), 201)


async def show_subscription(name: str) -> Response:
    """Show a subscription: what it is for, and how far it is."""
    refuse_parameters()
    caller = current()
    sharing = await caller.services.subscriptions.find(caller.tenant, name)
    return json_answer(subscription_json(caller, sharing.standing()))


async def delete_subscription(name: str) -> Response:
    """Delete a subscription and what it parked; its streams end."""
    refuse_parameters()
    caller = current()
    return json_answer(subscription_json(caller, await caller.services.subscriptions.delete(caller.tenant, name)))


async def list_parked_spans(name: str) -> Response:
    """List what a subscription parked, by arrival, with the reasons."""
    caller, given = current(), parameters_of(url_parameters(), _PAGING)
    limit = number_of(given, "limit", SUBSCRIPTION_PARKED_PAGE_MAX, SUBSCRIPTION_PARKED_PAGE_MAX)
    after = _read_place(given["after"]) if "after" in given else 0
    found = await caller.services.subscriptions.parked(caller.tenant, name, after, limit)
    last = found[-1].parked.position if len(found) == limit else None
    shown = None if last is None else b32encode(last.to_bytes(_PLACE_BYTES, "big"))
    return json_answer(ParkedPageJson([parked_json(span) for span in found], shown))


async def replay_parked_spans(name: str) -> Response:
    """Have parked spans tried again, as often as new ones: those that are named, or all."""
    refuse_parameters()
    caller, asked = current(), await read_json(ReplayJson, SUBSCRIPTION_REQUEST_BYTES_MAX)
    count = await caller.services.subscriptions.replay(caller.tenant, name, asked.spans)
    return json_answer(ReplayedJson(count))


async def reset_subscription(name: str) -> Response:
    """Have a subscription begin at another place, earlier or later.

    What was acknowledged behind that comes again; what is under way counts no more; what is parked behind it is not
    parked any more.
    """
    refuse_parameters()
    caller, asked = current(), await read_json(ResetJson, SUBSCRIPTION_REQUEST_BYTES_MAX)
    standing = await caller.services.subscriptions.reset(caller.tenant, name, asked.start)
    return json_answer(subscription_json(caller, standing))


def _read_place(text: str) -> int:
    try:
        position = int.from_bytes(b32decode(text, _PLACE_BYTES), "big")
    except CallerError:
        position = POSITION_MASK + 1
    if position > POSITION_MASK:
        raise CallerError("cursor.invalid", f"{text!r:.80}", place="after")
    return position
