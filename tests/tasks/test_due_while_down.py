"""A hundred tasks that are due while their daemon is down: each runs once when it is back, however it went down."""

import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import pytest

from tests.faults.processes import HinderedDaemon
from tests.tasks.receiver import receiver

TASKS: Final = 100
TENANT: Final = "/v1/tenants/default"
SOON_S: Final = 3600  # hours before the daemon is back
END_S_MAX: Final = 60
Taken = list[tuple[dict[str, str], bytes]]


class Ran(NamedTuple):
    """How often each task's span is there, and how often its message came."""

    spans: Counter[str]
    messages: Counter[str]


def prepare(data_dir: Path, port: int) -> None:
    data_dir.mkdir()
    (data_dir / "webhook.ops").write_bytes(b"a secret of some bytes")
    hooks = f'webhook_allow = ["127.0.0.0/8"]\n[webhooks.ops]\nurl = "http://127.0.0.1:{port}/ops"\n'
    (data_dir / "lognode.toml").write_text(hooks)


def make_tasks(http: httpx.Client) -> tuple[list[str], list[str]]:
    """The titles of what half of them write, and the ids of the others, which tell a webhook."""
    titles, ids = [], []
    for number in range(TASKS):
        is_span = number % 2 == 0
        what = (
            {"emit": {"kind": "later", "title": str(number)}} if is_span else {"notify": {"to": "ops", "text": "due"}}
        )
        answer = http.post(f"{TENANT}/tasks", json={**what, "after_s": SOON_S, "priority": number % 10})
        assert answer.status_code == 201, answer.text
        titles += [str(number)] if is_span else []
        ids += [] if is_span else [answer.json()["id"]]
    assert http.post(f"{TENANT}/tasks/drain").json()["waiting"] == TASKS
    assert http.post(f"{TENANT}/tasks/resume").json()["done"] == 0
    return titles, ids


def count_written(conn: sqlite3.Connection) -> int:
    sql = "SELECT count(*) FROM spans s JOIN kinds k ON k.kind = s.kind WHERE k.name = 'later'"
    return int(conn.execute(sql).fetchone()[0])


def wait_done(http: httpx.Client, count: int) -> None:
    state = {}
    for _ in range(50 * END_S_MAX):
        state = http.post(f"{TENANT}/tasks/resume").json()
        if state["done"] == count:
            return
        time.sleep(0.02)
    raise AssertionError(state)


def what_ran(http: httpx.Client, taken: Taken) -> Ran:
    page = http.get(f"{TENANT}/spans", params={"kind": "later", "limit": "1000"}).json()
    return Ran(Counter(span["title"] for span in page["spans"]), Counter(headers["webhook-id"] for headers, _ in taken))


@pytest.mark.parametrize("way", ["stopped", "killed"])
def test_what_was_due_while_a_daemon_was_down_runs_once(tmp_path: Path, way: str) -> None:
    data_dir = tmp_path / "node"
    with receiver() as (port, taken):
        prepare(data_dir, port)
        with HinderedDaemon(data_dir) as daemon:
            daemon.start()
            with daemon.client() as http:
                titles, ids = make_tasks(http)
            daemon.stop() if way == "stopped" else daemon.kill()
        assert taken == []
        wanted = Ran(Counter(titles), Counter(ids))
        with HinderedDaemon(data_dir, patch="later") as daemon:
            for start in range(2 if way == "stopped" else 1):  # once it ran, another start changes nothing
                daemon.start()
                with daemon.client() as http:
                    wait_done(http, TASKS + start)
                    assert http.post(f"{TENANT}/tasks", json={"emit": {"kind": "check"}}).status_code == 201
                    wait_done(http, TASKS + start + 1)
                    assert what_ran(http, taken) == wanted
                daemon.stop()


def ran_in_spite_of_kills(data_dir: Path, patch: str) -> tuple[Ran, Ran]:
    """What runs when a daemon is killed twice while it makes up for what was due; and what was to run."""
    with receiver() as (port, taken):
        prepare(data_dir, port)
        with HinderedDaemon(data_dir) as daemon:
            daemon.start()
            with daemon.client() as http:
                titles, ids = make_tasks(http)
            daemon.kill()
        with HinderedDaemon(data_dir, patch=patch) as daemon, closing(sqlite3.connect(data_dir / "lognode.db")) as conn:
            for some in (10, 30):  # while others are being written: webhooks may be slower, or quicker
                daemon.start_and_kill_when(lambda some=some: count_written(conn) >= some)  # type: ignore[misc]
            daemon.start()
            with daemon.client() as http:
                wait_done(http, TASKS)
                found = what_ran(http, taken)
            daemon.stop()
    return found, Ran(Counter(titles), Counter(ids))


def test_who_is_killed_while_it_makes_up_for_what_was_due_runs_each_once(tmp_path: Path) -> None:
    found, wanted = ran_in_spite_of_kills(tmp_path / "node", "later")
    assert found.spans == wanted.spans
    # Whoever is told when the daemon is killed may be told twice, under the same id.
    assert found.messages.keys() == wanted.messages.keys()


def test_a_daemon_that_notes_later_what_it_made_up_for_is_found_out(tmp_path: Path) -> None:
    found, wanted = ran_in_spite_of_kills(tmp_path / "node", "noting,later")
    assert found.spans.keys() == wanted.spans.keys()
    assert max(found.spans.values()) > 1
