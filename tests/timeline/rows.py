"""Timelines made row by row, with the real schema and the real encoders, for tests of what reads them."""

import sqlite3
import weakref
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from lognode.core.codec import encode
from lognode.core.draft import Origin, annotations_of
from lognode.core.ids import FeedId, LogLine, SpanId, TenantId
from lognode.core.span import (
    EXECUTED,
    ORGANIZATION,
    Body,
    Entry,
    Header,
    encode_body,
    encode_header,
    entry_bytes,
    leaf_hash,
    span_id,
    stub_entry,
)
from lognode.identity.keys import KeyPair, NodeKeys
from lognode.timeline.proof.checkpoint import sign_checkpoint
from lognode.timeline.proof.tree import EMPTY, grow, root_of
from lognode.timeline.record import FeedRef, TenantRef, row_of
from lognode.timeline.store.opening.migrate import apply_migrations
from lognode.timeline.store.write import chain_checkpoints

KEYS = NodeKeys.from_seed(bytes(32))
BOB = NodeKeys.from_seed(bytes(31) + b"\x01")  # another node


class Row(NamedTuple):
    """One span as it was asked for, and where it came to stand."""

    position: int
    hlc: int
    leaf: bytes
    id: SpanId
    kind: str
    title: str | None = None
    data: object = None
    tags: Sequence[str] = ()
    subject: str | None = None
    contract_id: str | None = None
    workflow_id: str | None = None
    flow_id: str | None = None
    actor: LogLine | None = None
    status: int = EXECUTED
    visibility: int = ORGANIZATION
    caused_by: SpanId | None = None
    origin: Origin | None = None


class Rows:
    """A database in memory, or on `conn`; `rows` holds what each tenant got, by arrival."""

    def __init__(self, conn: sqlite3.Connection | None = None) -> None:
        self.conn = conn or sqlite3.connect(":memory:", isolation_level=None)
        weakref.finalize(self, self.conn.close)  # warnings are errors, and one is about connections left open
        apply_migrations(self.conn)
        self.feeds: dict[int, FeedRef] = {}
        self.rows: dict[int, list[Row]] = {}
        self.leaves: dict[int, list[bytes]] = {}
        self._keys: dict[int, KeyPair] = {}

    def add_tenant(self) -> TenantRef:
        number = len(self.rows)
        tenant = TenantRef(number, TenantId(sha256(b"tenant %d" % number).digest()[:20]), None)
        self.conn.execute("INSERT INTO tenants VALUES (?, ?)", (number, tenant.tenant_id))
        self.rows[number] = []
        return tenant

    def add_feed(self, tenant: TenantRef, keys: NodeKeys = KEYS) -> FeedRef:
        """A feed of the node with these keys."""
        number = len(self.feeds) + 1
        feed_id = FeedId(sha256(b"feed %d" % number).digest()[:16])
        self._keys[number] = keys.log_key(feed_id)
        feed = FeedRef(number, tenant.number, feed_id, keys.public, self._keys[number].public, keys is KEYS)
        self.conn.execute("INSERT INTO feeds VALUES (?, ?, ?, ?, ?, ?)", feed)
        self.feeds[number] = feed
        self.leaves[number] = []
        return feed

    def add(self, feed: FeedRef, hlc: int, kind: str = "note", *, has_body: bool = True, **fields: Any) -> Row:
        """Store one span; `fields` are those of Row."""
        rows, leaves = self.rows[feed.tenant], self.leaves[feed.number]
        row = Row(len(rows) + 1, hlc, b"", SpanId(b""), kind, **fields)
        nonce = sha256(b"%d %d" % (feed.number, len(leaves))).digest()[:16]
        data = b"" if row.data is None else encode(row.data)
        said = annotations_of(row.origin)
        texts = (row.subject, row.contract_id, row.workflow_id, row.flow_id)
        body = encode_body(Body(nonce, row.title, data, sorted(row.tags), *texts, [], b"", said, None, None))
        header = encode_header(Header(1, kind, row.actor, row.status, row.caused_by, sha256(body).digest(), len(body)))
        leaf = leaf_hash(entry_bytes(feed.feed_id, len(leaves), hlc, row.visibility, header))
        row = row._replace(leaf=leaf, id=span_id(hlc, leaf))
        number = row_of(feed.tenant, row.position)
        self.conn.execute(
            "INSERT INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number, feed.tenant, feed.number, len(leaves), hlc, row.visibility,
                self._number_of("kind", "name", feed.tenant, kind),
                None if row.actor is None else self._number_of("actor", "logline", feed.tenant, row.actor),
                row.status, row.caused_by, header,
            ),
        )  # fmt: skip
        if has_body:
            self.conn.execute("INSERT INTO bodies VALUES (?, ?)", (number, body))
        labels = [(0, tag) for tag in row.tags] + [(field, text) for field, text in enumerate(texts, start=1) if text]
        labels += [(5, span) for span in row.origin.spans] if row.origin else []
        self.conn.executemany(
            "INSERT INTO labels VALUES (?, ?, ?, ?, ?)", [(feed.tenant, *label, hlc, number) for label in labels]
        )
        leaves.append(leaf)
        rows.append(row)
        return row

    def add_inert(
        self, feed: FeedRef, hlc: int, header: bytes, reason: str, *, visibility: int = 0, body: bytes | None = None
    ) -> None:
        """Store an entry of a feed that is no span; of what is withheld `header` is the hash."""
        leaves = self.leaves[feed.number]
        entry = Entry(hlc, visibility, header, body)
        values = (feed.number, len(leaves), hlc, visibility, header, body, reason)
        self.conn.execute("INSERT INTO inert VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        leaves.append(leaf_hash(stub_entry(feed.feed_id, len(leaves), hlc, visibility, entry.header_sha256)))

    def cut(self, feed: FeedRef, size: int, reason: str = "member.removed") -> None:
        """Make the entries of a feed from `size` on void."""
        self.conn.execute("INSERT OR REPLACE INTO cuts VALUES (?, ?, ?)", (feed.number, size, reason))

    def void(self, tenant: TenantRef, row: Row, reason: str = "control.unauthorised") -> None:
        """Make a span void."""
        self.conn.execute("INSERT INTO voids VALUES (?, ?)", (row_of(tenant.number, row.position), reason))

    def sign(self, tenant: TenantRef) -> None:
        """Write a checkpoint of each feed of the tenant as it is now, beside those before."""
        for feed in self.feeds.values():
            if feed.tenant == tenant.number:
                leaves = self.leaves[feed.number]
                root = root_of(grow(EMPTY, leaves).border)
                key = self._keys[feed.number]
                note = sign_checkpoint(key, tenant.tenant_id, feed.feed_id, len(leaves), root)
                self.conn.execute("INSERT INTO checkpoints VALUES (?, ?, ?, 0)", (feed.number, len(leaves), note))
                chain_checkpoints(self.conn, feed.number, 0)

    def _number_of(self, table: str, column: str, tenant: int, value: object) -> int:
        self.conn.execute(f"INSERT OR IGNORE INTO {table}s (tenant, {column}) VALUES (?, ?)", (tenant, value))
        sql = f"SELECT {table} FROM {table}s WHERE tenant = ? AND {column} = ?"
        number: int = self.conn.execute(sql, (tenant, value)).fetchone()[0]
        return number
