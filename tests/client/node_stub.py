"""A node that misbehaves on order: it refuses, cuts connections and lies, as a real daemon cannot be made to."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from threading import Semaphore, Thread
from typing import Any, NamedTuple

import msgspec


class Asked(NamedTuple):
    """A request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    """What to answer; a body without a length ends where the connection is cut."""

    status: int = 200
    body: bytes = b"{}"
    headers: Sequence[tuple[str, str]] = ()
    has_length: bool = True


CUT = Answer(0)  # read the request, then close the connection without a word
SILENCE = Answer(-1)  # read the request, and say nothing until the client leaves or the stub ends


def problem(code: str, status: int, *, headers: Sequence[tuple[str, str]] = (), **fields: Any) -> Answer:
    body = {"type": f"urn:lognode:error:{code}", "title": "T", "status": status, "code": code, "detail": "D", **fields}
    return Answer(status, msgspec.json.encode(body), headers)


class StubNode(ThreadingHTTPServer):
    """Gives the answers of its list one by one, the last one for ever, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self, answers: Sequence[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.asked = list[Asked]()
        self.arrivals = Semaphore(0)  # one for each request
        self._sockets = list[socket]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self._sockets.append(request)
        super().process_request(request, client_address)

    def cut_all(self) -> None:
        """Close every connection, as a process that ends does."""
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)

    def next_answer(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StubNode

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the overridden one
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.next_answer()
        self.server.asked.append(Asked(self.command, self.path, headers, body))
        self.server.arrivals.release()
        if answer is SILENCE:
            self.rfile.read(1)
            answer = CUT
        if answer.status == 0:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.has_length:
            self.send_header("Content-Length", str(len(answer.body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)


@contextmanager
def stub_node(*answers: Answer) -> Iterator[StubNode]:
    """A stub that listens while the block runs."""
    with StubNode(answers) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            server.cut_all()
            thread.join()


@asynccontextmanager
async def stub(*answers: Answer) -> AsyncIterator[StubNode]:
    """The same, to stand in one `async with` with a client."""
    with stub_node(*answers) as server:
        yield server
