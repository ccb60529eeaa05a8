"""Bundles from stored rows and tiles.

What a bundle holds is fixed at its beginning: the newest checkpoint of each feed, and the newest span. It is read on
from there in steps, each in a snapshot of its own, so that nothing is held open for a client that takes its time.
Nothing is handed out that does not verify against those checkpoints. Synchronous, for a reader's thread.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from functools import cache, partial
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import b32encode
from lognode.core.limits import BUNDLE_FEEDS_MAX, BUNDLE_STEP_SPANS, PAGE_BYTES_MAX, PAGE_STEP_SPANS_MAX
from lognode.core.span import PRIVATE, Entry, decode_body, leaf_hash, stub_entry
from lognode.timeline.control.founding import check_tenant_create, parse_tenant_create
from lognode.timeline.proof.bundle.items import FeedItem, Head, SpanItem, StubItem, TenantItem, VoidItem
from lognode.timeline.proof.bundle.writer import BundleWriter
from lognode.timeline.proof.checkpoint import Checkpoint
from lognode.timeline.proof.tree import NodeSource, inclusion_proof, verify_inclusion
from lognode.timeline.query import Cursor, Query
from lognode.timeline.record import (
    RECORD_COLUMNS,
    FeedRef,
    Record,
    TenantRef,
    body_of,
    feed_of,
    header_of,
    leaf_of,
)
from lognode.timeline.store.read.pages import select_page
from lognode.timeline.store.read.proofs import checkpoint_of, latest_note, node_source
from lognode.timeline.store.write import newest_position
from lognode.timeline.verify.inert import WITHHELD

_FROM: Final = f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b ON b.row = s.row"
_RANGE: Final = f"{_FROM} WHERE s.feed = ? AND s.seq >= ? AND s.seq < ? ORDER BY s.seq LIMIT ?"
_INERT: Final = (
    "SELECT seq, hlc, visibility, header, body, reason FROM inert"
    " WHERE feed = ? AND seq >= ? AND seq < ? ORDER BY seq LIMIT ?"
)
_FOUNDING: Final = (
    f"{_FROM} WHERE s.kind = (SELECT kind FROM kinds WHERE tenant = ? AND name = 'tenant.create') AND s.seq = 1"
    " ORDER BY s.hlc"
)
_Nodes = Callable[[FeedRef], NodeSource]


class FeedRange(NamedTuple):
    """The entries [start, stop) of one feed; without `stop`, up to its newest."""

    feed: FeedRef
    start: int = 0
    stop: int | None = None


class BundleWish(NamedTuple):
    """What a caller wants bundled: the matches of a query in timeline order, or all entries of a feed's range."""

    what: Query | FeedRange
    text: str  # the same, as the caller said it
    has_private: bool

    @property
    def is_gapless(self) -> bool:
        """Whether every entry in between is wanted, so that private ones leave their stub in place of a gap."""
        what = self.what
        return isinstance(what, FeedRange) or what == Query(
            since_ms=what.since_ms,
            until_ms=what.until_ms,
            order=what.order,
            descending=what.descending,
            limit=what.limit,
        )


class _Inert(NamedTuple):
    """An entry of a feed that is no span of the timeline."""

    feed: int
    seq: int
    entry: Entry
    reason: str


