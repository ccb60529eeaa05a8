"""Calls webhooks: signed, within bounds, and nobody whom the owner of the node did not mean to reach.

Each attempt resolves the name anew, judges all addresses, and connects to one of those that were judged, by its number;
so does each redirection. Invariant: no request leaves for an address that `check_addresses` has not seen.
"""

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import trio

from lognode import __version__
from lognode.core.errors import CallerError, LognodeError, NodeFault
from lognode.core.limits import (
    WEBHOOK_ADDRESSES_MAX,
    WEBHOOK_ANSWER_BYTES_MAX,
    WEBHOOK_CONNECT_S_MAX,
    WEBHOOK_REDIRECTS_MAX,
    WEBHOOK_S_MAX,
    WEBHOOK_SECRET_BYTES_MAX,
)
from lognode.core.world import World
from lognode.engine.tasks.envelope import read_retry_after, read_secret, signed_headers
from lognode.engine.tasks.targets import MOVED, Address, Allowed, Target, check_addresses, follow, read_url

# Answers after which the same request may succeed later.
_PASSING: Final = frozenset({408, 425, 429})
_UNREACHED: Final = (httpx.ConnectError, httpx.ConnectTimeout)
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Hook(NamedTuple):
    """A webhook of the settings: its URL, and the file that holds its secret."""

    url: str
    secret_file: Path | None


class Answer(NamedTuple):
    """What came back, without its body."""

    status: int
    location: str | None
    retry_after: str | None


async def resolve_host(host: str, port: int) -> list[str]:
    """The addresses of a name. Raises OSError where there are none."""
    found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]


class Webhooks:
    """The webhooks that the settings name."""

    def __init__(self, world: World, resolve: Resolve = resolve_host) -> None:
        self._world = world
        self._resolve = resolve
        self._hooks: Mapping[str, Hook] = {}
        self._allowed = Allowed()

    def configure(self, hooks: Mapping[str, Hook], allowed: Allowed) -> None:
        """Have these webhooks from now on, and these addresses besides public ones."""
        self._hooks = dict(hooks)
        self._allowed = allowed

    def check_name(self, name: str) -> None:
        """Pass if there is a webhook of this name. Raises CallerError("webhook.unknown")."""
        if name not in self._hooks:
            raise CallerError("webhook.unknown", f"{name!r:.80}")

    async def call(self, name: str, message_id: str, body: bytes) -> None:
        """Return once the receiver has said that it took the message.

        Raises CallerError where that is not to be expected (webhook.unknown, webhook.forbidden, webhook.refused), and
        NodeFault where a later attempt may succeed (webhook.secret, webhook.unreachable, webhook.failed).
        """
        self.check_name(name)
        hook = self._hooks[name]
        secret = await _load_secret(hook.secret_file)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"lognode/{__version__}",
            **signed_headers(secret, message_id, self._world.now_ms() // 1000, body),
        }
        with trio.move_on_after(WEBHOOK_S_MAX):
            return await self._deliver(read_url(hook.url), headers, body)
        raise NodeFault("webhook.unreachable", f"no answer within {WEBHOOK_S_MAX} s")

    async def _deliver(self, target: Target, headers: Mapping[str, str], body: bytes) -> None:
        for _ in range(WEBHOOK_REDIRECTS_MAX + 1):
            answer = await self._post(target, headers, body)
            if answer.status not in MOVED or answer.location is None:
                return self._judge(target, answer)
            target = follow(target, answer.location)
        raise CallerError("webhook.forbidden", f"more than {WEBHOOK_REDIRECTS_MAX} redirections")

    def _judge(self, target: Target, answer: Answer) -> None:
        """Pass if the message was taken."""
        if 200 <= answer.status < 300:
            return
        detail = f"{target.host} answered {answer.status}"
        if answer.status in _PASSING or answer.status >= 500:
            retry_after_s = read_retry_after(answer.retry_after, self._world.now_ms())
            raise NodeFault("webhook.failed", detail, retry_after_s=retry_after_s)
        raise CallerError("webhook.refused", detail)

    async def _post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        failure: LognodeError | None = None
        for address in (await self._addresses(target))[:WEBHOOK_ADDRESSES_MAX]:
            try:
                return await self._post_to(target, address, headers, body)
            except httpx.HTTPError as error:
                failure = NodeFault("webhook.unreachable", f"{target.host}: {str(error) or type(error).__name__}")
                if not isinstance(error, _UNREACHED):
                    break  # it may have taken the message
        raise failure or NodeFault("webhook.unreachable", f"{target.host} has no address")

    async def _addresses(self, target: Target) -> list[Address]:
        """Where a target is now; all of it may be reached. Raises CallerError("webhook.forbidden") or NodeFault."""
        try:
            found = [target.host] if target.address else await self._resolve(target.host, target.port)
        except (OSError, UnicodeError) as error:
            raise NodeFault("webhook.unreachable", f"{target.host}: {error}") from error
        return check_addresses(target, found, self._allowed)

    async def _post_to(self, target: Target, address: Address, headers: Mapping[str, str], body: bytes) -> Answer:
        place = f"[{address}]" if address.version == 6 else f"{address}"
        timeout = httpx.Timeout(WEBHOOK_S_MAX, connect=WEBHOOK_CONNECT_S_MAX)
        # Nothing of the environment counts here: a proxy would resolve the name by itself.
        async with httpx.AsyncClient(
            verify=self._tls, timeout=timeout, trust_env=False, follow_redirects=False
        ) as client:
            request = client.build_request(
                "POST",
                f"{target.scheme}://{place}:{target.port}{target.path}",
                headers={**headers, "Host": target.authority},
                content=body,
                extensions={"sni_hostname": target.host},  # whom the certificate must name
            )
            answer = await client.send(request, stream=True)
            try:
                await _drain(answer)
            finally:
                with trio.CancelScope(shield=True):
                    await answer.aclose()
        return Answer(answer.status_code, answer.headers.get("Location"), answer.headers.get("Retry-After"))

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return httpx.create_ssl_context(trust_env=False)


async def _drain(answer: httpx.Response) -> None:
    """Read an answer's body where it is known to be short; nothing is done with it, so it is not inflated either."""
    length = answer.headers.get("Content-Length", "")
    if length.isdecimal() and int(length[:10]) <= WEBHOOK_ANSWER_BYTES_MAX:
        async for _ in answer.aiter_raw():
            pass


async def _load_secret(path: Path | None) -> bytes:
    """The secret in a file, read for each attempt, so that a new one counts at once. Raises NodeFault."""
    if path is None:
        raise NodeFault("webhook.secret", "the settings name no file that holds one")
    try:
        return read_secret(await trio.to_thread.run_sync(_read, path))
    except OSError as error:
        raise NodeFault("webhook.secret", f"{path}: {error.strerror or error}") from error
    except CallerError as error:
        raise NodeFault("webhook.secret", f"{path}: {error.detail}") from None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2 * WEBHOOK_SECRET_BYTES_MAX)
