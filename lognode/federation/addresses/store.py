"""The table of addresses: what is known of them outlives the process."""

import sqlite3
from collections.abc import Iterable, Mapping

from lognode.core.errors import CallerError
from lognode.federation.addresses.address import parse_address
from lognode.federation.addresses.ledger import SOURCES, Entry, Ledger


def load_addresses(conn: sqlite3.Connection) -> Ledger:
    """What was kept. A row that is not understood is left out: it was only ever a hint."""
    ledger = Ledger()
    for node_key, text, told_by, told_ms, reached_ms, failed_ms, error in conn.execute(
        "SELECT node_key, address, sources, told_ms, reached_ms, failed_ms, error FROM addresses"
    ):
        sources = frozenset(source for source in SOURCES if source in told_by.split())
        try:
            address = parse_address(text)
        except CallerError:
            continue
        if sources:
            ledger.add(node_key, Entry(address, sources, told_ms, reached_ms, failed_ms, error))
    return ledger


def save_addresses(conn: sqlite3.Connection, nodes: Mapping[bytes, Iterable[Entry]]) -> None:
    """Have the table hold these entries of these nodes, and leave the other nodes as they are. Durable on return."""
    rows = [
        (node_key, str(entry.address), _text(entry), entry.told_ms, entry.reached_ms, entry.failed_ms, entry.error)
        for node_key, entries in nodes.items()
        for entry in entries
    ]
    conn.execute("BEGIN IMMEDIATE")
    try:
        conn.executemany("DELETE FROM addresses WHERE node_key = ?", [(node_key,) for node_key in nodes])
        conn.executemany("INSERT INTO addresses VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


def _text(entry: Entry) -> str:
    return " ".join(source for source in SOURCES if source in entry.sources)
