"""The client of one node and one tenant: a method for each thing a node does.

Synchronous; one Client for one thread. Every method may send its request more than once (see
`session`), so every POST carries an idempotency key, made here when the caller brings none.
"""

import secrets
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast
from urllib.parse import quote

import msgspec

from lognode.client.answers import Appended, Arrival, Node, Page, Receipt, Span, Stats, Walk
from lognode.client.batch import batches, renumber
from lognode.client.draft import Draft
from lognode.client.filter import Filter
from lognode.client.place import Address
from lognode.client.session import Params, Session
from lognode.client.sse import events
from lognode.core.errors import LognodeError, NodeFault
from lognode.core.limits import PAGE_SPANS_MAX

PATIENCE_S: Final = 30.0
EVERYTHING: Final = Filter()
_KEY_BYTES: Final = 18


def connect(
    *,
    data_dir: Path | None = None,
    url: str | None = None,
    token_file: Path | None = None,
    tenant: str = "default",
    patience_s: float = PATIENCE_S,
) -> "Client":
    """A client of the node that runs on `data_dir`, or answers at `url` to the token in `token_file`.

    `patience_s` is how long a busy node, or one that was there and went away, is asked again.
    """
    return Client(Address(data_dir=data_dir, url=url, token_file=token_file), tenant=tenant, patience_s=patience_s)


class Client:
    """A node as seen by one caller in one tenant. Its methods raise the errors of `lognode.core.errors`."""

    def __init__(self, address: Address, *, tenant: str = "default", patience_s: float = PATIENCE_S) -> None:
        self._session = Session(address, patience_s)
        self._base = f"/v1/tenants/{quote(tenant, safe='')}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def node(self) -> Node:
        """Who the node is."""
        return cast("Node", self._get("/v1/node"))

    def ready(self) -> None:
        """Return when the node can write now; raise NodeFault("node.not_ready") otherwise."""
        self._session.request("GET", "/readyz", patient=False)

    def stats(self) -> Stats:
        """What the tenant's timeline amounts to."""
        return cast("Stats", self._get(f"{self._base}/stats"))

    def append(self, draft: Draft, *, idempotency_key: str | None = None) -> Receipt:
        """The receipt of one span, which is durable when this returns."""
        return cast("Receipt", self._post(draft.line(), "application/json", idempotency_key))

    def append_batch(self, lines: Iterable[bytes], *, idempotency_key: str | None = None) -> Appended:
        """What became of some JSON lines, sent as one request and held in memory until it is answered.

        A line without a key of its own gets one from `idempotency_key` and its number. An error's `extra`
        holds `line` (counted from 1), `appended`, `duplicates` and `last`: what is in before that line.
        """
        return cast("Appended", self._post(b"\n".join(lines), "application/x-ndjson", idempotency_key))

    def append_lines(self, lines: Iterable[bytes | Draft]) -> Iterator[Appended]:
        """Send any number of lines in bounded batches; yields after each, when its spans are durable.

        Nothing is read from `lines`, nor sent, but as this is iterated. The `line` of an error counts from the
        first of all.
        """
        sent = 0
        for batch in batches(line.line() if isinstance(line, Draft) else line for line in lines):
            try:
                yield self.append_batch(batch)
            except LognodeError as error:
                renumber(error, range(sent + 1, sent + len(batch) + 1))
                raise
            sent += len(batch)

    def page(
        self,
        where: Filter = EVERYTHING,
        *,
        newest_first: bool = True,
        before: str | None = None,
        after: str | None = None,
        limit: int = PAGE_SPANS_MAX,
    ) -> Page:
        """One page of spans: the nearest to a cursor, or the first ones of the order without any."""
        params = [*where.params(), ("sort", "desc" if newest_first else "asc"), ("limit", str(limit))]
        params += [(name, cursor) for name, cursor in (("before", before), ("after", after)) if cursor is not None]
        return cast("Page", self._get(f"{self._base}/spans", params))

    def spans(
        self, where: Filter = EVERYTHING, *, newest_first: bool = False, limit: int | None = None
    ) -> Iterator[Span]:
        """All spans that match, or the first `limit` of them, page by page."""
        cursor: str | None = None
        left = sys.maxsize if limit is None else limit
        while left > 0:
            before, after = (cursor, None) if newest_first else (None, cursor)
            limit = min(left, PAGE_SPANS_MAX)
            page = self.page(where, newest_first=newest_first, before=before, after=after, limit=limit)
            yield from page["spans"]
            # A page of large spans is short, and others follow.
            left -= len(page["spans"])
            cursor = page["older" if newest_first else "newer"]
            if cursor is None or not page["spans"]:
                return

    def span(self, span_id: str) -> Span:
        """One span, with its entry bytes in hex as `entry`."""
        return cast("Span", self._get(self._span_path(span_id)))

    def causes(self, span_id: str) -> Walk:
        """The spans that led to this one."""
        return cast("Walk", self._get(self._span_path(span_id) + "/causes"))

    def effects(self, span_id: str) -> Walk:
        """The spans that this one led to."""
        return cast("Walk", self._get(self._span_path(span_id) + "/effects"))

    def proof(self, span_id: str) -> bytes:
        """A C2SP tlog-proof of one span, which anyone can check offline."""
        return self._session.request("GET", self._span_path(span_id) + "/proof")

    def checkpoint(self, feed: str | None = None) -> bytes:
        """The newest signed checkpoint of a feed, the tenant's open one by default."""
        return self._session.request("GET", f"{self._base}/checkpoints/latest", params=[("feed", feed)] if feed else [])

    def newest_cursor(self) -> str:
        """The cursor from which a live tail shows what comes from now on."""
        return self.page(Filter(order="arrival"), limit=1)["newer"]

    def tail(
        self,
        where: Filter = EVERYTHING,
        *,
        after: str | None = None,
        on_lost: Callable[[LognodeError], None] | None = None,
    ) -> Generator[Arrival, None, None]:
        """New spans as they arrive, without end: each once, none left out, also across restarts of the node.

        Starts after the cursor `after`, else now. Calls `on_lost` each time the connection was lost, then
        connects again; raises what `on_lost` got when the node stays away.
        """
        cursor = after or self.newest_cursor()
        patience = self._session.patience()
        while True:
            headers = [("Accept", "text/event-stream"), ("Last-Event-ID", cursor)]
            lost: LognodeError = NodeFault("client.unreachable", "the node closed the connection")
            try:
                with self._session.stream(f"{self._base}/live", where.params(live=True), headers) as chunks:
                    for event in events(chunks):
                        patience.renew()
                        cursor = event.id or cursor
                        if event.name == "span":
                            yield Arrival(cursor, cast("Span", _object(event.data)))
            except LognodeError as error:
                if not self._session.is_worth_another_try(error):
                    raise
                lost = error
            if on_lost is not None:
                on_lost(lost)
            patience.wait(lost)

    def _span_path(self, span_id: str) -> str:
        return f"{self._base}/spans/{quote(span_id, safe='')}"

    def _get(self, path: str, params: Params = ()) -> dict[str, Any]:
        return _object(self._session.request("GET", path, params=params))

    def _post(self, content: bytes, media_type: str, idempotency_key: str | None) -> dict[str, Any]:
        key = idempotency_key or secrets.token_urlsafe(_KEY_BYTES)
        headers = [("Content-Type", media_type), ("Idempotency-Key", key)]
        return _object(self._session.request("POST", f"{self._base}/spans", content=content, headers=headers))


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise NodeFault("client.protocol", str(error)) from error
