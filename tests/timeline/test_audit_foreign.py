"""The audit of what other nodes wrote: sound feeds pass, whatever they hold, and each damage is named."""

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from lognode.core.access import Level
from lognode.core.ids import TenantId
from lognode.core.span import PUBLIC
from lognode.identity.keys import NodeKeys
from lognode.timeline.control.members import member_remove_data
from lognode.timeline.proof.checkpoint import parse_checkpoint
from lognode.timeline.record import id_of
from lognode.timeline.store.audit import audit
from lognode.timeline.store.read.proofs import latest_note
from lognode.timeline.store.write import find_control, load_feeds, load_tenants
from tests.timeline.audits import KEYS, audited, flip_somewhere, places, without_triggers
from tests.timeline.histories import write_history
from tests.timeline.pens import Pen, admitted, append_control, write_all_sorts

BOB: Final = NodeKeys.from_seed(bytes(31) + b"\x02")
CAROL: Final = NodeKeys.from_seed(bytes(31) + b"\x03")
DAVE: Final = NodeKeys.from_seed(bytes(31) + b"\x04")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed database with feeds of three nodes; what Carol's feed holds after the first third is only foretold."""
    path = write_history(tmp_path_factory.mktemp("history"), spans=40)
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        tenant = next(tenant for tenant in load_tenants(conn) if tenant.alias == "default")
        id_ = tenant.tenant_id
        newest = [id_of(record, load_feeds(conn)[record.feed - 1].feed_id) for record in find_control(conn, tenant)]
        admit = append_control(
            conn, KEYS, tenant, "member.admit", admitted(BOB, KEYS, id_, sorted(newest), Level.TRUSTED)
        )
        bob = Pen(BOB, id_, [admit])
        bob.write("member.admit", admitted(DAVE, BOB, id_, [bob.opening], Level.ROOT), visibility=PUBLIC)
        write_all_sorts(bob, 500)
        bob.write("span.revert", caused_by=bob.opening)
        ours = next(feed for feed in load_feeds(conn) if feed.tenant == 0)
        note = latest_note(conn, ours)
        bob.merge((ours.feed_id, *parse_checkpoint(note)[1:3]), Pen(CAROL, id_, []).head)
        assert bob.store(conn, 0, milestones=(1, 200, 256, 400)).number == 4
        conn.execute("UPDATE cosignatures SET note = ? WHERE feed_id = ?", (note, ours.feed_id))
        admit = append_control(conn, KEYS, tenant, "member.admit", admitted(CAROL, KEYS, id_, [admit], Level.ROOT))
        carol = Pen(CAROL, id_, [admit])
        carol.write()
        carol.write("member.admit", admitted(DAVE, CAROL, id_, [carol.opening], Level.TRUSTED), visibility=PUBLIC)
        carol.write()
        for seq in (0, 2):
            carol.foretell(conn, 0, seq)
        cuts = [(bob.feed_id, len(bob.entries) - 50, bytes(32))]
        append_control(conn, KEYS, tenant, "member.remove", member_remove_data([admit], BOB.public, cuts, "seen"))
        conn.execute("INSERT INTO cuts VALUES (4, ?, 'member.removed')", (len(bob.entries) - 50,))
        conn.execute("INSERT INTO voids SELECT row, 'member.not_root' FROM spans WHERE feed = 4 AND seq = 1")
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
    "UPDATE inert SET reason = 'withhold' WHERE seq = 4": ("inert.wrong", "inert feed 4 seq 4 reason"),
    "UPDATE inert SET header = zeroblob(32) WHERE seq = 4": ("span.wrong", "spans feed 4 seq 0 to 255"),
    "UPDATE inert SET hlc = hlc + 1 - 2 * (hlc & 1) WHERE seq = 4": ("inert.wrong", "inert feed 4 seq 4 hlc"),
    "UPDATE inert SET visibility = 1 WHERE seq = 4": ("inert.wrong", "inert feed 4 seq 4 visibility"),
    "UPDATE inert SET body = zeroblob(1) WHERE seq = 4": ("inert.wrong", "inert feed 4 seq 4 body"),
    "UPDATE inert SET body = zeroblob(1) WHERE reason = 'hlc.not_rising' AND seq < 20":
        ("inert.wrong", "inert feed 4 seq 10 body"),
    "UPDATE inert SET body = NULL WHERE reason = 'visibility.unknown' AND seq < 20":
        ("inert.wrong", "inert feed 4 seq 15 body"),
    "UPDATE inert SET body = zeroblob(1) WHERE reason = 'header.malformed' AND seq < 20":
        ("inert.wrong", "inert feed 4 seq 18 body"),
    "UPDATE inert SET seq = 9000 WHERE seq = 4": ("inert.wrong", "inert feed 4 seq 4"),
    "UPDATE inert SET seq = 1 WHERE seq = 4": ("inert.wrong", "inert feed 4 seq 4"),
    "UPDATE inert SET feed = 9 WHERE seq = 4": ("inert.wrong", "inert feed 9"),
    "UPDATE inert SET feed = 1 WHERE seq = 4": ("inert.wrong", "inert feed 1"),
    "DELETE FROM inert WHERE seq = 4": ("inert.wrong", "inert feed 4 seq 4"),
    "UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE size = 400) WHERE feed = 4 AND size = 256":
        ("checkpoint.wrong", "checkpoints feed 4 size 256 size"),
    "UPDATE feeds SET own = 1 WHERE feed = 4": ("feed.wrong", "feeds feed 4 own"),
    "UPDATE foretold SET seq = 1 WHERE seq = 2": ("foretold.wrong", "foretold tenant 0 feed {} seq 1"),
    "UPDATE foretold SET tenant = 1 WHERE seq = 2": ("foretold.wrong", "foretold tenant 1 feed {} seq 2"),
    "UPDATE foretold SET body = zeroblob(5) WHERE seq = 2": ("foretold.wrong", "foretold tenant 0 feed {} seq 2"),
    "UPDATE foretold SET path = zeroblob(64) WHERE seq = 0": ("foretold.wrong", "foretold tenant 0 feed {} seq 0"),
    "UPDATE cuts SET size = size + 1": ("cut.wrong", "cuts feed 4"),
    "UPDATE cuts SET feed = 3": ("cut.wrong", "cuts feed 3"),
    "DELETE FROM cuts": ("cut.wrong", "cuts feed 4"),
    "UPDATE voids SET reason = 'x'": ("void.wrong", "voids row 66"),
    "DELETE FROM voids": ("void.wrong", "voids row 66"),
    "INSERT INTO voids VALUES (3, 'x')": ("void.wrong", "voids row 3"),
    "DELETE FROM latest WHERE subject = 's-1' AND private = 0":
        ("latest.wrong", "latest tenant 0 subject s-1 private 0 feed 4"),
    "UPDATE latest SET seq = seq - 1 WHERE subject = 's-1'":
        ("latest.wrong", "latest tenant 0 subject s-1 private 0 feed 4"),
    "DELETE FROM reverts": ("revert.wrong", "reverts tenant 0 row 401"),
    "INSERT INTO disputes VALUES (0, 's-1')": ("dispute.wrong", "disputes tenant 0 subject s-1"),
    "DELETE FROM merged WHERE feed = 4": ("merge.wrong", "merged feed 4 other {other} seq {seq}"),
    "UPDATE merged SET size = size + 1 WHERE feed = 4": ("merge.wrong", "merged feed 4 other {other} seq {seq}"),
    "UPDATE merged SET seq = seq + 5000 WHERE feed = 4": ("merge.wrong", "merged feed 4 other {other} seq {seq}"),
    "DELETE FROM cosignatures": ("cosignature.wrong", "cosignatures tenant 0 feed_id {other} witness {bob}"),
    "UPDATE cosignatures SET tenant = 1":
        ("cosignature.wrong", "cosignatures tenant 1 feed_id {other} witness {bob}"),
    "UPDATE cosignatures SET note = (SELECT note FROM checkpoints ORDER BY size DESC)":
        ("cosignature.wrong", "cosignatures tenant 0 feed_id {other} witness {bob} note"),
    "DELETE FROM foretold WHERE seq = 0": ("foretold.wrong", "foretold tenant 0 feed {} seq 2"),
}  # fmt: skip


