"""Feeds of other nodes, written by hand: what their nodes sign, as it travels, and as a node here stores it.

A Pen makes entries and signs them; `store` puts them into a database as what a node took in, with the real encoders and
none of the code that takes ranges in.
"""

import sqlite3
from hashlib import sha256
from typing import Any

from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.core.ids import FeedId, SpanId, TenantId
from lognode.core.span import (
    ORGANIZATION,
    PRIVATE,
    PUBLIC,
    Body,
    Entry,
    Foretold,
    Header,
    Range,
    decode_body,
    decode_header,
    encode_body,
    encode_header,
    leaf_hash,
    span_id,
    stub_entry,
)
from lognode.engine.commit import fold_tiles, plan_append
from lognode.identity.keys import NodeKeys
from lognode.timeline.agreement.merges import MERGE, Merged, is_merge, merge_data, merge_rows
from lognode.timeline.control.founding import feed_id, feed_open_data
from lognode.timeline.control.members import join_statement, member_admit_data, sign_join
from lognode.timeline.proof.checkpoint import sign_checkpoint
from lognode.timeline.proof.cosignature import cosign
from lognode.timeline.proof.tree import EMPTY, grow, inclusion_proof, perfect_rows, root_of
from lognode.timeline.record import FeedRef, TenantRef, labels_of, row_of
from lognode.timeline.state import FeedState
from lognode.timeline.store.agreement.rebuilding import rebuild_subjects
from lognode.timeline.store.rules.publications import rebuild_publications
from lognode.timeline.store.write import apply_write, chain_checkpoints, load_numbers, load_tenant, newest_position
from lognode.timeline.verify.inert import inert_reason

START_HLC = 1_760_000_000_000 << 16
_EMPTY = Body(bytes(16), None, b"", [], None, None, None, None, [], b"", b"", None, None)


