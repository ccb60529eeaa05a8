"""What a caller asks of a timeline: filters, order, and cursors to go on from.

Turns URL parameters into a Query and cursors into text and back. Knows no SQL and no tenant's content.
Invariant: a cursor names one place in one order on one node and tenant, and is refused everywhere else; by the feed
that the node wrote when it gave the cursor, a copy of the node can tell what it has not.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from lognode.core.clock import HLC_MAX, hlc_ms
from lognode.core.errors import CallerError
from lognode.core.ids import LogLine, LogLineKind, SpanId, TenantId, b32decode, b32encode, parse_logline, parse_span_id
from lognode.core.limits import FILTER_KINDS_MAX, PAGE_SPANS_DEFAULT, PAGE_SPANS_MAX, TAGS_MAX, TEXT_BYTES_MAX
from lognode.core.span import STATUSES, VISIBILITIES, is_kind
from lognode.timeline.record import POSITION_MASK, FeedRef, Record, TenantRef, feed_of, leaf_of

Order = Literal["timeline", "arrival"]
ORDERS: Final[tuple[Order, ...]] = ("timeline", "arrival")
SORTS: Final = ("asc", "desc")
PREFIX: Final = ".*"  # at the end of a kind: every kind below it

HASH_BYTES: Final = 32

_T = TypeVar("_T")
_KEY_BYTES: Final = {"timeline": 8 + HASH_BYTES, "arrival": 8}
_BINDING_BYTES: Final = 8
_CHECK_BYTES: Final = 4
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS_MAX: Final = hlc_ms(HLC_MAX)
_NUMBER_MAX: Final = {"timeline": HLC_MAX, "arrival": POSITION_MASK}


class Query(msgspec.Struct, frozen=True):
    """Filters that must all hold; of `kinds` one must, of `tags` each. `since_ms` <= span time < `until_ms`."""

    kinds: tuple[str, ...] = ()
    actor: LogLine | None = None
    subject: str | None = None
    tags: tuple[str, ...] = ()
    status: int | None = None
    visibility: int | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    caused_by: SpanId | None = None
    origin: str | None = None
    contract_id: str | None = None
    workflow_id: str | None = None
    flow_id: str | None = None
    text: str | None = None
    merges: bool = True  # False: none of the spans in which nodes sign what they hold
    known_by: bytes | None = None  # node key
    known_at: SpanId | None = None
    known: tuple[tuple[int, int], ...] | None = None  # what these two come to: feeds by number, and sizes
    order: Order = "timeline"
    descending: bool = True
    limit: int = PAGE_SPANS_DEFAULT


class Cursor(NamedTuple):
    """A place between spans. `key`: timeline, hlc (8) || leaf hash (32); arrival, position (8); big-endian."""

    order: Order
    key: bytes

    @property
    def number(self) -> int:
        """The hlc or the position that the key begins with."""
        return int.from_bytes(self.key[:8], "big")

    def moved(self, steps: int) -> "Cursor":
        """The place `steps` above this one; no lower than the start."""
        key = max(0, int.from_bytes(self.key, "big") + steps)
        return Cursor(self.order, key.to_bytes(len(self.key), "big"))


class PageRequest(NamedTuple):
    """A query, and the text of at most one cursor; `decode_cursor` reads it."""

    query: Query
    before: str | None
    after: str | None


def timeline_cursor(hlc: int, leaf: bytes) -> Cursor:
    """The place of the span with this hlc and leaf hash in timeline order."""
    return Cursor("timeline", hlc.to_bytes(8, "big") + leaf)


def arrival_cursor(position: int) -> Cursor:
    """The place of the span at `position` in arrival order; 0 is before all."""
    return Cursor("arrival", position.to_bytes(8, "big"))


def start_cursor(order: Order) -> Cursor:
    """The place before every span."""
    return Cursor(order, bytes(_KEY_BYTES[order]))


def end_cursor(order: Order, reached: int, *, descending: bool) -> Cursor:
    """The place behind all spans with an hlc, or behind the span in a row of the database, in the direction read."""
    if order == "arrival":
        return arrival_cursor(reached & POSITION_MASK)
    return timeline_cursor(reached, (b"\x00" if descending else b"\xff") * HASH_BYTES)


def place_of(record: Record, feeds: Mapping[int, FeedRef], order: Order) -> Cursor:
    """The cursor that stands at a stored span. Raises NodeFault("database.damaged")."""
    if order == "arrival":
        return arrival_cursor(record.position)
    return timeline_cursor(record.hlc, leaf_of(record, feed_of(record, feeds).feed_id))


def page_ends(
    records: list[Record],
    feeds: Mapping[int, FeedRef],
    query: Query,
    cursor: Cursor | None,
    *,
    descending: bool,
    is_cut: bool,
) -> tuple[Cursor | None, Cursor]:
    """`older` and `newer` of a page, whose records come in the direction they were read in."""
    if not records:
        # A cursor excludes its own place, so the way back begins just beyond it.
        if cursor is None:
            return None, start_cursor(query.order)
        return (None, cursor.moved(-1)) if descending else (cursor.moved(1), cursor)
    first, last = place_of(records[0], feeds, query.order), place_of(records[-1], feeds, query.order)
    if descending:
        return (last if is_cut else None), first
    return (first if cursor else None), last


class Lineage(NamedTuple):
    """What cursors count on: a node, a tenant, and the feeds that the node wrote there, oldest first."""

    node_public: bytes
    tenant_id: TenantId
    feeds: tuple[FeedRef, ...]

    def bindings(self) -> list[bytes]:
        """What stands in cursors: first of the time before any feed, last of now."""
        base = b"lognode cursor v1" + self.node_public + self.tenant_id
        return [sha256(base + feed).digest()[:_BINDING_BYTES] for feed in (b"", *[feed.feed_id for feed in self.feeds])]


class Place(NamedTuple):
    """A cursor, and the feed that the node opened next after it was given; None while it writes the same one."""

    cursor: Cursor
    next_feed: FeedRef | None


def lineage_of(node_public: bytes, tenant: TenantRef, feeds: Mapping[int, FeedRef]) -> Lineage:
    """The lineage of a tenant now. For the cursor of a span that was read, ask after reading it."""
    own = sorted(feed for feed in list(feeds.values()) if feed.own and feed.tenant == tenant.number)
    return Lineage(node_public, tenant.tenant_id, tuple(own))


def encode_cursor(cursor: Cursor, lineage: Lineage) -> str:
    """Opaque text: base32 of order (1), binding to node, tenant and newest feed (8), key, check (4)."""
    body = bytes([ORDERS.index(cursor.order)]) + lineage.bindings()[-1] + cursor.key
    return b32encode(body + _check(body))


def decode_cursor(text: str, lineage: Lineage) -> Place:
    """The cursor that `text` encodes, and what followed.

    Raises CallerError("cursor.foreign") for one of another node or tenant, or of a copy of this node that wrote other
    feeds, "cursor.invalid" for any other text.
    """
    for number, order in enumerate(ORDERS):
        size = 1 + _BINDING_BYTES + _KEY_BYTES[order] + _CHECK_BYTES
        try:
            raw = b32decode(text, size)
        except CallerError:
            continue
        body = raw[:-_CHECK_BYTES]
        cursor = Cursor(order, body[1 + _BINDING_BYTES :])
        if body[0] != number or _check(body) != raw[-_CHECK_BYTES:] or cursor.number > _NUMBER_MAX[order]:
            break
        bindings = lineage.bindings()
        if body[1 : 1 + _BINDING_BYTES] not in bindings:
            raise CallerError("cursor.foreign")
        lives = bindings.index(body[1 : 1 + _BINDING_BYTES])
        return Place(cursor, lineage.feeds[lives] if lives < len(lineage.feeds) else None)
    raise CallerError("cursor.invalid", f"{text!r:.100} is damaged or no cursor")


def _check(body: bytes) -> bytes:
    # Against slips of copying, not against forgers: whoever may use a cursor may read every place it can name.
    return sha256(b"lognode cursor check v1" + body).digest()[:_CHECK_BYTES]


def parse_query(params: Mapping[str, Sequence[str]]) -> PageRequest:
    """The request that URL parameters make; `kind` and `tag` may be given more than once.

    Raises CallerError "filter.invalid" or "id.malformed"; place is the parameter.
    """
    for name in params:
        if name not in _PARAMETERS:
            close = get_close_matches(name, _PARAMETERS, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(_PARAMETERS)}"
            raise CallerError("filter.invalid", f"no parameter {name!r:.80}: {hint}", place=f"{name:.80}")
    fields: dict[str, Any] = {}
    for name, (field, read) in _FILTERS.items():
        text = _single(params, name)
        if text is not None:
            fields[field] = _read(name, text, read)
    kinds = tuple(dict.fromkeys(_read("kind", text, _kind) for text in params.get("kind", ())))
    tags = tuple(dict.fromkeys(_read("tag", text, _text) for text in params.get("tag", ())))
    for name, values, count_max in (("kind", kinds, FILTER_KINDS_MAX), ("tag", tags, TAGS_MAX)):
        if len(values) > count_max:
            raise CallerError("filter.invalid", f"{len(values)} of them, at most {count_max}", place=name)
    query = Query(kinds=kinds, tags=tags, **fields)
    if query.since_ms is not None and query.until_ms is not None and query.since_ms > query.until_ms:
        raise CallerError("filter.invalid", "it is later than 'until'", place="since")
    if (query.known_by is None) != (query.known_at is None):
        missing = "at" if query.known_at is None else "known_by"
        raise CallerError("filter.invalid", "'known_by' says which node, 'at' when: give both", place=missing)
    before, after = _single(params, "before"), _single(params, "after")
    if before is not None and after is not None:
        raise CallerError("filter.invalid", "give 'before' or 'after', not both", place="after")
    return PageRequest(query, before, after)


def _single(params: Mapping[str, Sequence[str]], name: str) -> str | None:
    values = params.get(name, ())
    if len(values) > 1:
        raise CallerError("filter.invalid", f"given {len(values)} times, it takes one value", place=name)
    return values[0] if values else None


def _read(name: str, text: str, read: Callable[[str], _T]) -> _T:
    try:
        return read(text)
    except CallerError as error:
        raise CallerError(error.code, error.detail, place=name) from None


def _text(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise CallerError("filter.invalid", "it is not UTF-8") from None
    if not 0 < size <= TEXT_BYTES_MAX:
        raise CallerError("filter.invalid", f"it has {size} bytes, 1 to {TEXT_BYTES_MAX} are possible")
    return text


def _span(text: str) -> str:
    parse_span_id(text)
    return text


def _node(text: str) -> bytes:
    """The key of a node, named by its LogLine ID."""
    named = parse_logline(text)
    if named[0] != LogLineKind.NODE:
        raise CallerError("filter.invalid", f"{text!r:.120} is no node")
    return bytes(named[1:])


def _kind(text: str) -> str:
    if not is_kind(text.removesuffix(PREFIX)):
        raise CallerError("filter.invalid", f"{text!r:.80} is no kind such as order.paid, nor a prefix such as order.*")
    return text


def _words(text: str) -> str:
    if not any(char.isalnum() for char in _text(text)):
        raise CallerError("filter.invalid", "there is no word in it to look for")
    return text


def parse_time(text: str) -> int:
    """Unix milliseconds of a number or an RFC 3339 time, rounded up, so that no earlier span gets in.

    Raises CallerError("filter.invalid").
    """
    if text.isascii() and text.isdigit():
        unix_ms = int(text) if len(text) < 20 else _MS_MAX + 1
    elif _RFC_3339.fullmatch(text):
        try:
            moment = datetime.fromisoformat(text.upper())
            unix_ms = max(0, -((_EPOCH - moment) // timedelta(milliseconds=1)))
        except (ValueError, OverflowError) as error:
            raise CallerError("filter.invalid", f"{text!r} is no time: {error}") from None
    else:
        raise CallerError(
            "filter.invalid", f"{text!r:.80} is neither a time such as 2026-01-31T12:00:00Z nor Unix milliseconds"
        )
    if unix_ms > _MS_MAX:
        raise CallerError("filter.invalid", f"{text:.80} is later than any span can be")
    return unix_ms


def _limit(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= PAGE_SPANS_MAX:
        return int(text)
    raise CallerError("filter.invalid", f"{text!r:.80} is no number from 1 to {PAGE_SPANS_MAX}")


def _one_of(names: Sequence[str]) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text not in names:
            raise CallerError("filter.invalid", f"{text!r:.80} is none of {', '.join(names)}")
        return names.index(text)

    return read


def _order(text: str) -> Order:
    return ORDERS[_one_of(ORDERS)(text)]


def _is_descending(text: str) -> bool:
    return _one_of(SORTS)(text) == SORTS.index("desc")


def _is_true(text: str) -> bool:
    return bool(_one_of(("false", "true"))(text))


# parameter -> (field of Query, how to read it)
_FILTERS: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "actor": ("actor", parse_logline),
    "subject": ("subject", _text),
    "status": ("status", _one_of(STATUSES)),
    "visibility": ("visibility", _one_of(VISIBILITIES)),
    "since": ("since_ms", parse_time),
    "until": ("until_ms", parse_time),
    "caused_by": ("caused_by", parse_span_id),
    "origin": ("origin", _span),
    "contract": ("contract_id", _text),
    "workflow": ("workflow_id", _text),
    "flow": ("flow_id", _text),
    "text": ("text", _words),
    "merges": ("merges", _is_true),
    "known_by": ("known_by", _node),
    "at": ("known_at", parse_span_id),
    "order": ("order", _order),
    "sort": ("descending", _is_descending),
    "limit": ("limit", _limit),
}
_PARAMETERS: Final = ("kind", "tag", *_FILTERS, "before", "after")
