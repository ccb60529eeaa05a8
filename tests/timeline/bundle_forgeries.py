"""What forgers make of a bundle, each from the items of an honest one.

A forger may be anybody who has the file, a stranger with keys of their own, or the very node that seals. Invariant:
each breaks one rule, and everything else about it is made to fit.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from lognode.core.span import (
    PUBLIC,
    Body,
    Header,
    decode_body,
    decode_header,
    encode_body,
    encode_header,
    entry_bytes,
    leaf_hash,
)
from lognode.identity.keys import KeyPair, NodeKeys
from lognode.timeline.control.founding import feed_id, feed_open_data
from lognode.timeline.proof.bundle.items import FeedItem, Seal, SpanItem, StubItem
from lognode.timeline.proof.checkpoint import parse_note, sign_checkpoint
from lognode.timeline.proof.tree import EMPTY, grow, root_of
from tests.timeline.bundles import KEYS, items_of, joined

STRANGER: Final = NodeKeys.from_seed(bytes(31) + b"\x07")
NOTE: Final = Body(bytes(16), None, b"", [], None, None, None, None, [], b"", b"", None, None)

# The items of a bundle of two feeds with private spans, each with its whole path.
Items = list[Any]


def node_key(items: Items) -> KeyPair:
    """The key that the node seals with."""
    return KEYS.log_key(items[0].feed)


def spans_of(items: Items, feed: int, *visibilities: int) -> list[int]:
    """Where the spans of one feed stand that nobody needs to open it."""
    wanted = visibilities or (0, 1, 2)
    is_wanted = [type(item) is SpanItem and item.feed == feed and item.seq > 2 for item in items]
    return [at for at, item in enumerate(items) if is_wanted[at] and item.visibility in wanted]


def but(items: Items, at: int, **fields: Any) -> Items:
    return [*items[:at], items[at]._replace(**fields), *items[at + 1 :]]


def rehashed_under_the_old_signature(items: Items) -> bytes:
    """By anybody: the head says something else, and the seal has the right hash and a signature of before."""
    changed = but(items, 0, query="kind=note")
    text = parse_note(items_of(joined(changed, node_key(items)))[-1].note).text  # type: ignore[union-attr]
    signature = items[-1].note.decode().split("\n\n")[1]
    return joined([*changed[:-1], Seal(f"{text}\n{signature}".encode())])


def a_span_left_out(items: Items) -> bytes:
    at = spans_of(items, 0)[3]
    return joined([*items[:at], *items[at + 1 :]])


def sealed_by_a_stranger(items: Items) -> bytes:
    return joined(but(items, 0, made_ms=0), STRANGER.log_key(items[0].feed))


def sealed_by_the_node_for_another_feed(items: Items) -> bytes:
    other = next(item for item in items if type(item) is FeedItem and item.feed != items[0].feed)
    return joined(items, KEYS.log_key(other.feed))


def a_title_changed(items: Items) -> bytes:
    """By the sealing node, as all below: header and hashes are made to fit."""
    at = spans_of(items, 0)[0]
    body = encode_body(decode_body(items[at].body)._replace(title="Forged"))
    header = decode_header(items[at].header)._replace(body_sha256=sha256(body).digest(), body_len=len(body))
    return joined(but(items, at, body=body, header=encode_header(header)), node_key(items))


def a_later_time(items: Items) -> bytes:
    at = spans_of(items, 0)[-1]
    return joined(but(items, at, hlc=items[at].hlc + 1), node_key(items))


def a_true_span_of_the_other_feed(items: Items) -> bytes:
    at = spans_of(items, 0)[-1]
    return joined(but(items, at, feed=1), node_key(items))


def content_held_back_as_if_private(items: Items) -> bytes:
    at = spans_of(items, 0, PUBLIC)[0]
    span = items[at]
    stub = StubItem(span.feed, span.seq, span.hlc, sha256(span.header).digest(), 0, span.hashes)
    return joined([*items[:at], stub, *items[at + 1 :]], node_key(items))


def the_body_of_another_span(items: Items) -> bytes:
    first, second, *_ = spans_of(items, 0)
    return joined(but(items, first, body=items[second].body), node_key(items))


def two_spans_swapped(items: Items) -> bytes:
    first, second, *_ = spans_of(items, 0)
    swapped = list(items)
    swapped[first], swapped[second] = items[second], items[first]
    return joined(swapped, node_key(items))


def a_span_doubled(items: Items) -> bytes:
    at = spans_of(items, 0)[0]
    return joined([*items[:at], items[at], *items[at:]], node_key(items))


def feeds_one_after_the_other(items: Items) -> bytes:
    """Each feed in its order, and so not in timeline order."""
    feeds: list[int | None] = [item.feed if type(item) is SpanItem else None for item in items]
    at = feeds.index(0)
    later = [item for item, feed in zip(items, feeds, strict=True) if feed == 1]
    rest = [item for item, feed in zip(items, feeds, strict=True) if feed != 1]
    assert later[0].hlc < items[at].hlc, "the second feed is the earlier one, since the clock was set back"
    forged: Items = [*rest[:-1], *later, rest[-1]]
    return joined(forged, node_key(items))


def a_private_span_that_the_head_denies(items: Items) -> bytes:
    return joined(but(items, 0, has_private=0), node_key(items))


def a_feed_in_the_name_of_the_node(items: Items) -> bytes:
    """By a stranger: an opening that names the node's key, and a log key, a tree and a seal of the stranger's."""
    head = items[0]
    feed = feed_id(head.tenant, KEYS.public, bytes(16))
    log_key = STRANGER.log_key(feed)
    data = feed_open_data(STRANGER, head.tenant, feed, bytes(16), [], None, "first")
    texts = [span_bytes("feed.open", data.replace(STRANGER.public, KEYS.public)), span_bytes("note", b"")]
    hlc = max(item.hlc for item in items if type(item) is SpanItem) + 1
    leaves = [leaf_hash(entry_bytes(feed, seq, hlc + seq, PUBLIC, header)) for seq, (header, _) in enumerate(texts)]
    note = sign_checkpoint(log_key, head.tenant, feed, 2, root_of(grow(EMPTY, leaves).border))
    number = sum(type(item) is FeedItem for item in items)
    forged: Items = [
        FeedItem(feed, note, hlc, *texts[0], leaves[1]),
        SpanItem(number, 1, hlc + 1, 2, *texts[1], 0, leaves[0]),
    ]
    return joined([head._replace(feed=feed), *items[1:-1], *forged, items[-1]], log_key)


def span_bytes(kind: str, data: bytes) -> tuple[bytes, bytes]:
    body = encode_body(NOTE._replace(data=data))
    return encode_header(Header(1, kind, None, 0, None, sha256(body).digest(), len(body))), body


# The check that refuses each, by the reader that lacks it.
FORGERIES: Final[Mapping[Callable[[Items], bytes], set[str]]] = {
    rehashed_under_the_old_signature: {"no seal", "only the hash of the seal"},
    a_span_left_out: {"no seal"},
    sealed_by_a_stranger: {"no seal", "only the hash of the seal"},
    sealed_by_the_node_for_another_feed: {"no seal", "only the hash of the seal"},
    a_title_changed: {"no proofs"},
    a_later_time: {"no proofs"},
    a_true_span_of_the_other_feed: {"no proofs"},
    content_held_back_as_if_private: {"no proofs"},
    the_body_of_another_span: {"no bodies"},
    two_spans_swapped: {"no order"},
    a_span_doubled: {"no order"},
    feeds_one_after_the_other: {"no order"},
    a_feed_in_the_name_of_the_node: {"no binding"},
    a_private_span_that_the_head_denies: set(),
}
