"""Requests to one node: its address, its token, its retries, its errors.

Everything sent here may be sent twice: GETs by nature, POSTs because the caller gives each an
Idempotency-Key. Invariant: a node that never answered is "not running" at once; one that did is waited for.
"""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import httpx
import trio

from lognode.client.aio import require_trio
from lognode.client.place import Address, Route
from lognode.client.problem import error_from, tls_failure
from lognode.core.errors import LognodeError, NodeFault
from lognode.core.limits import TAIL_HEARTBEAT_S

CONNECT_S_MAX: Final = 5.0
SILENCE_S_MAX: Final = 3.0 * TAIL_HEARTBEAT_S
BACKOFF_S_MIN: Final = 0.05
BACKOFF_S_MAX: Final = 2.0

Params = Sequence[tuple[str, str]]
Headers = Sequence[tuple[str, str]]


class AsyncPatience:
    """Waits between tries, longer each time, for `total_s` at most without success."""

    def __init__(self, total_s: float) -> None:
        self._total_s = total_s
        self._deadline_s: float | None = None
        self._backoff_s = BACKOFF_S_MIN

    def renew(self) -> None:
        """Start over: something went well."""
        self._deadline_s = None
        self._backoff_s = BACKOFF_S_MIN

    async def wait(self, error: LognodeError) -> None:
        """Return when it is time to try again; raise `error` when that would be too late."""
        now_s = trio.current_time()
        if self._deadline_s is None:
            self._deadline_s = now_s + self._total_s
        # Jitter, so that clients which were refused together do not come back together.
        wait_s = error.retry_after_s or self._backoff_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        if now_s + wait_s > self._deadline_s:
            raise error
        await trio.sleep(wait_s)
        self._backoff_s = min(2 * self._backoff_s, BACKOFF_S_MAX)


class _Content(httpx.AsyncByteStream):
    """The body of one request, in one piece.

    In place of httpx's own, whose generator stays in its middle where a request is cancelled: trio warns of those.
    """

    def __init__(self, content: bytes) -> None:
        self._parts = [content] if content else []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._parts:
            raise StopAsyncIteration
        return self._parts.pop()


@dataclass
class Acquaintance:
    """What all sessions of a client know of its node: whether anybody ever was there."""

    met: bool = False


class AsyncSession:
    """Finds its node again when it moved, and sends again what had no answer."""

    def __init__(
        self,
        address: Address,
        *,
        tenant: str,
        patience_s: float,
        timeout_s: float,
        acquaintance: Acquaintance | None = None,
    ) -> None:
        self._address = address
        self._tenant = tenant
        self._patience_s = patience_s
        self._timeout_s = timeout_s
        self._acquaintance = acquaintance or Acquaintance()
        self._connections: dict[Route, httpx.AsyncClient] = {}

    def another(self) -> "AsyncSession":
        """A session with the same node and connections of its own."""
        return AsyncSession(
            self._address,
            tenant=self._tenant,
            patience_s=self._patience_s,
            timeout_s=self._timeout_s,
            acquaintance=self._acquaintance,
        )

    async def aclose(self) -> None:
        """Close all connections; the next request opens another."""
        connections, self._connections = self._connections, {}
        for http in connections.values():
            await http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params = (),
        content: bytes = b"",
        headers: Headers = (),
        patient: bool = True,
    ) -> bytes:
        """The body of a successful answer; `patient=False` sends once only.

        Raises the error of the problem body, and NodeFault("client.unreachable") without an answer.
        """
        patience = AsyncPatience(self._patience_s if patient else 0.0)
        while True:
            try:
                async with self._answer(method, path, params, content, headers, self._timeout_s) as answer:
                    return await answer.aread()
            except LognodeError as error:
                if not self.is_worth_another_try(error):
                    raise
                await patience.wait(error)

    @asynccontextmanager
    async def stream(
        self, path: str, params: Params, headers: Headers, *, method: str = "GET", content: bytes = b""
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The chunks of an endless answer, as they come; one try."""
        async with self._answer(method, path, params, content, headers, SILENCE_S_MAX) as answer:
            chunks = answer.aiter_bytes()
            try:
                yield chunks
            finally:
                # Read on to the error that closing brings: trio warns of generators that are left in their middle.
                await answer.aclose()
                with suppress(httpx.TransportError, httpx.StreamError):
                    async for _ in chunks:
                        pass

    def is_worth_another_try(self, error: LognodeError) -> bool:
        """Whether the node refused for now only (503), or was there and may come back."""
        if error.code == "client.unreachable":
            return self._acquaintance.met
        return error.spec.status == httpx.codes.SERVICE_UNAVAILABLE

    def patience(self) -> AsyncPatience:
        """A fresh patience, for loops that reconnect by themselves."""
        return AsyncPatience(self._patience_s)

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, params: Params, content: bytes, headers: Headers, read_s_max: float
    ) -> AsyncIterator[httpx.Response]:
        require_trio()  # not for threads
        # Read each time, though the connection may be an old one: httpx opens a closed one again by itself, and by
        # then a stranger may listen there.
        place = self._address.place()
        token = [("Authorization", f"Bearer {place.token}")] if place.token else []
        http = self._connection(place.route)
        try:
            request = http.build_request(
                method,
                place.base_url + path,
                params=list(params),
                content=content,
                headers=[*headers, *token],
                # Whoever waits for a free connection does so as long as its caller likes.
                timeout=httpx.Timeout(read_s_max, connect=CONNECT_S_MAX, pool=None),
            )
            request.stream = _Content(content)
            answer = await http.send(request, stream=True)
            try:
                self._acquaintance.met = True
                if answer.is_error:
                    retry_after = answer.headers.get("retry-after")
                    raise error_from(answer.status_code, await answer.aread(), retry_after, tenant=self._tenant)
                yield answer
            finally:
                await answer.aclose()
        except httpx.LocalProtocolError:
            # Neither its text nor the cause: they quote headers, one of which is the token.
            raise NodeFault("client.protocol", f"{place.url}: HTTP cannot carry a header of the request") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.DecodingError) as error:
            raise NodeFault("client.protocol", f"{place.url}: {error}") from error
        except httpx.TransportError as error:
            if isinstance(error, httpx.ConnectError) and (reason := tls_failure(error)):
                raise NodeFault("client.protocol", f"{place.url}: {reason}") from error
            # A connection that broke had somebody at its other end, who may come back at another port.
            self._acquaintance.met |= not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            detail = f"{place.url} does not answer: {str(error) or type(error).__name__}"
            raise NodeFault("client.unreachable", detail) from error

    def _connection(self, route: Route) -> httpx.AsyncClient:
        if route not in self._connections:
            socket_path = route.socket_path
            self._connections[route] = httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(uds=socket_path, verify=False) if socket_path else None,
                verify=route.is_tls,  # reading all certificates takes longer than a whole command otherwise does
                trust_env=False,  # a proxy of the environment has no way to a loopback address
            )
        return self._connections[route]
