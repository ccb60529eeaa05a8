"""Entries of a feed that are no spans: whether each is what its feed's tree holds, and void or withheld for its reason.

Knows no SQL. Invariant: whatever a row says, the feed's tree goes on with what it hashes to, so that a wrong one is
found where it stands.
"""

from hashlib import sha256
from typing import Final, NamedTuple

from lognode.core.clock import HLC_MAX
from lognode.core.ids import TenantId
from lognode.core.limits import HEADER_BYTES_MAX
from lognode.core.span import Entry, leaf_hash, stub_entry
from lognode.timeline.verify.feed import FeedWalk, Suspect
from lognode.timeline.verify.finding import Report
from lognode.timeline.verify.inert import inert_reason, named_body

_CODE: Final = "inert.wrong"


class InertRow(NamedTuple):
    """A row as it was read; damage may have put anything into it."""

    seq: int
    hlc: int
    visibility: int
    header: bytes
    body: bytes | None
    reason: str


def inert_key(seq: int) -> int:
    """What stands for an inert entry where rows of spans stand for spans: below all of them."""
    return -1 - seq


def entry_place(feed: int, key: int) -> str:
    """Table and place of an entry of a feed, by the row of its span or what stands for it."""
    return f"spans row {key}" if key >= 0 else f"inert feed {feed} seq {-1 - key}"


def take_inert(walk: FeedWalk, row: InertRow, tenant: TenantId, report: Report, *, with_bodies: bool) -> None:
    """Check the next entry of a feed, one that is no span; its body only where bodies are read."""
    place = f"inert feed {walk.ref.number} seq {row.seq}"
    if not 0 <= row.hlc <= HLC_MAX or not 0 <= row.visibility <= 255 or len(row.header) > HEADER_BYTES_MAX:
        report.add(_CODE, tenant, place, "hlc, visibility or header is none that an entry can have")
    hlc, visibility = row.hlc & HLC_MAX, row.visibility & 255
    entry = Entry(hlc, visibility, row.header, row.body)
    key = inert_key(row.seq)
    expected = inert_reason(entry, walk.hlc)
    if expected != row.reason:
        detail = f"{row.reason!r:.80}, where the entry is {'a span' if expected is None else expected}"
        walk.suspect(Suspect(walk.size, key, (_CODE, f"{place} reason", detail), None))
    fault = _fault_of_body(entry) if with_bodies else None
    if fault:
        if_wrong = (_CODE, f"{place} header", "it does not hash its body")
        walk.suspect(Suspect(walk.size, key, (_CODE, f"{place} body", fault), if_wrong))
    walk.add(leaf_hash(stub_entry(walk.ref.feed_id, walk.size, hlc, visibility, entry.header_sha256)))
    walk.hlc = max(walk.hlc, hlc)


def _fault_of_body(entry: Entry) -> str | None:
    """What is wrong with the body of an entry: only one that a header names can be held."""
    if entry.is_withheld:
        return None if entry.body is None else "there is one of what is withheld"
    named = named_body(entry.header)
    held = None if entry.body is None else (sha256(entry.body).digest(), len(entry.body))
    return None if held == named else "it is not the one that the header names"
