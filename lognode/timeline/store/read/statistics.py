"""What a tenant's timeline amounts to: its spans by kind, the feeds of all its nodes, and what of them has no effect.

Synchronous, for a reader's thread. Invariant: spans, void and withheld entries together are all entries of all feeds;
each is counted once.
"""

import sqlite3
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from lognode.core.clock import hlc_ms, state_hash, time_text
from lognode.core.ids import LogLineKind, b32encode, format_logline, logline
from lognode.timeline.proof.checkpoint import Checkpoint, origin, parse_checkpoint, vkey
from lognode.timeline.record import POSITION_MASK, FeedRef, TenantRef, row_of
from lognode.timeline.store.read.proofs import latest_note
from lognode.timeline.store.read.ranges import read_clock
from lognode.timeline.store.read.voids import IS_VALID, has_voids
from lognode.timeline.store.write import find_ending
from lognode.timeline.verify.inert import WITHHELD

# Void spans by feed and kind: each cut feed's range, and control spans that no cut covers.
_BEYOND: Final = """
    SELECT s.feed, s.kind, count(*) FROM cuts c JOIN feeds f ON f.feed = c.feed
    JOIN spans s ON s.feed = c.feed AND s.seq >= c.size WHERE f.tenant = ? GROUP BY s.feed, s.kind"""
_VOID: Final = """
    SELECT s.feed, s.kind, count(*) FROM voids v JOIN spans s ON s.row = v.row LEFT JOIN cuts c ON c.feed = s.feed
    WHERE v.row BETWEEN ? AND ? AND s.seq < coalesce(c.size, s.seq + 1) GROUP BY s.feed, s.kind"""
_INERT: Final = f"""
    SELECT i.feed, i.reason = '{WITHHELD}', count(*) FROM feeds f CROSS JOIN inert i ON i.feed = f.feed
    WHERE f.tenant = ? GROUP BY 1, 2"""


class _Effectless(NamedTuple):
    """Entries that are in no order: void ones by feed, spans among them by kind, and withheld ones by feed."""

    void: Counter[int]
    kinds: Counter[int]
    withheld: Counter[int]


def statistics(conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef]) -> dict[str, Any]:
    """What the tenant's timeline amounts to, for JSON: spans, first and last time, kinds, feeds, state hash.

    Spans and kinds are those that have effect. Counting kinds walks an index once: some 40 ms at a million spans, and
    entries that are void or withheld cost as much again. The rest does not grow with history.
    """
    effectless = _count_effectless(conn, tenant)
    (newest,) = conn.execute(
        "SELECT max(row) FROM spans WHERE row BETWEEN ? AND ?",
        (row_of(tenant.number, 1), row_of(tenant.number, POSITION_MASK)),
    ).fetchone()
    kinds = conn.execute(
        "SELECT name, kind, (SELECT count(*) FROM spans s WHERE s.kind = k.kind) AS spans FROM kinds k"
        " WHERE k.tenant = ? ORDER BY name",
        (tenant.number,),
    ).fetchall()
    first, last = (_end(conn, tenant, way, is_valid=not effectless.kinds) for way in ("ASC", "DESC"))
    # A feed is known here before the commit that opens it.
    stored = {number for (number,) in conn.execute("SELECT feed FROM feeds WHERE tenant = ?", (tenant.number,))}
    held = [feed for number, feed in sorted(feeds.items()) if number in stored]
    heads = {feed: parse_checkpoint(latest_note(conn, feed)) for feed in held}
    newest_own = max((feed for feed in held if feed.own), default=None)
    written = newest_own if newest_own and find_ending(conn, newest_own) is None else None
    return {
        "spans": (newest & POSITION_MASK if newest else 0) - effectless.kinds.total(),
        "void": effectless.void.total(),
        "withheld": effectless.withheld.total(),
        "first_at": first,
        "last_at": last,
        "kinds": {
            name: count - effectless.kinds[kind] for name, kind, count in kinds if count > effectless.kinds[kind]
        },
        "feeds": [
            {
                **_feed_json(tenant, feed, heads[feed]),
                "own": feed.own,
                "open": feed == written,
                "void": effectless.void[feed.number],
                "withheld": effectless.withheld[feed.number],
            }
            for feed in held
        ],
        "state": state_hash(read_clock(conn, tenant)).hex(),
    }


def _feed_json(tenant: TenantRef, feed: FeedRef, head: Checkpoint) -> dict[str, Any]:
    return {
        "feed": b32encode(feed.feed_id),
        "node": format_logline(logline(LogLineKind.NODE, feed.node_key)),
        "vkey": vkey(origin(tenant.tenant_id, feed.feed_id), feed.log_key),
        "size": head.size,
        "root": head.root.hex(),
    }


def _end(conn: sqlite3.Connection, tenant: TenantRef, way: str, *, is_valid: bool) -> str | None:
    """The time of the first or last span that has effect, None where there is none."""
    valid = "" if is_valid else f" AND {IS_VALID}"
    sql = f"SELECT s.hlc FROM spans s WHERE s.tenant = ?{valid} ORDER BY s.hlc {way} LIMIT 1"
    found = conn.execute(sql, (tenant.number,)).fetchone()
    return time_text(hlc_ms(found[0])) if found else None


def _count_effectless(conn: sqlite3.Connection, tenant: TenantRef) -> _Effectless:
    found = _Effectless(Counter(), Counter(), Counter())
    for feed, is_withheld, count in conn.execute(_INERT, (tenant.number,)):
        (found.withheld if is_withheld else found.void)[feed] += count
    if has_voids(conn, tenant.number):
        bounds = (row_of(tenant.number, 1), row_of(tenant.number, POSITION_MASK))
        for sql, values in ((_BEYOND, (tenant.number,)), (_VOID, bounds)):
            for feed, kind, count in conn.execute(sql, values):
                found.void[feed] += count
                found.kinds[kind] += count
    return found
