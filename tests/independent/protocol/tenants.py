"""What all entries of a tenant come to: what is void, cuts, pasts and subjects. From docs/protocol.md."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tests.independent.protocol.cbor import Refused, need, read_array
from tests.independent.protocol.control import Place as ControlPlace
from tests.independent.protocol.control import read_control
from tests.independent.protocol.fields import INT63, as_bytes, as_int, as_list, as_rising, sha256
from tests.independent.protocol.membership.membership import Membership, membership
from tests.independent.protocol.openings import read_opening
from tests.independent.protocol.order import Claim, Knowledge
from tests.independent.protocol.records import Body, Header, entry_of, read_body, read_header, state_hash
from tests.independent.protocol.subjects import Register, Span
from tests.independent.protocol.tree import leaf_hash, root_of

CONTROL = frozenset("feed tenant member invite identity quorum".split())
MERGE = "timeline.merge"
MERGED_MAX = 1_024
TRUSTED = 2
GRANTING = ("member.admit", "identity.rotate", "tenant.create")

AHEAD_MS = 600_000


@dataclass
class Entry:
    """An entry of a feed. `fault` says why its stub or header is no span's; a stub that is withheld has no header."""

    feed: bytes
    seq: int
    hlc: int
    visibility: int
    leaf: bytes
    header: Header | None = None
    body: Body | None = None
    fault: str | None = None

    @property
    def id(self) -> bytes:
        return self.hlc.to_bytes(8, "big") + self.leaf[:16]

    @property
    def is_control(self) -> bool:
        return self.header is not None and self.header.kind.partition(".")[0] in CONTROL


def read_entries(feed: bytes, rows: list[tuple[int, int, bytes, bytes | None]]) -> list[Entry]:
    """The entries of a feed, from HLC, visibility, header and body."""
    found: list[Entry] = []
    newest = -1
    for seq, (hlc, visibility, header, body) in enumerate(rows):
        is_withheld = visibility == 0 and len(header) == 32
        digest = header if is_withheld else sha256(header)
        entry = Entry(feed, seq, hlc, visibility, leaf_hash(entry_of(feed, seq, hlc, visibility, digest)))
        if hlc <= newest:
            entry.fault = "hlc.not_rising"
        elif visibility > 2:
            entry.fault = "visibility.unknown"
        elif not is_withheld:
            _read(entry, header, body)
        newest = max(newest, hlc)
        found.append(entry)
    return found


def _read(entry: Entry, header: bytes, body: bytes | None) -> None:
    try:
        entry.header = read_header(header)
    except Refused:
        entry.fault = "header.malformed"
        return
    if body is not None:
        need((len(body), sha256(body)) == (entry.header.body_len, entry.header.body_sha256), "another body")
        try:
            entry.body = read_body(body)
        except Refused:
            entry.body = None