class Pen:
    """A node that writes one feed; its entry 0 is a feed.open that nobody need believe."""

    def __init__(
        self,
        keys: NodeKeys,
        tenant: TenantId,
        after: list[SpanId],
        *,
        number: int = 0,
        parent: tuple[FeedId, int, bytes] | None = None,
        reason: str = "joining",
        hlc: int | None = None,
    ) -> None:
        self.keys = keys
        self.tenant = tenant
        nonce = sha256(b"pen %d" % number).digest()[:16]
        self.feed_id = feed_id(tenant, keys.public, nonce)
        self.key = keys.log_key(self.feed_id)
        self.entries: list[Entry] = []
        self.leaves: list[bytes] = []
        self._notes: dict[int, bytes] = {}
        data = feed_open_data(keys, tenant, self.feed_id, nonce, after, parent, reason)
        self.opening = self.write("feed.open", data, visibility=PUBLIC, hlc=hlc)

    @property
    def next_hlc(self) -> int:
        return max((entry.hlc for entry in self.entries), default=START_HLC) + 1

    def write(
        self,
        kind: str = "note",
        data: bytes = b"",
        *,
        visibility: int = ORGANIZATION,
        hlc: int | None = None,
        status: int = 0,
        caused_by: SpanId | None = None,
        **said: Any,
    ) -> SpanId:
        """A span; `said` are fields of its body."""
        body = encode_body(_EMPTY._replace(data=data, **said))
        header = encode_header(Header(1, kind, None, status, caused_by, sha256(body).digest(), len(body)))
        return self.add(Entry(hlc or self.next_hlc, visibility, header, body))

    def add(self, entry: Entry) -> SpanId:
        """Any entry at all."""
        leaf = leaf_hash(stub_entry(self.feed_id, len(self.leaves), entry.hlc, entry.visibility, entry.header_sha256))
        self.entries.append(entry)
        self.leaves.append(leaf)
        return span_id(entry.hlc, leaf)

    def note(self, size: int | None = None) -> bytes:
        """The checkpoint at a size, by default the end."""
        size = len(self.leaves) if size is None else size
        if size not in self._notes:
            root = root_of(grow(EMPTY, self.leaves[:size]).border)
            self._notes[size] = sign_checkpoint(self.key, self.tenant, self.feed_id, size, root)
        return self._notes[size]

    def range(self, start: int = 0, stop: int | None = None) -> Range:
        """Entries as others get them: private ones are stubs."""
        stop = len(self.entries) if stop is None else stop
        entries = [shared(entry) for entry in self.entries[start:stop]]
        return Range(self.feed_id, start, entries, self.note(stop))

    @property
    def head(self) -> tuple[FeedId, int, bytes]:
        """What others know who hold all of it."""
        return self.feed_id, len(self.leaves), root_of(grow(EMPTY, self.leaves).border)

    def merge(self, *heads: tuple[FeedId, int, bytes], time_s: int = 1_760_000_000, hlc: int | None = None) -> SpanId:
        """A merge of what others have written."""
        witness = self.keys.witness_key(self.tenant)
        merged = [Merged(*head, time_s, cosign(witness, self.tenant, *head, time_s)) for head in heads]
        return self.write(MERGE, merge_data(merged), visibility=PUBLIC, hlc=hlc)

    def foretold(self, seq: int, size: int | None = None) -> Foretold:
        """A span ahead of its range."""
        size = len(self.leaves) if size is None else size
        rows = perfect_rows(self.leaves[:size])
        path = inclusion_proof(seq, size, lambda level, index: rows[level][index])
        return Foretold(self.feed_id, seq, self.entries[seq], self.note(size), path)

    def store(
        self, conn: sqlite3.Connection, tenant: int, *, milestones: tuple[int, ...] = (), own: bool = False
    ) -> FeedRef:
        """Have a tenant hold the whole feed, with a checkpoint at each of these sizes and at the end.

        Of an `own` one private spans are held as well.
        """
        (number,) = conn.execute("SELECT coalesce(max(feed), 0) + 1 FROM feeds").fetchone()
        feed = FeedRef(number, tenant, self.feed_id, self.keys.public, self.key.public, own=own)
        conn.execute("INSERT INTO feeds VALUES (?, ?, ?, ?, ?, ?)", feed)
        position, hlc = newest_position(conn, tenant), -1
        for seq, entry in enumerate(self.entries if own else map(shared, self.entries)):
            reason = inert_reason(entry, hlc)
            hlc = max(hlc, entry.hlc)
            if reason is None:
                position += 1
                self._store_span(conn, feed, seq, entry, row_of(tenant, position))
            else:
                conn.execute("INSERT INTO inert VALUES (?, ?, ?, ?, ?, ?, ?)", (number, seq, *entry, reason))
        _, rows = fold_tiles(FeedState(feed, EMPTY, {}), grow(EMPTY, self.leaves).nodes)
        conn.executemany("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?, ?)", rows)
        for size in {*milestones, len(self.leaves)}:
            conn.execute("INSERT INTO checkpoints VALUES (?, ?, ?, 0)", (number, size, self.note(size)))
        chain_checkpoints(conn, number, 0)
        rebuild_subjects(conn)
        rebuild_publications(conn)
        return feed

    def foretell(self, conn: sqlite3.Connection, tenant: int, seq: int, size: int | None = None) -> None:
        """Have a tenant hold a span ahead of its range."""
        span = self.foretold(seq, size)
        values = (tenant, self.feed_id, seq, *span.entry, span.note, b"".join(span.path))
        conn.execute("INSERT INTO foretold VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def _store_span(self, conn: sqlite3.Connection, feed: FeedRef, seq: int, entry: Entry, row: int) -> None:
        header, tenant = decode_header(entry.header), feed.tenant
        conn.execute("INSERT OR IGNORE INTO kinds (tenant, name) VALUES (?, ?)", (tenant, header.kind))
        sql = "SELECT kind FROM kinds WHERE tenant = ? AND name = ?"
        (kind,) = conn.execute(sql, (tenant, header.kind)).fetchone()
        columns = (kind, None, header.status, header.caused_by, entry.header)
        conn.execute(
            f"INSERT INTO spans VALUES ({', '.join('?' * 11)})",
            (row, tenant, feed.number, seq, entry.hlc, entry.visibility, *columns),
        )
        assert entry.body is not None
        conn.execute("INSERT INTO bodies VALUES (?, ?)", (row, entry.body))
        if is_merge(header.kind, None, header.status, entry.visibility):
            data = decode_body(entry.body).data
            merged, cosigned = merge_rows(tenant, feed.number, self.keys.public, seq, data)
            conn.executemany("INSERT INTO merged VALUES (?, ?, ?, ?, ?)", merged)
            conn.executemany("INSERT OR REPLACE INTO cosignatures VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", cosigned)
        labels = [(tenant, field, value, entry.hlc, row) for field, value in labels_of(decode_body(entry.body))]
        conn.executemany("INSERT INTO labels VALUES (?, ?, ?, ?, ?)", labels)


def append_control(conn: sqlite3.Connection, keys: NodeKeys, tenant: TenantRef, kind: str, data: bytes) -> SpanId:
    """A control span in the node's own newest feed."""
    state = load_tenant(conn, tenant)
    assert state.head is not None
    draft = Draft(kind=kind, data=data, visibility=PUBLIC)
    log_key = keys.log_key(state.head.feed.feed_id)
    plan = plan_append(state, load_numbers(conn), [[draft]], {}, {}, log_key=log_key, now_ms=0, random_bytes=bytes)
    apply_write(conn, plan.write)
    return plan.outcomes[0][0][0].id


def admitted(keys: NodeKeys, by: NodeKeys, tenant: TenantId, after: list[SpanId], level: Level) -> bytes:
    """The data by which one node admits another."""
    statement = join_statement(keys, tenant, None, by.public, level, bytes(16))
    return member_admit_data(after, statement, sign_join(keys, tenant, statement, None))


def shared(entry: Entry) -> Entry:
    """An entry as nodes other than its author's may have it."""
    if entry.visibility == PRIVATE:
        return Entry(entry.hlc, PRIVATE, entry.header_sha256, None)
    return entry


def write_all_sorts(pen: Pen, count: int) -> None:
    """Entries of every sort: spans, private ones, and void ones of each reason, some in mid-feed."""
    for number in range(count):
        visibility = (PUBLIC, ORGANIZATION, PRIVATE)[number % 3]
        said: dict[str, Any] = {"title": f"Number {number}", "tags": ["all"], "subject": f"s-{number % 5}"}
        pen.write("note", encode({"n": number}), visibility=visibility, **said)
        if number % 25 == 7:
            pen.write("late.note", hlc=pen.next_hlc - 5)
        if number % 25 == 11:
            pen.add(Entry(pen.next_hlc, 7, *pen.entries[0][2:]))
        if number % 25 == 13:
            pen.add(Entry(pen.next_hlc, ORGANIZATION, encode([2, "note", "of another version"]), None))
