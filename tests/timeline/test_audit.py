"""The audit of a whole database: nothing is found where nothing is wrong, and each damage is named once."""

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from lognode.core.ids import LogLineKind, logline
from lognode.core.span import Body, encode_body
from lognode.timeline.proof.checkpoint import sign_checkpoint
from lognode.timeline.store.audit import audit, audit_file
from lognode.timeline.store.opening.migrate import apply_migrations
from lognode.timeline.store.write import chain_checkpoints, load_feeds, load_tenants
from lognode.timeline.verify.finding import CODES, FINDINGS_MAX
from tests.timeline.audits import KEYS, audited, flip_somewhere, places, without_triggers
from tests.timeline.histories import ALICE, append_signed, write_history

# Whatever is not kept for its own sake: no answer but full text and /readyz depends on it.
UNCHECKED: Final = ("heartbeat", "search", "addresses", "petitions", "introductions")

# Empty where nobody else writes; tests of their own see to them.
FOREIGN: Final = ("inert", "foretold", "cuts", "voids", "bounds", "evidence", "branches", "reverts", "cosignatures")
RULES: Final = ("publications",)  # tests/ruling/test_publications.py flips bits in these


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed database; tests work on copies."""
    return write_history(tmp_path_factory.mktemp("history"), spans=300)


@pytest.fixture
def conn(history: Path, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A copy of the history whose triggers are out of the way, to be put back by `audited`."""
    with without_triggers(Path(shutil.copy(history, tmp_path))) as conn:
        yield conn


def test_an_undamaged_history_has_no_findings(conn: sqlite3.Connection) -> None:
    assert audited(conn) == []
    assert audit(conn) == []
    assert audit(conn, quick=True) == []


def test_a_database_without_tenants_has_no_findings() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        apply_migrations(conn)
        assert audit(conn, node_public=KEYS.public) == []


def test_an_audit_tells_how_far_it_is(history: Path) -> None:
    told: list[tuple[int, int]] = []
    assert audit_file(history, progress=lambda done, total: told.append((done, total))) == []
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 300


def test_an_audit_inside_a_read_transaction_leaves_it_open(conn: sqlite3.Connection) -> None:
    conn.execute("BEGIN")
    audit(conn)
    assert conn.in_transaction
    conn.execute("ROLLBACK")
    audit(conn)
    assert not conn.in_transaction