@dataclass
class Tenant:
    id: bytes
    feeds: dict[bytes, list[Entry]]
    authors: dict[bytes, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for feed, entries in self.feeds.items():
            assert entries[0].body
            self.authors[feed] = read_opening(entries[0].body.data, self.id, feed).node_key

    @property
    def entries(self) -> Iterator[Entry]:
        return (entry for entries in self.feeds.values() for entry in entries)

    @cached_property
    def members(self) -> Membership:
        rows = [
            {
                "id": entry.id.hex(), "feed": entry.feed.hex(), "seq": entry.seq, "hlc": entry.hlc,
                "author": self.authors[entry.feed].hex(), "kind": entry.header.kind,
                "data": (entry.body.data if entry.body else b"").hex(),
            }
            for entry in self.entries
            if entry.is_control and entry.header
        ]  # fmt: skip
        return membership(self.id, rows)

    @cached_property
    def cuts(self) -> dict[bytes, tuple[int, str]]:
        return {bytes.fromhex(str(feed)): (int(str(size)), str(why)) for feed, size, why in self.members.cuts}

    @cached_property
    def voids(self) -> dict[tuple[bytes, int], str]:
        by_members = {bytes.fromhex(str(id_)): str(why) for id_, why in self.members.voids}
        found = {}
        for entry in self.entries:
            size, reason = self.cuts.get(entry.feed, (entry.seq + 1, ""))
            why = entry.fault or by_members.get(entry.id) or (reason if entry.seq >= size else None)
            if why:
                found[entry.feed, entry.seq] = why
        return found

    @property
    def state(self) -> bytes:
        """The state hash: of a forked feed only what is one counts for the clock."""
        forks = {bytes.fromhex(str(feed)): int(str(seq)) for feed, seq in self.members.forks}
        sizes = {feed: min(len(entries), forks.get(feed, len(entries))) for feed, entries in self.feeds.items()}
        return state_hash((feed, size, self.root(feed, size)) for feed, size in sizes.items())

    def root(self, feed: bytes, size: int) -> bytes:
        return root_of([entry.leaf for entry in self.feeds[feed][:size]])

    @cached_property
    def knowledge(self) -> Knowledge:
        claims = {feed: list(self._claims(entries)) for feed, entries in self.feeds.items()}
        sizes = {feed: min(len(entries), self.cuts.get(feed, (INT63,))[0]) for feed, entries in self.feeds.items()}

        def is_later(feed: bytes, seq: int, other: bytes) -> bool:
            if other not in self.feeds or self.authors[feed] == self.authors[other]:
                return False
            newest = max((entry.hlc for entry in self.feeds[other][: sizes[other]]), default=0)
            return (newest >> 16) > (self.feeds[feed][seq].hlc >> 16) + AHEAD_MS

        return Knowledge(claims, sizes, self.root, is_later)

    def _claims(self, entries: list[Entry]) -> Iterator[Claim]:
        for entry in entries:
            if entry.fault or not entry.header or not entry.body:
                continue
            if not entry.seq:
                parent = read_opening(entry.body.data, self.id, entry.feed).parent
                if parent:
                    yield Claim(0, *parent)
            is_said = entry.header.actor is None and entry.header.status == 0 and entry.visibility == 2
            if entry.header.kind == MERGE and is_said:
                yield from (Claim(entry.seq, feed, size, root) for feed, size, root in read_merge(entry.body.data))

    @cached_property
    def register(self) -> Register:
        spans = [
            Span(
                entry.id, entry.feed, entry.seq, entry.hlc, entry.header.kind, entry.header.caused_by,
                entry.body.subject, entry.header.status == 0, entry.visibility == 0,
            )
            for entry in self.entries
            if entry.header and entry.body and (entry.feed, entry.seq) not in self.voids
        ]  # fmt: skip
        policies: Mapping[str, str] = dict(self.members.policies)
        return Register(spans, self.knowledge, policies)

    @property
    def settled_hlc(self) -> int:
        """Up to where nothing can be sorted in any more."""
        newest: list[int] = []
        for member in self.members.members:
            if int(str(member["level"])) >= TRUSTED:
                key = bytes.fromhex(str(member["node_key"]))
                feeds = {feed: entries for feed, entries in self.feeds.items() if self.authors[feed] == key}
                open_ = {feed: entries for feed, entries in feeds.items() if feed not in self.cuts}
                parents = {claim.other for entries in open_.values() for claim in self._claims(entries[:1])}
                held = [max(e.hlc for e in entries) for feed, entries in open_.items() if feed not in parents]
                newest.append(min(held, default=self._admitted(key)))
        return min(newest, default=0)

    def _admitted(self, key: bytes) -> int:
        """The HLC of the newest admission of a key that counts."""
        found = []
        for entry in self.entries:
            if not entry.header or not entry.body or (entry.feed, entry.seq) in self.voids:
                continue
            if entry.header.kind in GRANTING:
                place = ControlPlace(self.id, entry.feed, self.authors[entry.feed])
                said = read_control(entry.header.kind, entry.body.data, place)
                if key == (said.new_key or said.key):
                    found.append(entry.hlc)
        return max(found)


def read_merge(data: bytes) -> list[tuple[bytes, int, bytes]]:
    """Feed, size and root of each item; nothing where the data has not its form."""
    try:
        items = [as_list(item) for item in read_array(data)]
        need(1 <= len(items) <= MERGED_MAX and all(len(item) == 5 for item in items), "no merge")
        as_rising([as_bytes(item[0], 16) for item in items])
        for item in items:
            as_int(item[3])
            as_bytes(item[4], 64)
        return [(as_bytes(item[0]), as_int(item[1], 1), as_bytes(item[2], 32)) for item in items]
    except Refused:
        return []