class BundleSource:
    """One bundle in the making: `begin`, then `step` until it gives None, then the seal."""

    def __init__(self, tenant: TenantRef, feeds: Mapping[int, FeedRef], wish: BundleWish) -> None:
        self.writer = BundleWriter()
        self._tenant = tenant
        self._feeds = feeds
        self._wish = wish
        self._heads: dict[int, tuple[bytes, Checkpoint]] = {}  # of each feed: what its paths lead to
        self._numbers: dict[int, int] = {}  # of a feed here -> in the bundle
        self._newest = (0, 0)  # position and hlc: what came later is left to a later bundle
        self._cursor: Cursor | None = None
        self._next_seq = 0
        self.sealing: FeedRef

    def begin(self, conn: sqlite3.Connection, node_key: bytes, made_ms: int) -> bytes:
        """The head, the tenant, and the feed whose key will seal: who speaks here, and about what.

        Raises CallerError "feed.unknown" or "filter.invalid", NodeFault("database.damaged").
        """
        tenant = self._tenant
        own = []
        for feed in [feed for feed in self._feeds.values() if feed.tenant == tenant.number]:
            with suppress(CallerError):  # a feed is known here before the commit that opens it
                note = latest_note(conn, feed)
                self._heads[feed.number] = note, checkpoint_of(note)
                own += [feed] * feed.own
        if not own:
            raise CallerError("feed.unknown", "this node has written nothing in the tenant that it could seal with")
        self.sealing = max(own)
        (hlc,) = conn.execute("SELECT max(hlc) FROM spans WHERE tenant = ?", (tenant.number,)).fetchone()
        self._newest = newest_position(conn, tenant.number), hlc
        if isinstance(self._wish.what, FeedRange):
            self._next_seq = self._wish.what.start
            self._check_range(self._wish.what)
        head = Head(
            tenant.tenant_id, node_key, self.sealing.feed_id, made_ms, self._wish.text, int(self._wish.has_private)
        )
        nodes = _sources(conn)
        first, founding = _find_founding(conn, tenant, self._feeds)
        parts = [self.writer.add(head), self._introduced(conn, nodes, first), self._founded(nodes, first, founding)]
        return b"".join([*parts, self._introduced(conn, nodes, self.sealing)])

    def step(self, conn: sqlite3.Connection) -> bytes | None:
        """Some more items, none for a while, or None at the end. Raises as `begin`, and "search.off"."""
        records = self._next_records(conn)
        if records is None:
            return None
        nodes = _sources(conn)
        return b"".join(
            [
                self._inert_item(conn, nodes, record) if isinstance(record, _Inert) else self._item(conn, nodes, record)
                for record in records
            ]
        )

    def _check_range(self, wanted: FeedRange) -> None:
        if wanted.feed.number not in self._heads:
            raise CallerError("feed.unknown", f"{b32encode(wanted.feed.feed_id)} is not open yet")
        size = self._heads[wanted.feed.number][1].size
        stop = size if wanted.stop is None else wanted.stop
        if stop > size:
            raise CallerError("filter.invalid", f"the feed has {size} entries, not {stop}", place="stop")
        if wanted.start >= stop:
            raise CallerError("filter.invalid", f"no entry lies in [{wanted.start}, {stop})", place="start")

    def _next_records(self, conn: sqlite3.Connection) -> Sequence[Record | _Inert] | None:
        what = self._wish.what
        if isinstance(what, FeedRange):
            stop = self._heads[what.feed.number][1].size if what.stop is None else what.stop
            entries = _entries(conn, what.feed, self._next_seq, stop)
            self._next_seq += len(entries)
            return entries or None
        if self._cursor is not None and self._cursor.number > self._newest[1]:
            return None
        query = msgspec.structs.replace(what, order="timeline", descending=False, limit=BUNDLE_STEP_SPANS)
        page = select_page(conn, self._tenant, self._feeds, query, after=self._cursor)
        self._cursor = page.newer
        if not page.records:
            return None
        return [record for record in page.records if record.position <= self._newest[0]]

    def _item(self, conn: sqlite3.Connection, nodes: _Nodes, record: Record) -> bytes:
        """The item of a span, behind that of its feed where it is the first; nothing of one that is left out."""
        is_stub = record.visibility == PRIVATE and not self._wish.has_private
        if is_stub and not self._wish.is_gapless:
            return b""
        feed = feed_of(record, self._feeds)
        opening = self._introduced(conn, nodes, feed)
        number = self._numbers[feed.number]
        path = self.writer.share(number, self._path(nodes, feed, record.seq, leaf_of(record, feed.feed_id)))
        item: SpanItem | StubItem
        if is_stub:
            item = StubItem(number, record.seq, record.hlc, sha256(record.header).digest(), *path)
        else:
            body = body_of(record, header_of(record))
            item = SpanItem(number, record.seq, record.hlc, record.visibility, record.header, body, *path)
        return opening + self.writer.add(item)

    def _inert_item(self, conn: sqlite3.Connection, nodes: _Nodes, inert: _Inert) -> bytes:
        """The item of an entry that is no span: a stub where it is private and nothing is wrong with it."""
        feed, (hlc, visibility, header, _) = self._feeds[inert.feed], inert.entry
        opening = self._introduced(conn, nodes, feed)
        number, seq = self._numbers[feed.number], inert.seq
        leaf = leaf_hash(stub_entry(feed.feed_id, seq, hlc, visibility, inert.entry.header_sha256))
        path = self.writer.share(number, self._path(nodes, feed, seq, leaf))
        item: StubItem | VoidItem = VoidItem(number, seq, hlc, visibility, header, *path)
        if inert.reason == WITHHELD:
            item = StubItem(number, seq, hlc, header, *path)
        return opening + self.writer.add(item)

    def _introduced(self, conn: sqlite3.Connection, nodes: _Nodes, feed: FeedRef) -> bytes:
        """The item of a feed; nothing where it was there before."""
        if feed.number in self._numbers:
            return b""
        number = self._numbers[feed.number] = len(self._numbers)
        if number == BUNDLE_FEEDS_MAX:
            raise CallerError("filter.invalid", f"it would hold more than {BUNDLE_FEEDS_MAX} feeds")
        opened = _only(conn, f"{_FROM} WHERE s.feed = ? AND s.seq = 0", feed.number)
        _, hashes = self.writer.share(number, self._path(nodes, feed, 0, leaf_of(opened, feed.feed_id)))
        note, _ = self._heads[feed.number]
        item = FeedItem(feed.feed_id, note, opened.hlc, opened.header, _held_body(opened), hashes)
        return self.writer.add(item)

    def _founded(self, nodes: _Nodes, feed: FeedRef, founding: Record) -> bytes:
        whole = self._path(nodes, feed, founding.seq, leaf_of(founding, feed.feed_id))
        path = self.writer.share(self._numbers[feed.number], whole)
        return self.writer.add(TenantItem(founding.hlc, founding.header, _held_body(founding), *path))

    def _path(self, nodes: _Nodes, feed: FeedRef, seq: int, leaf: bytes) -> list[bytes]:
        """The audit path of a stored entry, checked."""
        _, head = self._heads[feed.number]
        path = inclusion_proof(seq, head.size, nodes(feed))
        if not verify_inclusion(leaf, seq, head.size, path, head.root):
            raise NodeFault("database.damaged", f"feed {b32encode(feed.feed_id)} does not lead to its checkpoint")
        return path


