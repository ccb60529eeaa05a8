"""What one commit writes, and what the writer reads back.

Synchronous functions for the writing connection's thread. They decide nothing: plans come from the engine.
Rows stand flat, value after value, because a statement with 250 rows steps once: it costs less than 250
statements, and the interpreter is free for other tasks meanwhile.
"""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import Any

from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import FeedId, LogLine, TenantId
from lognode.core.span import CONTROL_PREFIXES, Entry, leaf_hash, stub_entry
from lognode.timeline.proof.checkpoint import Checkpoint, origin, verify_checkpoint, vkey
from lognode.timeline.proof.tree import EMPTY, HASH_BYTES, TILE_LEVELS, TILE_WIDTH, Border, grow, root_of
from lognode.timeline.record import RECORD_COLUMNS, FeedRef, Record, TenantRef, leaf_of, row_of
from lognode.timeline.state import ENDING_REASONS, FETCHED, FeedState, Held, Numbers, TenantState, Verdicts, WritePlan
from lognode.timeline.store.agreement.disputes import hint_all_disputes, hint_disputes
from lognode.timeline.store.agreement.merges import save_cosignatures
from lognode.timeline.verify.inert import HLC_FALLS

CHUNK_ROWS = 250
# The kinds of a tenant's control spans: anybody may make any number of them, so they are no parameters.
CONTROL_KINDS = (
    "SELECT kind FROM kinds WHERE tenant = ? AND substr(name, 1, instr(name || '.', '.') - 1) "
    f"IN ({', '.join(map(repr, sorted(CONTROL_PREFIXES)))})"
)
_CUTS = "SELECT c.feed, c.size FROM cuts c JOIN feeds f ON f.feed = c.feed WHERE f.tenant = ? ORDER BY c.feed"
_LEAF_COLUMNS = RECORD_COLUMNS.replace("b.body", "NULL")

_COLUMNS = {
    "tenants": 2,
    "aliases": 3,
    "feeds": 6,
    "kinds": 3,
    "actors": 3,
    "spans": 11,
    "bodies": 2,
    "labels": 5,
    "idems": 3,
    "inert": 7,
    "foretold": 9,
    "endings": 2,
    "latest": 6,
    "reverts": 3,
    "merged": 5,
    "evidence": 4,
    "branches": 8,
    "tasks": 21,
    "schedules": 18,
    "rule_cursors": 3,
    "publications": 6,
    "held": 12,
}
_CLAUSES = {
    "endings": " ON CONFLICT DO UPDATE SET reason = excluded.reason",
    "evidence": " ON CONFLICT DO UPDATE SET seq = excluded.seq, proof = excluded.proof WHERE excluded.seq < seq",
    "latest": " ON CONFLICT DO UPDATE SET seq = excluded.seq, row = excluded.row",
    # Of a task that is there already, the end of the attempt that is under way is written, and nothing else.
    "tasks": (
        " ON CONFLICT DO UPDATE SET state = excluded.state, attempts = excluded.attempts, "
        "ended_ms = excluded.ended_ms, span = excluded.span, error = excluded.error, detail = excluded.detail, "
        "seal = excluded.seal "
        "WHERE state = 'running' AND run = excluded.run AND excluded.state <> 'waiting'"
    ),
    # A schedule gives way to another of its name, unless somebody paused it; one that says the same goes on as it is.
    "schedules": (
        " ON CONFLICT DO UPDATE SET what = excluded.what, payload = excluded.payload, cron = excluded.cron, "
        "interval_ms = excluded.interval_ms, from_ms = excluded.from_ms, missed = excluded.missed, "
        "priority = excluded.priority, patience_ms = excluded.patience_ms, created_ms = excluded.created_ms, "
        "handled_ms = excluded.handled_ms, next_ms = excluded.next_ms, runs = excluded.runs, cause = excluded.cause, "
        "seal = excluded.seal WHERE paused = 0 AND (what, payload, missed, priority, cron, interval_ms, patience_ms) "
        "IS NOT (excluded.what, excluded.payload, excluded.missed, excluded.priority, excluded.cron, "
        "excluded.interval_ms, excluded.patience_ms)"
    ),
    "rule_cursors": " ON CONFLICT DO UPDATE SET position = excluded.position, seal = excluded.seal",
    "held": (
        " ON CONFLICT DO UPDATE SET needed = excluded.needed, draft = excluded.draft, state = excluded.state, "
        "ended_ms = excluded.ended_ms, seal = excluded.seal"
    ),
}