DAMAGES: Final = {
    "UPDATE tenants SET tenant_id = zeroblob(20) WHERE tenant = 1": ("tenant.wrong", "tenants tenant 1"),
    "UPDATE aliases SET alias = 'other' WHERE tenant = 1": ("alias.wrong", "aliases alias other"),
    "UPDATE aliases SET tenant = 1 WHERE tenant = 0": ("alias.wrong", "aliases alias default"),
    "UPDATE feeds SET own = 0 WHERE feed = 2": ("feed.wrong", "feeds feed 2 own"),
    "UPDATE feeds SET log_key = zeroblob(32) WHERE feed = 1": ("feed.wrong", "feeds feed 1 log_key"),
    "UPDATE feeds SET node_key = zeroblob(32) WHERE feed = 1": ("feed.wrong", "feeds feed 1 node_key"),
    "UPDATE feeds SET feed_id = zeroblob(16) WHERE feed = 1": ("feed.wrong", "feeds feed 1 feed_id"),
    "INSERT INTO feeds VALUES (9, 0, zeroblob(16), zeroblob(32), zeroblob(32), 0)": ("feed.wrong", "feeds feed 9"),
    "INSERT INTO endings VALUES (zeroblob(16), 'restore')": ("ending.wrong", f"endings feed_id {'00' * 16}"),
    "INSERT INTO alerts VALUES (0, 'feed.forked', zeroblob(40))": ("alert.wrong", "alerts tenant 0 code feed.forked"),
    "UPDATE tasks SET due_ms = due_ms + 1": ("seal.wrong", f"tasks tenant 0 task {'00' * 16}"),
    "UPDATE schedules SET name = 'weekly'": ("seal.wrong", f"schedules tenant 0 schedule {'00' * 16}"),
    "UPDATE task_pauses SET tenant = 0": ("seal.wrong", "task_pauses tenant 0"),
    "UPDATE rule_cursors SET position = 2": ("seal.wrong", "rule_cursors tenant 0"),
    "UPDATE subscriptions SET checkpoint = 6": (
        "seal.wrong", f"subscriptions tenant 0 name {b'orders'.hex()}",
    ),
    "UPDATE parked SET again = 1": ("seal.wrong", f"parked tenant 0 name {b'orders'.hex()} position 7"),
    "UPDATE held SET needed = 1": ("seal.wrong", f"held tenant 0 span {'00' * 24}"),
    "UPDATE kinds SET name = 'order.pald' WHERE kind = 5": ("dictionary.wrong", "kinds kind 5"),
    "INSERT INTO kinds VALUES (99, 0, 'unused')": ("dictionary.wrong", "kinds kind 99"),
    "INSERT INTO actors VALUES (99, 0, zeroblob(33))": ("dictionary.wrong", "actors actor 99"),
    "INSERT INTO actors VALUES (99, 7, zeroblob(33))": ("dictionary.wrong", "actors actor 99 tenant"),
    "UPDATE spans SET tenant = 1 WHERE row = 200": ("span.wrong", "spans row 200 tenant"),
    "UPDATE spans SET kind = 1 WHERE row = 200": ("span.wrong", "spans row 200 kind"),
    "UPDATE spans SET actor = 1 WHERE row = 201": ("span.wrong", "spans row 201 actor"),
    "UPDATE spans SET status = 1 WHERE row = 200": ("span.wrong", "spans row 200 status"),
    "UPDATE spans SET caused_by = zeroblob(24) WHERE row = 200": ("span.wrong", "spans row 200 caused_by"),
    "DELETE FROM spans WHERE row = 200": ("span.missing", "spans feed 1 seq 199"),
    "DELETE FROM spans WHERE row BETWEEN 100 AND 290": ("span.missing", "spans row 100"),
    "DELETE FROM bodies WHERE row = 200": ("body.missing", "bodies row 200"),
    "UPDATE bodies SET body = zeroblob(9) WHERE row = 200": ("body.wrong", "bodies row 200 body"),
    "INSERT INTO bodies VALUES (5000, zeroblob(9))": ("body.wrong", "bodies row 5000"),
    "INSERT INTO bodies VALUES (-1, zeroblob(9))": ("body.wrong", "bodies row -1"),
    "DELETE FROM labels WHERE row = 199 AND value = 'all'":
        ("label.wrong", "labels tenant 0 field 0 value all row 199"),
    "UPDATE labels SET value = 'mine' WHERE field = 5 AND row = 61":
        ("label.wrong", "labels tenant 0 field 5 value mine row 61"),
    "INSERT INTO labels VALUES (0, 5, 'mine', 5, 200)": ("label.wrong", "labels tenant 0 field 5 value mine row 200"),
    "UPDATE labels SET hlc = hlc + 1 WHERE row = 199 AND value = 'all'":
        ("label.wrong", "labels tenant 0 field 0 value all row 199"),
    "INSERT INTO labels VALUES (0, 1, 'mine', 5, 200)": ("label.wrong", "labels tenant 0 field 1 value mine row 200"),
    "INSERT INTO labels VALUES (0, 1, 'mine', 5, 9000)": ("label.wrong", "labels tenant 0 field 1 value mine row 9000"),
    "INSERT INTO idems VALUES (0, zeroblob(2), 200)": ("idem.wrong", "idems tenant 0 idem 0000 row 200"),
    "DELETE FROM tiles": ("tile.wrong", "tiles feed 1 level 1 tile 0"),
    "UPDATE tiles SET hashes = substr(hashes, 1, 16)": ("tile.wrong", "tiles feed 1 level 1 tile 0"),
    "UPDATE tiles SET hashes = CAST(hashes || zeroblob(32) AS BLOB)": ("tile.wrong", "tiles feed 1 level 1 tile 0"),
    "INSERT INTO tiles VALUES (1, 1, 1, zeroblob(32))": ("tile.wrong", "tiles feed 1 level 1 tile 1"),
    "INSERT INTO tiles VALUES (1, 2, 0, zeroblob(32))": ("tile.wrong", "tiles feed 1 level 2 tile 0"),
    "INSERT INTO tiles VALUES (8, 1, 0, zeroblob(32))": ("tile.wrong", "tiles feed 8 level 1 tile 0"),
    "DELETE FROM checkpoints WHERE feed = 1": ("checkpoint.wrong", "checkpoints feed 1"),
    "UPDATE checkpoints SET prior = 9 WHERE feed = 1": ("checkpoint.wrong", "checkpoints feed 1 size 9"),
    "UPDATE checkpoints SET prior = -9 WHERE feed = 1": ("checkpoint.wrong", "checkpoints feed 1 size 302 prior"),
    "UPDATE checkpoints SET size = 9 WHERE feed = 1": ("checkpoint.wrong", "checkpoints feed 1 size 9 size"),
    "UPDATE checkpoints SET size = 9999 WHERE feed = 1": ("checkpoint.wrong", "checkpoints feed 1 size 9999 size"),
    "INSERT INTO checkpoints VALUES (7, 1, zeroblob(9), 0)": ("checkpoint.wrong", "checkpoints feed 7"),
    "DROP INDEX spans_by_kind": ("schema.wrong", "sqlite_schema index spans_by_kind"),
    "CREATE TRIGGER mine AFTER INSERT ON spans BEGIN SELECT 1; END": ("schema.wrong", "sqlite_schema trigger mine"),
    "PRAGMA user_version = 99": ("schema.wrong", "user_version"),
}  # fmt: skip


