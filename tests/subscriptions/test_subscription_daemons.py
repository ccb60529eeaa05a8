"""Subscriptions of real daemons: one killed while it is consumed, one that calls a webhook, and the commands."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final, NamedTuple

import pytest

from lognode.client import Client, Draft, Filter, connect
from lognode.client.answers.subscriptions import Offer
from lognode.timeline.store.audit import audit_file
from tests.cli.lognode_command import Lognode
from tests.daemon import Daemon
from tests.faults.processes import HinderedDaemon

SPANS: Final = 120
KILLS: Final = 3  # while they are consumed
SEED: Final = 6707
ORDERS: Final = Filter(kinds=("order.*",))
WAIT_S_MAX: Final = 60


class Seen(NamedTuple):
    """How often each span came, how often after it had been acknowledged, and which were acknowledged in the end."""

    came: Counter[str]
    again: Counter[str]
    done: set[str]


def consume_through_kills(daemon: HinderedDaemon, spans: int, kills: int) -> Seen:
    """What a consumer sees that acknowledges in no order, of a daemon that is killed and started again meanwhile."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    daemon.start()
    came, again, done = Counter[str](), Counter[str](), set[str]()
    with connect(data_dir=daemon.data_dir) as client:
        client.create_subscription("orders", ORDERS, ack_wait_ms=3_600_000)
        client.append_batch([Draft(kind="order.paid", title=f"{number}") for number in range(spans)])
        for kill_at in [*sorted(rng.sample(range(10, spans - 30), kills)), spans + 1]:
            held: list[Offer] = []
            with client.consume("orders", in_flight=16) as consumer:
                while len(done) < kill_at and (under_way := count_open(client)) is not None:
                    if len(held) < under_way or not under_way:
                        held.append(next(consumer))
                        title = title_of(held[-1])
                        came[title] += 1
                        again[title] += title in done
                        continue
                    chosen = rng.sample(held, rng.randint(1, len(held)))
                    consumer.acknowledge(*chosen)
                    done |= set(map(title_of, chosen))
                    held = [offer for offer in held if offer not in chosen]
                if kill_at <= spans:
                    daemon.kill()
            if kill_at <= spans:
                daemon.start()
    daemon.stop()
    assert audit_file(daemon.data_dir / "lognode.db") == []
    return Seen(came, +again, done)


def count_open(client: Client) -> int | None:
    """How many spans are with the consumer, or on their way to it; None where there are no more to come either."""
    found = client.subscription("orders")
    return found["in_flight"] or (0 if found["behind"] or found["waiting"] else None)


def title_of(offer: Offer) -> str:
    return str(offer["span"]["title"])


def test_a_killed_daemon_delivers_all_that_was_not_acknowledged_and_nothing_that_was(tmp_path: Path) -> None:
    with HinderedDaemon(tmp_path / "node") as daemon:
        seen = consume_through_kills(daemon, SPANS, KILLS)
    assert seen.done == {f"{number}" for number in range(SPANS)}
    assert seen.again == Counter()
    assert max(seen.came.values()) > 1  # what was under way when it was killed


def test_a_daemon_that_moves_its_checkpoint_before_anything_is_acknowledged_is_found_out(tmp_path: Path) -> None:
    with HinderedDaemon(tmp_path / "node", patch="presuming") as daemon:
        seen = consume_through_kills(daemon, SPANS // 2, 1)
    assert len(seen.done) < SPANS // 2


class Taken(NamedTuple):
    """What a receiver got."""

    id: str
    message: dict[str, Any]


@contextmanager
def receiver(refuses: set[str]) -> Iterator[tuple[int, list[Taken]]]:
    """The port of a server that fails for spans of some titles, and all that it got."""
    taken: list[Taken] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken.append(Taken(self.headers["webhook-id"], message))
            self.send_response(422 if message["span"]["title"] in refuses else 204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def wait_for(is_so: Callable[[], bool]) -> None:
    for _ in range(20 * WAIT_S_MAX):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it never was so")


def test_a_webhook_gets_spans_again_until_they_are_parked_and_once_more_when_they_are_replayed(tmp_path: Path) -> None:
    refuses = {"bad"}
    with receiver(refuses) as (port, taken):
        data_dir = tmp_path / "node"
        data_dir.mkdir()
        (data_dir / "webhook.till").write_bytes(b"a secret of some bytes")
        settings = f'webhook_allow = ["127.0.0.0/8"]\n[webhooks.till]\nurl = "http://127.0.0.1:{port}/"\n'
        (data_dir / "lognode.toml").write_text(settings)
        daemon = Daemon(data_dir)
        daemon.start()
        with connect(data_dir=data_dir) as client:
            client.create_subscription("orders", ORDERS, webhook="till", max_attempts=2)
            client.append_batch([Draft(kind="order.paid", title=title) for title in ("good", "bad")])
            client.append(Draft(kind="order.paid", title="hidden", visibility="private"))
            wait_for(lambda: client.subscription("orders")["parked"] == 1)
            daemon.restart()
            (parked,) = client.parked("orders")
            assert (parked["attempts"], parked["reason"][:15]) == (2, "webhook.refused")
            refuses.clear()
            assert client.replay_parked("orders", [str(parked["span"])]) == 1
            wait_for(lambda: client.subscription("orders")["parked"] == 0)
        daemon.stop()
    got = [(one.message["span"]["title"], one.message["attempt"], one.message["replay"]) for one in taken]
    assert sorted(got) == [("bad", 1, False), ("bad", 1, True), ("bad", 2, False), ("good", 1, False)]
    assert len({one.id for one in taken}) == 2


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with connect(data_dir=daemon.data_dir) as client:
        yield client


def test_a_subscription_is_made_read_parked_replayed_and_deleted_by_commands(
    daemon: Daemon, client: Client, tmp_path: Path
) -> None:
    lognode = Lognode(tmp_path, daemon.data_dir)
    client.append_batch([Draft(kind="order.paid", title=f"{number}") for number in range(4)])
    client.append(Draft(kind="note.made"))
    made = lognode.json(
        "subscription", "create", "orders", "--kind", "order.*", "--from", "beginning", "--max-attempts", "1"
    )
    assert (made["filter"], made["delivery"], made["max_attempts"]) == ({"kind": ["order.*"]}, "pull", 1)
    first = lognode.lines("subscription", "read", "orders", "--limit", "2")
    assert [span["title"] for span in first] == ["0", "1"]
    with client.consume("orders", limit=1) as consumer:
        assert consumer.retry(next(consumer), reason="no room")["done"] == 1
    assert [span["title"] for span in lognode.lines("subscription", "read", "orders", "--no-follow")] == ["3"]
    assert "no room" in lognode.text("subscription", "parked", "orders")
    assert "1 parked span is tried again" in lognode.text("subscription", "replay", "orders")
    assert [span["title"] for span in lognode.lines("subscription", "read", "orders", "--no-follow")] == ["2"]
    assert lognode.json("subscription", "replay", "orders", "--from", "beginning")["behind"] > 4
    again = lognode.lines("subscription", "read", "orders", "--no-follow")
    assert [span["title"] for span in again] == ["0", "1", "2", "3"]
    assert "kind order.*" in lognode.text("subscription", "list")
    assert client.subscription("orders")["behind"] == 0
    assert "Deleted" in lognode.text("subscription", "delete", "orders")
    gone = lognode.run("subscription", "read", "orders")
    assert (gone.returncode, b"No such subscription" in gone.stderr) == (1, True)