def apply_write(conn: sqlite3.Connection, plan: WritePlan, then: Callable[[], None] | None = None) -> None:
    """Commit a plan: when this returns, it is fsynced, and `then` was called. Any error leaves no transaction open."""
    conn.execute("BEGIN IMMEDIATE")
    try:
        for table, width in _COLUMNS.items():
            values = plan.rows.get(table)
            if values:
                _insert(conn, table, width, values)
        if plan.tiles:
            conn.executemany("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?)", plan.tiles)
        for feed, size, note in plan.checkpoints:
            conn.execute("INSERT INTO checkpoints (feed, size, note) VALUES (?, ?, ?)", (feed, size, note))
        if cosigned := plan.rows.get("cosignatures"):
            # Before checkpoints go that they may be for.
            save_cosignatures(conn, cosigned)
        for feed, size in plan.dropped:
            conn.execute("DELETE FROM checkpoints WHERE feed = ? AND size = ?", (feed, size))
        for feed, size, _ in plan.checkpoints:
            chain_checkpoints(conn, feed, size)
        conn.executemany("DELETE FROM foretold WHERE tenant = ? AND feed_id = ? AND seq < ?", plan.arrived)
        for verdicts in plan.verdicts:
            _replace_verdicts(conn, verdicts)
        if plan.subjects:
            hint_disputes(conn, plan.subjects)
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
    if then is not None:
        then()


def _replace_verdicts(conn: sqlite3.Connection, verdicts: Verdicts) -> None:
    tenant = verdicts.tenant
    before = conn.execute(_CUTS, (tenant,)).fetchall()
    conn.execute("DELETE FROM cuts WHERE feed IN (SELECT feed FROM feeds WHERE tenant = ?)", (tenant,))
    conn.executemany("INSERT INTO cuts VALUES (?, ?, ?)", verdicts.cuts)
    conn.execute("DELETE FROM bounds WHERE tenant = ?", (tenant,))
    conn.executemany("INSERT INTO bounds VALUES (?, ?, ?)", [(tenant, *bound) for bound in verdicts.bounds])
    # Anybody may write void control spans without end, so only what differs is written.
    bounds = (row_of(tenant, 0), row_of(tenant + 1, 0))
    voids, said = set(conn.execute("SELECT * FROM voids WHERE row >= ? AND row < ?", bounds)), set(verdicts.voids)
    conn.executemany("DELETE FROM voids WHERE row = ?", [(row,) for row, _ in voids - said])
    conn.executemany("INSERT INTO voids VALUES (?, ?)", sorted(said - voids))
    if [(feed, size) for feed, size, _ in verdicts.cuts] != before:
        hint_all_disputes(conn, tenant)


def _insert(conn: sqlite3.Connection, table: str, width: int, values: list[Any]) -> None:
    row, clause = f"({', '.join('?' * width)})", _CLAUSES.get(table, "")
    step = width * CHUNK_ROWS
    full = len(values) - len(values) % step
    for start in range(0, full, step):
        conn.execute(
            f"INSERT INTO {table} VALUES {', '.join([row] * CHUNK_ROWS)}{clause}", values[start : start + step]
        )
    if full < len(values):
        rest = [values[start : start + width] for start in range(full, len(values), width)]
        conn.executemany(f"INSERT INTO {table} VALUES {row}{clause}", rest)


def write_heartbeat(conn: sqlite3.Connection, unix_ms: int) -> None:
    """One small durable write: what /readyz asks for."""
    conn.execute("INSERT OR REPLACE INTO heartbeat VALUES (1, ?)", (unix_ms,))


