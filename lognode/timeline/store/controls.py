"""The control spans of a tenant: those that are held, and those that are known ahead of their ranges.

Synchronous functions that read what an engine keeps in memory. Damage is this node's fault.
"""

import sqlite3
from collections.abc import Mapping

from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import FeedId, SpanId
from lognode.core.span import Entry, decode_body, decode_header, leaf_hashes, span_id
from lognode.timeline.control.forks import check_feed_fork, parse_feed_fork
from lognode.timeline.control.founding import parse_feed_open
from lognode.timeline.members import Control
from lognode.timeline.proof.fork import ForkProof, parse_fork
from lognode.timeline.record import FeedRef, TenantRef, body_of, feed_of, header_of, id_of, row_of
from lognode.timeline.store.write import find_control


def held_controls(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef]
) -> dict[SpanId, tuple[Control, int]]:
    """The control spans that are held, each with its row. Raises NodeFault("database.damaged")."""
    found = {}
    for record in find_control(conn, tenant):
        feed, header = feed_of(record, feeds), header_of(record)
        id_ = id_of(record, feed.feed_id)
        data = _data(body_of(record, header) or b"")
        control = Control(id_, feed.feed_id, record.seq, record.hlc, feed.node_key, header.kind, data)
        found[id_] = (control, row_of(tenant.number, record.position))
    return found


def foretold_controls(conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef]) -> list[Control]:
    """The control spans that are foretold. Raises NodeFault("database.damaged")."""
    authors = {feed.feed_id: feed.node_key for feed in feeds.values() if feed.tenant == tenant.number}
    sql = "SELECT feed_id, seq, hlc, visibility, header, body FROM foretold WHERE tenant = ? ORDER BY feed_id, seq"
    found = []
    for feed_id, seq, *depths in conn.execute(sql, (tenant.number,)):
        entry, feed = Entry(*depths), FeedId(feed_id)
        try:
            (leaf,) = leaf_hashes(feed, seq, [entry])
            kind, data = decode_header(entry.header).kind, _data(entry.body or b"")
            if feed not in authors and seq == 0:
                authors[feed] = parse_feed_open(data).node_key
        except CallerError as error:
            raise NodeFault("database.damaged", f"foretold span {seq} of a feed: {error.detail}") from error
        if feed not in authors:
            raise NodeFault("database.damaged", f"foretold span {seq} of a feed whose feed.open is missing")
        found.append(Control(span_id(entry.hlc, leaf), feed, seq, entry.hlc, authors[feed], kind, data))
    return found


def read_evidence(conn: sqlite3.Connection, tenant: TenantRef) -> dict[FeedId, ForkProof]:
    """Proofs that were found here. Raises NodeFault("database.damaged")."""
    found = {}
    for feed_id, proof in conn.execute("SELECT feed_id, proof FROM evidence WHERE tenant = ?", (tenant.number,)):
        try:
            found[FeedId(feed_id)] = parse_fork(proof)
        except CallerError as error:
            raise NodeFault("database.damaged", f"evidence: {error.detail}") from error
    return found


def read_fork_proofs(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef]
) -> dict[FeedId, ForkProof]:
    """The proof of the smallest place of each fork that is known, found here or told. Raises NodeFault."""
    found = read_evidence(conn, tenant)
    told = [control for control, _ in held_controls(conn, tenant, feeds).values()]
    for control in (*told, *foretold_controls(conn, tenant, feeds)):
        if control.kind == "feed.fork":
            try:
                data = parse_feed_fork(control.data)
                check_feed_fork(tenant.tenant_id, data)
            except CallerError:
                continue
            if data.proof.feed not in found or data.seq < found[data.proof.feed].seq:
                found[data.proof.feed] = data.proof
    return found


def _data(body: bytes) -> bytes:
    """The data of a control span; a malformed body says nothing."""
    try:
        return decode_body(body).data
    except CallerError:
        return b""
