"""Checks one lognode bundle offline. Shares no code with lognode, and must never import it.

Written from docs/protocol.md, section Bundles, alone; headers, bodies and openings are read by `span_reader`, paths
and signatures by `tlog_proof_checker`, which are independent as well. It holds a whole file in memory: what it is
for is to tell whether the text says enough.

    python -m tests.independent.bundle_checker FILE NODE_KEY_HEX      exit status: 0 accepted, 1 rejected, 2 usage
"""

import base64
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.independent.span_reader import (
    HLC_MAX,
    PUBLIC,
    Decoder,
    Header,
    Span,
    Stub,
    Unreadable,
    as_bytes,
    as_text,
    as_uint,
    base32,
    check_feed_open,
    check_tenant_create,
    entry_bytes,
    read_header,
    read_span,
)
from tests.independent.tlog_proof_checker import (
    ED25519,
    KEY_ID_BYTES,
    Key,
    Rejected,
    check_inclusion,
    check_signatures,
    decode_base64,
    decode_decimal,
    leaf_hash,
)

ITEM_BYTES_MAX = 1_184_768
NOTE_BYTES_MAX = 131_072
HEADER_BYTES_MAX = 1_024
BODY_BYTES_MAX = 1_048_576
QUERY_BYTES_MAX = 65_536
FEEDS_MAX = 10_000
SEQ_MAX = 2**63 - 2
PATH_HASHES_MAX = 63
LENGTHS = {"head": 8, 1: 7, 2: 6, 3: 9, 4: 7, 5: 2, 6: 8}  # of the arrays, the first element with them


@dataclass
class Feed:
    """A feed as the bundle proves it, and which of its entries were there."""

    feed_id: bytes
    key: Key
    node_key: bytes
    size: int
    root: bytes
    path: list[bytes]
    seqs: list[int] = field(default_factory=list)


@dataclass
class Accepted:
    """What the bundle shows: to be believed as far as the node keys are."""

    tenant: bytes
    node_key: bytes
    query: str
    feeds: list[Feed]
    ids: list[str]
    stubs: int
    absent: int

    def complete_runs(self) -> list[tuple[int, int] | None]:
        """For each feed [start, stop) where no entry is left out between; None where some are, or none is there."""
        runs = [(feed.seqs[0], feed.seqs[-1] + 1) if feed.seqs else None for feed in self.feeds]
        return [
            run if run and run[1] - run[0] == len(feed.seqs) else None
            for run, feed in zip(runs, self.feeds, strict=True)
        ]


def check(raw: bytes, node_keys: Sequence[bytes]) -> Accepted:
    """What a bundle shows to whoever trusts these node keys. Raises Rejected."""
    try:
        checker = _Checker(split(raw))
        accepted = checker.run(raw)
    except Unreadable as error:
        raise Rejected(str(error)) from error
    for feed in accepted.feeds:
        if (feed.seqs or feed.feed_id == checker.head_feed) and feed.node_key not in node_keys:
            raise Rejected("a node signed that is not trusted")
    return accepted


def split(raw: bytes) -> list[tuple[int, list[object]]]:
    """Offset and array of each item."""
    items: list[tuple[int, list[object]]] = []
    frames = Decoder(raw)
    while frames.at < len(raw):
        offset = frames.at
        major, _, length = frames.head()
        if major != 2 or length > ITEM_BYTES_MAX:
            raise Rejected("no byte string, or one that is too long")
        item = Decoder(frames.take(length))
        array = item.item()
        item.end()
        if not isinstance(array, list) or not array:
            raise Rejected("an item is no array")
        items.append((offset, array))
    return items