def load_numbers(conn: sqlite3.Connection) -> Numbers:
    """The next free number of each dictionary; tenants count from 0, the others from 1."""
    tenant = conn.execute("SELECT coalesce(max(tenant) + 1, 0) FROM tenants").fetchone()[0]
    names = Numbers._fields[1:]
    return Numbers(tenant, *(conn.execute(f"SELECT coalesce(max({n}), 0) + 1 FROM {n}s").fetchone()[0] for n in names))


def load_tenants(conn: sqlite3.Connection) -> list[TenantRef]:
    """Every tenant of this node."""
    sql = "SELECT t.tenant, t.tenant_id, a.alias FROM tenants t LEFT JOIN aliases a ON a.tenant = t.tenant"
    return [TenantRef(number, TenantId(tenant_id), alias) for number, tenant_id, alias in conn.execute(sql)]


def load_feeds(conn: sqlite3.Connection) -> list[FeedRef]:
    """Every feed of this node."""
    sql = "SELECT feed, tenant, feed_id, node_key, log_key, own FROM feeds ORDER BY feed"
    return [FeedRef(n, t, FeedId(i), node, log, bool(own)) for n, t, i, node, log, own in conn.execute(sql)]


def newest_position(conn: sqlite3.Connection, tenant: int) -> int:
    """The position of a tenant's newest arrival; 0 before the first."""
    bounds = (row_of(tenant, 0), row_of(tenant + 1, 0))
    row = conn.execute("SELECT max(row) FROM spans WHERE row >= ? AND row < ?", bounds).fetchone()[0]
    return 0 if row is None else row - bounds[0]


def load_tenant(conn: sqlite3.Connection, tenant: TenantRef) -> TenantState:
    """Where a tenant stands, read from its rows and the tiles of its open feed."""
    number = tenant.number
    open_feed = find_open_feeds(conn).get(number)
    head = load_feed(conn, open_feed) if open_feed else None
    kinds = conn.execute("SELECT name, kind FROM kinds WHERE tenant = ?", (number,)).fetchall()
    actors = conn.execute("SELECT logline, actor FROM actors WHERE tenant = ?", (number,)).fetchall()
    return TenantState(
        tenant,
        newest_position(conn, number),
        head.hlc if head else 0,
        head,
        find_ending(conn, head.feed) if head else None,
        dict(kinds),
        {LogLine(logline): actor for logline, actor in actors},
    )


def find_open_feeds(conn: sqlite3.Connection) -> dict[int, FeedRef]:
    """The feed of each tenant that this node wrote last; those that were fetched back from others do not count."""
    own = [feed for feed in load_feeds(conn) if feed.own]
    fetched = set(conn.execute("SELECT feed_id FROM endings WHERE reason = ?", (FETCHED,)))
    newest = sorted(own, key=lambda feed: ((feed.feed_id,) not in fetched, feed.number))
    return {feed.tenant: feed for feed in newest}


def find_ending(conn: sqlite3.Connection, feed: FeedRef) -> str | None:
    """Why nothing may follow in a feed; None where it goes on. Raises NodeFault("database.damaged")."""
    found = conn.execute("SELECT reason FROM endings WHERE feed_id = ?", (feed.feed_id,)).fetchone()
    if found and found[0] not in ENDING_REASONS:
        raise NodeFault("database.damaged", f"feed {feed.number} ends for no reason: {found[0]!r:.80}")
    return found[0] if found else None


def end_open_feeds(conn: sqlite3.Connection, reason: str) -> None:
    """Let nothing follow in the open feed of any tenant: the next write there opens a new one for this reason."""
    rows = [(feed.feed_id, reason) for feed in find_open_feeds(conn).values()]
    # A doubt may be lifted, and must not be where the reason stays.
    again = "ON CONFLICT DO UPDATE SET reason = excluded.reason WHERE reason = 'doubt'"
    conn.executemany(f"INSERT INTO endings VALUES (?, ?) {again}", rows)


def find_newest_hlc(conn: sqlite3.Connection, tenant: int, below: int) -> int:
    """The newest HLC of a tenant that is less than `below`, or 0."""
    found = conn.execute("SELECT max(hlc) FROM spans WHERE tenant = ? AND hlc < ?", (tenant, below)).fetchone()[0]
    return found or 0


