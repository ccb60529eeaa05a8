"""A node's API on a real port of this machine, and clients for it."""

import json
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlencode

import h11
import httpx
import msgspec
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Request, TextMessage

from lognode.api.app import create_app
from lognode.api.evidence import bundle, forks, order
from lognode.api.evidence.state import conflicts, rebuilding, subjects
from lognode.api.live import events, socket
from lognode.api.live.subscriptions import consuming, managing, stream
from lognode.api.live.subscriptions import socket as subscription_socket
from lognode.api.rules import approvals, backtest, deciding, publishing, schedules, tasks
from lognode.api.server.serve import serve_api
from lognode.api.server.sockets import open_listening
from lognode.api.services import Services
from lognode.api.spans import append, reads
from lognode.core.draft import parse_json_draft
from lognode.engine.receipt import Receipt
from lognode.timeline.record import TenantRef

REGISTRATIONS: Final = (
    append.register,
    reads.register,
    bundle.register,
    order.register,
    forks.register,
    subjects.register,
    conflicts.register,
    rebuilding.register,
    tasks.register,
    schedules.register,
    publishing.register,
    deciding.register,
    approvals.register,
    backtest.register,
    events.register,
    socket.register,
    managing.register,
    consuming.register,
    stream.register,
    subscription_socket.register,
)
TENANT: Final = "/v1/tenants/default"
SPANS: Final = f"{TENANT}/spans"
BUNDLE: Final = f"{TENANT}/bundle"
LIVE: Final = f"{TENANT}/live"
SOCKET: Final = f"{TENANT}/ws"
NDJSON: Final = {"Content-Type": "application/x-ndjson"}


@asynccontextmanager
async def serve(services: Services) -> AsyncIterator[str]:
    """The URL of the API while it is served; stopped as a node stops."""
    async with trio.open_nursery() as nursery:
        app = create_app(services, REGISTRATIONS)
        listening = open_listening("127.0.0.1", 0)
        nursery.start_soon(serve_api, app, listening, services.stopping)
        try:
            yield listening.url
        finally:
            services.stopping.set()


def http_client(services: Services, url: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {services.admin_token.decode()}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False)


def tenant_of(services: Services) -> TenantRef:
    return services.store.tenants["default"]


async def append_kinds(services: Services, *kinds: str) -> list[Receipt]:
    """Receipts of one span of each kind, put in behind the API's back."""
    drafts = [parse_json_draft(json.dumps({"kind": kind}).encode())[0] for kind in kinds]
    return await services.writer.append(tenant_of(services), drafts, wait=True)


def lines(start: int, stop: int, **more: Any) -> bytes:
    """Drafts as NDJSON, whose data tell them apart."""
    return b"".join(
        json.dumps({"kind": "test.line", "data": {"n": number}, **more}).encode() + b"\n"
        for number in range(start, stop)
    )


async def stored(http: httpx.AsyncClient) -> list[int]:
    """The numbers of all lines that are in, by arrival."""
    numbers: list[int] = []
    page = {"spans": [0], "newer": None}
    while page["spans"]:
        params = {"kind": "test.line", "order": "arrival", "sort": "asc", "limit": "1000", "after": page["newer"]}
        page = (await http.get(SPANS, params={name: value for name, value in params.items() if value})).json()
        numbers += [span["data"]["n"] for span in page["spans"]]
    return numbers


def code_of(answer: httpx.Response) -> str:
    assert answer.headers["Content-Type"] == "application/problem+json"
    return str(answer.json()["code"])


@asynccontextmanager
async def held_disk(services: Services) -> AsyncIterator[None]:
    """While inside, no commit ends, as with a disk that hangs."""
    gate = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(services.store.write, lambda _conn: gate.wait())
        try:
            yield
        finally:
            gate.set()


class Told(NamedTuple):
    """A server-sent event: the cursor, and the span if it carries one; both None for a mere sign of life."""

    cursor: str | None
    span: dict[str, Any] | None