@pytest.mark.parametrize("sql", DAMAGES)
def test_damage_of_every_kind_is_named(sql: str, conn: sqlite3.Connection) -> None:
    (carol,) = conn.execute("SELECT lower(hex(feed_id)) FROM foretold").fetchone()
    other, seq = conn.execute("SELECT lower(hex(other)), seq FROM merged WHERE feed = 4 ORDER BY other").fetchone()
    conn.execute(sql)
    code, place = DAMAGES[sql]
    named = place.format(carol, other=other, seq=seq, bob=BOB.public.hex())
    assert (code, named) in places(audited(conn))


def test_a_foretold_span_whose_range_is_here_is_named(conn: sqlite3.Connection) -> None:
    (raw,) = conn.execute("SELECT tenant_id FROM tenants WHERE tenant = 0").fetchone()
    Pen(BOB, TenantId(raw), []).foretell(conn, 0, 0)
    assert "foretold.wrong" in {code for code, _ in places(audited(conn))}


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_in_any_column_is_found(seed: int, conn: sqlite3.Connection) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    for table in ("inert", "foretold", "cuts", "voids", "latest", "reverts", "disputes", "merged", "cosignatures"):
        for (column,) in conn.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall():
            conn.execute("BEGIN")
            flip_somewhere(conn, table, column, rng)
            assert audited(conn) != [], f"{table} {column}"
            conn.execute("ROLLBACK")
