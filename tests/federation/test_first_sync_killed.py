"""A daemon that is killed in the middle of its first sync goes on where it was."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from shutil import copytree
from typing import Final

from lognode.client import Draft, LognodeError
from tests.federation.daemons import Node, wait_equal, wait_for

SPANS: Final = 20_000


def held(folder: Path) -> int:
    """Spans of the kind in the database of a data directory."""
    with closing(sqlite3.connect(folder / "lognode.db")) as conn:
        sql = "SELECT count(*) FROM spans JOIN kinds ON kinds.kind = spans.kind WHERE name = 'bulk.made'"
        return int(conn.execute(sql).fetchone()[0])


def test_a_daemon_killed_in_the_middle_of_its_first_sync_converges(start: Callable[..., Node], tmp_path: Path) -> None:
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
    folder = empty.daemon.data_dir
    wait_for(lambda: held(folder) > 0)
    empty.daemon.kill()
    joining.join()
    copy = copytree(folder, tmp_path / "copy")  # whoever opens the killed daemon's own files mends them
    assert 0 < held(copy) < SPANS

    empty.daemon.start()
    wait_equal(full, empty)
    assert held(folder) == SPANS
    empty.command.text("verify")
    assert full.members() == empty.members()
    assert empty.codes() == set()