def load_feed(conn: sqlite3.Connection, feed: FeedRef) -> FeedState:
    """Where a feed stands: border from its newest tiles and at most 255 entries, so never slower with age.

    Raises NodeFault("database.damaged") unless they lead to the signed root: whoever signed on top of anything
    else would fork the feed.
    """
    head = newest_checkpoint(conn, feed)
    if head is None:
        return FeedState(feed, EMPTY, {})
    nodes: list[bytes | None] = [None] * head.size.bit_length()
    tiles: dict[int, tuple[int, bytes]] = {}
    for level in range(1, head.size.bit_length() // TILE_LEVELS + 1):
        count = head.size >> (TILE_LEVELS * level)
        if not count % TILE_WIDTH:
            continue  # the newest tile is full, and the level above covers it
        tile = count // TILE_WIDTH
        hashes = tile_hashes(conn, feed, level, tile)
        tiles[level] = (tile, b"".join(hashes))
        for height, node in enumerate(grow(EMPTY, hashes).border.nodes):
            nodes[TILE_LEVELS * level + height] = node
    rest = grow(EMPTY, leaves_of(conn, feed, head.size - head.size % TILE_WIDTH, head.size)).border
    nodes[: len(rest.nodes)] = rest.nodes
    border = Border(head.size, tuple(nodes))
    if root_of(border) != head.root:
        raise NodeFault("database.damaged", f"feed {feed.number} does not lead to its checkpoint")
    milestone = newest_milestone(conn, feed, head.size)
    return FeedState(feed, border, tiles, newest_hlc(conn, feed), milestone, _weight_since(conn, feed, milestone))


def newest_hlc(conn: sqlite3.Connection, feed: FeedRef) -> int:
    """The newest time in a feed: of its last entry that is not void for its time."""
    sql = "SELECT seq, hlc FROM spans WHERE feed = ? ORDER BY seq DESC LIMIT 1"
    inert = "SELECT seq, hlc FROM inert WHERE feed = ? AND reason <> ? ORDER BY seq DESC LIMIT 1"
    found = [*conn.execute(sql, (feed.number,)), *conn.execute(inert, (feed.number, HLC_FALLS))]
    return max(found, default=(0, -1))[1]


def chain_checkpoints(conn: sqlite3.Connection, feed: int, start: int) -> None:
    """Have the checkpoints of a feed from size `start` on name the one that is kept before each."""
    prior = "SELECT max(c.size) FROM checkpoints c WHERE c.feed = checkpoints.feed AND c.size < checkpoints.size"
    conn.execute(f"UPDATE checkpoints SET prior = coalesce(({prior}), 0) WHERE feed = ? AND size >= ?", (feed, start))


def newest_milestone(conn: sqlite3.Connection, feed: FeedRef, size: int) -> int:
    """The size of the newest checkpoint that is kept before the one at `size`; 0 where there is none."""
    sql = "SELECT coalesce(max(size), 0) FROM checkpoints WHERE feed = ? AND size < ?"
    return conn.execute(sql, (feed.number, size)).fetchone()[0]  # type: ignore[no-any-return]


def _weight_since(conn: sqlite3.Connection, feed: FeedRef, start: int) -> int:
    """Bytes of the headers and bodies of a feed's entries from `start` on."""
    sql = "SELECT coalesce(sum(length(header) + coalesce(length(body), 0)), 0) FROM {} WHERE feed = ? AND seq >= ?"
    return sum(
        conn.execute(sql.format(table), (feed.number, start)).fetchone()[0]
        for table in ("spans LEFT JOIN bodies USING (row)", "inert")
    )


def disown_feeds(conn: sqlite3.Connection, numbers: Collection[int]) -> None:
    """Have feeds count as another node's, whose idempotency keys mean nothing here: their key gave way to a new one."""
    conn.execute("BEGIN IMMEDIATE")
    try:
        for number in numbers:
            conn.execute("DELETE FROM idems WHERE row IN (SELECT row FROM spans WHERE feed = ?)", (number,))
            conn.execute("UPDATE feeds SET own = 0 WHERE feed = ?", (number,))
    except BaseException:
        conn.execute("ROLLBACK")
        raise
    conn.execute("COMMIT")


def newest_checkpoint(conn: sqlite3.Connection, feed: FeedRef) -> Checkpoint | None:
    """The signed head of a feed; None before its first commit. Raises NodeFault("database.damaged")."""
    found = conn.execute("SELECT note FROM checkpoints WHERE feed = ? ORDER BY size DESC", (feed.number,)).fetchone()
    try:
        name = vkey(origin(_tenant_id(conn, feed.tenant), feed.feed_id), feed.log_key)
        return verify_checkpoint(found[0], name) if found else None
    except CallerError as error:
        raise NodeFault("database.damaged", f"checkpoint of feed {feed.number}: {error.detail}") from error


def tile_hashes(conn: sqlite3.Connection, feed: FeedRef, level: int, tile: int) -> list[bytes]:
    """The node hashes of a stored tile; none where it is missing."""
    sql = "SELECT hashes FROM tiles WHERE feed = ? AND level = ? AND tile = ?"
    found = conn.execute(sql, (feed.number, level, tile)).fetchone()
    hashes: bytes = found[0] if found else b""
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]