class _Checker:
    def __init__(self, items: list[tuple[int, list[object]]]) -> None:
        self.items = items
        self.feeds: list[Feed] = []
        self.ids: list[str] = []
        self.last = (-1, b"")
        self.stubs = 0
        self.absent = 0
        self.tenant = self.node_key = self.head_feed = b""
        self.private = 0

    def run(self, raw: bytes) -> Accepted:
        kinds = [self.kind(array) for _, array in self.items]
        middle = kinds[3:-1]
        if kinds[:3] != ["head", 1, 2] or kinds[-1] != 5 or any(kind not in (1, 3, 4, 6) for kind in middle):
            raise Rejected("the items do not stand in their order")
        query = self.take_head(self.items[0][1])
        for (_, array), kind in zip(self.items[1:-1], kinds[1:-1], strict=True):
            takes = {1: self.take_feed, 2: self.take_tenant, 3: self.take_span, 4: self.take_stub, 6: self.take_void}
            takes[int(kind)](array)
        offset, seal = self.items[-1]
        self.take_seal(as_bytes(seal[1]), raw[:offset])
        return Accepted(self.tenant, self.node_key, query, self.feeds, self.ids, self.stubs, self.absent)

    def kind(self, array: list[object]) -> str | int:
        first = array[0]
        kind: str | int = "head" if first == "lognode.bundle" else as_uint(first)
        if LENGTHS.get(kind) != len(array):
            raise Rejected("an item has no such number of elements")
        return kind

    def take_head(self, array: list[object]) -> str:
        _, version, tenant, node_key, feed, made, query, private = array
        if as_uint(version) != 1:
            raise Rejected("another version")
        self.tenant, self.node_key, self.head_feed = as_bytes(tenant, 20), as_bytes(node_key, 32), as_bytes(feed, 16)
        as_uint(made, HLC_MAX)
        self.private = as_uint(private, 1)
        text = as_text(query)
        if len(text) > QUERY_BYTES_MAX or not text.isascii():
            raise Rejected("the query is too long, or not ASCII")
        return text

    def take_feed(self, array: list[object]) -> None:
        _, feed_id, note, hlc, header, body, hashes = array
        feed_id = as_bytes(feed_id, 16)
        if any(feed.feed_id == feed_id for feed in self.feeds) or len(self.feeds) == FEEDS_MAX:
            raise Rejected("a feed stands twice, or there are too many")
        span = self.control(Stub(feed_id, 0, as_uint(hlc, HLC_MAX), PUBLIC), header, body)
        opened = check_feed_open(span, tenant=self.tenant)
        key = key_of(f"lognode.v1/{base32(self.tenant)}/{base32(feed_id)}", opened.log_key)
        size, root = read_checkpoint(as_bytes(note), key)
        feed = Feed(feed_id, key, opened.node_key, size, root, [])
        self.prove(feed, span.entry, 0, 0, hashes)
        self.feeds.append(feed)

    def take_tenant(self, array: list[object]) -> None:
        _, hlc, header, body, shared, hashes = array
        feed = self.feeds[0]
        span = self.control(Stub(feed.feed_id, 1, as_uint(hlc, HLC_MAX), PUBLIC), header, body)
        created = check_tenant_create(span, tenant=self.tenant)
        if created.node_key != feed.node_key:
            raise Rejected("the founder did not write the first feed")
        self.prove(feed, span.entry, 1, as_uint(shared, PATH_HASHES_MAX), hashes)

    def control(self, stub: Stub, header: object, body: object) -> Span:
        return read_span(stub, as_bytes(header), as_bytes(body))

    def take_span(self, array: list[object]) -> None:
        _, number, seq, hlc, visibility, header, body, shared, hashes = array
        feed = self.feed(number)
        stub = Stub(feed.feed_id, as_uint(seq, SEQ_MAX), as_uint(hlc, HLC_MAX), as_uint(visibility, PUBLIC))
        if stub.visibility == 0 and not self.private:
            raise Rejected("a private span that the head denies")
        raw = as_bytes(header)
        if len(raw) > HEADER_BYTES_MAX:
            raise Rejected("a header is too long")
        self.place(feed, stub, entry_bytes(stub, raw), as_uint(shared, PATH_HASHES_MAX), hashes)
        if body is None:
            self.absent += 1
        else:
            self.check_body(raw, as_bytes(body))

    def check_body(self, header: bytes, body: bytes) -> None:
        named: Header = read_header(header)
        if len(body) > BODY_BYTES_MAX or (named.body_len, named.body_sha256) != (
            len(body),
            hashlib.sha256(body).digest(),
        ):
            raise Rejected("the body is not the one that the header names")

    def take_stub(self, array: list[object]) -> None:
        _, number, seq, hlc, header_hash, shared, hashes = array
        feed = self.feed(number)
        stub = Stub(feed.feed_id, as_uint(seq, SEQ_MAX), as_uint(hlc, HLC_MAX), 0)
        entry = entry_bytes(stub, b"")[:-32] + as_bytes(header_hash, 32)
        self.place(feed, stub, entry, as_uint(shared, PATH_HASHES_MAX), hashes)
        self.stubs += 1

    def take_void(self, array: list[object]) -> None:
        _, number, seq, hlc, visibility, header, shared, hashes = array
        feed = self.feed(number)
        stub = Stub(feed.feed_id, as_uint(seq, SEQ_MAX), as_uint(hlc, HLC_MAX), as_uint(visibility, 255))
        raw = as_bytes(header)
        if len(raw) > HEADER_BYTES_MAX or (len(raw) == 32 and stub.visibility):
            raise Rejected("a header is too long, or left out")
        digest = raw if len(raw) == 32 else hashlib.sha256(raw).digest()
        if feed.seqs and stub.seq <= feed.seqs[-1]:
            raise Rejected("the entries do not stand in their order")
        numbers = stub.seq.to_bytes(8, "big") + stub.hlc.to_bytes(8, "big") + bytes([stub.visibility])
        self.prove(feed, feed.feed_id + numbers + digest, stub.seq, as_uint(shared, PATH_HASHES_MAX), hashes)
        feed.seqs.append(stub.seq)

    def feed(self, number: object) -> Feed:
        if as_uint(number) >= len(self.feeds):
            raise Rejected("a span of a feed that was not there yet")
        return self.feeds[as_uint(number)]

    def place(self, feed: Feed, stub: Stub, entry: bytes, shared: int, hashes: object) -> None:
        self.prove(feed, entry, stub.seq, shared, hashes)
        key = (stub.hlc, leaf_hash(entry))
        if key <= self.last or (feed.seqs and stub.seq <= feed.seqs[-1]):
            raise Rejected("the spans do not stand in their order")
        self.last = key
        feed.seqs.append(stub.seq)
        self.ids.append(base32(stub.hlc.to_bytes(8, "big") + key[1][:16]))

    def prove(self, feed: Feed, entry: bytes, seq: int, shared: int, hashes: object) -> None:
        joined = as_bytes(hashes)
        own = [joined[at : at + 32] for at in range(0, len(joined), 32)]
        if len(joined) % 32 or len(own) > PATH_HASHES_MAX or shared > len(feed.path):
            raise Rejected("a path is not of its form")
        feed.path = own + feed.path[len(feed.path) - shared :]
        check_inclusion(leaf_hash(entry), index=seq, size=feed.size, path=feed.path, root=feed.root)

    def take_seal(self, note: bytes, covered: bytes) -> None:
        feed = next((feed for feed in self.feeds if feed.feed_id == self.head_feed), None)
        if feed is None or feed.node_key != self.node_key:
            raise Rejected("the sealing feed is not there, or of another node")
        expected = (
            f"lognode.bundle.v1/{base32(self.tenant)}\nitems {len(self.items) - 1}\n"
            f"sha256 {base64.b64encode(hashlib.sha256(covered).digest()).decode()}\n"
        ).encode()
        text, lines = split_note(note)
        if text != expected:
            raise Rejected("the seal is of other bytes")
        check_signatures(lines, text, feed.key)


