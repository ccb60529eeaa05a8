"""Full text: which tenants have it, filling it behind a cursor, and matching.

Owns the tables of 0002_search.sql. Knows no queries beyond their text. Invariant: the index holds the texts of
exactly the spans of enabled tenants up to each tenant's position; what can be read never waits for it.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress

from lognode.core.codec import decode_value
from lognode.core.errors import CallerError
from lognode.core.span import decode_body
from lognode.timeline.record import POSITION_MASK, row_of


def search_enable(conn: sqlite3.Connection, tenant_number: int) -> None:
    """Have the tenant's spans indexed from the first on, by calls of `index_next`; nothing if they are already."""
    conn.execute("INSERT OR IGNORE INTO search_tenants VALUES (?, 0)", (tenant_number,))


def search_disable(conn: sqlite3.Connection, tenant_number: int) -> None:
    """Take the tenant's texts out of the index, in the caller's transaction.

    The index cannot drop a part without the words that went in, so it is emptied, and that of other tenants
    fills again. This happens only when somebody changes a setting.
    """
    assert conn.in_transaction, "an index that is half empty must never be seen"
    if conn.execute("DELETE FROM search_tenants WHERE tenant = ?", (tenant_number,)).rowcount:
        conn.execute("INSERT INTO search (search) VALUES ('delete-all')")
        conn.execute("UPDATE search_tenants SET position = 0")


def search_position(conn: sqlite3.Connection, tenant_number: int) -> int:
    """The position up to which the tenant's spans are in the index. Raises CallerError("search.off")."""
    found: tuple[int] | None = conn.execute(
        "SELECT position FROM search_tenants WHERE tenant = ?", (tenant_number,)
    ).fetchone()
    if found is None:
        raise CallerError("search.off")
    return found[0]


def index_next(conn: sqlite3.Connection, tenant_number: int, steps: int) -> bool:
    """Index the next `steps` spans of an enabled tenant, in the caller's transaction; True while some are left."""
    assert conn.in_transaction, "texts and position must be committed together"
    position = search_position(conn, tenant_number)
    start = row_of(tenant_number, position + 1)
    (newest,) = conn.execute(
        "SELECT max(row) FROM spans WHERE row BETWEEN ? AND ?", (start, row_of(tenant_number, POSITION_MASK))
    ).fetchone()
    if newest is None:
        return False
    stop = min(newest, start + steps - 1)
    bodies = conn.execute("SELECT row, body FROM bodies WHERE row BETWEEN ? AND ?", (start, stop))
    conn.executemany("INSERT INTO search (rowid, text) VALUES (?, ?)", ((row, text_of(body)) for row, body in bodies))
    conn.execute("UPDATE search_tenants SET position = ? WHERE tenant = ?", (stop & POSITION_MASK, tenant_number))
    return bool(stop < newest)


def text_of(raw: bytes) -> str:
    """What is searched of a body: title, subject, tags and every text in data; of a malformed one what is readable."""
    try:
        body = decode_body(raw)
    except CallerError:
        return ""
    texts = [text for text in (body.title, body.subject, *body.tags) if text]
    with suppress(CallerError):  # the author's encoding of data is at fault: the span is found by the rest
        texts += _texts_in(decode_value(body.data))
    return "\n".join(texts)


def _texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(item)


def match_expression(text: str) -> str:
    """The FTS5 expression for what a person typed: all words; "in quotes" a phrase; word* what begins so.

    Raises CallerError("filter.invalid") when there is no word in it.
    """
    words: list[str] = []
    for number, piece in enumerate(text.replace("\0", " ").split('"')):
        # Every second piece stood between quotes.
        words += [f'"{piece}"'] if number % 2 else [f'"{word}"{"*" * word.endswith("*")}' for word in piece.split()]
    parts = [word for word in words if any(char.isalnum() for char in word)]
    if not parts:
        raise CallerError("filter.invalid", "there is no word in it to look for", place="text")
    return " ".join(parts)


def matches(conn: sqlite3.Connection, bodies: Sequence[bytes | None], text: str) -> set[int]:
    """Which of `bodies` (by their place in it) hold `text`, without the index: new spans are not in it yet."""
    (table,) = conn.execute("SELECT sql FROM sqlite_schema WHERE name = 'search'").fetchone()
    with closing(sqlite3.connect(":memory:")) as scratch:
        # The same definition cuts the same words.
        scratch.execute(table)
        texts = ((number, text_of(body)) for number, body in enumerate(bodies) if body is not None)
        scratch.executemany("INSERT INTO search (rowid, text) VALUES (?, ?)", texts)
        found = scratch.execute("SELECT rowid FROM search WHERE search MATCH ?", (match_expression(text),))
        return {row for (row,) in found}
