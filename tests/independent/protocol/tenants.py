"""What all entries of a tenant come to: what is void, cuts, pasts, subjects. From docs/protocol.md."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.independent.protocol.cbor import Refused, read_array
from tests.independent.protocol.control import CONTROL
from tests.independent.protocol.fields import as_bytes, sha256
from tests.independent.protocol.membership.links import forks_of, founding_of, read_span, taken_in
from tests.independent.protocol.membership.membership import Membership, membership
from tests.independent.protocol.openings import read_opening
from tests.independent.protocol.order import Claim, Counted, Order, Place
from tests.independent.protocol.records import Body, Header, entry_of, read_body, read_header, state_hash
from tests.independent.protocol.restored import named_before, read_restored
from tests.independent.protocol.subjects import Original, Register, Span
from tests.independent.protocol.tree import leaf_hash, root_of
from tests.independent.protocol.witnesses import read_merge

GRANTS = ("tenant.create", "member.admit", "identity.rotate")
TRUSTED = 2
SUBJECT_CHARS_MAX = 4_096


@dataclass(frozen=True)
class Entry:
    """An entry as it is held; of a stub, and of what is malformed, header or body are None."""

    place: Place
    hlc: int
    visibility: int
    leaf: bytes
    is_stub: bool
    header: Header | None
    body: Body | None

    @property
    def id(self) -> bytes:
        return self.hlc.to_bytes(8, "big") + self.leaf[:16]

    @property
    def kind(self) -> str:
        return self.header.kind if self.header else ""

    @property
    def data(self) -> bytes:
        return self.body.data if self.body else b""

    @property
    def is_control(self) -> bool:
        return self.kind.partition(".")[0] in CONTROL and self.visibility > 0


def read_entry(place: Place, hlc: int, visibility: int, header: bytes, body: bytes | None) -> Entry:
    is_stub = visibility == 0 and body is None and len(header) == 32
    leaf = leaf_hash(entry_of(*place, hlc, visibility, header if is_stub else sha256(header)))
    try:
        said = None if is_stub or visibility > 2 else read_header(header)
    except Refused:
        said = None
    try:
        content = None if said is None or body is None else read_body(body)
    except Refused:
        content = None
    return Entry(place, hlc, visibility, leaf, is_stub, said, content)


class Tenant:
    def __init__(self, tenant: bytes, feeds: dict[bytes, list[Entry]]) -> None:
        self.tenant, self.feeds = tenant, feeds
        self.openings = {feed: read_opening(entries[0].data, tenant, feed) for feed, entries in feeds.items()}
        self.entries = [entry for entries in feeds.values() for entry in entries]
        self.faults = {entry.place: fault for entries in feeds.values() for entry, fault in _faults(entries)}

    @cached_property
    def controls(self) -> list[dict[str, object]]:
        return [
            {
                "id": entry.id.hex(),
                "feed": entry.place[0].hex(),
                "seq": entry.place[1],
                "hlc": entry.hlc,
                "author": self.openings[entry.place[0]].node_key.hex(),
                "kind": entry.kind,
                "data": entry.data.hex(),
            }
            for entry in self.entries
            if entry.is_control and entry.place not in self.faults
        ]

    @cached_property
    def members(self) -> Membership:
        return membership(self.tenant, self.controls)

    @cached_property
    def cuts(self) -> dict[bytes, tuple[int, str]]:
        return {bytes.fromhex(feed): (size, why) for feed, size, why in self.members.cuts}

    @cached_property
    def voids(self) -> dict[Place, str]:
        judged = {bytes.fromhex(id_): why for id_, why in self.members.voids}
        found = dict(self.faults)
        for entry in self.entries:
            size, beyond = self.cuts.get(entry.place[0], (entry.place[1] + 1, ""))
            why = judged.get(entry.id) or (beyond if entry.place[1] >= size else None)
            if why:
                found.setdefault(entry.place, why)
        return found

    @cached_property
    def state(self) -> bytes:
        spans = [read_span(self.tenant, row) for row in self.controls]
        founding = founding_of(spans)
        forks = forks_of(spans, founding)
        kept = [span for span in spans if span.seq < forks.get(span.feed, span.seq + 1)]
        keys = taken_in(kept, founding) if founding else set()
        sizes = {
            feed: min(len(entries), forks.get(feed, len(entries)))
            for feed, entries in self.feeds.items()
            if self.openings[feed].node_key in keys
        }
        return state_hash((feed, n, root_of([one.leaf for one in self.feeds[feed][:n]])) for feed, n in sizes.items())

    def counted(self, feed: bytes) -> Counted:
        entries = self.feeds[feed][: self.cuts[feed][0] if feed in self.cuts else None]
        claims = [claim for entry in entries if entry.place not in self.voids for claim in self._claims(entry)]
        leaves, hlcs = [entry.leaf for entry in entries], [entry.hlc for entry in entries]
        return Counted(self.openings[feed].node_key, leaves, hlcs, claims)

    def _claims(self, entry: Entry) -> list[Claim]:
        feed, seq = entry.place
        if entry.kind == "feed.open":
            parent = self.openings[feed].parent
            return [Claim(seq, entry.hlc, *parent)] if parent else []
        is_merge = entry.header and entry.kind == "timeline.merge" and entry.visibility == 2 and not entry.header.status
        if not entry.header or not is_merge or entry.header.actor:
            return []
        try:
            return [Claim(seq, entry.hlc, one.feed, one.size, one.root) for one in read_merge(entry.data)]
        except Refused:
            return []

    @cached_property
    def order(self) -> Order:
        return Order({feed: self.counted(feed) for feed in self.feeds})

    @cached_property
    def register(self) -> Register:
        spans = [self._span(entry) for entry in self.entries if entry.header and entry.place not in self.voids]
        return Register(spans, self.order.past, dict(self.members.policies))

    def _span(self, entry: Entry) -> Span:
        assert entry.header
        subject = entry.body.subject if entry.body else None
        original = self._original(entry)
        return Span(
            entry.id,
            *entry.place,
            entry.kind,
            entry.header.caused_by,
            subject if subject and len(subject) <= SUBJECT_CHARS_MAX else None,
            is_executed=entry.header.status == 0,
            is_private=entry.visibility == 0,
            node=self.openings[entry.place[0]].node_key,
            original=original,
            names=named_before(entry.body.annotations) if original and entry.body else frozenset(),
        )

    def _original(self, entry: Entry) -> Original | None:
        restored = read_restored(entry.body.annotations) if entry.body else None
        if restored is None or restored.feed not in self.openings:
            return None
        is_own = self.openings[restored.feed].node_key == self.openings[entry.place[0]].node_key
        is_beyond = restored.feed in self.cuts and restored.seq >= self.cuts[restored.feed][0]
        place = (restored.feed, restored.seq)
        return Original(restored.id, place, restored.root) if is_own and is_beyond else None

    @cached_property
    def standings(self) -> list[list[Any]]:
        """Each member that may write, its open feeds, and the HLC behind which its next span lies."""
        grants, found = {}, []
        for entry in sorted(self.entries, key=lambda entry: entry.hlc):
            if entry.kind in GRANTS and entry.place not in self.voids:
                grants[_granted(entry)] = entry.hlc
        for member in self.members.members:
            if member["level"] >= TRUSTED:
                key = bytes.fromhex(member["node_key"])
                mine = [feed for feed, said in self.openings.items() if said.node_key == key and feed not in self.cuts]
                parents = {said.parent[0] for feed in mine if (said := self.openings[feed]).parent}
                ends = sorted(feed for feed in mine if feed not in parents)
                newest = [max(entry.hlc for entry in self.feeds[feed]) for feed in ends] or [grants[key]]
                found.append([key.hex(), [feed.hex() for feed in ends], min(newest)])
        return found


def _granted(entry: Entry) -> bytes:
    at = {"tenant.create": 3, "member.admit": 1, "identity.rotate": 2}[entry.kind]
    return as_bytes(read_array(entry.data)[at], 32)


def _faults(entries: list[Entry]) -> list[tuple[Entry, str]]:
    """What is wrong with entries by themselves, and with their place in the feed."""
    found, last = [], -1
    for entry in entries:
        if entry.hlc <= last:
            found.append((entry, "hlc.not_rising"))
        elif entry.visibility > 2:
            found.append((entry, "visibility.unknown"))
        elif not entry.is_stub and entry.header is None:
            found.append((entry, "header.malformed"))
        last = max(last, entry.hlc)
    return found
