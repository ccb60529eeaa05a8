"""Bounds of named subscriptions, each with its unit and reason, as all bounds."""

from typing import Final

from lognode.core.limits import KIB, WEBHOOK_S_MAX

# Named subscriptions. Each keeps its place in one row, which is written again for each lot of acknowledgements.
SUBSCRIPTIONS_NAMED_MAX: Final = 64  # of one tenant
SUBSCRIPTION_REQUEST_BYTES_MAX: Final = 256 * KIB  # SUBSCRIPTION_WORDS_MAX deliveries have some 30 KB
SUBSCRIPTION_FILTER_BYTES_MAX: Final = 64 * KIB  # as JSON, in its row
SUBSCRIPTION_ACK_WAIT_S_MIN: Final = 1  # less than a slow network takes would have everything delivered twice
SUBSCRIPTION_ACK_WAIT_S_MAX: Final = 12 * 60 * 60  # a person may be among those who do the work
SUBSCRIPTION_ACK_WAIT_S: Final = 30
SUBSCRIPTION_IN_FLIGHT_MAX: Final = 1024  # spans that were delivered and are neither acknowledged nor parked
SUBSCRIPTION_IN_FLIGHT: Final = 256
SUBSCRIPTION_WINDOW_SPANS: Final = 4 * SUBSCRIPTION_IN_FLIGHT_MAX  # beyond the checkpoint: some 10 KB of the row
SUBSCRIPTION_ATTEMPTS_MAX: Final = 100
SUBSCRIPTION_ATTEMPTS: Final = 5
SUBSCRIPTION_BACKOFF_MS_MIN: Final = 1000  # between an attempt that failed and the next; it doubles
SUBSCRIPTION_BACKOFF_MS_MAX: Final = 60_000
SUBSCRIPTION_RETRY_MS_MAX: Final = 24 * 60 * 60 * 1000  # that a consumer may ask for
SUBSCRIPTION_REASON_CHARS_MAX: Final = 500  # of what is kept with a parked span
SUBSCRIPTION_WORDS_MAX: Final = 1000  # deliveries that one request is about
SUBSCRIPTION_PARKED_MAX: Final = 10_000  # of one subscription, some 100 bytes each; then only these are delivered
SUBSCRIPTION_PARKED_PAGE_MAX: Final = 100  # of one list; each is looked up
SUBSCRIPTION_CONSUMERS_MAX: Final = 64  # connections at one subscription; each wakes on every commit
SUBSCRIPTION_STEP_SPANS: Final = 32  # that one consumer is handed in one go
SUBSCRIPTION_KEPT_SPANS: Final = 4096  # that do not match, after which the checkpoint is kept all the same
SUBSCRIPTION_CALLS_MAX: Final = 8  # webhook calls of one subscription at once
SUBSCRIPTION_ALL_CALLS_MAX: Final = 32  # and of all of a node: each a connection that may hang for half a minute
SUBSCRIPTION_LOOK_S: Final = 5  # between looks at deadlines, however the clock was set
SUBSCRIPTION_CALL_WAIT_S: Final = 10 * WEBHOOK_S_MAX  # for a call, which may have to wait for others first
SUBSCRIPTION_REPLAYED_MAX: Final = 100  # named parked spans of one request; each is looked up
