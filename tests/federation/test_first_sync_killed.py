"""A daemon that is killed in the middle of its first sync goes on where it was."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final

from lognode.client import Draft, LognodeError
from tests.federation.daemons import Node, wait_equal, wait_for

SPANS: Final = 20_000


def held(node: Node) -> int:
    """Spans of the kind in the database, whether or not the daemon runs."""
    with closing(sqlite3.connect(node.daemon.data_dir / "lognode.db")) as conn:
        sql = "SELECT count(*) FROM spans JOIN kinds ON kinds.kind = spans.kind WHERE name = 'bulk.made'"
        return int(conn.execute(sql).fetchone()[0])


def test_a_daemon_killed_in_the_middle_of_its_first_sync_converges(start: Callable[..., Node]) -> None:
    full, empty = start("full"), start("empty")
    drafts = [Draft(kind="bulk.made", title=f"Number {number}") for number in range(1000)]
    for _ in range(SPANS // len(drafts)):
        full.client.append_batch(drafts)
    text = full.client.create_invite()["invite"]

    def join() -> None:
        with suppress(LognodeError):  # the daemon may die before it answers
            empty.client.join(text)

    joining = threading.Thread(target=join)
    joining.start()
    wait_for(lambda: held(empty) > 0)
    empty.daemon.kill()
    joining.join()
    assert 0 < held(empty) < SPANS

    empty.daemon.start()
    wait_equal(full, empty)
    assert held(empty) == SPANS
    empty.command.text("verify")
    assert full.members() == empty.members()
    assert empty.codes() == set()