@pytest.mark.parametrize("sql", DAMAGES)
def test_damage_of_every_kind_is_named(sql: str, conn: sqlite3.Connection) -> None:
    conn.execute(sql)
    assert DAMAGES[sql] in places(audited(conn))
    assert all(finding.code in CODES for finding in audit(conn))


def test_a_missing_idempotency_key_is_named(conn: sqlite3.Connection) -> None:
    ((idem,),) = conn.execute("DELETE FROM idems WHERE row = 201 RETURNING hex(idem)").fetchall()
    assert places(audited(conn)) == [("idem.wrong", f"idems tenant 0 idem {idem.lower()} row 201")]


def test_an_ending_for_no_reason_is_named(conn: sqlite3.Connection) -> None:
    sql = "UPDATE endings SET reason = 'restor' WHERE feed_id = (SELECT feed_id FROM feeds WHERE feed = 2) RETURNING *"
    ((feed_id, _),) = conn.execute(sql).fetchall()
    assert places(audited(conn)) == [("ending.wrong", f"endings feed_id {feed_id.hex()}")]


@pytest.mark.parametrize("version", [1, 2])
def test_a_database_before_its_migration_is_judged_by_the_schema_that_it_has(version: int) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        apply_migrations(conn, version)
        assert audit(conn, node_public=KEYS.public) == []
        conn.execute("CREATE TABLE endings (feed_id BLOB)")
        assert places(audit(conn)) == [("schema.wrong", "sqlite_schema table endings")]


def test_a_truncated_feed_contradicts_its_checkpoint(conn: sqlite3.Connection) -> None:
    ((row,),) = conn.execute("SELECT max(row) FROM spans WHERE feed = 3").fetchall()
    for table in ("spans", "bodies", "labels", "idems"):
        conn.execute(f"DELETE FROM {table} WHERE row = ?", (row,))
    assert places(audited(conn)) == [("span.missing", "checkpoints feed 3 size 21")]


def test_a_checkpoint_of_another_tree_is_not_believed(conn: sqlite3.Connection) -> None:
    tenant, feed = load_tenants(conn)[0], load_feeds(conn)[0]
    (size,) = conn.execute("SELECT size FROM checkpoints WHERE feed = ?", (feed.number,)).fetchone()
    note = sign_checkpoint(KEYS.log_key(feed.feed_id), tenant.tenant_id, feed.feed_id, size, bytes(32))
    conn.execute("UPDATE checkpoints SET note = ? WHERE feed = ?", (note, feed.number))
    assert places(audited(conn)) == [("span.wrong", f"spans feed 1 seq 0 to {size - 1}")]


def test_several_checkpoints_of_a_feed_are_all_compared(conn: sqlite3.Connection) -> None:
    tenant, feed = load_tenants(conn)[0], load_feeds(conn)[0]
    note = sign_checkpoint(KEYS.log_key(feed.feed_id), tenant.tenant_id, feed.feed_id, 256, bytes(32))
    conn.execute("INSERT INTO checkpoints VALUES (?, 256, ?, 0)", (feed.number, note))
    chain_checkpoints(conn, feed.number, 0)
    assert places(audited(conn)) == [("checkpoint.wrong", "checkpoints feed 1 size 256")]


