"""Clients that load a daemon, and remember what it acknowledged.

They append through the three doors: single requests, NDJSON streams, WebSocket frames. Invariant: a draft is
acknowledged only once an answer that says so was read; until then it is pending, and every later run begins by
sending it again with the key that it had. So it does with the last one that went through, which must be known.
"""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from threading import Event
from typing import Any, Final

import httpx

from tests.daemon import Daemon
from tests.faults.websocket import Socket, SocketLost

SPANS: Final = "/v1/tenants/default/spans"
SOCKET: Final = "/v1/tenants/default/ws"
WINDOW: Final = 32  # unanswered frames of a WebSocket
STREAM_LINES_MAX: Final = 200
TITLE_CHARS_MAX: Final = 3000
REFUSED_S: Final = 0.01  # how long a client waits after a refusal

Receipt = dict[str, Any]


class Unexpected(AssertionError):
    """The daemon gave an answer that no fault explains."""


@dataclass(frozen=True)
class Parcel:
    """One request: drafts by name, and the key under which they may be sent again."""

    key: str
    drafts: dict[str, dict[str, Any]]

    def lines(self) -> list[bytes]:
        """The drafts as NDJSON."""
        return [json.dumps(draft).encode() + b"\n" for draft in self.drafts.values()]


class Client(ABC):
    """One client. `tolerated` are the codes of refusals after which it tries again."""

    def __init__(self, name: str, seed: int, tolerated: Sequence[str]) -> None:
        self.name = name
        self.rng = Random(f"{seed} {name}")
        self.tolerated = frozenset(tolerated)
        self.refusals: set[str] = set()
        self.sent: set[str] = set()
        self.pending: dict[str, Parcel] = {}
        self.acknowledged: dict[str, Receipt | None] = {}  # None: by an answer that shows no receipt of each
        self.denied: set[str] = set()  # refused for good
        self.unknown: set[str] = set()  # never answered, and not to be sent again
        self.cut_answers = 0  # of which a success was read, but no end
        self._is_answered = False
        self._count = 0
        self._finished: Parcel | None = None

    def run(self, daemon: Daemon, stop: Event) -> None:
        """Send what is pending, then new drafts until `stop`; returns as well when the daemon is gone.

        Raises Unexpected.
        """
        try:
            self.append(daemon, self._parcels(stop))
        except (httpx.TransportError, OSError, SocketLost):
            # Whether something got through is what the next run asks.
            self.cut_answers += self._is_answered
            self._is_answered = False

    @abstractmethod
    def append(self, daemon: Daemon, parcels: Iterator[Parcel]) -> None:
        """Send the parcels, and call `acknowledge` or `refuse` for each."""

    def pack(self) -> Parcel:
        """A parcel of new drafts."""
        return self.parcel_of(1)

    def parcel_of(self, count: int) -> Parcel:
        """A parcel of `count` new drafts, remembered as sent."""
        names = [f"{self.name}.{number}" for number in range(self._count, self._count + count)]
        self._count += count
        self.sent.update(names)
        parcel = Parcel(names[0], {name: self._draft(name) for name in names})
        self.pending[parcel.key] = parcel
        return parcel

    def acknowledge(self, name: str, receipt: Receipt | None) -> None:
        """Note that the daemon said a draft is durable. Raises Unexpected when it said otherwise before."""
        known = self.acknowledged.get(name)
        if name in self.acknowledged and receipt is not None:
            same = known is None or known["id"] == receipt["id"]
            if not (same and receipt["duplicate"]):
                raise Unexpected(f"{name} has two receipts: {known} and {receipt}")
        self.acknowledged[name] = known or receipt

    def finish(self, parcel: Parcel) -> None:
        """Note that all of a parcel is acknowledged."""
        self._finished = parcel
        self.pending.pop(parcel.key, None)

    @contextmanager
    def post(self, http: httpx.Client, **request: Any) -> Iterator[httpx.Response]:
        """The answer to a request as it comes: whoever leaves without an error has read it to its end."""
        with http.stream("POST", SPANS, **request) as answer:
            self._is_answered = answer.is_success
            yield answer
        self._is_answered = False

    def refuse(self, problem: dict[str, Any]) -> None:
        """Note a refusal, which leaves its parcel pending. Raises Unexpected for one that is not tolerated."""
        if problem["code"] not in self.tolerated:
            raise Unexpected(f"{self.name} was refused: {problem}")
        self.refusals.add(problem["code"])
        time.sleep(REFUSED_S)

    def _parcels(self, stop: Event) -> Iterator[Parcel]:
        yield from [self._finished] if self._finished else []
        yield from list(self.pending.values())
        while not stop.is_set():
            yield self.pack()

    def _draft(self, name: str) -> dict[str, Any]:
        size = self.rng.choice((0, 20, self.rng.randrange(TITLE_CHARS_MAX)))
        return {
            "kind": f"load.{self.rng.choice('abc')}",
            "title": self.rng.choice("xyz") * size,
            "data": {"name": name},
            "tags": [f"of:{self.name}"],
        }


class SingleClient(Client):
    """One draft a request, its key in the header."""

    def append(self, daemon: Daemon, parcels: Iterator[Parcel]) -> None:
        with daemon.client() as http:
            for parcel in parcels:
                self._send(http, parcel, {"Idempotency-Key": parcel.key})

    def _send(self, http: httpx.Client, parcel: Parcel, headers: dict[str, str]) -> None:
        ((name, draft),) = parcel.drafts.items()
        with self.post(http, json=draft, headers=headers) as answer:
            answer.read()
        if answer.is_success:
            self.acknowledge(name, answer.json())
            self.finish(parcel)
        else:
            self.refuse(answer.json())


