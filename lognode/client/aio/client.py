"""The client of one node and one tenant: a method for each thing a node does.

Every method may send its request more than once (see `session`), so every POST carries an idempotency key,
made here when the caller brings none.
"""

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast
from urllib.parse import quote

import httpx

from lognode.client.aio.federation import AsyncFederation
from lognode.client.aio.rules import AsyncRules
from lognode.client.aio.session import AsyncSession, Params
from lognode.client.aio.spans import AsyncSpans
from lognode.client.aio.state import AsyncState
from lognode.client.aio.subscriptions import AsyncConsumer, AsyncSubscriptions
from lognode.client.aio.tail import AsyncTail
from lognode.client.aio.tasks import AsyncTasks
from lognode.client.answers import Appended, Node, Page, Proven, Receipt, Span, Stats, Walk, parse_answer
from lognode.client.batch import AsyncLines, Batcher, Each, Line, encoded, renumber
from lognode.client.draft import Draft
from lognode.client.filter import Filter
from lognode.client.place import Address, usual_address
from lognode.core.errors import LognodeError, NodeFault
from lognode.core.limits import PAGE_SPANS_MAX

PATIENCE_S: Final = 30.0
TIMEOUT_S: Final = 60.0  # the node answers after its fsync, and a slow disk may stall for seconds
EVERYTHING: Final = Filter()
_KEY_BYTES: Final = 18


def connect_async(
    *,
    data_dir: str | os.PathLike[str] | None = None,
    url: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
    tenant: str = "default",
    patience_s: float = PATIENCE_S,
    timeout_s: float = TIMEOUT_S,
) -> "AsyncClient":
    """A client of the node that runs on `data_dir`, or answers at `url` to the token in `token_file`.

    Without either, of the node that the `lognode` command talks to: LOGNODE_DATA_DIR or LOGNODE_URL name it, else it
    is the user's own. `url` is `http://host:port` or `unix:/path/of/socket`. `patience_s` is how long a busy node, or
    one that was there and went away, is asked again; `timeout_s` how long one try waits for its answer. Nothing is
    sent, nor any error raised, before the first request.
    """
    token = None if token_file is None else Path(token_file)
    address = Address(data_dir=None if data_dir is None else Path(data_dir), url=url, token_file=token)
    if data_dir is None and url is None:
        address = usual_address(os.environ, token)
    return AsyncClient(address, tenant=tenant, patience_s=patience_s, timeout_s=timeout_s)


