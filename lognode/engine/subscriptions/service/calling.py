"""Has the webhooks of subscriptions called, span by span.

Whatever a receiver takes is acknowledged; what it refuses is tried again, and parked in the end. Invariants: a receiver
that is down is asked for one span at a time, with longer and longer pauses; what is wrong with the settings here counts
against no span.
"""

import sqlite3
from functools import partial
from hashlib import sha256
from typing import Final

import msgspec
import structlog
import trio

from lognode.core.errors import LognodeError
from lognode.core.ids import b32encode
from lognode.core.limits.subscriptions import (
    SUBSCRIPTION_ALL_CALLS_MAX,
    SUBSCRIPTION_CALLS_MAX,
    SUBSCRIPTION_LOOK_S,
    SUBSCRIPTION_RETRY_MS_MAX,
)
from lognode.engine.subscriptions.progress import Outcome, Progress, backoff_ms
from lognode.engine.subscriptions.service.desk import Subscriptions
from lognode.engine.subscriptions.service.sharing import Change, Offer, Sharing
from lognode.engine.tasks.service.webhooks import Webhooks
from lognode.timeline.record import TenantRef

# What is wrong here, not with a span.
_OURS: Final = frozenset({"webhook.unknown", "webhook.forbidden", "webhook.secret"})
_ID_BYTES: Final = 16
_encode = msgspec.json.Encoder().encode
_log = structlog.get_logger(__name__)


class Calling:
    """The task, for all subscriptions of a node."""

    def __init__(self, desk: Subscriptions, webhooks: Webhooks) -> None:
        self._desk = desk
        self._webhooks = webhooks
        self._room = trio.CapacityLimiter(SUBSCRIPTION_ALL_CALLS_MAX)
        self._served: set[tuple[int, str]] = set()

    async def run(self) -> None:
        """Call until cancelled."""
        self._served.clear()
        async with trio.open_nursery() as nursery:
            while True:
                changed = self._desk.changed
                for tenant, name in await self._desk.called():
                    if (tenant.number, name) not in self._served:
                        self._served.add((tenant.number, name))
                        nursery.start_soon(self._serve, tenant, name)
                await changed.wait()

    async def _serve(self, tenant: TenantRef, name: str) -> None:
        """Serve one subscription until it is deleted."""
        try:
            while True:
                sharing: Sharing | None = None
                try:
                    sharing = await self._desk.find(tenant, name)
                    await self._deliver(sharing)
                except (LognodeError, sqlite3.Error) as error:
                    code = error.code if isinstance(error, LognodeError) else "database.damaged"
                    if code == "subscription.unknown":
                        if sharing is None:
                            return
                        continue  # there may be another one of that name by now
                    # No other subscription has to do with it; this one is tried again later.
                    _log.warning("subscription_failed", subscription=name, code=code)
                    await trio.sleep(SUBSCRIPTION_LOOK_S)
        finally:
            self._served.discard((tenant.number, name))

    async def _deliver(self, sharing: Sharing) -> None:
        """Have spans delivered as they come. Raises LognodeError, sqlite3.Error."""
        failures = 0
        with sharing.join() as holder:
            while True:
                changed = sharing.watch()
                offers = await sharing.take(holder, 1 if failures else SUBSCRIPTION_CALLS_MAX)
                if not offers:
                    await sharing.wait(changed)
                    continue
                errors, faults = list[LognodeError](), list[LognodeError | sqlite3.Error]()
                async with trio.open_nursery() as nursery:
                    for offer in offers:
                        nursery.start_soon(self._call, sharing, offer, errors, faults)
                if faults:
                    raise faults[0]
                if any(error.code in _OURS for error in errors):
                    sharing.drop(holder)
                # A refusal says something of one span; all else says something of the receiver.
                is_down = any(error.code != "webhook.refused" for error in errors)
                failures = failures + 1 if is_down else 0
                if failures:
                    _log.warning("subscription_calls_failed", subscription=sharing.held.name, code=errors[-1].code)
                    await trio.sleep(backoff_ms(failures) / 1000)

    async def _call(
        self, sharing: Sharing, offer: Offer, errors: list[LognodeError], faults: list[LognodeError | sqlite3.Error]
    ) -> None:
        """Call a webhook with one span, and have rows say how that went.

        Adds to `errors` why a call failed, and to `faults` why no row could say so.
        """
        webhook = sharing.held.webhook
        assert webhook is not None
        change: Change = partial(_acknowledge, offer=offer)
        try:
            async with self._room:
                await self._webhooks.call(webhook, message_id(sharing, offer), message(sharing, offer))
        except LognodeError as error:
            errors.append(error)
            if error.code in _OURS:
                return
            after_ms = (
                None if error.retry_after_s is None else min(SUBSCRIPTION_RETRY_MS_MAX, 1000 * error.retry_after_s)
            )
            reason = f"{error.code}: {error.detail or error.spec.title}"
            change = partial(_retry, offer=offer, after_ms=after_ms, reason=reason)
        try:
            await sharing.settle(change)
        except (LognodeError, sqlite3.Error) as fault:
            faults.append(fault)


def _acknowledge(progress: Progress, _: int, *, offer: Offer) -> Outcome:
    return progress.acknowledge([offer.handed.delivery])


def _retry(progress: Progress, now_ms: int, *, offer: Offer, after_ms: int | None, reason: str) -> Outcome:
    return progress.retry([offer.handed.delivery], now_ms, after_ms, reason)


def message_id(sharing: Sharing, offer: Offer) -> str:
    """By which a receiver tells that a span comes again: the same for each attempt, another after a reset."""
    held, delivery = sharing.held, offer.handed.delivery
    said = [sharing.tenant.tenant_id, held.name.encode(), delivery.run.to_bytes(8), delivery.position.to_bytes(8)]
    return b32encode(sha256(b"lognode subscription v1" + b"".join(said)).digest()[:_ID_BYTES])


def message(sharing: Sharing, offer: Offer) -> bytes:
    """The JSON that a webhook is sent."""
    return _encode(
        {
            "subscription": sharing.held.name,
            "tenant": b32encode(sharing.tenant.tenant_id),
            "attempt": offer.handed.attempt,
            "replay": offer.handed.is_replay,
            "span": msgspec.Raw(offer.span),
        }
    )