class KeylessClient(SingleClient):
    """One draft a request, without a key: what was refused or not answered is never sent again."""

    def append(self, daemon: Daemon, parcels: Iterator[Parcel]) -> None:
        with daemon.client() as http:
            for parcel in parcels:
                del self.pending[parcel.key]
                self.unknown.add(parcel.key)
                self._send(http, parcel, {})
                self.unknown.remove(parcel.key)
                if parcel.key not in self.acknowledged:
                    self.denied.add(parcel.key)

    def finish(self, parcel: Parcel) -> None:
        """Nothing more: without a key it cannot be asked again."""


class StreamClient(Client):
    """Some hundred drafts a request, cut anywhere, with keys of their own or derived from the request's."""

    def append(self, daemon: Daemon, parcels: Iterator[Parcel]) -> None:
        with daemon.client() as http:
            for parcel in parcels:
                self._send(http, parcel)
                time.sleep(self.rng.random() / 20)  # the history shall grow by thousands a second only

    def pack(self) -> Parcel:
        parcel = self.parcel_of(self.rng.randint(1, STREAM_LINES_MAX))
        if self.rng.random() < 0.5:
            for name, draft in parcel.drafts.items():
                draft["idempotency_key"] = name
        return parcel

    def _send(self, http: httpx.Client, parcel: Parcel) -> None:
        params = {"receipts": "all"} if self.rng.random() < 0.5 else {}
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": parcel.key}
        body = b"".join(parcel.lines())
        names = list(parcel.drafts)
        with self.post(http, content=self._cut(body), headers=headers, params=params) as answer:
            if answer.is_success and params:
                # Each line is an acknowledgement as it comes, also when the end of the answer does not.
                count = 0
                for count, line in enumerate(answer.iter_lines(), start=1):
                    self.acknowledge(names[count - 1], json.loads(line))
                if count != len(names):
                    raise Unexpected(f"{self.name} sent {len(names)} lines and has {count} receipts")
                self.finish(parcel)
                return
            answer.read()
        told = answer.json()
        if answer.is_success:
            if told["lines"] != len(names):
                raise Unexpected(f"{self.name} sent {len(names)} lines: {told}")
            self.finish(parcel)
        stored = told.get("appended", 0) + told.get("duplicates", 0)
        for number, name in enumerate(names[:stored], start=1):
            self.acknowledge(name, told["last"] if number == stored else None)
        if not answer.is_success:
            self.refuse(told)

    def _cut(self, body: bytes) -> Iterator[bytes]:
        while body:
            size = self.rng.randint(1, 2 * len(body))
            yield body[:size]
            body = body[size:]


class SocketClient(Client):
    """Many drafts in flight over one WebSocket, a frame each."""

    def append(self, daemon: Daemon, parcels: Iterator[Parcel]) -> None:
        flying: dict[str, Parcel] = {}
        with Socket(daemon.url, SOCKET, daemon.token) as socket:
            while True:
                while len(flying) < WINDOW and (parcel := next(parcels, None)):
                    ((name, draft),) = parcel.drafts.items()
                    socket.send(type="append", ref=name, draft=draft, idempotency_key=parcel.key)
                    flying[name] = parcel
                if not flying:
                    return
                frame = socket.receive()
                parcel = flying.pop(frame["ref"])
                if frame["type"] == "receipt":
                    self.acknowledge(frame["ref"], frame["receipt"])
                    self.finish(parcel)
                else:
                    self.refuse(frame["problem"])


def crowd(count: int, seed: int, tolerated: Sequence[str]) -> list[Client]:
    """So many clients of all kinds."""
    kinds = (SingleClient, KeylessClient, SingleClient, StreamClient, SocketClient)
    return [kinds[at % len(kinds)](f"crowd-{at}", seed, tolerated) for at in range(count)]


class Follower:
    """A live tail that goes on after the last cursor it saw; `spans` is all that it was ever shown."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self._cursor: str | None = None

    def run(self, daemon: Daemon, stop: Event) -> None:
        """Follow until `stop`, or until the daemon is gone."""
        try:
            with Socket(daemon.url, SOCKET, daemon.token) as socket:
                socket.send(type="subscribe", ref=0, filter={}, after=self._cursor)
                while not stop.is_set():
                    try:
                        frame = socket.receive(timeout_s=0.05)
                    except TimeoutError:
                        continue
                    self._take(frame)
        except (OSError, SocketLost):
            return

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] not in {"subscribed", "span"}:
            raise Unexpected(f"a tail was told: {frame}")
        self._cursor = frame["cursor"]
        if frame["type"] == "span":
            self.spans.append(frame["span"])


class Watcher:
    """Keeps every checkpoint that the daemon shows; `seen` counts them."""

    def __init__(self) -> None:
        self.seen = 0
        self._notes: list[bytes] = []

    def take(self) -> list[bytes]:
        """The checkpoints since the last time, oldest first."""
        notes, self._notes = self._notes, []
        return notes

    def run(self, daemon: Daemon, stop: Event) -> None:
        """Ask again and again until `stop`, or until the daemon is gone."""
        try:
            with daemon.client() as http:
                while not stop.wait(0.02):
                    answer = http.get("/v1/tenants/default/checkpoints/latest")
                    if not answer.is_success:
                        raise Unexpected(f"no checkpoint: {answer.text}")
                    if self._notes[-1:] != [answer.content]:
                        self._notes.append(answer.content)
                        self.seen += 1
        except (httpx.TransportError, OSError):
            return
