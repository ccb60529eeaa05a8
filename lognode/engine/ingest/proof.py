"""Whether a range or a control span of another node is what its author signed.

Pure. Knows neither members nor rows. Invariant: what passes leads to a root that the feed's log key signed, and that
key is bound to a node key by the feed's own first entry.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from lognode.core.clock import HLC_MAX
from lognode.core.errors import CallerError, PeerError
from lognode.core.ids import FeedId, TenantId
from lognode.core.limits import BODY_BYTES_MAX, HEADER_BYTES_MAX, RANGE_BYTES_MAX, RANGE_SPANS_MAX
from lognode.core.span import (
    PRIVATE,
    PUBLIC,
    Entry,
    Foretold,
    Range,
    decode_body,
    decode_header,
    is_control,
    leaf_hashes,
    span_id,
)
from lognode.timeline.control.founding import check_feed_open, parse_feed_open
from lognode.timeline.members import Control
from lognode.timeline.proof.checkpoint import Checkpoint, origin, verify_checkpoint, vkey
from lognode.timeline.proof.tree import Growth, grow, root_of, verify_inclusion
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.state import FeedState

_VISIBILITY_MAX = 255


class Proven(NamedTuple):
    """What a range adds to a feed: its entries from the feed's end on, their leaf hashes, and the tree with them."""

    entries: Sequence[Entry]
    leaves: list[bytes]
    growth: Growth
    note: bytes


def prove_range(tenant: TenantId, head: FeedState, found: Range) -> Proven:
    """What a range adds behind the end of its feed, which lies in it or right before it.

    Headers and bodies of its entries are not looked into. Raises PeerError range.unproven, range.too_large.
    """
    held = head.border.size
    assert found.start <= held < found.stop
    _check_limits(found.entries)
    signed = verify_note(tenant, head.feed, found.note)
    entries = found.entries[held - found.start :] if held > found.start else found.entries
    leaves = leaf_hashes(head.feed.feed_id, held, entries)
    growth = grow(head.border, leaves)
    if (signed.size, signed.root) != (found.stop, root_of(growth.border)):
        raise PeerError("range.unproven", f"it does not lead to what was signed at {signed.size}")
    return Proven(entries, leaves, growth, found.note)


def _check_limits(entries: Sequence[Entry]) -> None:
    if len(entries) > RANGE_SPANS_MAX:
        raise PeerError("range.too_large", f"{len(entries)} entries, at most {RANGE_SPANS_MAX}")
    hlcs, visibilities, headers, bodies = zip(*entries, strict=True)
    if not (
        min(hlcs) >= 0 and max(hlcs) <= HLC_MAX and min(visibilities) >= 0 and max(visibilities) <= _VISIBILITY_MAX
    ):
        raise PeerError("range.unproven", "a stub is none")
    header_sizes, body_sizes = [*map(len, headers)], [len(body) for body in bodies if body]
    if max(header_sizes) > HEADER_BYTES_MAX or max(body_sizes, default=0) > BODY_BYTES_MAX:
        raise PeerError("range.too_large", "a header or body is longer than any may be")
    weight = sum(header_sizes) + sum(body_sizes)
    if weight > RANGE_BYTES_MAX:
        raise PeerError("range.too_large", f"{weight} bytes, at most {RANGE_BYTES_MAX}")


def read_opening(tenant: TenantRef, feed_id: FeedId, entry: Entry) -> FeedRef:
    """The feed that its first entry opens, with no number yet. Raises PeerError("range.unproven")."""
    kind, data = read_control(entry)
    if kind != "feed.open":
        raise PeerError("range.unproven", "the feed does not begin with its feed.open")
    return opened_feed(tenant, feed_id, data)


def opened_feed(tenant: TenantRef, feed_id: FeedId, data: bytes) -> FeedRef:
    """The feed that a feed.open with this data opens. Raises PeerError("range.unproven")."""
    try:
        opened = parse_feed_open(data)
        check_feed_open(tenant.tenant_id, feed_id, opened)
    except CallerError as error:
        raise PeerError("range.unproven", f"feed.open: {error.detail}") from error
    return FeedRef(0, tenant.number, feed_id, opened.node_key, opened.log_key, own=False)


def read_control(entry: Entry) -> tuple[str, bytes]:
    """Kind and data of a control span at full depth; a malformed body has no data.

    Raises PeerError("range.unproven") where it is none, or has another body than its header names.
    """
    try:
        header = decode_header(entry.header)
        body = entry.body
        if body is None:
            raise PeerError("range.stubbed", "the body of a control span is withheld")
        if (header.body_sha256, header.body_len) != (sha256(body).digest(), len(body)):
            raise PeerError("range.unproven", "a body is not the one that its header names")
        if entry.visibility > PUBLIC or not is_control(header.kind):
            raise PeerError("range.unproven", f"{header.kind} is no control span")
    except CallerError as error:
        raise PeerError("range.unproven", f"header: {error.detail}") from error
    try:
        return header.kind, decode_body(body).data
    except CallerError:
        return header.kind, b""


def prove_foretold(tenant: TenantId, feed: FeedRef, span: Foretold) -> Control:
    """A control span that its feed holds. Raises PeerError("control.unproven")."""
    try:
        _check_limits([span.entry])
        kind, data = read_control(span.entry)
        signed = verify_note(tenant, feed, span.note)
    except PeerError as error:
        raise PeerError("control.unproven", error.detail) from error
    if span.entry.visibility == PRIVATE:  # with its range comes no more than its stub
        raise PeerError("control.unproven", "it is private")
    if not 0 <= span.seq < signed.size:
        raise PeerError("control.unproven", "it lies behind what was signed")
    (leaf,) = leaf_hashes(feed.feed_id, span.seq, [span.entry])
    if not verify_inclusion(leaf, span.seq, signed.size, span.path, signed.root):
        raise PeerError("control.unproven", "its proof does not lead to what was signed")
    return Control(span_id(span.entry.hlc, leaf), feed.feed_id, span.seq, span.entry.hlc, feed.node_key, kind, data)


# Control spans come many under one note; a signature costs more than all else about them.
@lru_cache(maxsize=256)
def verify_note(tenant: TenantId, feed: FeedRef, note: bytes) -> Checkpoint:
    """The tree head that a feed's log key signed. Raises PeerError("range.unproven")."""
    try:
        return verify_checkpoint(note, vkey(origin(tenant, feed.feed_id), feed.log_key))
    except CallerError as error:
        raise PeerError("range.unproven", f"checkpoint: {error.detail}") from error
