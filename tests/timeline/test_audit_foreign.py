"""The audit of what other nodes wrote: sound feeds pass, whatever they hold, and each damage is named."""

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from lognode.core.ids import SpanId, TenantId
from lognode.identity.keys import NodeKeys
from lognode.timeline.store.audit import audit
from tests.timeline.audits import audited, flip_somewhere, places, without_triggers
from tests.timeline.histories import write_history
from tests.timeline.pens import Pen, write_all_sorts

BOB: Final = NodeKeys.from_seed(bytes(31) + b"\x02")
CAROL: Final = NodeKeys.from_seed(bytes(31) + b"\x03")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed database with feeds of three nodes; what Carol's feed holds after the first third is only foretold."""
    path = write_history(tmp_path_factory.mktemp("history"), spans=40)
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        (raw,) = conn.execute("SELECT tenant_id FROM tenants WHERE tenant = 0").fetchone()
        tenant = TenantId(raw)
        bob = Pen(BOB, tenant, [])
        write_all_sorts(bob, 500)
        assert bob.store(conn, 0, milestones=(1, 200, 256, 400)).number == 4
        carol = Pen(CAROL, tenant, [SpanId(bytes(24))])
        carol.write()
        carol.write("feed.unknown", b"\x80", visibility=2)
        carol.write()
        for seq in (0, 2):
            carol.foretell(conn, 0, seq)
    return path


@pytest.fixture
def conn(history: Path, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A copy of the history whose triggers are out of the way."""
    with without_triggers(Path(shutil.copy(history, tmp_path))) as conn:
        yield conn


def test_feeds_of_other_nodes_have_no_findings(conn: sqlite3.Connection) -> None:
    ((withheld,),) = conn.execute("SELECT count(*) FROM inert WHERE reason = 'withheld'").fetchall()
    ((reasons,),) = conn.execute("SELECT count(DISTINCT reason) FROM inert").fetchall()
    assert (withheld, reasons) == (166, 4)
    assert audited(conn) == []
    assert audit(conn, quick=True) == []


DAMAGES: Final = {
    "UPDATE inert SET reason = 'withhold' WHERE seq = 3": ("inert.wrong", "inert feed 4 seq 3 reason"),
    "UPDATE inert SET header = zeroblob(32) WHERE seq = 3": ("span.wrong", "spans feed 4 seq 0 to 255"),
    "UPDATE inert SET hlc = hlc + 1 - 2 * (hlc & 1) WHERE seq = 3": ("inert.wrong", "inert feed 4 seq 3 hlc"),
    "UPDATE inert SET visibility = 1 WHERE seq = 3": ("inert.wrong", "inert feed 4 seq 3 visibility"),
    "UPDATE inert SET body = zeroblob(1) WHERE seq = 3": ("inert.wrong", "inert feed 4 seq 3 body"),
    "UPDATE inert SET body = zeroblob(1) WHERE reason = 'hlc.not_rising' AND seq < 20":
        ("inert.wrong", "inert feed 4 seq 9 body"),
    "UPDATE inert SET body = NULL WHERE reason = 'visibility.unknown' AND seq < 20":
        ("inert.wrong", "inert feed 4 seq 14 body"),
    "UPDATE inert SET body = zeroblob(1) WHERE reason = 'header.malformed' AND seq < 20":
        ("inert.wrong", "inert feed 4 seq 17 body"),
    "UPDATE inert SET seq = 9000 WHERE seq = 3": ("inert.wrong", "inert feed 4 seq 3"),
    "UPDATE inert SET seq = 1 WHERE seq = 3": ("inert.wrong", "inert feed 4 seq 3"),
    "UPDATE inert SET feed = 9 WHERE seq = 3": ("inert.wrong", "inert feed 9"),
    "UPDATE inert SET feed = 1 WHERE seq = 3": ("inert.wrong", "inert feed 1"),
    "DELETE FROM inert WHERE seq = 3": ("inert.wrong", "inert feed 4 seq 3"),
    "UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE size = 400) WHERE feed = 4 AND size = 256":
        ("checkpoint.wrong", "checkpoints feed 4 size 256 size"),
    "UPDATE feeds SET own = 1 WHERE feed = 4": ("feed.wrong", "feeds feed 4 own"),
    "UPDATE foretold SET seq = 1 WHERE seq = 2": ("foretold.wrong", "foretold tenant 0 feed {} seq 1"),
    "UPDATE foretold SET tenant = 1 WHERE seq = 2": ("foretold.wrong", "foretold tenant 1 feed {} seq 2"),
    "UPDATE foretold SET body = zeroblob(5) WHERE seq = 2": ("foretold.wrong", "foretold tenant 0 feed {} seq 2"),
    "UPDATE foretold SET path = zeroblob(64) WHERE seq = 0": ("foretold.wrong", "foretold tenant 0 feed {} seq 0"),
    "DELETE FROM foretold WHERE seq = 0": ("foretold.wrong", "foretold tenant 0 feed {} seq 2"),
}  # fmt: skip


@pytest.mark.parametrize("sql", DAMAGES)
def test_damage_of_every_kind_is_named(sql: str, conn: sqlite3.Connection) -> None:
    (carol,) = conn.execute("SELECT lower(hex(feed_id)) FROM foretold").fetchone()
    conn.execute(sql)
    code, place = DAMAGES[sql]
    assert (code, place.format(carol)) in places(audited(conn))


def test_a_foretold_span_whose_range_is_here_is_named(conn: sqlite3.Connection) -> None:
    (raw,) = conn.execute("SELECT tenant_id FROM tenants WHERE tenant = 0").fetchone()
    Pen(BOB, TenantId(raw), []).foretell(conn, 0, 0)
    assert [code for code, _ in places(audited(conn))] == ["foretold.wrong"]


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_in_any_column_is_found(seed: int, conn: sqlite3.Connection) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    for table in ("inert", "foretold"):
        for (column,) in conn.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall():
            conn.execute("BEGIN")
            flip_somewhere(conn, table, column, rng)
            assert audited(conn) != [], f"{table} {column}"
            conn.execute("ROLLBACK")
