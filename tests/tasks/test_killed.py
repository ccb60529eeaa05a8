"""A daemon killed again and again while a thousand tasks are due; and a wrong one, which the same test finds."""

import random
import sqlite3
import time
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.engine.tasks.store import insert_task
from lognode.engine.tasks.task import Work
from lognode.engine.tasks.work import EMIT, emit_payload, new_task
from lognode.timeline.store.audit import audit_file
from tests.faults.processes import HinderedDaemon

TASKS: Final = 1000
KILLS: Final = 5  # at random places among them
SEED: Final = 6404
END_S_MAX: Final = 60


def titles_after_kills(daemon: HinderedDaemon, tasks: int, kills: int) -> Counter[str]:
    """How often each task's span is there, once all tasks are done in spite of the kills."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    daemon.start()
    daemon.stop()
    with closing(sqlite3.connect(daemon.data_dir / "lognode.db", isolation_level=None)) as conn:
        fill(conn, tasks)
        for done in sorted(rng.sample(range(1, tasks - tasks // 10), kills)):
            daemon.start_and_kill_when(partial(is_time, conn, done, rng))
        daemon.start()
        for _ in range(100 * END_S_MAX):
            if count_done(conn) == tasks:
                break
            time.sleep(0.01)
        assert conn.execute("SELECT state, count(*) FROM tasks GROUP BY 1").fetchall() == [("done", tasks)]
    found: Counter[str] = Counter()
    with daemon.client() as http:
        params = {"kind": "later", "limit": "1000"}
        while params.get("before") != "":
            page = http.get("/v1/tenants/default/spans", params=params).json()
            found.update(span["title"] for span in page["spans"])
            params["before"] = page["older"] or ""
    daemon.stop()
    assert audit_file(daemon.data_dir / "lognode.db") == []
    return found


def fill(conn: sqlite3.Connection, tasks: int) -> None:
    """Tasks that are due."""
    now_ms = time.time_ns() // 1_000_000
    conn.execute("PRAGMA synchronous = OFF")
    for number in range(tasks):
        draft = Draft(kind="later", title=f"{number}", data=encode({"n": number}))
        work = Work(EMIT, emit_payload(draft))
        insert_task(conn, new_task(0, number.to_bytes(16, "big"), work, now_ms=now_ms, due_ms=now_ms - tasks + number))


def is_time(conn: sqlite3.Connection, done: int, rng: random.Random) -> bool:
    """Whether so many are done, and a moment more has passed."""
    if count_done(conn) < done:
        return False
    time.sleep(rng.uniform(0, 0.1))
    return True


def count_done(conn: sqlite3.Connection) -> int:
    return int(conn.execute("SELECT count(*) FROM tasks WHERE tenant = 0 AND state = 'done'").fetchone()[0])


def test_a_killed_daemon_loses_no_task_and_doubles_none(tmp_path: Path) -> None:
    with HinderedDaemon(tmp_path / "node") as daemon:
        found = titles_after_kills(daemon, TASKS, KILLS)
    assert found == Counter({f"{number}": 1 for number in range(TASKS)})


def test_a_daemon_that_notes_later_what_it_did_is_found_out(tmp_path: Path) -> None:
    with HinderedDaemon(tmp_path / "node", patch="noting") as daemon:
        found = titles_after_kills(daemon, TASKS // 4, 4)
    assert max(found.values()) > 1
