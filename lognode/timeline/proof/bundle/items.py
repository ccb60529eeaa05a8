"""The items of a bundle: what each holds, and its one encoding.

Owns shapes and limits. Must not know hashes, signatures or the order of items. Invariant: an item that decodes
encodes to the same bytes, and every field of it is of its type and within its bound.
Source: docs/protocol.md, Bundles.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from lognode.core.clock import HLC_MAX
from lognode.core.codec import decode_array, encode
from lognode.core.errors import CallerError
from lognode.core.ids import FEED_ID_BYTES, KEY_BYTES, TENANT_ID_BYTES, FeedId, TenantId
from lognode.core.limits import (
    BODY_BYTES_MAX,
    BUNDLE_FEEDS_MAX,
    BUNDLE_QUERY_BYTES_MAX,
    HEADER_BYTES_MAX,
    NOTE_BYTES_MAX,
    SIZE_MAX,
)
from lognode.core.span import VISIBILITIES
from lognode.timeline.proof.tree import HASH_BYTES

MAGIC: Final = "lognode.bundle"
VERSION: Final = 1
PATH_HASHES_MAX: Final = 63  # of a tree of SIZE_MAX leaves


class Head(NamedTuple):
    """What was asked for, when, and by whom the bundle is sealed: the node, and its feed whose log key signs."""

    tenant: TenantId
    node_key: bytes
    feed: FeedId
    made_ms: int
    query: str
    has_private: int


class FeedItem(NamedTuple):
    """A feed: the checkpoint that all its paths lead to, and its `feed.open`, which is entry 0."""

    feed: FeedId
    note: bytes
    hlc: int
    header: bytes
    body: bytes
    hashes: bytes


class TenantItem(NamedTuple):
    """The tenant's `tenant.create`, entry 1 of the first feed of the bundle."""

    hlc: int
    header: bytes
    body: bytes
    shared: int
    hashes: bytes


class SpanItem(NamedTuple):
    """A span as stored; `feed` counts the bundle's feeds from 0, `body` is None where it is not held."""

    feed: int
    seq: int
    hlc: int
    visibility: int
    header: bytes
    body: bytes | None
    shared: int
    hashes: bytes


class StubItem(NamedTuple):
    """The place of a private span whose content stays with its node."""

    feed: int
    seq: int
    hlc: int
    header_sha256: bytes
    shared: int
    hashes: bytes


class VoidItem(NamedTuple):
    """An entry that is no span of any timeline; `header` is its hash where it is private besides."""

    feed: int
    seq: int
    hlc: int
    visibility: int
    header: bytes
    shared: int
    hashes: bytes


class Seal(NamedTuple):
    """The end: a signed note over everything before it."""

    note: bytes


Item = Head | FeedItem | TenantItem | SpanItem | StubItem | Seal | VoidItem

_TYPES: Final[tuple[type[Item], ...]] = (Head, FeedItem, TenantItem, SpanItem, StubItem, Seal, VoidItem)
_NUMBERS: Final[Mapping[type[Item], int]] = {kind: number for number, kind in enumerate(_TYPES)}


def encode_item(item: Item) -> bytes:
    """The deterministic CBOR of an item."""
    if isinstance(item, Head):
        return encode([MAGIC, VERSION, *item])
    return encode([_NUMBERS[type(item)], *item])


def decode_item(payload: bytes) -> Item:
    """The item that `payload` encodes. Raises CallerError("bundle.invalid"), without a place."""
    try:
        # The head of an array of less than 24 elements is one byte; anything else fails there.
        elements: list[Any] = decode_array(payload, payload[0] & 31 if payload else 0)
        first, *fields = elements
    except (CallerError, ValueError) as error:
        raise CallerError("bundle.invalid", f"no item: {error}") from None
    kind: type[Item]
    if first == MAGIC:
        kind, fields = Head, _without_version(fields)
    elif type(first) is int and 0 < first < len(_TYPES):
        kind = _TYPES[first]
    else:
        raise CallerError("bundle.invalid", f"no item begins with {first!r:.40}")
    rules = _RULES[kind]
    if len(fields) != len(rules):
        raise CallerError("bundle.invalid", f"{len(fields)} fields, not {len(rules)}")
    for name, value, is_right in zip(kind._fields, fields, rules, strict=True):
        if not is_right(value):
            raise CallerError("bundle.invalid", f"{name} is not of its form")
    return kind(*fields)


def _without_version(fields: list[Any]) -> list[Any]:
    if not fields or type(fields[0]) is not int:
        raise CallerError("bundle.invalid", "it has no version")
    if fields[0] != VERSION:
        raise CallerError("bundle.invalid", f"it has format version {fields[0]!r:.40}, and {VERSION} is known here")
    return fields[1:]


def pack_path(path: Sequence[bytes], previous: Sequence[bytes]) -> tuple[int, bytes]:
    """How many hashes at the end of an audit path also end the feed's path before it, and the others joined."""
    shared = 0
    for ours, theirs in zip(reversed(path), reversed(previous), strict=False):
        if ours != theirs:
            break
        shared += 1
    return shared, b"".join(path[: len(path) - shared])


def unpack_path(shared: int, hashes: bytes, previous: Sequence[bytes]) -> list[bytes]:
    """The whole audit path, the leaf's sibling first. Raises CallerError("bundle.invalid"), without a place."""
    if shared > len(previous):
        raise CallerError("bundle.invalid", f"it shares {shared} hashes with a path of {len(previous)}")
    own = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
    return own + list(previous[len(previous) - shared :])


def _number(most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and 0 <= value <= most


def _exactly(size: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is bytes and len(value) == size


def _at_most(size: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is bytes and len(value) <= size


def _is_query(value: Any) -> bool:
    return type(value) is str and len(value) <= BUNDLE_QUERY_BYTES_MAX and value.isascii()


def _is_body_or_null(value: Any) -> bool:
    return value is None or _is_body(value)


def _is_path(value: Any) -> bool:
    return type(value) is bytes and len(value) % HASH_BYTES == 0 and len(value) <= PATH_HASHES_MAX * HASH_BYTES


_is_hlc: Final = _number(HLC_MAX)
_is_seq: Final = _number(SIZE_MAX - 1)
_is_feed: Final = _number(BUNDLE_FEEDS_MAX - 1)
_is_shared: Final = _number(PATH_HASHES_MAX)
_is_key: Final = _exactly(KEY_BYTES)
_is_feed_id: Final = _exactly(FEED_ID_BYTES)
_is_header: Final = _at_most(HEADER_BYTES_MAX)
_is_body: Final = _at_most(BODY_BYTES_MAX)
_RULES: Final[Mapping[type[Item], Sequence[Callable[[Any], bool]]]] = {
    Head: (_exactly(TENANT_ID_BYTES), _is_key, _is_feed_id, _number(SIZE_MAX), _is_query, _number(1)),
    FeedItem: (_is_feed_id, _at_most(NOTE_BYTES_MAX), _is_hlc, _is_header, _is_body, _is_path),
    TenantItem: (_is_hlc, _is_header, _is_body, _is_shared, _is_path),
    SpanItem: (
        _is_feed, _is_seq, _is_hlc, _number(len(VISIBILITIES) - 1), _is_header,
        _is_body_or_null, _is_shared, _is_path,
    ),
    StubItem: (_is_feed, _is_seq, _is_hlc, _exactly(HASH_BYTES), _is_shared, _is_path),
    Seal: (_at_most(NOTE_BYTES_MAX),),
    VoidItem: (_is_feed, _is_seq, _is_hlc, _number(255), _is_header, _is_shared, _is_path),
}  # fmt: skip