def _tenant_id(conn: sqlite3.Connection, tenant: int) -> TenantId:
    return TenantId(conn.execute("SELECT tenant_id FROM tenants WHERE tenant = ?", (tenant,)).fetchone()[0])


def leaves_of(conn: sqlite3.Connection, feed: FeedRef, start: int, stop: int) -> list[bytes]:
    """Leaf hashes of entries [start, stop) of a feed, recomputed from their rows."""
    sql = f"SELECT {_LEAF_COLUMNS} FROM spans s WHERE feed = ? AND seq >= ? AND seq < ? ORDER BY seq"
    records = [Record(*row) for row in conn.execute(sql, (feed.number, start, stop))]
    if len(records) == stop - start:
        return [leaf_of(record, feed.feed_id) for record in records]
    found = [(record.seq, leaf_of(record, feed.feed_id)) for record in records]
    sql = "SELECT seq, hlc, visibility, header, body FROM inert WHERE feed = ? AND seq >= ? AND seq < ?"
    for seq, *values in conn.execute(sql, (feed.number, start, stop)):
        entry = Entry(*values)
        found.append((seq, leaf_hash(stub_entry(feed.feed_id, seq, entry.hlc, entry.visibility, entry.header_sha256))))
    return [leaf for _, leaf in sorted(found)]


def find_idems(conn: sqlite3.Connection, tenant: int, idems: Sequence[bytes]) -> dict[bytes, Held]:
    """The spans already written under these idempotency keys.

    Of several under one key that which came first, among those that count where there are any.
    """
    found: dict[bytes, Held] = {}
    for start in range(0, len(idems), CHUNK_ROWS):
        chunk = idems[start : start + CHUNK_ROWS]
        sql = (
            f"SELECT i.idem, (SELECT max(size) FROM checkpoints c WHERE c.feed = s.feed), {RECORD_COLUMNS} "
            "FROM idems i JOIN spans s ON s.row = i.row LEFT JOIN bodies b ON b.row = i.row "
            "LEFT JOIN cuts k ON k.feed = s.feed AND k.size <= s.seq "
            f"WHERE i.tenant = ? AND i.idem IN ({', '.join('?' * len(chunk))}) ORDER BY k.feed IS NULL, i.row DESC"
        )
        found.update((row[0], Held(Record(*row[2:]), row[1])) for row in conn.execute(sql, (tenant, *chunk)))
    return found


def find_note(conn: sqlite3.Connection, feed: int, size: int) -> bytes | None:
    """The checkpoint of a feed at exactly `size`, where it is kept."""
    found = conn.execute("SELECT note FROM checkpoints WHERE feed = ? AND size = ?", (feed, size)).fetchone()
    return found[0] if found else None


def find_control(conn: sqlite3.Connection, tenant: TenantRef) -> list[Record]:
    """A tenant's control spans by arrival."""
    sql = (
        f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b ON b.row = s.row "
        f"WHERE s.kind IN ({CONTROL_KINDS}) ORDER BY s.row"
    )
    return [Record(*row) for row in conn.execute(sql, (tenant.number,))]
