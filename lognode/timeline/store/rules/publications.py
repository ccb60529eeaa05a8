"""The table of publications: made again from spans, and read.

Synchronous functions for a connection's thread. Rows are written with their spans. Invariant: whoever looks for the
rule sets of a tenant reads the publications of those nodes alone that ever were root, whatever others wrote.
"""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import SpanId
from lognode.core.limits import SIZE_MAX
from lognode.core.span import decode_body
from lognode.timeline.agreement.rules.publications import (
    PUBLISHING,
    Publication,
    RulePublish,
    parse_publication,
    parse_rule_publish,
    publication_row,
)
from lognode.timeline.record import (
    RECORD_COLUMNS,
    STUB_COLUMNS,
    FeedRef,
    Record,
    TenantRef,
    body_of,
    feed_of,
    header_of,
    id_of,
)

TELLING: Final = (
    "SELECT s.tenant, s.feed, s.seq, s.row, k.name, s.status, s.visibility, b.body"
    " FROM kinds k JOIN spans s ON s.kind = k.kind JOIN bodies b ON b.row = s.row"
    f" WHERE k.name IN ({', '.join(map(repr, PUBLISHING))})"
)
_PUBLISHED: Final = (
    f"SELECT p.name, p.hash, p.row, {RECORD_COLUMNS} FROM publications p JOIN spans s ON s.row = p.row"
    " LEFT JOIN bodies b ON b.row = s.row WHERE p.tenant = ?"
)
_ROWS: Final = "SELECT row FROM publications WHERE tenant = ? AND feed IN (SELECT value FROM json_each(?))"
_OPENING: Final = f"SELECT {STUB_COLUMNS} FROM spans s WHERE s.feed = ? AND s.seq = 0"
_HELD: Final = "SELECT feed, max(size) FROM feeds JOIN checkpoints USING (feed) WHERE tenant = ? GROUP BY feed"
_LATER: Final = "SELECT feed, min(seq) FROM spans WHERE tenant = ? AND hlc > ? GROUP BY feed"
_NEXT: Final = "SELECT min(name) FROM publications WHERE tenant = ? AND name > ?"


def rebuild_publications(conn: sqlite3.Connection) -> None:
    """Make the table again from the spans of all tenants, within the caller's transaction."""
    conn.execute("DELETE FROM publications")
    conn.executemany("INSERT INTO publications VALUES (?, ?, ?, ?, ?, ?)", told_publications(conn.execute(TELLING)))


def told_publications(spans: Iterator[tuple[Any, ...]] | sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    """The rows of publications that spans say, as TELLING gives them."""
    for tenant, feed, seq, row, kind, status, visibility, body in spans:
        try:
            said = publication_row(kind, status, visibility, decode_body(body).data)
        except CallerError:
            continue
        if said:
            yield tenant, said[0], feed, seq, row, said[1]


def read_publications(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feeds: Mapping[int, FeedRef],
    authors: Collection[bytes],
    known: dict[int, Publication],
    *,
    unread_max: int = SIZE_MAX,
) -> list[Publication] | None:
    """The publications of a tenant by these nodes, in any order. What is not `known` by row is read, and kept there.

    None where more than `unread_max` are to be read. Raises NodeFault("database.damaged").
    """
    held = [feed for feed in list(feeds.values()) if feed.tenant == tenant.number]
    numbers = [feed.number for feed in held if feed.node_key in authors]
    rows = [row for (row,) in conn.execute(_ROWS, (tenant.number, _listed(numbers)))]
    missing = [row for row in rows if row not in known]
    if len(missing) > unread_max:
        return None
    if missing:
        sql = f"{_PUBLISHED} AND p.row IN (SELECT value FROM json_each(?))"
        known.update((one.row, one) for one in _publications(conn, feeds, sql, (tenant.number, _listed(missing))))
    return [known[row] for row in rows]


def _listed(numbers: Sequence[int]) -> str:
    return f"[{', '.join(map(str, numbers))}]"


def read_versions(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], name: str, limit: int
) -> list[Publication]:
    """The newest publications of a name by anybody, the newest first. Raises NodeFault("database.damaged")."""
    sql = f"{_PUBLISHED} AND p.name = ? ORDER BY s.hlc DESC, s.row DESC LIMIT ?"
    return sorted(_publications(conn, feeds, sql, (tenant.number, name, limit)), key=lambda one: one.id, reverse=True)


def next_names(conn: sqlite3.Connection, tenant: TenantRef, after: str, limit: int) -> list[str]:
    """The names of rule sets behind `after`, also of those that nobody published who might; at most `limit`."""
    found: list[str] = []
    while len(found) < limit:
        (name,) = conn.execute(_NEXT, (tenant.number, found[-1] if found else after)).fetchone()
        if name is None:
            break
        found.append(name)
    return found


def held_past(conn: sqlite3.Connection, tenant: TenantRef, ahead: int) -> dict[int, int]:
    """How many entries of each feed are held, up to the first one later than `ahead`."""
    past = dict(conn.execute(_HELD, (tenant.number,)).fetchall())
    past.update(conn.execute(_LATER, (tenant.number, ahead)).fetchall())
    return past


def read_text(conn: sqlite3.Connection, row: int) -> RulePublish:
    """What the `rule.publish` in a row says. Raises NodeFault("database.damaged")."""
    sql = f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b ON b.row = s.row WHERE s.row = ?"
    found = conn.execute(sql, (row,)).fetchone()
    try:
        record = Record(*found) if found else None
        body = body_of(record, header_of(record)) if record else None
        return parse_rule_publish(decode_body(body or b"").data)
    except CallerError as error:
        place = f"publications row {row}"
        raise NodeFault("database.damaged", f"no rule set stands there: {error.detail}", place=place) from error


def _publications(
    conn: sqlite3.Connection, feeds: Mapping[int, FeedRef], sql: str, values: Sequence[object]
) -> Iterator[Publication]:
    openings: dict[int, SpanId] = {}
    with closing(conn.execute(sql, values)) as rows:  # one after the other: their texts may be large
        for name, digest, row, *stored in rows:
            record = Record(*stored)
            feed, header = feed_of(record, feeds), header_of(record)
            if record.feed not in openings:
                first = conn.execute(_OPENING, (record.feed,)).fetchone()
                openings[record.feed] = id_of(Record(*first), feed.feed_id) if first else SpanId(b"")
            try:
                said = parse_publication(header.kind, decode_body(body_of(record, header) or b"").data)
            except CallerError as error:
                detail = f"no publication stands there: {error.detail}"
                raise NodeFault("database.damaged", detail, place=f"publications row {row}") from error
            id_, after = id_of(record, feed.feed_id), (*said.after, openings[record.feed])
            text = (said.media, len(said.text)) if isinstance(said, RulePublish) else ()
            at = (record.feed, feed.feed_id, record.seq, row)
            yield Publication(name, digest, id_, *at, feed.node_key, after, *text)