def _sources(conn: sqlite3.Connection) -> _Nodes:
    """Tree nodes by feed, for one snapshot: what a tile lacks in it may be there in the next."""
    return cache(partial(node_source, conn))


def _entries(conn: sqlite3.Connection, feed: FeedRef, start: int, stop: int) -> list[Record | _Inert]:
    """The first entries of [start, stop); few where they are large. Raises NodeFault("database.damaged")."""
    records: list[Record] = []
    weight = 0
    with closing(conn.execute(_RANGE, (feed.number, start, stop, BUNDLE_STEP_SPANS))) as rows:
        while weight <= PAGE_BYTES_MAX and (some := rows.fetchmany(PAGE_STEP_SPANS_MAX)):
            records += map(Record._make, some)
            weight += sum(record.weight for record in records[-len(some) :])
    found = conn.execute(_INERT, (feed.number, start, stop, BUNDLE_STEP_SPANS)).fetchall()
    inert = [_Inert(feed.number, seq, Entry(*depths), reason) for seq, *depths, reason in found]
    is_more = len(records) == BUNDLE_STEP_SPANS or weight > PAGE_BYTES_MAX
    # Up to here both tables were read; what lies beyond is left to the next step.
    ends = [stop, *[record.seq + 1 for record in records[-1:] if is_more]]
    ends += [entry.seq + 1 for entry in inert[-1:] if len(inert) == BUNDLE_STEP_SPANS]
    end = min(ends)
    both: list[Record | _Inert] = [*records, *inert]
    entries = sorted([entry for entry in both if entry.seq < end], key=lambda entry: entry.seq)
    if [entry.seq for entry in entries] != list(range(start, end)):
        detail = f"feed {b32encode(feed.feed_id)} lacks some of its entries {start} to {end - 1}"
        raise NodeFault("database.damaged", detail)
    return entries


def _find_founding(conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef]) -> tuple[FeedRef, Record]:
    """The tenant.create that proves a tenant, and its feed: any node may write one that proves nothing.

    Raises CallerError("feed.unknown") where it is not here yet, NodeFault("database.damaged").
    """
    with closing(conn.execute(_FOUNDING, (tenant.number,))) as rows:
        for record in map(Record._make, rows):
            feed = feed_of(record, feeds)
            with suppress(CallerError):
                created = parse_tenant_create(decode_body(_held_body(record)).data)
                check_tenant_create(tenant.tenant_id, created)
                if created.node_key == feed.node_key:
                    return feed, record
    raise CallerError("feed.unknown", "the feed of the tenant's founder is not here yet")


def _only(conn: sqlite3.Connection, sql: str, number: int) -> Record:
    """The one span that a tenant or feed cannot be without. Raises NodeFault("database.damaged")."""
    row = conn.execute(sql, (number,)).fetchone()
    if row is None:
        raise NodeFault("database.damaged", "a feed or the tenant lacks the span that opened it")
    return Record._make(row)


def _held_body(record: Record) -> bytes:
    body = body_of(record, header_of(record))
    if body is None:
        raise NodeFault("database.damaged", "the body is missing", place=f"position {record.position}")
    return body
