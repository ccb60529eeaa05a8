# Made from lognode/client/aio/subscriptions.py by scripts/sync-client: change that file, then run the script.
"""Named subscriptions, as methods of the client, and consuming one.

Whatever is settled may be sent again, since a second time changes nothing. Invariant: what a consumer was handed is its
own until it says what became of it, its time is over, or its connection ends.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote

import msgspec

from lognode.client.answers import parse_answer
from lognode.client.answers.subscriptions import Offer, Parked, Settled, Subscription
from lognode.client.filter import Filter
from lognode.client.problem import error_from
from lognode.client.sse import EventParser
from lognode.client.sync.session import Session
from lognode.core.errors import LognodeError, NodeFault

_ALL = Filter()


class Consumer:
    """The spans of a subscription as they are due: each until it is acknowledged or parked.

        with client.consume("orders") as consumer:
            for offer in consumer:
                print(offer["span"]["id"])
                consumer.acknowledge(offer)

    Close it, or use it in a `with`: what it holds is then due again at once. Iterate it in one place at a time.
    """

    def __init__(
        self,
        session: Session,
        path: str,
        *,
        in_flight: int | None,
        limit: int | None,
        follow: bool,
        on_close: Callable[["Consumer"], None],
    ) -> None:
        self._session = session
        self._path = path
        self._in_flight = in_flight
        self._left = limit
        self._follow = follow
        self._on_close = on_close
        self._patience = session.patience()
        self._offers: Generator[Offer, None, None] | None = None
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Offer:
        while not self._is_closed:
            # Put back only with an offer: it has ended with any error, and where the wait was cancelled.
            offers, self._offers = self._offers or self._connect(), None
            try:
                offer = next(offers)
            except StopIteration:
                break
            except LognodeError as error:
                self._recover(error)
            else:
                self._offers = offers
                return offer
        raise StopIteration

    def close(self) -> None:
        """Close the connection, and end the iteration."""
        self._is_closed = True
        self._on_close(self)
        offers, self._offers = self._offers, None
        try:
            if offers is not None:
                offers.close()
        finally:
            self._session.close()

    def acknowledge(self, *offers: Offer) -> Settled:
        """Say that spans are done; when this returns they never come again but by a replay."""
        return self._settle("ack", offers, {})

    def retry(self, *offers: Offer, after_ms: int | None = None, reason: str = "") -> Settled:
        """Have spans come again later, or parked where their attempts are used up."""
        return self._settle("retry", offers, {"after_ms": after_ms, "reason": reason})

    def park(self, *offers: Offer, reason: str = "") -> Settled:
        """Have spans come no more until somebody replays them."""
        return self._settle("park", offers, {"reason": reason})

    def _recover(self, error: LognodeError) -> None:
        """Return when it is time for another connection; raise `error` when that is in vain."""
        if self._is_closed:
            return
        if not self._session.is_worth_another_try(error):
            raise error
        self._patience.wait(error)

    def _settle(self, word: str, offers: Iterable[Offer], said: Mapping[str, object]) -> Settled:
        deliveries = [offer["delivery"] for offer in offers]
        settled = cast("Settled", _post(self._session, f"{self._path}/{word}", {"deliveries": deliveries, **said}))
        if self._left is not None:
            self._left -= settled["done"]
        return settled

    def _connect(self) -> Generator[Offer, None, None]:
        """What comes over one connection. Raises a LognodeError where it ends and should not."""
        wanted = {"in_flight": self._in_flight, "limit": self._left, "follow": None if self._follow else "false"}
        params = [(name, f"{value}") for name, value in wanted.items() if value is not None]
        headers = [("Accept", "text/event-stream")]
        events = EventParser()
        with self._session.stream(f"{self._path}/stream", params, headers) as chunks:
            for chunk in chunks:
                for event in events.feed(chunk):
                    self._patience.renew()
                    if event.name == "span":
                        yield cast("Offer", parse_answer(event.data))
                    elif event.name == "error":
                        raise error_from(parse_answer(event.data)["status"], event.data, None, tenant="")
        if self._follow and self._left is None:
            raise NodeFault("client.unreachable", "the node closed the connection")


class Subscriptions:
    """The part of a client that is about named subscriptions."""

    _session: Session
    _base: str

    def create_subscription(
        self,
        name: str,
        where: Filter = _ALL,
        *,
        start: str = "now",
        webhook: str | None = None,
        ack_wait_ms: int | None = None,
        max_in_flight: int | None = None,
        max_attempts: int | None = None,
    ) -> Subscription:
        """A new subscription to the spans that match.

        It begins at its `start`: "beginning", "now", the id of the first span, behind a cursor of arrival order, or
        with the first span to arrive that is of a time or later. A `webhook` of the settings is called, if named.
        Raises CallerError subscription.invalid, subscription.exists, subscription.too_many, webhook.unknown.
        """
        chosen: dict[str, list[str]] = {}
        for field, value in where.params(live=True):
            chosen.setdefault(field, []).append(value)
        asked = {
            "name": name,
            "filter": chosen,
            "start": start,
            "webhook": webhook,
            "ack_wait_ms": ack_wait_ms,
            "max_in_flight": max_in_flight,
            "max_attempts": max_attempts,
        }
        return cast("Subscription", _post(self._session, f"{self._base}/subscriptions", asked, patient=False))

    def subscriptions(self) -> list[Subscription]:
        """The subscriptions of the tenant, by name."""
        raw = self._session.request("GET", f"{self._base}/subscriptions")
        return cast("list[Subscription]", parse_answer(raw)["subscriptions"])

    def subscription(self, name: str) -> Subscription:
        """A subscription: what it is for, and how far it is. Raises CallerError("subscription.unknown")."""
        raw = self._session.request("GET", self._subscription_path(name))
        return cast("Subscription", parse_answer(raw))

    def delete_subscription(self, name: str) -> Subscription:
        """The subscription that is no more, nor what it parked. Raises CallerError("subscription.unknown")."""
        raw = self._session.request("DELETE", self._subscription_path(name), patient=False)
        return cast("Subscription", parse_answer(raw))

    def reset_subscription(self, name: str, start: str) -> Subscription:
        """The subscription once it begins at another place. Raises as `create_subscription` does for its start."""
        path = f"{self._subscription_path(name)}/reset"
        return cast("Subscription", _post(self._session, path, {"start": start}, patient=False))

    def acknowledge(self, name: str, deliveries: Iterable[str] = (), *, up_to: str | None = None) -> Settled:
        """Say that deliveries are done: these, or all up to one, of any consumer."""
        said = {"deliveries": list(deliveries), "up_to": up_to}
        return cast("Settled", _post(self._session, f"{self._subscription_path(name)}/ack", said))

    def retry_deliveries(
        self, name: str, deliveries: Iterable[str], *, after_ms: int | None = None, reason: str = ""
    ) -> Settled:
        """Have deliveries come again later, or parked where their attempts are used up."""
        said = {"deliveries": list(deliveries), "after_ms": after_ms, "reason": reason}
        return cast("Settled", _post(self._session, f"{self._subscription_path(name)}/retry", said))

    def park_deliveries(self, name: str, deliveries: Iterable[str], *, reason: str = "") -> Settled:
        """Have deliveries come no more until somebody replays them."""
        said = {"deliveries": list(deliveries), "reason": reason}
        return cast("Settled", _post(self._session, f"{self._subscription_path(name)}/park", said))

    def parked(self, name: str) -> Iterator[Parked]:
        """What a subscription parked, by arrival, read page by page as it is iterated."""
        after: list[tuple[str, str]] = []
        while True:
            page = parse_answer(self._session.request("GET", f"{self._subscription_path(name)}/parked", params=after))
            for span in page["parked"]:
                yield cast("Parked", span)
            if page["next"] is None:
                return
            after = [("after", page["next"])]

    def replay_parked(self, name: str, spans: Iterable[str] | None = None) -> int:
        """How many parked spans come again, as new ones do: these, by their ids, or all."""
        said = {"spans": None if spans is None else list(spans)}
        answer = _post(self._session, f"{self._subscription_path(name)}/replay", said)
        return int(answer["replayed"])

    def _subscription_path(self, name: str) -> str:
        return f"{self._base}/subscriptions/{quote(name, safe='')}"


def _post(session: Session, path: str, body: Mapping[str, object], *, patient: bool = True) -> dict[str, Any]:
    content = msgspec.json.encode({name: value for name, value in body.items() if value is not None})
    headers = [("Content-Type", "application/json")]
    return parse_answer(session.request("POST", path, content=content, headers=headers, patient=patient))
