"""The rows that entries of one feed become, one entry after the other.

Pure. Owns what is a span of the timeline and what is inert. Invariants: a body is stored only if the header names it;
what a header says is what the columns repeat; a refused range leaves nothing behind.
"""

from functools import lru_cache
from hashlib import sha256
from itertools import chain
from typing import Any, Final, NamedTuple

from lognode.core.codec import encode
from lognode.core.errors import CallerError, PeerError
from lognode.core.ids import IDEM_BYTES, LogLine, SpanId
from lognode.core.span import PRIVATE, PUBLIC, Entry, decode_body, decode_header, is_control, span_id
from lognode.engine.ingest.proof import Proven
from lognode.timeline.agreement.merges import MERGE, is_merge, merge_rows, parent_rows
from lognode.timeline.members import Control
from lognode.timeline.proof.tree import HASH_BYTES
from lognode.timeline.record import FeedRef, labels_of, row_of
from lognode.timeline.state import FeedState, Numbers, TenantState
from lognode.timeline.verify.inert import WITHHELD, inert_reason, named_body

_PREFIXES_MAX: Final = 1024
_BYTES_32: Final = b"\x58\x20"
_BEGINNING: Final = b"\x8d\x50"  # of a body: an array of 13, a nonce of 16 bytes
_TITLE: Final = 18  # where the title stands
# Tags up to the idempotency key, nothing in any of them; and up to the length of a key.
_PLAIN: Final = bytes.fromhex("80f6f6f6f6804040f6f6")
_PLAIN_WITH_IDEM: Final = bytes.fromhex("80f6f6f6f6804040f650")
# By their first byte: how long null, short bytes and short text are, with that; where their length stands in bytes.
_SHORT: Final = {0xF6: 1, **{major << 5 | size: 1 + size for major in (2, 3) for size in range(24)}}
_WIDTHS: Final = {major << 5 | 24 + power: 1 << power for major in (2, 3) for power in range(4)}


class Known(NamedTuple):
    """What headers that begin alike say, as the columns repeat it; `telling` is a kind whose data is read here."""

    kind: int
    actor: int | None
    status: int
    caused_by: SpanId | None
    telling: str | None


class Arrival(NamedTuple):
    """What entries came to: rows by table, control spans with their rows, and where the feed stands behind them."""

    tables: dict[str, list[Any]]
    controls: dict[SpanId, tuple[Control, int]]
    spans: int
    hlc: int
    newest: int  # time of a span that is not ahead of now
    weight: int
    merges: int


class Shelf:
    """Where the rows of a tenant go: its next position, and its dictionaries."""

    def __init__(self, state: TenantState, numbers: Numbers, hlc_max: int) -> None:
        self.position = state.position
        self.numbers = numbers
        self.kinds = state.kinds
        self.actors = state.actors
        self._tenant = state.tenant.number
        self._hlc_max = hlc_max  # what is later is ahead of now
        self._known: dict[bytes, Known] = {}
        self._are_copies = False  # the dictionaries, which are copied once before they grow

    def place(self, feed: FeedRef, head: FeedState, proven: Proven) -> Arrival:
        """The rows of entries behind the end of a feed. Raises PeerError range.stubbed or range.unproven.

        This runs for every span that comes from others, so names are local and common cases come first.
        """
        before = self.numbers, self.kinds, self.actors
        self._are_copies = False
        tables: dict[str, list[Any]] = {name: [] for name in ("kinds", "actors", "spans", "bodies", "labels", "inert")}
        spans, bodies, labels = tables["spans"], tables["bodies"], tables["labels"]
        tenant, number, seq, floor = self._tenant, feed.number, head.border.size, head.hlc
        first = row = row_of(tenant, self.position + 1)
        newest, weight, hlc_max, merges = 0, 0, self._hlc_max, 0
        is_own, learnt = feed.own, self._known
        controls: dict[SpanId, tuple[Control, int]] = {}
        try:
            for entry, leaf in zip(proven.entries, proven.leaves, strict=True):
                hlc, visibility, header, body = entry
                known = None
                weight += len(header)
                if body is not None and hlc > floor and PRIVATE < visibility <= PUBLIC and len(header) != HASH_BYTES:
                    tail = _BYTES_32 + sha256(body).digest() + _encode_size(len(body))
                    if header.endswith(tail):
                        prefix = header[: -len(tail)]
                        known = learnt.get(prefix) or self._read(tables, prefix, header)
                if known is None or body is None:
                    stub = _inert(entry, floor)
                    tables["inert"] += (number, seq, *stub)
                    weight += len(stub.body or b"") + len(stub.header) - len(header)
                else:
                    weight += len(body)
                    kind, actor, status, caused_by, telling = known
                    spans += (row, tenant, number, seq, hlc, visibility, kind, actor, status, caused_by, header)
                    bodies += (row, body)
                    if is_own or not is_plain(body):
                        labels += self._labels(tables, feed, hlc, row, body)
                    if telling is None:
                        pass
                    elif telling == MERGE:
                        merges += 1
                        _note_merge(tables, feed, seq, visibility, known, body)
                    else:
                        control = _control(feed, seq, hlc, leaf, telling, body)
                        controls[control.id] = (control, row)
                        if seq == 0:
                            tables["merged"] = list(chain.from_iterable(parent_rows(number, 0, control.data)))
                    if newest < hlc <= hlc_max:
                        newest = hlc
                    row += 1
                seq += 1
                floor = hlc if hlc > floor else floor  # noqa: FURB136 - a call to max takes longer than the rest
        except PeerError:
            self.numbers, self.kinds, self.actors = before
            self._known.clear()  # what it has learnt has numbers that others will get
            raise
        self.position += row - first
        return Arrival(tables, controls, row - first, floor, newest, weight, merges)

    def _read(self, tables: dict[str, list[Any]], prefix: bytes, header: bytes) -> Known | None:
        """What a header says; None for a malformed one."""
        try:
            said = decode_header(header)
        except CallerError:
            return None
        kind = self.kinds.get(said.kind) or self._kind(tables, said.kind)
        actor = None if said.actor is None else self.actors.get(said.actor) or self._actor(tables, said.actor)
        telling = said.kind if said.kind == MERGE or is_control(said.kind) else None
        known = Known(kind, actor, said.status, said.caused_by, telling)
        if len(self._known) >= _PREFIXES_MAX:
            self._known.clear()
        self._known[prefix] = known
        return known

    def _labels(self, tables: dict[str, list[Any]], feed: FeedRef, hlc: int, row: int, raw: bytes) -> list[Any]:
        """What a span is found by; of an own one, fetched back, the idempotency key as well."""
        try:
            body = decode_body(raw)
        except CallerError:
            return []
        if feed.own and body.idem is not None:
            tables.setdefault("idems", []).extend((self._tenant, body.idem, row))
        return [item for field, value in labels_of(body) for item in (self._tenant, field, value, hlc, row)]

    def _kind(self, tables: dict[str, list[Any]], name: str) -> int:
        number = self.numbers.kind
        self.numbers = self.numbers._replace(kind=number + 1)
        self._copy()
        self.kinds[name] = number
        tables["kinds"] += (number, self._tenant, name)
        return number

    def _actor(self, tables: dict[str, list[Any]], actor: LogLine) -> int:
        number = self.numbers.actor
        self.numbers = self.numbers._replace(actor=number + 1)
        self._copy()
        self.actors[actor] = number
        tables["actors"] += (number, self._tenant, actor)
        return number

    def _copy(self) -> None:
        """Let the dictionaries of before stay as they were; once a range, since they may be large."""
        if not self._are_copies:
            self.kinds, self.actors, self._are_copies = dict(self.kinds), dict(self.actors), True