def key_of(name: str, public: bytes) -> Key:
    typed = ED25519 + public
    return Key(name, hashlib.sha256(name.encode() + b"\n" + typed).digest()[:KEY_ID_BYTES], public)


def split_note(note: bytes) -> tuple[bytes, list[bytes]]:
    """The signed text and the signature lines."""
    text, divider, lines = note.rpartition(b"\n\n")
    if len(note) > NOTE_BYTES_MAX or not divider or not lines.endswith(b"\n"):
        raise Rejected("no signed note")
    return text + b"\n", lines[:-1].split(b"\n")


def read_checkpoint(note: bytes, key: Key) -> tuple[int, bytes]:
    """Size and root of a checkpoint that the key signed, alone."""
    text, signatures = split_note(note)
    lines = text.split(b"\n")
    if len(lines) != 4 or lines[0] != key.name.encode():
        raise Rejected("no checkpoint of this feed")
    check_signatures(signatures, text, key)
    return decode_decimal(lines[1], name="tree size"), decode_base64(lines[2], bytes_count=32, name="root")


def main(arguments: Sequence[str]) -> int:
    """The exit status; the facts go to standard output, a refusal to standard error."""
    if len(arguments) != 2:
        sys.stderr.write("usage: bundle_checker FILE NODE_KEY_HEX\n")
        return 2
    try:
        accepted = check(Path(arguments[0]).read_bytes(), [bytes.fromhex(arguments[1])])
    except Rejected as rejected:
        sys.stderr.write(f"rejected: {rejected.reason}\n")
        return 1
    sys.stdout.write(f"accepted\nspans {len(accepted.ids)}\ncomplete {accepted.complete_runs()}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
