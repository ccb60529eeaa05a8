"""One HTTP connection to one node: its token, its retries, its errors.

Everything sent here may be sent twice: GETs by nature, POSTs because the caller gives each an
Idempotency-Key. Invariant: a node that never answered is "not running" at once; one that did is waited for.
"""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import httpx

from lognode.client.place import Address
from lognode.client.problem import error_from
from lognode.core.errors import LognodeError, NodeFault
from lognode.core.limits import TAIL_HEARTBEAT_S

CONNECT_S_MAX: Final = 5.0
ANSWER_S_MAX: Final = 60.0  # the node answers after its fsync, and a slow disk may stall for seconds
SILENCE_S_MAX: Final = 3.0 * TAIL_HEARTBEAT_S
BACKOFF_S_MIN: Final = 0.05
BACKOFF_S_MAX: Final = 2.0

Params = Sequence[tuple[str, str]]


class Patience:
    """Waits between tries, longer each time, for `total_s` at most without success."""

    def __init__(self, total_s: float) -> None:
        self._total_s = total_s
        self._deadline_s: float | None = None
        self._backoff_s = BACKOFF_S_MIN

    def renew(self) -> None:
        """Start over: something went well."""
        self._deadline_s = None
        self._backoff_s = BACKOFF_S_MIN

    def wait(self, error: LognodeError) -> None:
        """Return when it is time to try again; raise `error` when that would be too late."""
        now_s = time.monotonic()
        if self._deadline_s is None:
            self._deadline_s = now_s + self._total_s
        # Jitter, so that clients which were refused together do not come back together.
        wait_s = error.retry_after_s or self._backoff_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        if now_s + wait_s > self._deadline_s:
            raise error
        time.sleep(wait_s)
        self._backoff_s = min(2 * self._backoff_s, BACKOFF_S_MAX)


class Session:
    """A connection that finds its node again when it moved, and sends again what had no answer."""

    def __init__(self, address: Address, patience_s: float) -> None:
        self._address = address
        self._patience_s = patience_s
        self._http: httpx.Client | None = None
        self._url = ""
        self._met = False

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Params = (),
        content: bytes = b"",
        headers: Sequence[tuple[str, str]] = (),
        patient: bool = True,
    ) -> bytes:
        """The body of a successful answer; `patient=False` sends once only.

        Raises the error of the problem body, and NodeFault("client.unreachable") without an answer.
        """
        patience = Patience(self._patience_s if patient else 0.0)
        while True:
            try:
                with self._answer(method, path, params, content, headers, ANSWER_S_MAX) as answer:
                    return answer.read()
            except LognodeError as error:
                if not self.is_worth_another_try(error):
                    raise
                patience.wait(error)

    @contextmanager
    def stream(self, path: str, params: Params, headers: Sequence[tuple[str, str]]) -> Iterator[Iterator[bytes]]:
        """The chunks of an endless answer, as they come; one try."""
        with self._answer("GET", path, params, b"", headers, SILENCE_S_MAX) as answer:
            yield answer.iter_bytes()

    def is_worth_another_try(self, error: LognodeError) -> bool:
        """Whether the node refused for now only (503), or was there and may come back."""
        if error.code == "client.unreachable":
            return self._met
        return error.spec.status == httpx.codes.SERVICE_UNAVAILABLE

    def patience(self) -> Patience:
        """A fresh patience, for loops that reconnect by themselves."""
        return Patience(self._patience_s)

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        params: Params,
        content: bytes,
        headers: Sequence[tuple[str, str]],
        read_s_max: float,
    ) -> Iterator[httpx.Response]:
        timeout = httpx.Timeout(read_s_max, connect=CONNECT_S_MAX)
        http = self._connection()
        try:
            with http.stream(
                method, path, params=list(params), content=content, headers=list(headers), timeout=timeout
            ) as answer:
                self._met = True
                if answer.is_error:
                    raise error_from(answer.status_code, answer.read(), answer.headers.get("retry-after"))
                yield answer
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.DecodingError) as error:
            raise NodeFault("client.protocol", str(error)) from error
        except httpx.TransportError as error:
            # A connection that broke had somebody at its other end, who may come back at another port: the
            # next try reads the address again.
            self._met |= not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
            self.close()
            detail = f"{http.base_url} does not answer: {str(error) or type(error).__name__}"
            raise NodeFault("client.unreachable", detail) from error

    def _connection(self) -> httpx.Client:
        # Asked each time: httpx opens a closed connection again by itself, and by then a stranger may listen there.
        if self._address.current_url() != self._url:
            self.close()
        if self._http is None:
            place = self._address.place()
            self._url = place.url
            socket_path = place.url.removeprefix("unix:") if place.url.startswith("unix:") else None
            try:
                self._http = httpx.Client(
                    base_url="http://localhost" if socket_path else place.url,
                    transport=httpx.HTTPTransport(uds="/" + socket_path.lstrip("/")) if socket_path else None,
                    headers={"Authorization": f"Bearer {place.token}"} if place.token else {},
                    trust_env=False,  # a proxy of the environment has no way to a loopback address
                )
            except (httpx.InvalidURL, ValueError) as error:
                raise NodeFault("client.protocol", f"{place.url}: {error}") from error
        return self._http
