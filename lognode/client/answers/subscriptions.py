"""The types of answers about named subscriptions: JSON objects as the node sends them, with names for their fields."""

from typing import TypedDict

from lognode.client.answers.node import Span


class Subscription(TypedDict):
    """A subscription. All up to `cursor` is settled; `behind` counts the spans beyond it, whether they match or not."""

    name: str
    filter: dict[str, list[str]]
    delivery: str
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


class Subscriptions(TypedDict):
    """The subscriptions of a tenant, by name."""

    subscriptions: list[Subscription]


class Offer(TypedDict):
    """A span that is handed out: `delivery` names it until it is settled. A `replay` was parked before."""

    delivery: str
    attempt: int
    replay: bool
    span: Span


class Settled(TypedDict):
    """How many deliveries it was true of; `stale` are those that were no more."""

    done: int
    stale: list[str]


class Parked(TypedDict):
    """A span that is parked; `replay` where it is to be tried again."""

    span: str | None
    attempts: int
    reason: str
    parked_at: str
    replay: bool


class ParkedPage(TypedDict):
    """A page of what is parked, by arrival; `next` is null behind the last one."""

    parked: list[Parked]
    next: str | None


class Replayed(TypedDict):
    """How many parked spans are tried again."""

    replayed: int
