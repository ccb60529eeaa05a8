"""One call over HTTP to another node: what is sent, what may come back, and which error stands for what went wrong.

Owns deadlines and bounds of the calling side. Must not know who is called: it is handed a client and a look at the
certificate. Invariant: not a byte of a request leaves before that look was taken.
"""

import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, Self

import httpx
import trio

from lognode.core.errors import ERRORS, PeerError
from lognode.core.limits import CALL_BYTES_S_MIN, CALL_CONNECTIONS_MAX, CALL_S_MAX, DIAL_S_MAX, KIB, SEND_BYTES_MAX

_CODES: Final = {403: "peer.refused", 408: "peer.slow", 413: "message.too_large", 429: "peer.busy"}
# How httpx says that a connection ended, in place of an error of its own for that.
_ENDED: Final = ("disconnected", "closed connection")
_SUDDEN_END: Final = "UNEXPECTED_EOF_WHILE_READING"  # of a process that was killed, or has no room: it refuses nobody
_REASON_BYTES_MAX: Final = KIB
# Whether the certificate, in DER, is the one of whom we call.
Look = Callable[[bytes], bool]
# Is told of bytes of messages: received, sent.
CountBytes = Callable[[int, int], None]


def http_client(context: ssl.SSLContext) -> httpx.AsyncClient:
    """A client that keeps some connections, and nothing that it is told beside answers."""
    return httpx.AsyncClient(
        verify=context,
        trust_env=False,
        headers={"User-Agent": "lognode", "Accept-Encoding": "identity"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        limits=httpx.Limits(max_connections=CALL_CONNECTIONS_MAX, max_keepalive_connections=4, keepalive_expiry=30),
        timeout=httpx.Timeout(None, connect=DIAL_S_MAX),
    )


class Parts(httpx.AsyncByteStream):
    """A body in parts, so that a slow line is seen to move, and encryption needs little memory."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._start = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        part = self._body[self._start : self._start + SEND_BYTES_MAX]
        self._start += len(part)
        if not part:
            raise StopAsyncIteration
        return part


class Answer:
    """The parts of an answer as they come, as they were sent. Raises PeerError."""

    def __init__(self, parts: AsyncIterator[bytes], where: str) -> None:
        self._parts = parts
        self._where = where

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._parts)
        except (httpx.TransportError, httpx.StreamError) as error:
            raise _blame(error, self._where) from error


@asynccontextmanager
async def calling(http: httpx.AsyncClient, url: str, body: bytes, look: Look) -> AsyncIterator[Answer]:
    """The parts of the answer to a call, as they come. Raises PeerError of all that goes wrong on the way."""
    answer, where = await _send(http, url, body, look)
    parts = answer.aiter_raw()
    try:
        if answer.status_code != httpx.codes.OK:
            raise await _refusal(answer.status_code, Answer(parts, where))
        yield Answer(parts, where)
    finally:
        # Read on to the error that closing brings: trio warns of generators that are left in their middle.
        with trio.CancelScope(shield=True):
            await answer.aclose()
            with suppress(httpx.TransportError, httpx.StreamError):
                async for _ in parts:
                    pass


async def _send(http: httpx.AsyncClient, url: str, body: bytes, look: Look) -> tuple[httpx.Response, str]:
    """The head of the answer, and who gave it. Raises PeerError."""
    where, tracing = url.split("/")[2], _Tracing(look)
    try:
        request = http.build_request("POST", url, headers={"Content-Length": str(len(body))})
        request.stream = Parts(body)
        request.extensions["trace"] = tracing
        with trio.fail_after(CALL_S_MAX + len(body) / CALL_BYTES_S_MIN):
            return await http.send(request, stream=True), where
    except trio.TooSlowError:
        raise PeerError("peer.slow", f"{where} took too long") from None
    except httpx.TransportError as error:
        raise _blame(error, where) from error
    except (httpx.InvalidURL, UnicodeError) as error:  # a name that no name server could be asked for
        raise PeerError("peer.unreachable", f"{where!r:.80} is no address") from error
    finally:
        tracing.close()


async def read_whole(parts: Answer, bytes_max: int) -> bytes:
    """The whole of an answer. Raises PeerError message.too_large or peer.slow."""
    whole = bytearray()
    with trio.move_on_after(CALL_S_MAX) as deadline:
        async for part in parts:
            whole += part
            if len(whole) > bytes_max:
                raise PeerError("message.too_large", f"an answer of more than {bytes_max} bytes")
            deadline.deadline += len(part) / CALL_BYTES_S_MIN
        return bytes(whole)
    raise PeerError("peer.slow", f"{len(whole)} bytes of an answer came, then no more in time")


class _Tracing:
    """Looks at the certificate as soon as it is there, by httpcore's own way to follow a request."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._stream: Any = None  # one whose handshake is not done

    async def __call__(self, name: str, info: Any) -> None:
        if name == "connection.connect_tcp.complete":
            self._stream = info["return_value"]
        elif name == "connection.start_tls.complete":
            certificate = info["return_value"].get_extra_info("ssl_object").getpeercert(binary_form=True)
            if certificate is None or not self._look(certificate):
                raise PeerError("peer.untrusted", "another certificate is shown")
            self._stream = None

    def close(self) -> None:
        """Close what httpcore leaves open: a connection whose handshake was cancelled or not liked."""
        if self._stream is not None:
            self._stream.get_extra_info("socket").close()


async def _refusal(status: int, parts: Answer) -> PeerError:
    said = b""
    with trio.move_on_after(CALL_S_MAX):
        async for part in parts:
            said += part
            if len(said) > _REASON_BYTES_MAX:
                break
    reason = said.decode("ascii", "replace")
    # Nothing but a code that we know ourselves is repeated: it comes from another node, and goes into logs.
    detail = f"it answers {reason}" if reason in ERRORS else f"it answers with status {status}"
    return PeerError(_CODES.get(status, "peer.refused"), detail)


def _blame(error: Exception, where: str) -> PeerError:
    """What an error of the connection means."""
    reason = _tls_reason(error)
    if isinstance(error, httpx.ConnectError) and reason:
        return PeerError("peer.untrusted", f"{where}: {reason}")
    if reason:  # it comes once we believe to be connected, since the server looks at our certificate last
        said = "it does not know this node" if "unknown ca" in reason else reason
        return PeerError("peer.refused", f"{where}: {said}")
    if isinstance(error, httpx.RemoteProtocolError) and not any(word in str(error) for word in _ENDED):
        return PeerError("message.malformed", f"{where}: no HTTP")
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return PeerError("peer.slow", f"{where}: {type(error).__name__}")
    said = _system_reason(error) or str(error) or type(error).__name__
    return PeerError("peer.unreachable", f"{where}: {said}")


def _system_reason(error: BaseException | None) -> str | None:
    """What the system says, such as that a connection is refused; None where it says nothing."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):  # a try of each address of a name
            error = error.exceptions[0]
        # The numbers of errors of TLS are OpenSSL's own.
        if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
            return os.strerror(error.errno) if error.errno > 0 else error.strerror
        error = error.__cause__ or error.__context__
    return None


def _tls_reason(error: BaseException | None) -> str | None:
    """What OpenSSL says of it; None where it is no matter of TLS, or the connection ended without a word."""
    while error is not None:
        if isinstance(error, ssl.SSLEOFError) or getattr(error, "reason", None) == _SUDDEN_END:
            return None
        if isinstance(error, ssl.SSLError):
            return str(error.reason or error).lower().replace("_", " ")
        error = error.__cause__ or error.__context__
    return None
