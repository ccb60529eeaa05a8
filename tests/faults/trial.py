"""A daemon under load while something is done to it, and the judgement afterwards.

Owns the clients and what they know. Invariant: `check` compares three accounts of one history: what clients
were told, what the API says now, and what the database file holds.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Final

from lognode.identity.store import read_public
from lognode.timeline.store.audit import audit_file
from tests.daemon import Daemon
from tests.faults.history import History, database_rows
from tests.faults.load import Client, Follower, SingleClient, SocketClient, StreamClient, Watcher

BUSY: Final = ("writer.busy",)
SETTLE_TRIES_MAX: Final = 20


class Broken(AssertionError):
    """A promise of the node is broken."""


class Trial:
    """Clients of one daemon, and all that they learnt; `seed` decides what they send; `more` join them."""

    def __init__(self, daemon: Daemon, seed: int, tolerated: Sequence[str] = BUSY, more: Sequence[Client] = ()) -> None:
        self.daemon = daemon
        self.history = History()
        self.single = SingleClient("single", seed, tolerated)
        self.stream = StreamClient("stream", seed, tolerated)
        self.socket = SocketClient("socket", seed, tolerated)
        another = SingleClient("another", seed, tolerated)
        self.clients: Sequence[Client] = (self.single, another, self.stream, self.socket, *more)
        self._watcher = Watcher()
        self._follower = Follower()
        self._audited_size = 0

    @property
    def acknowledged(self) -> int:
        """Spans that were acknowledged so far."""
        return sum(len(client.acknowledged) for client in self.clients)

    @property
    def refusals(self) -> set[str]:
        """Codes of all refusals so far."""
        return set[str]().union(*[client.refusals for client in self.clients])

    @property
    def idle(self) -> list[str]:
        """Who did nothing so far, so that nothing is proven by it."""
        deeds = {client.name: len(client.acknowledged) for client in self.clients}
        deeds |= {"tail": len(self._follower.spans), "watcher": self._watcher.seen}
        return [name for name, count in deeds.items() if not count]

    @property
    def cut_answers(self) -> int:
        """Answers that said success and had no end, so far."""
        return sum(client.cut_answers for client in self.clients)

    @contextmanager
    def load(self) -> Iterator[None]:
        """While inside, all clients append, a tail follows, and a watcher keeps checkpoints.

        Raises what a client raised.
        """
        stop = Event()
        runs = [*[client.run for client in self.clients], self._follower.run, self._watcher.run]
        with ThreadPoolExecutor(len(runs)) as pool:
            running = [pool.submit(run, self.daemon, stop) for run in runs]
            try:
                yield
            finally:
                stop.set()
        for one in running:
            one.result()

    def settle(self) -> None:
        """Send everything again that is pending, until nothing is."""
        done = Event()
        done.set()
        for _ in range(SETTLE_TRIES_MAX):
            for client in self.clients:
                client.run(self.daemon, done)
            if not any(client.pending for client in self.clients):
                return
        raise Broken(f"refused for ever: {self.refusals}")

    def check(self, *, all_sent: bool = False) -> None:
        """Compare all accounts. Raises Broken, with all that does not fit."""
        _judge(self._findings(all_sent=all_sent))

    def check_file(self) -> None:
        """Compare the database file alone with what the API showed last; the daemon need not run. Raises Broken."""
        _judge(self._findings_of_file(0, is_full=True))

    def _findings(self, *, all_sent: bool) -> Iterator[str]:
        known = len(self.history.rows)
        self.history.read(self.daemon)
        yield from self.history.findings(self.clients, all_sent=all_sent)
        yield from self.history.findings_of_tail(self._follower)
        yield from self._findings_of_notes()
        # Now and then is enough for all, else the checks would take longer than the history.
        is_full = all_sent or len(self.history.rows) > 1.25 * self._audited_size
        yield from self._findings_of_file(known, is_full=is_full)

    def _findings_of_file(self, start: int, *, is_full: bool) -> Iterator[str]:
        """What the database holds from `start` on that the API does not show; when `is_full`, all that is wrong."""
        if database_rows(self.daemon.data_dir, start) != self.history.rows[start:]:
            yield "the database holds something else than the API shows"
        if is_full:
            self._audited_size = len(self.history.rows)
            folder = self.daemon.data_dir
            audited = audit_file(folder / "lognode.db", node_public=read_public(folder / "node.key"))
            yield from [f"{finding.code} at {finding.place}: {finding.detail}" for finding in audited]

    def _findings_of_notes(self) -> Iterator[str]:
        with self.daemon.client() as http:
            newest = http.get("/v1/tenants/default/checkpoints/latest")
            (feed,) = http.get("/v1/tenants/default/stats").json()["feeds"]
        assert newest.is_success, newest.text
        receipts = [receipt for client in self.clients for receipt in client.acknowledged.values()]
        size_min = max((receipt["checkpoint_size"] for receipt in receipts if receipt), default=0)
        notes = [*self._watcher.take(), newest.content]
        yield from self.history.findings_of_notes(notes, feed["vkey"], size_min)


def _judge(findings: Iterator[str]) -> None:
    if found := list(findings):
        raise Broken("\n".join(found))
