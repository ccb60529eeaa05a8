"""Merges: what a node signs that it knows of the feeds of others.

Owns the data of `timeline.merge` and the rows that follow from it and from parents of feeds. Knows no SQL. Invariant:
what a span says of other feeds depends on its own bytes and place alone, so all nodes have the same rows.
Source: docs/protocol.md, Merges.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from lognode.core.clock import time_text
from lognode.core.codec import decode_any_array, encode
from lognode.core.errors import CallerError
from lognode.core.ids import FEED_ID_BYTES, FeedId, LogLine, b32encode
from lognode.core.limits import MERGE_FEEDS_MAX, SIZE_MAX, TIME_S_MAX
from lognode.core.span import EXECUTED, PUBLIC, SIGNATURE_BYTES
from lognode.timeline.control.founding import parse_feed_open
from lognode.timeline.control.shape import fault_of_bytes, fault_of_integer
from lognode.timeline.proof.tree import HASH_BYTES

MERGE: Final = "timeline.merge"

MergedRow = tuple[int, FeedId, int, int, bytes]  # feed, other, seq, size, root
CosignatureRow = tuple[int, FeedId, bytes, int, bytes, int, bytes]  # tenant, feed id, witness, and as in Merged


class Merged(NamedTuple):
    """A tree of another feed that a merge names, and its cosignature at a Unix time; the order is that of the data."""

    feed: FeedId
    size: int
    root: bytes
    time_s: int
    signature: bytes


def merge_data(merged: Iterable[Merged]) -> bytes:
    """The data of a merge."""
    return encode([list(item) for item in sorted(merged)])


def parse_merge(data: bytes) -> list[Merged]:
    """What a merge names, no signature verified. Raises CallerError("body.malformed")."""
    try:
        items = decode_any_array(data)
    except CallerError as error:
        raise CallerError("body.malformed", f"{MERGE}: {error.detail}") from error
    if not 0 < len(items) <= MERGE_FEEDS_MAX:
        raise CallerError("body.malformed", f"{MERGE}: {len(items)} feeds, of 1 to {MERGE_FEEDS_MAX}")
    fault = next(filter(None, map(_fault_of_item, items)), None)
    if fault:
        raise CallerError("body.malformed", f"{MERGE}: {fault}")
    merged = [Merged(*item) for item in items]  # type: ignore[misc]
    feeds = [item.feed for item in merged]
    if sorted(set(feeds)) != feeds:
        raise CallerError("body.malformed", f"{MERGE}: feeds are not sorted, each once")
    return merged


def _fault_of_item(item: object) -> str | None:
    if not isinstance(item, list) or len(item) != len(Merged._fields):
        return "an item is not feed, size, root, time and signature"
    feed, size, root, time_s, signature = item
    return (
        fault_of_bytes("feed", feed, FEED_ID_BYTES)
        or fault_of_integer("size", size, 1, SIZE_MAX)
        or fault_of_bytes("root", root, HASH_BYTES)
        or fault_of_integer("time", time_s, 0, TIME_S_MAX)
        or fault_of_bytes("signature", signature, SIGNATURE_BYTES)
    )


def merge_json(data: bytes) -> object:
    """The data of a merge for people. Raises CallerError("body.malformed")."""
    return [
        {
            "feed": b32encode(item.feed),
            "size": item.size,
            "root": item.root.hex(),
            "cosigned_at": time_text(item.time_s * 1000),
            "signature": item.signature.hex(),
        }
        for item in parse_merge(data)
    ]


def is_merge(kind: str, actor: LogLine | int | None, status: int, visibility: int) -> bool:
    """Whether a span speaks for its node: no person's, no trial, and readable for all."""
    return kind == MERGE and actor is None and status == EXECUTED and visibility == PUBLIC


def parent_rows(feed: int, seq: int, data: bytes) -> list[MergedRow]:
    """What a `feed.open` says of the feed before it: one row at entry 0, none elsewhere or without a parent."""
    try:
        opened = parse_feed_open(data) if seq == 0 else None
    except CallerError:
        return []
    if opened is None or opened.parent_feed is None or opened.parent_size is None or opened.parent_root is None:
        return []
    return [(feed, opened.parent_feed, 0, opened.parent_size, opened.parent_root)]


def merge_rows(
    tenant: int, feed: int, witness: bytes, seq: int, data: bytes
) -> tuple[list[MergedRow], list[CosignatureRow]]:
    """What a merge at entry `seq` of a feed of `witness` says, and its cosignatures; nothing if it is malformed."""
    try:
        merged = parse_merge(data)
    except CallerError:
        return [], []
    return (
        [(feed, item.feed, seq, item.size, item.root) for item in merged],
        [(tenant, item.feed, witness, *item[1:]) for item in merged],
    )


def is_newer(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether a row of cosignatures takes the place of another of the same feed and witness."""
    _, _, _, size, root, time_s, signature = one
    _, _, _, other_size, other_root, other_time_s, other_signature = other
    return bool((size, time_s, root, signature) > (other_size, other_time_s, other_root, other_signature))