class Inert(NamedTuple):
    """The columns of an entry that is no span."""

    hlc: int
    visibility: int
    header: bytes
    body: bytes | None
    reason: str


def _inert(entry: Entry, floor: int) -> Inert:
    """An entry that is no span of the timeline. Raises PeerError range.stubbed or range.unproven for one that is."""
    hlc, visibility, header, body = entry
    if visibility == PRIVATE:  # nobody else may have more, whatever a peer gives away
        stub = Entry(hlc, visibility, entry.header_sha256, None)
        return Inert(*stub, inert_reason(stub, floor) or WITHHELD)
    if entry.is_withheld:
        raise PeerError("range.stubbed", "the header of an entry is withheld that is not private")
    named = named_body(header)
    if named is not None and body is None:
        raise PeerError("range.stubbed", "the body of an entry is withheld that is not private")
    if named != (None if body is None else (sha256(body).digest(), len(body))):
        raise PeerError("range.unproven", "a body is not the one that its header names")
    reason = inert_reason(entry, floor)
    assert reason is not None, "with the body that its header names it were a span"
    return Inert(hlc, visibility, header, body, reason)


def _control(feed: FeedRef, seq: int, hlc: int, leaf: bytes, kind: str, body: bytes) -> Control:
    return Control(span_id(hlc, leaf), feed.feed_id, seq, hlc, feed.node_key, kind, _data_of(body))


def _note_merge(
    tables: dict[str, list[Any]], feed: FeedRef, seq: int, visibility: int, known: Known, body: bytes
) -> None:
    if is_merge(MERGE, known.actor, known.status, visibility):
        merged, cosigned = merge_rows(feed.tenant, feed.number, feed.node_key, seq, _data_of(body))
        tables.setdefault("merged", []).extend(chain.from_iterable(merged))
        tables.setdefault("cosignatures", []).extend(chain.from_iterable((*row, None) for row in cosigned))


def _data_of(body: bytes) -> bytes:
    try:
        return decode_body(body).data
    except CallerError:
        return b""


def is_plain(body: bytes) -> bool:
    """Whether a body certainly has nothing that its span is found by: a look at it, without decoding it."""
    if not body.startswith(_BEGINNING):
        return False
    try:
        at = _TITLE
        for _ in range(2):  # title and data
            short = _SHORT.get(body[at])
            at = at + short if short else _end_of_long(body, at)
    except IndexError:
        return False
    rest = body[at:]
    return rest == _PLAIN or (rest.startswith(_PLAIN_WITH_IDEM) and len(rest) == len(_PLAIN_WITH_IDEM) + IDEM_BYTES)


def _end_of_long(body: bytes, at: int) -> int:
    """Where text or bytes end whose length stands in bytes of its own; the end of the body for all else."""
    width = _WIDTHS.get(body[at], 0)
    if not width:
        return len(body)
    return at + 1 + width + int.from_bytes(body[at + 1 : at + 1 + width], "big")


@lru_cache(maxsize=4096)
def _encode_size(size: int) -> bytes:
    return encode(size)
