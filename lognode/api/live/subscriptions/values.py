"""Named subscriptions in JSON: what requests and frames ask for, and what answers show."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec

from lognode.api.app import Caller, Parameter, current
from lognode.core.clock import time_text
from lognode.core.errors import CallerError
from lognode.core.ids import b32encode
from lognode.core.limits.subscriptions import (
    SUBSCRIPTION_ACK_WAIT_S,
    SUBSCRIPTION_ATTEMPTS,
    SUBSCRIPTION_IN_FLIGHT,
    SUBSCRIPTION_IN_FLIGHT_MAX,
    SUBSCRIPTION_WORDS_MAX,
)
from lognode.engine.subscriptions.progress import Outcome
from lognode.engine.subscriptions.service.desk import ParkedSpan
from lognode.engine.subscriptions.service.sharing import Change, Offer, Sharing, Standing
from lognode.engine.subscriptions.subscription import Delivery, Terms, parse_delivery
from lognode.timeline.query import arrival_cursor, encode_cursor, lineage_of

SUBSCRIPTIONS: Final = "/v1/tenants/<tenant>/subscriptions"
CREDIT: Final = 64  # spans that one connection holds at most, unless it says another number
FilterValue = str | int | bool | list[str]
_encode = msgspec.json.Encoder().encode


class NewSubscriptionJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A subscription: its `filter` has the query parameters that choose spans.

    It begins at its `start`: "beginning", "now", the id of the first span, behind a cursor of arrival order, or with
    the first span to arrive that is of a time or later. With a `webhook` of the settings, that is called with each
    span; otherwise consumers connect, and have `ack_wait_ms` for each. No more than `max_in_flight` are under way at
    once; after `max_attempts` a span is parked.
    """

    name: str
    filter: dict[str, FilterValue] = {}
    start: str = "now"
    webhook: str | None = None
    ack_wait_ms: int | None = None
    max_in_flight: int = SUBSCRIPTION_IN_FLIGHT
    max_attempts: int = SUBSCRIPTION_ATTEMPTS

    def parameters(self) -> dict[str, list[str]]:
        """The filter as URL parameters."""
        return {name: value if isinstance(value, list) else [_text(value)] for name, value in self.filter.items()}

    def terms(self) -> Terms:
        """Its bounds. Raises CallerError("subscription.invalid")."""
        if self.webhook is not None and self.ack_wait_ms is not None:
            raise CallerError("subscription.invalid", "a call ends by itself", place="ack_wait_ms")
        wait_ms = 1000 * SUBSCRIPTION_ACK_WAIT_S if self.ack_wait_ms is None else self.ack_wait_ms
        return Terms(wait_ms, self.max_in_flight, self.max_attempts)


class SubscriptionJson(msgspec.Struct, frozen=True):
    """A subscription. All spans up to `cursor` are acknowledged or parked, or do not match.

    `behind` counts the spans of the tenant beyond that, whether they match or not. `in_flight` are with consumers,
    `waiting` wait to be tried again.
    """

    name: str
    filter: dict[str, list[str]]
    delivery: Literal["pull", "webhook"]
    webhook: str | None
    ack_wait_ms: int
    max_in_flight: int
    max_attempts: int
    created_at: str
    cursor: str
    behind: int
    in_flight: int
    waiting: int
    parked: int
    consumers: int


class SubscriptionsJson(msgspec.Struct, frozen=True):
    """The subscriptions of a tenant, by name."""

    subscriptions: list[SubscriptionJson]


class AcknowledgeJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deliveries that are done: these, or all up to one, of any consumer."""

    deliveries: list[str] = []
    up_to: str | None = None


class RetryJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deliveries that failed, to be tried again `after_ms`, or after a while that grows with each attempt."""

    deliveries: list[str]
    after_ms: int | None = None
    reason: str = ""


class ParkJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deliveries that are to be tried no more, until somebody asks for them."""

    deliveries: list[str]
    reason: str = ""


class SettledJson(msgspec.Struct, frozen=True):
    """How many deliveries it was true of; `stale` are those that were no more, or of which nobody knows."""

    done: int
    stale: list[str]


class ParkedJson(msgspec.Struct, frozen=True):
    """A span that is parked; `replay` where somebody asked for it, and it has yet to be tried again."""

    span: str | None
    attempts: int
    reason: str
    parked_at: str
    replay: bool


class ParkedPageJson(msgspec.Struct, frozen=True):
    """A page of what is parked, by arrival; `next` is null behind the last one."""

    parked: list[ParkedJson]
    next: str | None


class ReplayJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which parked spans are to be tried again, by their ids; all of them without `spans`."""

    spans: list[str] | None = None


