"""Databases that tests damage, and what an audit says of them."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from lognode.identity.keys import NodeKeys
from lognode.timeline.store.audit import audit
from lognode.timeline.store.opening.migrate import apply_migrations
from lognode.timeline.verify.finding import Finding
from tests.engine.nodes import SEED

KEYS: Final = NodeKeys.from_seed(SEED)


@contextmanager
def without_triggers(path: Path) -> Iterator[sqlite3.Connection]:
    """A database whose triggers are out of the way, to be put back by `audited`."""
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        for (name,) in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            conn.execute(f"DROP TRIGGER {name}")
        yield conn


def audited(conn: sqlite3.Connection) -> list[Finding]:
    """What is found once the triggers are back."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        apply_migrations(model)
        triggers = model.execute("SELECT sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for (sql,) in triggers:
        conn.execute(sql)
    return audit(conn, node_public=KEYS.public)


def places(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.code, finding.place) for finding in findings]


def flip_somewhere(conn: sqlite3.Connection, table: str, column: str, rng: random.Random) -> None:
    """Flip a bit of a random row's value, one that the table's constraints let through."""
    key = [name for (name,) in conn.execute("SELECT name FROM pragma_table_info(?) WHERE pk", (table,))]
    values = conn.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {column} NOT NULL ORDER BY 1").fetchall()
    while True:
        (value,) = rng.choice(values)
        if isinstance(value, int):
            changed: object = value ^ 1 << rng.randrange(62)
        else:
            raw = bytearray(value.encode() if isinstance(value, str) else value) or bytearray(1)
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(4)
            changed = bytes(raw)
        text = "CAST(? AS TEXT)" if isinstance(value, str) else "?"
        where = f"({', '.join(key)}) IN (SELECT {', '.join(key)} FROM {table} WHERE {column} = ? LIMIT 1)"
        try:
            conn.execute(f"UPDATE {table} SET {column} = {text} WHERE {where}", (changed, value))
            return
        except sqlite3.IntegrityError:
            continue
