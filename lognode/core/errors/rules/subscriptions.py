"""Errors of named subscriptions."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "subscription.unknown",
        "caller",
        404,
        False,
        "No such subscription",
        "'lognode subscription list' shows those that there are.",
    ),
    (
        "subscription.invalid",
        "caller",
        422,
        False,
        "Subscription not valid",
        "See /v1/docs for what a subscription may be told.",
    ),
    (
        "subscription.exists",
        "caller",
        409,
        False,
        "Subscription exists",
        "Choose another name, or delete the one that there is.",
    ),
    ("subscription.too_many", "caller", 409, False, "Too many subscriptions", "Delete some."),
    (
        "subscription.busy",
        "caller",
        429,
        True,
        "Too many consumers",
        "Close some of the connections at this subscription, or make another one.",
    ),
    (
        "subscription.webhook",
        "caller",
        409,
        False,
        "Subscription calls a webhook",
        "Nobody else takes part in it; make another one to connect to.",
    ),
    (
        "delivery.malformed",
        "caller",
        422,
        False,
        "Not a delivery",
        "Send back the text that came as 'delivery' beside the span.",
    ),
)