class ReplayedJson(msgspec.Struct, frozen=True):
    """How many parked spans are tried again."""

    replayed: int


class ResetJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a subscription begins anew; as `start` of a new one."""

    start: Annotated[str, msgspec.Meta(description="beginning, now, a span's id, a cursor or a time")]


Word = AcknowledgeJson | RetryJson | ParkJson


def change_of(word: Word) -> Change:
    """What a consumer says of deliveries, as a change to the progress.

    Raises CallerError delivery.malformed or subscription.invalid.
    """
    if len(word.deliveries) > SUBSCRIPTION_WORDS_MAX:
        raise CallerError("subscription.invalid", f"at most {SUBSCRIPTION_WORDS_MAX} at once", place="deliveries")
    deliveries = [parse_delivery(text) for text in word.deliveries]
    if isinstance(word, RetryJson):
        return lambda progress, now_ms: progress.retry(deliveries, now_ms, word.after_ms, word.reason)
    if isinstance(word, ParkJson):
        return lambda progress, now_ms: progress.park(deliveries, now_ms, word.reason)
    if word.up_to is None:
        return lambda progress, _: progress.acknowledge(deliveries)
    if deliveries:
        raise CallerError("subscription.invalid", "name deliveries, or the last of all, not both", place="up_to")
    last = parse_delivery(word.up_to)
    return lambda progress, _: progress.acknowledge_through(last)


async def consumed(name: str) -> Sharing:
    """A subscription to which consumers connect. Raises CallerError subscription.unknown or subscription.webhook."""
    caller = current()
    sharing = await caller.services.subscriptions.find(caller.tenant, name)
    if sharing.held.webhook is not None:
        raise CallerError("subscription.webhook", f"{sharing.held.webhook!r}")
    return sharing


def credit_of(given: dict[str, str], sharing: Sharing) -> int:
    """How many spans a connection may hold. Raises CallerError("filter.invalid")."""
    return min(number_of(given, "in_flight", CREDIT, SUBSCRIPTION_IN_FLIGHT_MAX), sharing.held.max_in_flight)


def parameters_of(found: Mapping[str, Sequence[str]], known: Sequence[Parameter]) -> dict[str, str]:
    """The parameters of a URL, known ones, each once at most. Raises CallerError("filter.invalid")."""
    given = {}
    names = {parameter.name for parameter in known}
    for name, values in found.items():
        if name not in names or len(values) > 1:
            detail = f"no such parameter here, or too often: {name!r:.80}"
            raise CallerError("filter.invalid", detail, place=f"{name:.80}")
        given[name] = values[0]
    return given


def number_of(given: dict[str, str], name: str, default: int, highest: int) -> int:
    """A parameter that is a number from 1 on. Raises CallerError("filter.invalid")."""
    text = given.get(name, str(default))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= highest:
        raise CallerError("filter.invalid", f"{text!r:.80} is no number from 1 to {highest}", place=name)
    return number


def subscription_json(caller: Caller, standing: Standing) -> SubscriptionJson:
    """A subscription for people."""
    held, services = standing.held, caller.services
    lineage = lineage_of(services.node_public, caller.tenant, services.store.feeds)
    return SubscriptionJson(
        name=held.name,
        filter=held.parameters,
        delivery="pull" if held.webhook is None else "webhook",
        webhook=held.webhook,
        ack_wait_ms=held.ack_wait_ms,
        max_in_flight=held.max_in_flight,
        max_attempts=held.max_attempts,
        created_at=time_text(held.created_ms),
        cursor=encode_cursor(arrival_cursor(held.checkpoint), lineage),
        behind=standing.behind,
        in_flight=standing.under_way,
        waiting=standing.waiting,
        parked=standing.parked,
        consumers=standing.consumers,
    )


def settled_json(outcome: Outcome) -> SettledJson:
    """What became of deliveries."""
    return SettledJson(outcome.done, [delivery.text for delivery in outcome.stale])


def parked_json(span: ParkedSpan) -> ParkedJson:
    """A span that is parked, for people."""
    parked = span.parked
    shown = None if span.id is None else b32encode(span.id)
    return ParkedJson(shown, parked.attempts, parked.reason, time_text(parked.parked_ms), span.is_again)


def offer_json(offer: Offer, **said: object) -> bytes:
    """A span on its way to a consumer, with what names the delivery."""
    handed = offer.handed
    delivery: Delivery = handed.delivery
    shown = {"delivery": delivery.text, "attempt": handed.attempt, "replay": handed.is_replay}
    return _encode({**said, **shown, "span": msgspec.Raw(offer.span)})


def _text(value: FilterValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