class AsyncClient(AsyncFederation, AsyncState, AsyncRules, AsyncTasks, AsyncSubscriptions):
    """A node as seen by one caller in one tenant. An AsyncClient serves any number of tasks of one trio run.

    Its methods raise the errors of `lognode.core.errors`: CallerError for what the node refuses, NodeFault where it
    cannot do its work or does not answer ("client.unreachable"), each with a `code` that docs/errors.md explains.
    """

    def __init__(
        self,
        address: Address,
        *,
        tenant: str = "default",
        patience_s: float = PATIENCE_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._session = AsyncSession(address, tenant=tenant, patience_s=patience_s, timeout_s=timeout_s)
        self._base = f"/v1/tenants/{quote(tenant, safe='')}"
        self._tails = set[AsyncTail | AsyncConsumer]()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections, those of live tails too."""
        # A stack closes each of them, whatever the closing of another was ended by.
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._session.aclose)
            for tail in list(self._tails):
                stack.push_async_callback(tail.aclose)

    async def node(self) -> Node:
        """Who the node is, what it holds, and how it is doing."""
        return cast("Node", await self._get("/v1/node"))

    async def ready(self) -> None:
        """Return when the node can write now; raise NodeFault("node.not_ready") otherwise."""
        await self._session.request("GET", "/readyz", patient=False)

    async def stats(self) -> Stats:
        """What the tenant's timeline amounts to."""
        return cast("Stats", await self._get(f"{self._base}/stats"))

    async def append(self, draft: Draft, *, idempotency_key: str | None = None) -> Receipt:
        """The receipt of one span, which is durable when this returns.

        The same span with the same key, sent by whomever and whenever, is recorded once; the receipt then says
        `duplicate`. Give a key where the program may die, or be cancelled, between sending and hearing the answer.
        Raises CallerError("idempotency.mismatch") for another span under a key that was used.
        """
        if not isinstance(draft, Draft):
            raise TypeError(f"append takes a Draft, not {type(draft).__name__}; append_lines takes JSON too")
        return cast("Receipt", await self._post(draft.line(), "application/json", idempotency_key))

    async def append_batch(
        self, lines: Iterable[Line], *, idempotency_key: str | None = None, dry_run: bool = False
    ) -> Appended:
        """What became of some lines, sent as one request and held in memory until it is answered.

        A line is a Draft, or its JSON as text or bytes. One without a key of its own gets one from `idempotency_key`
        and its number.
        An error's `extra` holds `line` (counted from 1), `appended`, `duplicates` and `last`: what is in before it.
        With `dry_run` nothing is written, and the answer or error says what would have become of them.
        """
        content = b"\n".join(map(encoded, lines))
        params = [("dry_run", "true")] if dry_run else []
        return cast("Appended", await self._post(content, "application/x-ndjson", idempotency_key, params))

    async def append_lines(self, lines: AsyncLines) -> AsyncIterator[Appended]:
        """Send any number of lines in batches of bounded size; yields after each, when its spans are durable.

        Nothing is read from `lines`, nor sent, but as this is iterated; a batch goes when it is full or `lines` ends.
        The `line` of an error counts from the first of all.
        """
        batcher, sent = Batcher(), 0
        async for line in Each(lines):
            if batch := batcher.add(line):
                yield await self._append_part(batch, sent)
                sent += len(batch)
        if batch := batcher.rest():
            yield await self._append_part(batch, sent)

    async def page(
        self,
        where: Filter = EVERYTHING,
        *,
        newest_first: bool = True,
        before: str | None = None,
        after: str | None = None,
        limit: int = PAGE_SPANS_MAX,
    ) -> Page:
        """One page of spans: the nearest to a cursor, or the first ones of the order without any.

        At most `limit` spans, and fewer where they are large or many had to be looked at: `more` says whether others
        follow. Its `older` and `newer` are the cursors to go on with, as `before` and `after`. Raises
        CallerError("filter.invalid") or CallerError("cursor.invalid").
        """
        params = [*where.params(), ("sort", "desc" if newest_first else "asc"), ("limit", str(limit))]
        params += [(name, cursor) for name, cursor in (("before", before), ("after", after)) if cursor is not None]
        return cast("Page", await self._get(f"{self._base}/spans", params))

    def spans(self, where: Filter = EVERYTHING, *, newest_first: bool = False, limit: int | None = None) -> AsyncSpans:
        """All spans that match, or the first `limit` of them, read page by page as they are iterated.

        Those that arrive meanwhile come too, where they belong behind the ones that were given.
        """

        async def page_at(cursor: str | None, limit: int) -> Page:
            before, after = (cursor, None) if newest_first else (None, cursor)
            return await self.page(where, newest_first=newest_first, before=before, after=after, limit=limit)

        return AsyncSpans(page_at, newest_first=newest_first, limit=limit)

    async def span(self, span_id: str) -> Span:
        """One span, with its entry bytes in hex as `entry`. Raises CallerError("span.unknown")."""
        return cast("Span", await self._get(self._span_path(span_id)))

    async def causes(self, span_id: str) -> Walk:
        """The spans that led to this one, nearest first, each with its `depth` in steps."""
        return cast("Walk", await self._get(self._span_path(span_id) + "/causes"))

    async def effects(self, span_id: str) -> Walk:
        """The spans that this one led to, nearest first, each with its `depth` in steps."""
        return cast("Walk", await self._get(self._span_path(span_id) + "/effects"))

    async def proof(self, span_id: str) -> bytes:
        """A C2SP tlog-proof of one span, as text that anyone can check offline. Raises CallerError("span.unknown")."""
        return await self._session.request("GET", self._span_path(span_id) + "/proof")

    async def proven(self, span_id: str) -> Proven:
        """The same proof, with the reason why the span has no effect, where it has none."""
        return cast("Proven", await self._get(self._span_path(span_id) + "/proof", [("void", "true")]))

    async def checkpoint(self, feed: str | None = None, *, cosigned: bool = False) -> bytes:
        """The newest signed checkpoint of a feed, by default the tenant's open one: a C2SP signed note, as text.

        With `cosigned` it is the one that most other nodes have cosigned, where there is any.
        """
        params = [("feed", feed)] if feed else []
        params += [("cosigned", "true")] if cosigned else []
        return await self._session.request("GET", f"{self._base}/checkpoints/latest", params=params)

    @asynccontextmanager
    async def bundle(
        self,
        where: Filter = EVERYTHING,
        *,
        feed: str | None = None,
        start: int | None = None,
        stop: int | None = None,
        include_private: bool = False,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The chunks of a bundle: what matches, with its proofs, or the entries [start, stop) of a feed.

        They need not be whole until the last one is there; `lognode bundle verify` checks them. Raises
        NodeFault("client.protocol") where the node breaks off, as it does when it finds its database damaged.
        """
        named = {"feed": feed, "start": start, "stop": stop, "include": "private" if include_private else None}
        params = [(name, str(value)) for name, value in named.items() if value is not None]
        async with self._session.stream(f"{self._base}/bundle", where.params(live=True) + params, ()) as chunks:
            try:
                yield chunks
            except (httpx.RemoteProtocolError, httpx.ReadError) as error:
                raise NodeFault("client.protocol", "the node broke the bundle off; its log says why") from error

    def consume(
        self, name: str, *, in_flight: int | None = None, limit: int | None = None, follow: bool = True
    ) -> AsyncConsumer:
        """The spans of a subscription as they are due, without end, also across restarts of the node.

        At most `in_flight` are handed out that were not settled. With a `limit` it ends once so many came and are
        settled; without `follow`, once nothing is due.
        """
        consumer = AsyncConsumer(
            self._session.another(),
            self._subscription_path(name),
            in_flight=in_flight,
            limit=limit,
            follow=follow,
            on_close=self._tails.discard,
        )
        self._tails.add(consumer)
        return consumer

    async def newest_cursor(self) -> str:
        """The cursor from which a live tail shows what comes from now on."""
        page = await self.page(Filter(order="arrival"), limit=1)
        return page["newer"]

    def tail(
        self,
        where: Filter = EVERYTHING,
        *,
        after: str | None = None,
        on_lost: Callable[[LognodeError], None] | None = None,
        on_back: Callable[[], None] | None = None,
    ) -> AsyncTail:
        """New spans as they arrive, without end: each once, none left out, also across restarts of the node.

        Starts after the cursor `after`, else when it is entered. When the connection is lost it calls `on_lost`, tries
        again, and calls `on_back` at the first sign of life: each once, however many tries that takes. Raises what the
        last try ended with when the node stays away longer than the client's patience.
        """
        tail = AsyncTail(
            self._session.another(),
            f"{self._base}/live",
            where.params(live=True),
            after=after,
            newest_cursor=self.newest_cursor,
            on_lost=on_lost,
            on_back=on_back,
            on_close=self._tails.discard,
        )
        self._tails.add(tail)
        return tail

    async def _append_part(self, batch: list[bytes], start: int) -> Appended:
        try:
            return await self.append_batch(batch)
        except LognodeError as error:
            renumber(error, range(start + 1, start + len(batch) + 1))
            raise

    def _span_path(self, span_id: str) -> str:
        return f"{self._base}/spans/{quote(span_id, safe='')}"

    async def _get(self, path: str, params: Params = ()) -> dict[str, Any]:
        return parse_answer(await self._session.request("GET", path, params=params))

    async def _post(
        self, content: bytes, media_type: str, idempotency_key: str | None, params: Params = ()
    ) -> dict[str, Any]:
        key = idempotency_key or secrets.token_urlsafe(_KEY_BYTES)
        headers = [("Content-Type", media_type), ("Idempotency-Key", key)]
        return parse_answer(
            await self._session.request("POST", f"{self._base}/spans", params=params, content=content, headers=headers)
        )