class EventClient:
    """One connection of server-sent events; its reads may be cancelled at any time."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._text = b""
        self.happened: list[tuple[str, dict[str, Any]]] = []  # what happened between nodes

    @classmethod
    async def connect(
        cls, services: Services, url: str, cursor: str | None, params: Mapping[str, str], path: str = LIVE
    ) -> Self:
        """A connection whose events begin."""
        host, port = url.removeprefix("http://").split(":")
        headers = [("Host", host), ("Authorization", f"Bearer {services.admin_token.decode()}")]
        headers += [("Last-Event-ID", cursor)] if cursor else []
        request = h11.Request(method="GET", target=f"{path}?{urlencode(params)}", headers=headers)
        client = cls(await trio.open_tcp_stream(host, int(port)))
        try:
            for event in (request, h11.EndOfMessage()):
                await client._stream.send_all(client._http.send(event) or b"")
            answer = await client._next_part()
        except BaseException:
            await client.aclose()
            raise
        assert isinstance(answer, h11.Response)
        assert answer.status_code == 200
        assert (b"content-type", b"text/event-stream") in answer.headers
        return client

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)

    async def next(self) -> Told:
        """The next event. Raises EndOfChannel when the server ended the answer as it should."""
        while b"\n\n" not in self._text:
            part = await self._next_part()
            if isinstance(part, h11.EndOfMessage):
                raise trio.EndOfChannel
            self._text += part.data
        event, self._text = self._text.split(b"\n\n", 1)
        fields = dict(line.split(": ", 1) for line in event.decode().split("\n") if not line.startswith(":"))
        if "data" not in fields:
            return Told(fields.get("id"), None)
        if fields["event"] != "span":
            assert "id" not in fields
            self.happened.append((fields["event"], json.loads(fields["data"])))
            return Told(None, None)
        return Told(fields.get("id"), msgspec.json.decode(fields["data"], type=dict[str, Any]))

    async def next_span(self) -> tuple[str, dict[str, Any]]:
        """Cursor and span of the next event that carries one."""
        while True:
            cursor, span = await self.next()
            if span is not None:
                assert cursor is not None
                return cursor, span

    async def _next_part(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some()))
        return event


class SocketClient:
    """A WebSocket client that reads only when it is asked to."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._text = ""

    @classmethod
    async def connect(cls, services: Services, url: str, buffer_bytes: int | None = None, path: str = SOCKET) -> Self:
        """A socket whose upgrade was accepted; if wanted, no more than so many bytes wait to be received."""
        host, port = url.removeprefix("http://").split(":")
        sock = trio.socket.socket()
        if buffer_bytes is not None:  # before it connects: a window that shrinks later holds up both directions
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, buffer_bytes)
        await sock.connect((host, int(port)))
        client = cls(trio.SocketStream(sock))
        token = [(b"Authorization", b"Bearer " + services.admin_token)]
        try:
            await client.send(Request(host=f"{host}:{port}", target=path, extra_headers=token))
            assert isinstance(await client.next_event(), AcceptConnection)
        except BaseException:
            await trio.aclose_forcefully(client.stream)
            raise
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await trio.aclose_forcefully(self.stream)

    async def ask(self, **frame: Any) -> None:
        """Send one frame."""
        await self.send(TextMessage(json.dumps(frame)))

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self._protocol.send(event))

    async def receive(self) -> dict[str, Any]:
        """The next frame; fails when the server closed."""
        event = await self.next_event()
        assert isinstance(event, TextMessage), event
        return msgspec.json.decode(event.data, type=dict[str, Any])

    async def receive_close(self) -> tuple[int, str | None]:
        """Code and reason of the server's close."""
        event = await self.next_event()
        assert isinstance(event, CloseConnection), event
        return event.code, event.reason

    async def next_event(self) -> Event:
        """The next message, whole, or what else the server says."""
        while True:
            for event in self._protocol.events():
                if not isinstance(event, TextMessage | BytesMessage):
                    return event
                self._text += str(event.data)
                if event.message_finished:
                    text, self._text = self._text, ""
                    return TextMessage(text)
            data = await self.stream.receive_some()
            assert data, "the server closed without a word"
            self._protocol.receive_data(bytes(data))
