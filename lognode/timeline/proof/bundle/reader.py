"""Reading a bundle and checking every byte of it, with nothing but the bundle at hand.

Takes chunks of any size, in memory bounded by one item and a path for each feed. Knows no files and trusts no keys:
the verdict says whose they are. Invariant: once the verdict is there, each span stands where the log key of its feed
signed it to stand, that key is bound to a node key, and no byte of the file could be another.
Source: docs/protocol.md, Bundles.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, TenantId
from lognode.core.limits import BUNDLE_FEEDS_MAX
from lognode.core.span import (
    PRIVATE,
    PUBLIC,
    Entry,
    Header,
    decode_body,
    decode_header,
    entry_bytes,
    leaf_hash,
    span_id,
    stub_entry,
)
from lognode.timeline.control.founding import check_feed_open, check_tenant_create, parse_feed_open, parse_tenant_create
from lognode.timeline.proof.bundle.frames import Frame, read_frames
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
from lognode.timeline.proof.bundle.seal import check_seal
from lognode.timeline.proof.bundle.verdict import BundledFeed, BundledSpan, Verdict
from lognode.timeline.proof.checkpoint import origin, verify_checkpoint, vkey
from lognode.timeline.proof.tree import verify_inclusion
from lognode.timeline.record import is_signed

# What stands at the beginning, in this order; the founder's feed is the first.
_BEGINNING: Final = (Head, FeedItem, TenantItem)


class BundleReader:
    """A bundle that comes in chunks. `spans` gives each span as its place is proven, then there is a verdict.

    Until then a span may be of a bundle that somebody cut, or put together from parts of others.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._head = Head(TenantId(b""), b"", FeedId(b""), 0, "", 0)
        self._feeds: list[BundledFeed] = []
        self._by_id: dict[FeedId, BundledFeed] = {}
        self._founder = b""
        self._absent = 0
        self._signed = 0
        self._missigned = 0
        self._first_hlc: int | None = None
        self._last = (-1, b"")  # hlc and leaf hash
        self._verdict: Verdict | None = None

    @property
    def verdict(self) -> Verdict:
        """What the bundle shows, once `spans` has come to its end."""
        assert self._verdict is not None, "a bundle says nothing before its last byte was read"
        return self._verdict

    def spans(self) -> Iterator[BundledSpan]:
        """The spans in timeline order. Raises CallerError("bundle.invalid"); its place is an item and its offset."""
        digest = sha256()
        size = items = 0
        is_sealed = False
        for frame in read_frames(self._chunks):
            span = None
            try:
                if is_sealed:
                    raise _invalid("something stands behind the seal")
                item = decode_item(frame.payload)
                if isinstance(item, Seal):
                    self._check_seal(item, frame.number, digest.digest())
                    is_sealed, items = True, frame.number
                else:
                    span = self._take(item, frame)
                    digest.update(frame.head + frame.payload)
            except CallerError as error:
                said = error.detail if error.code == "bundle.invalid" else str(error)
                raise CallerError("bundle.invalid", said, place=frame.place) from error
            size = frame.offset + len(frame.head) + len(frame.payload)
            if span is not None:
                yield span
        if not is_sealed:
            raise CallerError("bundle.invalid", "it ends without a seal", place=f"byte {size}")
        last_hlc = None if self._first_hlc is None else self._last[0]
        self._verdict = Verdict(
            self._head,
            self._founder,
            self._feeds,
            self._absent,
            self._signed,
            self._missigned,
            self._first_hlc,
            last_hlc,
            items,
            size,
            digest.digest(),
        )

    def _take(self, item: Item, frame: Frame) -> BundledSpan | None:
        expected = _BEGINNING[frame.number] if frame.number < len(_BEGINNING) else None
        if type(item) is not expected and (expected or isinstance(item, Head | TenantItem)):
            raise _invalid("a bundle begins with its head, a feed and the tenant, and has no other head or tenant")
        if isinstance(item, SpanItem):
            return self._take_span(item)
        if isinstance(item, StubItem):
            return self._take_stub(item)
        if isinstance(item, VoidItem):
            self._take_void(item)
        elif isinstance(item, FeedItem):
            self._take_feed(item)
        elif isinstance(item, TenantItem):
            self._take_tenant(item)
        elif isinstance(item, Head):
            self._head = item
        return None

    def _take_feed(self, item: FeedItem) -> None:
        """Add a feed whose `feed.open` binds the log key that signed its checkpoint."""
        if item.feed in self._by_id:
            raise _invalid("this feed was there before")
        if len(self._feeds) == BUNDLE_FEEDS_MAX:
            raise _invalid(f"more than {BUNDLE_FEEDS_MAX} feeds")
        tenant = self._head.tenant
        opened = parse_feed_open(_control(item.header, item.body, "feed.open"))
        check_feed_open(tenant, item.feed, opened)
        name = origin(tenant, item.feed)
        checkpoint = verify_checkpoint(item.note, vkey(name, opened.log_key))
        feed = BundledFeed(item.feed, opened.node_key, opened.log_key, name, checkpoint.size, checkpoint.root, path=[])
        _check_path(feed, entry_bytes(item.feed, 0, item.hlc, PUBLIC, item.header), 0, 0, item.hashes)
        self._feeds.append(feed)
        self._by_id[item.feed] = feed

    def _take_tenant(self, item: TenantItem) -> None:
        """Learn who founded the tenant, from entry 1 of its first feed."""
        feed = self._feeds[0]
        created = parse_tenant_create(_control(item.header, item.body, "tenant.create"))
        check_tenant_create(self._head.tenant, created)
        if created.node_key != feed.node_key:
            raise _invalid("the tenant's founder did not write this feed")
        entry = entry_bytes(feed.feed, 1, item.hlc, PUBLIC, item.header)
        _check_path(feed, entry, 1, item.shared, item.hashes)
        self._founder = created.node_key

    def _take_span(self, item: SpanItem) -> BundledSpan:
        if item.visibility == PRIVATE and not self._head.has_private:
            raise _invalid("a private span, in a bundle whose head says that there is none")
        feed = self._feed(item.feed, item.seq)
        entry = entry_bytes(feed.feed, item.seq, item.hlc, item.visibility, item.header)
        leaf = _check_path(feed, entry, item.seq, item.shared, item.hashes)
        by_actor = False
        if item.body is None:
            self._absent += 1
        else:
            header = decode_header(item.header)  # a header that is malformed names no body
            _check_body(header, item.body)
            by_actor = self._check_actor(header, item.body, item.visibility)
        self._place(feed, item.seq, item.hlc, leaf)
        place = (span_id(item.hlc, leaf), feed, item.seq, item.hlc, item.visibility)
        return BundledSpan(*place, item.header, item.body, is_by_actor=by_actor)

    def _take_stub(self, item: StubItem) -> BundledSpan:
        feed = self._feed(item.feed, item.seq)
        entry = stub_entry(feed.feed, item.seq, item.hlc, PRIVATE, item.header_sha256)
        leaf = _check_path(feed, entry, item.seq, item.shared, item.hashes)
        feed.stubs += 1
        self._place(feed, item.seq, item.hlc, leaf)
        return BundledSpan(span_id(item.hlc, leaf), feed, item.seq, item.hlc, PRIVATE, None, None, is_by_actor=False)

    def _take_void(self, item: VoidItem) -> None:
        """Count an entry that has a place in its feed and none in the timeline; that it is void is not judged."""
        entry = Entry(item.hlc, item.visibility, item.header, None)
        if entry.is_withheld and item.visibility != PRIVATE:
            raise _invalid("the header of an entry is left out that is not private")
        feed = self._feed(item.feed, item.seq)
        stub = stub_entry(feed.feed, item.seq, item.hlc, item.visibility, entry.header_sha256)
        _check_path(feed, stub, item.seq, item.shared, item.hashes)
        feed.voids += 1
        _count(feed, item.seq)

    def _check_actor(self, header: Header, raw: bytes, visibility: int) -> bool:
        """Whether the actor signed this, counted where a signature says so.

        A wrong one was let in by the feed's node and stays there: it is told.
        """
        if header.actor is None:
            return False
        try:
            body = decode_body(raw)
        except CallerError:
            return False
        if body.actor_signature is None:
            return False
        holds = is_signed(self._head.tenant, header, body, visibility)
        self._signed += holds
        self._missigned += not holds
        return holds

    def _feed(self, number: int, seq: int) -> BundledFeed:
        if number >= len(self._feeds):
            raise _invalid(f"it is of feed {number}, of {len(self._feeds)} until here")
        feed = self._feeds[number]
        if feed.count and seq < feed.stop:
            raise _invalid(f"entry {seq} of its feed comes behind entry {feed.stop - 1}")
        return feed

    def _place(self, feed: BundledFeed, seq: int, hlc: int, leaf: bytes) -> None:
        """Count an entry that is proven, and see that timeline order goes on."""
        if (hlc, leaf) <= self._last:
            raise _invalid("it does not follow the one before it in timeline order")
        if self._first_hlc is None:
            self._first_hlc = hlc
        _count(feed, seq)
        self._last = hlc, leaf

    def _check_seal(self, seal: Seal, items: int, digest: bytes) -> None:
        if items < len(_BEGINNING):
            raise _invalid("a bundle has a head, a feed and the tenant before its seal")
        head = self._head
        feed = self._by_id.get(head.feed)
        if feed is None or feed.node_key != head.node_key:
            raise _invalid("the sealing feed that the head names is not there, or of another node")
        check_seal(seal.note, feed.log_key, head.tenant, head.feed, items, digest)


