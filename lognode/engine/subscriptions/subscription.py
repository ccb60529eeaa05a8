"""A named subscription as it is stored, and what it may be.

Pure. Invariant: what a row says of a subscription's place is enough to go on there: what lies beyond the checkpoint
and is not among what the row names was never acknowledged.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

from lognode.core.codec import decode_array, encode
from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import b32decode, b32encode
from lognode.core.limits.subscriptions import (
    SUBSCRIPTION_ACK_WAIT_S,
    SUBSCRIPTION_ACK_WAIT_S_MAX,
    SUBSCRIPTION_ACK_WAIT_S_MIN,
    SUBSCRIPTION_ATTEMPTS,
    SUBSCRIPTION_ATTEMPTS_MAX,
    SUBSCRIPTION_FILTER_BYTES_MAX,
    SUBSCRIPTION_IN_FLIGHT,
    SUBSCRIPTION_IN_FLIGHT_MAX,
)
from lognode.core.span import PRIVATE
from lognode.timeline.query import Query, parse_query

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_NOT_HERE: Final = ("before", "after", "limit", "order", "sort", "known_by", "at")
_POSITION_BYTES, _RUN_BYTES, _NUMBER_BYTES = 8, 6, 2
_DELIVERY_BYTES: Final = _POSITION_BYTES + _RUN_BYTES + _NUMBER_BYTES
_NUMBERS: Final = 1 << 8 * _NUMBER_BYTES
Parameters = Mapping[str, Sequence[str]]


class Terms(NamedTuple):
    """How long a consumer may take for a span, how many may be under way, and how often each is tried."""

    ack_wait_ms: int = SUBSCRIPTION_ACK_WAIT_S * 1000
    max_in_flight: int = SUBSCRIPTION_IN_FLIGHT
    max_attempts: int = SUBSCRIPTION_ATTEMPTS


class Subscription(NamedTuple):
    """A row, column by column. `filter` is the JSON of URL parameters; `webhook` is None where consumers connect.

    `run` rises when it is set to another place: what was delivered before counts no more. Everything up to the
    position `checkpoint` is acknowledged or parked; `beyond` says what else is.
    """

    tenant: int
    name: str
    filter: str
    webhook: str | None
    ack_wait_ms: int
    max_in_flight: int
    max_attempts: int
    created_ms: int
    run: int
    checkpoint: int
    beyond: bytes

    @property
    def terms(self) -> Terms:
        """Its bounds."""
        return Terms(self.ack_wait_ms, self.max_in_flight, self.max_attempts)

    @property
    def parameters(self) -> dict[str, list[str]]:
        """Its filter as URL parameters."""
        found: dict[str, list[str]] = json.loads(self.filter)
        return found

    @property
    def query(self) -> Query:
        """Its filter. Raises CallerError as `parse_query` does."""
        return parse_query(self.parameters).query


class Tried(NamedTuple):
    """A span beyond the checkpoint that failed before: so many attempts; it is due at a Unix time in ms."""

    position: int
    attempts: int
    ready_ms: int


class Beyond(NamedTuple):
    """What a row says of spans beyond the checkpoint: positions that are settled, and spans that were tried."""

    settled: Sequence[int] = ()
    tried: Sequence[Tried] = ()


class Delivery(NamedTuple):
    """What names a span on its way to a consumer: its position, in which run, and as how manieth it was handed out."""

    position: int
    run: int
    number: int

    @property
    def text(self) -> str:
        """It, for consumers."""
        parts = zip(self, (_POSITION_BYTES, _RUN_BYTES, _NUMBER_BYTES), strict=True)
        return b32encode(b"".join((part % (1 << 8 * size)).to_bytes(size, "big") for part, size in parts))


def parse_delivery(text: str) -> Delivery:
    """What a consumer names. Raises CallerError("delivery.malformed")."""
    try:
        raw = b32decode(text, _DELIVERY_BYTES)
    except CallerError:
        raise CallerError("delivery.malformed", f"{text!r:.80}") from None
    run_at, number_at = _POSITION_BYTES, _POSITION_BYTES + _RUN_BYTES
    parts = (raw[:run_at], raw[run_at:number_at], raw[number_at:])
    return Delivery(*(int.from_bytes(part, "big") for part in parts))


def is_same_number(one: int, other: int) -> bool:
    """Whether two numbers of deliveries are the same, as far as their text tells."""
    return one % _NUMBERS == other % _NUMBERS


def new_subscription(
    tenant: int,
    name: str,
    parameters: Parameters,
    *,
    webhook: str | None,
    terms: Terms,
    checkpoint: int,
    now_ms: int,
) -> Subscription:
    """A subscription that begins behind `checkpoint`.

    Raises CallerError("subscription.invalid"), "filter.invalid" or "id.malformed"; place says what is wrong.
    """
    if not _NAME.fullmatch(name):
        detail = f"{name!r:.80} is no name: 1 to 64 small letters, digits and hyphens, no hyphen first"
        raise CallerError("subscription.invalid", detail, place="name")
    check_terms(terms)
    return Subscription(
        tenant, name, filter_text(parameters, webhook=webhook), webhook, *terms, now_ms, now_ms, checkpoint,
        encode_beyond(checkpoint, Beyond()),
    )  # fmt: skip


def check_terms(terms: Terms) -> None:
    """Pass if bounds are within bounds. Raises CallerError("subscription.invalid")."""
    waits = range(SUBSCRIPTION_ACK_WAIT_S_MIN * 1000, SUBSCRIPTION_ACK_WAIT_S_MAX * 1000 + 1)
    possible = (waits, range(1, SUBSCRIPTION_IN_FLIGHT_MAX + 1), range(1, SUBSCRIPTION_ATTEMPTS_MAX + 1))
    for name, value, values in zip(Terms._fields, terms, possible, strict=True):
        if value not in values:
            detail = f"{value} is not in {values[0]} to {values[-1]}"
            raise CallerError("subscription.invalid", detail, place=name)


def filter_text(parameters: Parameters, *, webhook: str | None) -> str:
    """The filter as a row keeps it. Raises CallerError as `new_subscription` does."""
    for name in _NOT_HERE:
        if name in parameters:
            detail = "a subscription has arrival order, and no end"
            raise CallerError("filter.invalid", detail, place=name)
    query = parse_query(parameters).query
    if webhook is not None and query.visibility == PRIVATE:
        raise CallerError("subscription.invalid", "private spans leave this node by no webhook", place="filter")
    text = json.dumps({name: list(values) for name, values in sorted(parameters.items())}, ensure_ascii=False)
    if len(text.encode()) > SUBSCRIPTION_FILTER_BYTES_MAX:
        raise CallerError("filter.invalid", f"its JSON has at most {SUBSCRIPTION_FILTER_BYTES_MAX} bytes")
    return text


def encode_beyond(checkpoint: int, beyond: Beyond) -> bytes:
    """The bytes of what lies beyond a checkpoint: CBOR, positions as steps from the one before."""
    steps, last = [], checkpoint
    for position in sorted(beyond.settled):
        steps.append(position - last)
        last = position
    tried, last = [], checkpoint
    for position, attempts, ready_ms in sorted(beyond.tried):
        tried.append([position - last, attempts, ready_ms])
        last = position
    return encode([steps, tried])


def decode_beyond(checkpoint: int, raw: bytes) -> Beyond:
    """What `encode_beyond` made into bytes. Raises NodeFault("database.damaged")."""
    try:
        steps, tries = decode_array(raw, 2)
        settled = list(accumulate(_array(steps), initial=checkpoint))[1:]
        tried, last = [], checkpoint
        for step, attempts, ready_ms in _array(tries):
            tried.append(Tried(last := last + step, attempts, ready_ms))
    except (CallerError, TypeError, ValueError) as error:
        raise NodeFault("database.damaged", f"subscriptions beyond: {error}") from error
    return Beyond(settled, tried)


def _array(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not an array")
    return value
