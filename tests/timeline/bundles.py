"""Bundles for tests: made from a database as a node makes them, taken apart, and put together otherwise."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from lognode.identity.keys import KeyPair, NodeKeys
from lognode.timeline.proof.bundle.frames import read_frames
from lognode.timeline.proof.bundle.items import (
    FeedItem,
    Head,
    Item,
    Seal,
    SpanItem,
    StubItem,
    TenantItem,
    VoidItem,
    decode_item,
    unpack_path,
)
from lognode.timeline.proof.bundle.seal import sign_seal
from lognode.timeline.proof.bundle.writer import BundleWriter
from lognode.timeline.query import Query
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.read.bundles import BundleSource, BundleWish, FeedRange
from lognode.timeline.store.write import load_feeds, load_tenants
from tests.engine.nodes import SEED

KEYS = NodeKeys.from_seed(SEED)
MADE_MS = 1_760_000_123_456
EVERYTHING = Query()


class Place:
    """A tenant in a database, from which bundles are made."""

    def __init__(self, conn: sqlite3.Connection, alias: str = "default") -> None:
        self.conn = conn
        self.tenant: TenantRef = next(tenant for tenant in load_tenants(conn) if tenant.alias == alias)
        self.feeds: dict[int, FeedRef] = {feed.number: feed for feed in load_feeds(conn)}

    def source(
        self, what: Query | FeedRange = EVERYTHING, *, text: str = "", has_private: bool = False
    ) -> BundleSource:
        return BundleSource(self.tenant, self.feeds, BundleWish(what, text, has_private))

    def bundle(self, what: Query | FeedRange = EVERYTHING, *, text: str = "", has_private: bool = False) -> bytes:
        source = self.source(what, text=text, has_private=has_private)
        parts = [source.begin(self.conn, KEYS.public, MADE_MS)]
        while (part := source.step(self.conn)) is not None:
            parts.append(part)
        return b"".join([*parts, sealed(source.writer, source.sealing, self.tenant)])


def bundle_of(database: Path, what: Query | FeedRange = EVERYTHING, *, has_private: bool = False) -> bytes:
    """A bundle of the tenant `default`."""
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        return Place(conn).bundle(what, has_private=has_private)


def sealed(writer: BundleWriter, feed: FeedRef, tenant: TenantRef) -> bytes:
    items, digest = writer.total()
    log_key = KEYS.log_key(feed.feed_id)
    return writer.end(sign_seal(log_key, tenant.tenant_id, feed.feed_id, items, digest))


def items_of(raw: bytes) -> list[Item]:
    """The items of a bundle, nothing of them checked."""
    return [decode_item(frame.payload) for frame in read_frames([raw])]


def joined(items: Sequence[Item], seal_key: KeyPair | None = None) -> bytes:
    """The bytes of items, the old seal left out and a new one by this key put behind; without a key, the old one.

    Paths stay as they are packed: whoever moves items has to repack them.
    """
    writer = BundleWriter()
    head, seal = items[0], items[-1]
    assert isinstance(head, Head)
    assert isinstance(seal, Seal)
    parts = [writer.add(item) for item in items[:-1]]
    if seal_key is not None:
        seal = Seal(sign_seal(seal_key, head.tenant, head.feed, *writer.total()))
    return b"".join([*parts, writer.end(seal.note)])


def with_whole_paths(items: Sequence[Item]) -> list[Item]:
    """The same items, none of which shares anything with another, so that they can be moved."""
    paths: dict[int, list[bytes]] = {}
    feeds = 0
    whole: list[Item] = []
    for item in items:
        if isinstance(item, FeedItem):
            paths[feeds] = unpack_path(0, item.hashes, ())
            feeds += 1
        elif isinstance(item, TenantItem):
            path = paths[0] = unpack_path(item.shared, item.hashes, paths[0])
            item = item._replace(shared=0, hashes=b"".join(path))  # noqa: PLW2901
        elif isinstance(item, SpanItem | StubItem | VoidItem):
            path = paths[item.feed] = unpack_path(item.shared, item.hashes, paths[item.feed])
            item = item._replace(shared=0, hashes=b"".join(path))  # noqa: PLW2901
        whole.append(item)
    return whole