def test_damages_close_to_each_other_are_all_named(conn: sqlite3.Connection) -> None:
    conn.execute("UPDATE spans SET hlc = hlc + 1 - 2 * (hlc & 1) WHERE row = 100")
    conn.execute("UPDATE spans SET kind = 1 WHERE row = 110")
    conn.execute("UPDATE bodies SET body = zeroblob(8) WHERE row IN (101, 280)")
    assert {place for _, place in places(audited(conn))} >= {
        "spans row 100 hlc",
        "spans row 110 kind",
        "bodies row 101 body",
        "bodies row 280 body",
    }


def test_a_malformed_body_that_its_author_signed_is_a_note(conn: sqlite3.Connection) -> None:
    row = append_signed(conn, b"no array")
    (finding,) = audited(conn)
    assert (finding.code, finding.place, finding.severity) == ("body.malformed", f"bodies row {row} body", "note")


def test_a_value_that_no_strict_decoder_reads_is_a_note(conn: sqlite3.Connection) -> None:
    row = append_signed(conn, encode_body(_body(data=b"\xc0\x60")))
    (finding,) = audited(conn)
    assert (finding.code, finding.place, finding.severity) == ("body.malformed", f"bodies row {row} body", "note")


def test_a_signature_that_its_actor_did_not_make_is_found(conn: sqlite3.Connection) -> None:
    actor = logline(LogLineKind.PERSON, ALICE.public)
    row = append_signed(conn, encode_body(_body(actor_signature=bytes(64))), actor=actor)
    assert places(audited(conn)) == [("signature.wrong", f"bodies row {row} body")]


def _body(**changes: object) -> Body:
    empty = Body(bytes(16), None, b"", [], None, None, None, None, [], b"", b"", None, None)
    return empty._replace(**changes)  # type: ignore[arg-type]


def test_a_key_of_another_node_is_no_owner_of_these_feeds(conn: sqlite3.Connection) -> None:
    found = places(audit(conn, node_public=ALICE.public))
    assert [place for code, place in found if code == "feed.wrong"] == [f"feeds feed {n} own" for n in (1, 3, 2)]


def test_wholesale_damage_is_reported_in_bounded_length(conn: sqlite3.Connection) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT i FROM n"
    conn.execute(f"INSERT INTO tiles SELECT 1, 5, i, zeroblob(32) FROM ({numbers})")
    findings = audited(conn)
    assert len(findings) == FINDINGS_MAX + 1
    assert findings[-1].code == "report.cut"


@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_in_any_column_is_found(seed: int, conn: sqlite3.Connection) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    tables = conn.execute("SELECT name FROM pragma_table_list WHERE type = 'table' AND schema = 'main'").fetchall()
    columns = [
        (table, column)
        for (table,) in sorted(tables)
        if not table.startswith(("sqlite_", *UNCHECKED)) and table not in {*FOREIGN, *RULES}
        for (column,) in conn.execute("SELECT name FROM pragma_table_info(?)", (table,))
        if column != "one"  # a check lets nothing else in
    ]
    assert len(columns) > 40
    for table, column in columns:
        conn.execute("BEGIN")
        flip_somewhere(conn, table, column, rng)
        assert audited(conn) != [], f"{table} {column}"
        conn.execute("ROLLBACK")


@pytest.mark.parametrize("table", ["spans", "bodies", "labels", "tiles", "checkpoints", "feeds"])
def test_an_unreadable_page_is_named_and_the_rest_still_checked(table: str, history: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(history, tmp_path))
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("UPDATE aliases SET seal = zeroblob(16) WHERE alias = 'second'")
        (page,) = conn.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))
    found = places(audit_file(path, node_public=KEYS.public))
    assert any(code == "database.damaged" and table in place for code, place in found)
    assert ("alias.wrong", "aliases alias second") in found


@pytest.mark.parametrize("size", [0, 10, 100, 4096, 100_000])
def test_a_cut_off_file_is_a_finding_and_no_crash(size: int, history: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.db"
    path.write_bytes(history.read_bytes()[:size])
    assert audit_file(path, node_public=KEYS.public) != []


def test_a_file_that_is_no_database_is_a_finding_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("This is a letter, not a database.\n" * 1000)
    assert places(audit_file(path)) != []


def test_a_file_that_is_not_there_is_a_finding_and_no_crash(tmp_path: Path) -> None:
    assert places(audit_file(tmp_path / "nowhere.db")) == [("database.damaged", "nowhere.db")]
