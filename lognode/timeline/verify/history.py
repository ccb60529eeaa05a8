"""Walks spans in the order of their arrival and finds what contradicts what.

Handed one row with its body at a time, from the lowest row up; knows no SQL. Invariants of a whole history: a
tenant's positions are contiguous from 1; a feed's entries arrive in the order of their seq, with rising hlc;
columns repeat the header, the header hashes the body, and tenants, feeds and keys follow from signed spans.
"""

from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, NamedTuple

from lognode.core.clock import HLC_MAX
from lognode.core.codec import decode_value, encode
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId
from lognode.core.limits import TENANT_SHIFT_BITS
from lognode.core.span import (
    PUBLIC,
    Body,
    Header,
    decode_body,
    decode_header,
    entry_bytes,
    is_control,
    is_reserved,
    leaf_hash,
    span_id,
)
from lognode.timeline.agreement.merges import (
    CosignatureRow,
    MergedRow,
    is_merge,
    is_newer,
    merge_rows,
    parent_rows,
)
from lognode.timeline.control.founding import (
    FeedOpen,
    check_feed_open,
    check_tenant_create,
    feed_id,
    parse_feed_open,
    parse_tenant_create,
)
from lognode.timeline.members import Control
from lognode.timeline.record import FeedRef, TenantRef, is_signed, labels_of, row_of
from lognode.timeline.verify.feed import FeedWalk, Suspect
from lognode.timeline.verify.finding import Report
from lognode.timeline.verify.tally import Tally

SPAN_COLUMNS: Final = "row, tenant, feed, seq, hlc, visibility, kind, actor, status, caused_by, header"
SpanRow = tuple[Any, ...]

LOST_SPANS_MAX: Final = 1 << 20  # a wider gap is a damaged number rather than spans that are gone
_PREFIXES_MAX: Final = 4096
_ABSENT: Final = -1  # the number of a kind or actor that its table lacks


class Known(NamedTuple):
    """A header's first five elements, and what the columns kind, actor, status and caused_by must hold with them."""

    header: Header  # of the first span that had them; its hash and length of a body mean nothing here
    columns: tuple[object, ...]
    is_reserved: bool


class Home:
    """A tenant during the walk: its dictionaries, its feeds, and how far its positions came."""

    def __init__(self, ref: TenantRef, kinds: dict[str, int], actors: dict[bytes, int]) -> None:
        self.ref = ref
        self.kinds = kinds
        self.actors = actors
        self.walks: dict[int, FeedWalk] = {}
        self.used: set[tuple[str, int]] = set()  # ("kind" or "actor", number)
        self.is_proven = False  # a tenant.create proves the id
        self.controls: list[Control] = []  # those held, and then those foretold
        self.rows: dict[SpanId, int] = {}  # of those held
        self.next_row = row_of(ref.number, 1)
        self._first_row = self.next_row
        self.lost = 0  # missing positions that no feed was found to miss yet
        # By the bytes before the body's hash, which most spans have in common with others.
        self.prefixes: dict[bytes, Known] = {}

    @property
    def has_spans(self) -> bool:
        """Whether any were read."""
        return self.next_row > self._first_row