def verify_bundle(chunks: Iterable[bytes]) -> Verdict:
    """The verdict on a whole bundle. Raises CallerError("bundle.invalid"); its place is an item and its offset."""
    reader = BundleReader(chunks)
    for _ in reader.spans():
        pass
    return reader.verdict


def _count(feed: BundledFeed, seq: int) -> None:
    if not feed.count:
        feed.start = seq
    feed.count += 1
    feed.stop = seq + 1


def _check_path(feed: BundledFeed, entry: bytes, seq: int, shared: int, hashes: bytes) -> bytes:
    """The leaf hash of an entry that the feed's checkpoint holds at `seq`."""
    leaf = leaf_hash(entry)
    path = unpack_path(shared, hashes, feed.path)
    if not verify_inclusion(leaf, seq, feed.size, path, feed.root):
        raise _invalid(f"the hashes do not lead from entry {seq} to its feed's checkpoint")
    feed.path = path
    return leaf


def _control(header: bytes, body: bytes, kind: str) -> bytes:
    """The data of a control span that is there whole."""
    decoded = decode_header(header)
    if decoded.kind != kind:
        raise _invalid(f"it is no {kind}")
    _check_body(decoded, body)
    return decode_body(body).data


def _check_body(header: Header, body: bytes) -> None:
    if len(body) != header.body_len or sha256(body).digest() != header.body_sha256:
        raise _invalid("the body is not the one that the header names")


def _invalid(detail: str) -> CallerError:
    return CallerError("bundle.invalid", detail)
