"""Clients that stop reading, against a real daemon: they cost it little memory, and nobody else any time.

What becomes of them after a minute is in tests/api/test_stalled.py, on a clock of its own. Here that minute shows
that nobody waited for them: whoever stalled can still read on afterwards, so it was not over.
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from lognode.core.limits import GROUP_BYTES_MAX, KIB, TAIL_BATCH_BYTES_MAX
from tests.faults.load import SOCKET, SPANS
from tests.faults.processes import HinderedDaemon
from tests.faults.stalled import EventTail, MuteAppender, SocketTail, resident_bytes, wait_until_idle
from tests.faults.websocket import Socket

BACKLOG: Final = 400
DATA_BYTES: Final = 64 * KIB
STALLED: Final = (EventTail, SocketTail) * 10
HOARDED: Final = (EventTail, SocketTail)  # enough to see that a daemon keeps a back-log in memory
WARM_READERS: Final = 6  # twice as many as the database has, so that the caches of all are full
MORE: Final = 50
NDJSON: Final = {"Content-Type": "application/x-ndjson"}
APPENDERS: Final = 3
FRAME_BYTES: Final = 16 * KIB
OTHER: Final = {"kind": "small.one"}
# A batch may be twice its bound, and is there as rows, as JSON, as events and as what is being sent of them.
TAIL_BYTES_MAX: Final = 4 * 2 * TAIL_BATCH_BYTES_MAX
# One batch gathers and one is answered, each as text and as drafts.
APPENDER_BYTES_MAX: Final = 2 * 2 * GROUP_BYTES_MAX


class Backlog:
    """A daemon with large spans behind a cursor, its caches full."""

    def __init__(self, daemon: HinderedDaemon, http: httpx.Client) -> None:
        self.daemon, self.http = daemon, http
        self.cursor: str = http.get(SPANS, params={"order": "arrival"}).json()["newer"]
        line = json.dumps({"kind": "big.one", "data": "x" * DATA_BYTES}).encode() + b"\n"
        answer = http.post(SPANS, content=iter([line] * BACKLOG), headers=NDJSON)
        assert answer.is_success, answer.text
        self.first: int = answer.json()["first"]["position"]
        with ThreadPoolExecutor(WARM_READERS) as pool:
            list(pool.map(self.read_all, [BACKLOG] * WARM_READERS))
        wait_until_idle(daemon.pid)

    def read_all(self, count: int) -> None:
        """Read from the cursor on. An assertion fails where something is missing."""
        with closing(EventTail(self.daemon, self.cursor)) as tail:
            assert list(islice(tail.positions(), count)) == self.positions(count)

    def positions(self, count: int) -> list[int]:
        """Those of the first spans behind the cursor."""
        return list(range(self.first, self.first + count))

    def append(self) -> None:
        """One more span; the answer was awaited."""
        assert self.http.post(SPANS, json=OTHER).is_success


@contextmanager
def backlog(folder: Path, patch: str | None = None) -> Iterator[Backlog]:
    with HinderedDaemon(folder / "node", patch=patch) as daemon:
        daemon.start()
        with daemon.client() as http:
            yield Backlog(daemon, http)
        daemon.stop()


@contextmanager
def stalled(behind: Backlog, kinds: Sequence[type[EventTail | SocketTail]], bytes_max: int) -> Iterator[list[Any]]:
    """Tails from the cursor on that read nothing. An assertion fails where they cost more than that each."""
    before = resident_bytes(behind.daemon.pid)
    with ExitStack() as open_tails:
        tails = [open_tails.enter_context(closing(kind(behind.daemon, behind.cursor))) for kind in kinds]
        wait_until_idle(behind.daemon.pid)
        grown = resident_bytes(behind.daemon.pid) - before
        assert grown <= len(kinds) * bytes_max, f"{len(kinds)} stalled tails cost {grown} bytes of memory"
        yield tails


def test_stalled_tails_cost_little_memory_and_delay_nobody(tmp_path: Path) -> None:
    with backlog(tmp_path) as behind, stalled(behind, STALLED, TAIL_BYTES_MAX) as tails:
        for _ in range(MORE):
            behind.append()
        behind.read_all(BACKLOG + MORE)
        for tail in tails[:2]:  # one of each kind
            assert list(islice(tail.positions(), BACKLOG + MORE)) == behind.positions(BACKLOG + MORE)


def test_a_daemon_that_keeps_what_tails_do_not_read_is_found(tmp_path: Path) -> None:
    with (
        backlog(tmp_path, "hoarding") as behind,
        pytest.raises(AssertionError, match=r"2 stalled tails cost [0-9]+ bytes"),
        stalled(behind, HOARDED, TAIL_BYTES_MAX),
    ):
        pass


def test_appenders_that_read_no_receipt_are_not_read_either_and_lose_nothing(tmp_path: Path) -> None:
    with HinderedDaemon(tmp_path / "node") as daemon:
        daemon.start()
        with daemon.client() as http:
            size = spans_of(http)
            drafts = [draft for _ in range(2) for draft in mute(daemon)]
            # Whether or not it was read before the end, each is there once.
            lines = b"".join([json.dumps(draft).encode() + b"\n" for draft in drafts])
            told = http.post(SPANS, content=lines, headers=NDJSON).json()
            assert (told["lines"], told["appended"] + told["duplicates"]) == (len(drafts), len(drafts))
            assert spans_of(http) - size == len(drafts) + 1  # the other's, whose key was used twice
        assert told["duplicates"] > 0
        daemon.stop()


def test_a_daemon_that_reads_on_from_those_that_do_not_read_is_found(tmp_path: Path) -> None:
    with HinderedDaemon(tmp_path / "node", patch="greedy") as daemon:
        daemon.start()
        with pytest.raises(AssertionError, match="3 appenders cost"):
            mute(daemon)


def mute(daemon: HinderedDaemon) -> list[dict[str, Any]]:
    """What clients sent until the daemon read no more of it. An assertion fails where they cost too much memory."""
    before = resident_bytes(daemon.pid)
    with ExitStack() as open_sockets:
        clients = [open_sockets.enter_context(closing(MuteAppender(daemon, FRAME_BYTES))) for _ in range(APPENDERS)]
        wait_until_idle(daemon.pid)
        grown = resident_bytes(daemon.pid) - before
        assert grown <= APPENDERS * APPENDER_BYTES_MAX, f"{APPENDERS} appenders cost {grown} bytes of memory"
        with closing(Socket(daemon.url, SOCKET, daemon.token)) as other:
            other.send(type="append", draft=OTHER, idempotency_key="other")
            assert other.receive()["type"] == "receipt"
    wait_until_idle(daemon.pid)
    return [client.draft(at) for client in clients for at in range(client.sent)]


def spans_of(http: httpx.Client) -> int:
    """How many spans the node has."""
    (feed,) = http.get("/v1/tenants/default/stats").json()["feeds"]
    size: int = feed["size"]
    return size