class History:
    """The walk. Afterwards `labels` and `idems` await what the tables hold, and each feed its Verdict."""

    def __init__(self, homes: dict[int, Home], own_key: bytes | None, report: Report) -> None:
        self.homes = homes
        self.labels = Tally()
        self.idems = Tally()
        self.merged = Tally()
        self.cosigned: dict[tuple[int, bytes, bytes], CosignatureRow] = {}  # the newest by tenant, feed id and witness
        self.doubtful: set[int] = set()  # rows of spans whose header and body contradict each other
        self._own_key = own_key
        self._report = report
        self._home = next(iter(homes.values()), None)

    def take(self, span: SpanRow, body: bytes | None) -> None:
        """Check one span; `body` is None where it is not to be checked."""
        row, tenant, feed, seq, hlc, visibility, kind, actor, status, caused_by, header = span
        home = self._home
        walk = home.walks.get(feed) if home is not None and row == home.next_row else None
        if (
            home is None
            or walk is None
            or seq != walk.size
            or tenant != home.ref.number
            or hlc.__class__ is not int
            or not walk.hlc < hlc <= HLC_MAX
            or visibility.__class__ is not int
            or not 0 <= visibility <= PUBLIC
            or header.__class__ is not bytes
        ):
            placed = self._place(span)
            if placed is None:
                return
            home, walk = placed
            hlc, visibility = hlc & HLC_MAX, visibility & 255
        known = self._read_header(home, walk, row, header, body)
        if known is not None:
            columns = (kind, actor, status, caused_by)
            if known.columns != columns:
                self._blame_columns(walk, row, known, columns)
            if body is not None and row not in self.doubtful:
                self._read_body(home, walk, row, hlc, visibility, known, body)
        leaf = leaf_hash(entry_bytes(walk.ref.feed_id, walk.size, hlc, visibility, header))
        if known is not None and known.is_reserved and body is not None and is_control(known.header.kind):
            ref, id_ = walk.ref, span_id(hlc, leaf)
            said = (known.header.kind, data_of(body))
            home.controls.append(Control(id_, ref.feed_id, walk.size, hlc, ref.node_key, *said))
            home.rows[id_] = row
        walk.add(leaf)
        walk.hlc = hlc
        home.next_row = row + 1

    def own_feeds(self) -> set[int]:
        """The numbers of this node's feeds, once all spans were taken."""
        walks = [walk for home in self.homes.values() for walk in home.walks.values()]
        return {walk.ref.number for walk in walks if self._is_own(walk)}

    def _place(self, span: SpanRow) -> tuple[Home, FeedWalk] | None:
        """Where a span belongs that does not simply come next, with everything reported that is wrong about it."""
        row, tenant, feed, seq, hlc, visibility, *_, header = span
        place = f"spans row {row}"
        home = self.homes.get(row >> TENANT_SHIFT_BITS)
        if home is None:
            self._report.add("tenant.wrong", None, f"tenants tenant {row >> TENANT_SHIFT_BITS}", "its row is missing")
            return None
        gap = row - home.next_row
        if gap < 0 or not all(isinstance(value, int) for value in (seq, hlc, visibility)) or type(header) is not bytes:
            self._blame(home, "span.wrong", place, "no position has this row, or a column is not of its type")
            return None
        if gap:
            self._blame(home, "span.missing", f"spans row {home.next_row}", f"missing, up to row {row - 1}")
            home.lost = min(home.lost + gap, LOST_SPANS_MAX)
        self._home, home.next_row = home, row + 1
        if tenant != home.ref.number:
            self._blame(home, "span.wrong", f"{place} tenant", f"{tenant}, by its row {home.ref.number}")
        walk = self._find_walk(home, feed, seq, place)
        if walk is None:
            return None
        ahead = seq - walk.size
        if 0 < ahead <= home.lost:
            self._blame(home, "span.missing", f"spans feed {feed} seq {walk.size}", f"missing, up to {seq - 1}")
            home.lost -= ahead
            walk.skip(ahead)
        elif seq != walk.size:
            self._blame(home, "span.wrong", f"{place} seq", f"{seq}, where the feed's entry {walk.size} belongs")
        if not 0 <= hlc <= HLC_MAX:
            self._blame(home, "span.wrong", f"{place} hlc", f"{hlc} is no time")
        elif hlc <= walk.hlc:
            walk.suspect(Suspect(walk.size, row, ("span.wrong", f"{place} hlc", "it does not rise in its feed"), None))
        if not 0 <= visibility <= PUBLIC:
            self._blame(home, "span.wrong", f"{place} visibility", f"{visibility} is none")
        return home, walk

    def _find_walk(self, home: Home, feed: int, seq: int, place: str) -> FeedWalk | None:
        """The feed that a span belongs to: the one it names, unless only another one can take it."""
        walk = home.walks.get(feed)
        if walk is not None and 0 <= seq - walk.size <= home.lost:
            return walk
        fits = [other for other in home.walks.values() if other.size == seq]
        if len(fits) == 1:
            self._blame(home, "span.wrong", f"{place} feed", f"{feed}, where feed {fits[0].ref.number} goes on")
            return fits[0]
        if walk is None:
            self._blame(home, "feed.wrong", f"feeds feed {feed}", f"{place} names it, and it is no feed of the tenant")
        return walk

    def _read_header(self, home: Home, walk: FeedWalk, row: int, raw: bytes, body: bytes | None) -> Known | None:
        """The header; a span whose body it does not hash becomes doubtful. None when no decoder reads it."""
        prefix = digest = None
        if body is not None:
            digest = sha256(body).digest()
            tail = b"\x58\x20" + digest + _encode_size(len(body))
            if raw.endswith(tail):
                prefix = raw[: -len(tail)]
                known = home.prefixes.get(prefix)
                if known is not None:
                    return known
        try:
            header = decode_header(raw)
        except CallerError as error:
            blame = ("span.wrong", f"spans row {row} header", error.detail)
            walk.suspect(Suspect(walk.size, row, blame, blame))
            self.doubtful.add(row)
            return None
        kind = home.kinds.get(header.kind, _ABSENT)
        actor = None if header.actor is None else home.actors.get(header.actor, _ABSENT)
        home.used.add(("kind", kind))
        if actor is not None:
            home.used.add(("actor", actor))
        known = Known(header, (kind, actor, header.status, header.caused_by), is_reserved(header.kind))
        if body is not None and (header.body_sha256, header.body_len) != (digest, len(body)):
            if_right = ("body.wrong", f"bodies row {row} body", "it does not hash to what the span's header says")
            if_wrong = ("span.wrong", f"spans row {row} header", "it does not hash the span's body")
            walk.suspect(Suspect(walk.size, row, if_right, if_wrong))
            self.doubtful.add(row)
        elif prefix is not None:
            if len(home.prefixes) == _PREFIXES_MAX:
                home.prefixes.clear()
            home.prefixes[prefix] = known
        return known

    def _blame_columns(self, walk: FeedWalk, row: int, known: Known, columns: tuple[object, ...]) -> None:
        """Suspect the columns that do not repeat the header, or the dictionary that does not know what it says."""
        header = known.header
        if_wrong = ("span.wrong", f"spans row {row} header", "it does not say what the columns repeat")
        names = ("kind", "actor", "status", "caused_by")
        values = (header.kind, header.actor, header.status, header.caused_by)
        for name, value, said, found in zip(names, values, known.columns, columns, strict=True):
            if said == _ABSENT:
                if_right = ("dictionary.wrong", f"{name}s {name} {found}", f"headers say {value!r}, which no row holds")
                walk.suspect(Suspect(walk.size, row, if_right, if_wrong))
            elif said != found:
                if_right = ("span.wrong", f"spans row {row} {name}", f"{found!r:.80}, by the header {said!r:.80}")
                walk.suspect(Suspect(walk.size, row, if_right, if_wrong))

    def _read_body(
        self, home: Home, walk: FeedWalk, row: int, hlc: int, visibility: int, known: Known, raw: bytes
    ) -> None:
        """Check what only the body can show, and count what the tables must hold because of it."""
        tenant, place = home.ref.number, f"bodies row {row} body"
        try:
            body = decode_body(raw)
        except CallerError as error:
            self._blame(home, "body.malformed", place, error.detail)
            return
        self.labels.expect(label_rows(tenant, hlc, row, body))
        if self._is_own(walk):  # keys of other nodes' callers mean nothing here
            self.idems.expect(idem_rows(tenant, hlc, row, body))
        if body.actor_signature is not None and not is_signed(home.ref.tenant_id, known.header, body, visibility):
            # Another node may sign what it likes: its span is then shown as one that its actor did not sign.
            code = "signature.wrong" if self._is_own(walk) else "signature.forged"
            self._blame(home, code, place, "the actor's signature does not match")
        if known.is_reserved:
            self._read_control(home, walk, known.header.kind, body.data)
            self._read_told(home, walk, known.header, visibility, body.data)
            return
        try:
            for value in (body.data, body.metadata, body.annotations):
                if value:
                    decode_value(value)
        except CallerError as error:
            self._blame(home, "body.malformed", place, error.detail)

    def _read_control(self, home: Home, walk: FeedWalk, kind: str, data: bytes) -> None:
        """Compare the rows of feeds and tenants with the signed spans that they follow from."""
        try:
            if kind == "feed.open" and walk.size == 0:
                self._bind(home, walk, parse_feed_open(data))
            elif kind == "tenant.create" and walk.size == 1:
                check_tenant_create(home.ref.tenant_id, parse_tenant_create(data))
                home.is_proven = True
        except CallerError as error:
            # A tenant.create that proves nothing is void: any node may write one. That none proves is seen at the end.
            if kind == "feed.open":
                self._blame(home, "feed.wrong", f"feeds feed {walk.ref.number}", error.detail)

    def _read_told(self, home: Home, walk: FeedWalk, header: Header, visibility: int, data: bytes) -> None:
        """Count what the tables must hold of other feeds that a span names."""
        ref = walk.ref
        if header.kind == "feed.open":
            self.merged.expect(map(_by_seq, parent_rows(ref.number, walk.size, data)))
        elif is_merge(header.kind, header.actor, header.status, visibility):
            merged, cosigned = merge_rows(home.ref.number, ref.number, ref.node_key, walk.size, data)
            self.merged.expect(map(_by_seq, merged))
            for row in cosigned:
                held = self.cosigned.get(row[:3])
                if held is None or is_newer(row, held):
                    self.cosigned[row[:3]] = row

    def _bind(self, home: Home, walk: FeedWalk, opened: FeedOpen) -> None:
        """Compare a feed's row with its feed.open; what follows is checked with what that proves."""
        derived = feed_id(home.ref.tenant_id, opened.node_key, opened.nonce)
        check_feed_open(home.ref.tenant_id, derived, opened)
        proven = FeedRef(
            walk.ref.number, home.ref.number, derived, opened.node_key, opened.log_key,
            bool(walk.ref.own) if self._own_key is None else opened.node_key == self._own_key,
        )  # fmt: skip
        for column, said, found in zip(FeedRef._fields, proven, walk.ref, strict=True):
            if said != found:
                place = f"feeds feed {walk.ref.number} {column}"
                self._blame(home, "feed.wrong", place, "it is not what the feed's feed.open says")
        walk.ref = proven
        walk.is_bound = True

    def _is_own(self, walk: FeedWalk) -> bool:
        return bool(walk.ref.own) if self._own_key is None else walk.ref.node_key == self._own_key

    def _blame(self, home: Home, code: str, place: str, detail: str) -> None:
        self._report.add(code, home.ref.tenant_id, place, detail)


def _by_seq(row: MergedRow) -> tuple[int, bytes, int, bytes, int]:
    """A row of `merged` with what it is counted by at its end."""
    feed, other, seq, size, root = row
    return (feed, other, size, root, seq)


def data_of(body: bytes) -> bytes:
    """The data of a control span; a malformed body says nothing."""
    try:
        return decode_body(body).data
    except CallerError:
        return b""


def label_rows(tenant: int, hlc: int, row: int, body: Body) -> list[tuple[int, int, bytes, int, int]]:
    """What the labels table must hold of a span: tenant, field, value, hlc, row."""
    return [(tenant, field, value.encode(), hlc, row) for field, value in labels_of(body)]


def idem_rows(tenant: int, _hlc: int, row: int, body: Body) -> list[tuple[int, bytes, int]]:
    """What the table of idempotency keys must hold of a span: tenant, idem, row."""
    return [] if body.idem is None else [(tenant, body.idem, row)]


@lru_cache(maxsize=4096)
def _encode_size(size: int) -> bytes:
    return encode(size)
