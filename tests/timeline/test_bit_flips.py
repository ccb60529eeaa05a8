"""One flipped bit is found and named, wherever it is; and what is not found changes no answer."""

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from lognode.identity.keys import NodeKeys
from lognode.timeline.query import Order, Query
from lognode.timeline.store.audit import audit, audit_file
from lognode.timeline.store.opening.migrate import connect_reader
from lognode.timeline.store.read.pages import select_page
from lognode.timeline.store.read.proofs import latest_note
from lognode.timeline.store.write import load_feeds, load_tenants
from tests.engine.nodes import SEED
from tests.timeline.histories import write_history

NODE: Final = NodeKeys.from_seed(SEED).public
CELL_SEED: Final = 20_001
FILE_SEED: Final = 20_002
FILE_FLIPS: Final = 300
# How many cells of which column are flipped: 100 in all.
CELLS: Final = {
    ("spans", "hlc"): 16,
    ("spans", "visibility"): 14,
    ("spans", "seq"): 10,
    ("spans", "feed"): 10,
    ("spans", "header"): 20,
    ("bodies", "body"): 14,
    ("tiles", "hashes"): 8,
    ("checkpoints", "note"): 8,
}
KEYS: Final = {
    "spans": ("row",),
    "bodies": ("row",),
    "tiles": ("feed", "level", "tile"),
    "checkpoints": ("feed", "size"),
}


class Cell(NamedTuple):
    """A cell, and how a finding names it."""

    table: str
    column: str
    key: tuple[int, ...]

    @property
    def place(self) -> str:
        key = " ".join(f"{name} {value}" for name, value in zip(KEYS[self.table], self.key, strict=True))
        return f"{self.table} {key}" if self.table == "tiles" else f"{self.table} {key} {self.column}"


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed database; tests work on copies."""
    return write_history(tmp_path_factory.mktemp("history"))


@pytest.fixture
def conn(history: Path, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    path = Path(shutil.copy(history, tmp_path))
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        yield conn


def drawn_cells(conn: sqlite3.Connection, rng: random.Random) -> list[Cell]:
    """Cells of every kind, drawn with repetition where a table has few rows."""
    cells = []
    for (table, column), count in CELLS.items():
        columns = ", ".join(KEYS[table])
        keys = conn.execute(f"SELECT {columns} FROM {table} ORDER BY {columns}").fetchall()
        cells += [Cell(table, column, key) for key in rng.choices(keys, k=count)]
    return cells


def flip(conn: sqlite3.Connection, cell: Cell, rng: random.Random) -> None:
    """Flip one bit of a cell by SQL, with the triggers out of the way and then back."""
    where = " AND ".join(f"{name} = ?" for name in KEYS[cell.table])
    (value,) = conn.execute(f"SELECT {cell.column} FROM {cell.table} WHERE {where}", cell.key).fetchone()
    triggers = conn.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        conn.execute(f"DROP TRIGGER {name}")
    while True:
        changed = flipped_number(value, rng) if isinstance(value, int) else flipped(value, rng)
        try:
            conn.execute(f"UPDATE {cell.table} SET {cell.column} = ? WHERE {where}", (changed, *cell.key))
            break
        except sqlite3.IntegrityError:
            continue  # an index refuses this bit, since another span has that place
    for _, sql in triggers:
        conn.execute(sql)


def flipped_number(value: int, rng: random.Random) -> int:
    changed = value ^ 1 << rng.randrange(64)
    return changed - 2**64 if changed >= 2**63 else changed


def flipped(value: bytes, rng: random.Random) -> bytes:
    bit = rng.randrange(len(value) * 8)
    return value[: bit // 8] + bytes([value[bit // 8] ^ 1 << bit % 8]) + value[bit // 8 + 1 :]


def each_flip(conn: sqlite3.Connection) -> Iterator[Cell]:
    """The cells, each with one bit flipped until the next is asked for; the same cells and bits every time."""
    print(f"seed {CELL_SEED}")
    rng = random.Random(CELL_SEED)
    for cell in drawn_cells(conn, rng):
        conn.execute("BEGIN")
        flip(conn, cell, rng)
        yield cell
        conn.execute("ROLLBACK")


def test_one_flipped_bit_in_each_of_100_cells_is_found_and_named(conn: sqlite3.Connection) -> None:
    missed = []
    counts: Counter[int] = Counter()
    for cell in each_flip(conn):
        findings = audit(conn, node_public=NODE)
        counts[len(findings)] += 1
        if not any(finding.place == cell.place and finding.severity == "damage" for finding in findings):
            missed.append((cell, findings[:5]))
    assert missed == []
    assert counts.total() == 100
    # Whoever reads the findings must not have to look for the damage among its consequences.
    assert sum(count for findings, count in counts.items() if findings > 2) <= 10, counts


def test_an_audit_without_bodies_misses_the_bits_in_them(conn: sqlite3.Connection) -> None:
    bodies = [audit(conn, quick=True) for cell in each_flip(conn) if cell.table == "bodies"]
    tiles = [audit(conn, quick=True) for cell in each_flip(conn) if cell.table == "tiles"]
    assert not any(bodies)
    assert all(tiles)


def test_the_check_of_sqlite_alone_misses_every_one_of_these_bits(conn: sqlite3.Connection) -> None:
    answers = {conn.execute("PRAGMA integrity_check").fetchone() for _ in each_flip(conn)}
    assert answers == {("ok",)}


def test_300_flipped_bits_in_the_file_are_found_or_change_no_answer(history: Path, tmp_path: Path) -> None:
    print(f"seed {FILE_SEED}")
    rng = random.Random(FILE_SEED)
    content = history.read_bytes()
    expected = answers(Path(shutil.copy(history, tmp_path / "whole.db")))
    harmless = 0
    for number in range(FILE_FLIPS):
        path = tmp_path / f"{number}.db"
        path.write_bytes(flipped(content, rng))
        if not audit_file(path, node_public=NODE):
            harmless += 1
            assert answers(path) == expected, f"flip {number} changes an answer, and no finding says so"
    # Free space in pages is where a bit changes nothing; were it everywhere, nothing would have been tested.
    assert 0 < harmless < FILE_FLIPS / 2, harmless


def answers(path: Path) -> list[Any]:
    """What a node would answer from this file: spans in both orders, by labels, notes and aliases."""
    found: list[Any] = []
    orders: tuple[Order, ...] = ("timeline", "arrival")
    with closing(connect_reader(path)) as conn:
        tenants, feeds = load_tenants(conn), {feed.number: feed for feed in load_feeds(conn)}
        found += [tenants, feeds, [latest_note(conn, feed) for feed in feeds.values()]]
        for tenant in tenants:
            queries = [Query(order=order, limit=5000) for order in orders]
            for order in orders:
                queries += [
                    Query(tags=("all", "n:3"), order=order, limit=5000),
                    Query(subject="order-7", order=order, limit=5000),
                    Query(contract_id="contract-1", order=order, limit=5000),
                    Query(workflow_id="workflow-2", order=order, limit=5000),
                    Query(flow_id="flow-3", order=order, limit=5000),
                    Query(kinds=("order.paid",), order=order, limit=5000),
                    Query(status=1, order=order, limit=5000),
                ]
            found += [select_page(conn, tenant, feeds, query).records for query in queries]
    return found
