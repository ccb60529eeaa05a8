"""The JSON shapes of answers about spans, and how the engine's values become them.

OpenAPI describes the API by these types. Spans themselves are encoded from `timeline.record.span_json`, whose
keys SpanJson names. Invariant: an id, a feed and a leaf have one text form, here and in every other answer.
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from lognode.core.ids import b32encode
from lognode.engine.receipt import Receipt


class ReceiptJson(msgspec.Struct, frozen=True):
    """Where a span stands; given only once the span is durable.

    `leaf` (hex) is the leaf hash at index `seq` of the feed's tree, which the checkpoint of `checkpoint_size`
    covers. `position` counts arrivals of this tenant on this node. `held`: the draft waits for approval, and this is
    the firing that tells so, whose id is that of the approval.
    """

    id: str
    feed: str
    seq: int
    position: int
    leaf: str
    checkpoint_size: int
    duplicate: bool
    held: bool | UnsetType = UNSET


class UploadJson(msgspec.Struct, frozen=True):
    """What became of a stream of drafts. `lines` counts blank lines too; `checkpoint_size` is that of `last`.

    `held` counts drafts that wait for approval, where there are any; `first` and `last` are none of them.
    With `dry_run`, what would have become of it: nothing was written, and there are no receipts.
    """

    lines: int
    appended: int
    duplicates: int
    first: ReceiptJson | None
    last: ReceiptJson | None
    checkpoint_size: int
    dry_run: bool | UnsetType = UNSET
    held: int | UnsetType = UNSET


class SpanJson(msgspec.Struct, frozen=True):
    """A recorded action. Where its body is not held or malformed, `body` says so and the body's fields are absent.

    A span without effect says why it is `void`; it is shown only to who names it, and so is `reverted_by`.
    """

    id: str
    kind: str
    at: str
    actor: str | None
    status: str
    visibility: str
    caused_by: str | None
    node: str
    feed: str
    seq: int
    position: int
    leaf: str
    actor_signed: bool | UnsetType = UNSET
    title: str | UnsetType | None = UNSET
    data: Any = UNSET
    tags: list[str] | UnsetType = UNSET
    subject: str | UnsetType | None = UNSET
    contract_id: str | UnsetType | None = UNSET
    workflow_id: str | UnsetType | None = UNSET
    flow_id: str | UnsetType | None = UNSET
    related: list[str] | UnsetType = UNSET
    metadata: Any = UNSET
    annotations: Any = UNSET
    body: str | UnsetType = UNSET
    body_fault: str | UnsetType = UNSET
    void: str | UnsetType = UNSET


class RestoredJson(msgspec.Struct, frozen=True):
    """The span that a copy restores; `proven`, if it built again it is what was signed, else with a `fault`."""

    id: str
    feed: str
    seq: int
    proven: bool
    fault: str | None


class OneSpanJson(SpanJson, frozen=True, kw_only=True):
    """A span with its entry (hex): the 65 bytes that the feed's tree hashes."""

    entry: str
    restored_from: RestoredJson | UnsetType = UNSET
    reverted_by: list[str] | UnsetType = UNSET


class WalkSpanJson(SpanJson, frozen=True, kw_only=True):
    """A span of a walk; `depth` is how many steps it is away."""

    depth: int


class GrowthJson(msgspec.Struct, frozen=True):
    """That a feed only grew: RFC 6962 consistency hashes (hex) from its tree of size `since` to `checkpoint`."""

    checkpoint: str
    since: int
    consistency: list[str]


class ProofJson(msgspec.Struct, frozen=True):
    """A proof as text, and why its span has no effect all the same: `void` is null for all others."""

    proof: str
    void: str | None


class PageJson(msgspec.Struct, frozen=True):
    """Spans in the order asked for, and cursors to go on with.

    `older` is null at the beginning of the timeline; `newer` never is, since spans may come later. `more`: there may be
    more in the direction that was asked for.
    """

    spans: list[SpanJson]
    older: str | None
    newer: str
    more: bool


class WalkJson(msgspec.Struct, frozen=True):
    """Causes or effects, nearest first. `missing` are ids that spans name and this node does not hold."""

    spans: list[WalkSpanJson]
    missing: list[str]
    truncated: bool


class FeedJson(msgspec.Struct, frozen=True):
    """A feed as far as this node holds it; `root` is hex, `vkey` verifies its checkpoints, `node` writes it.

    Of its `size` entries so many are `void` and `withheld` from this node. `own`: this node writes it.
    """

    feed: str
    node: str
    vkey: str
    size: int
    root: str
    own: bool
    open: bool
    void: int
    withheld: int


class StatsJson(msgspec.Struct, frozen=True):
    """What a tenant's timeline amounts to. Equal `state` (hex) on two nodes means equal feeds, byte for byte.

    `spans` and `kinds` are those that have effect. Besides them the feeds hold entries that are `void`, and stubs of
    what is `withheld` from this node, such as private spans of others.
    """

    spans: int
    void: int
    withheld: int
    first_at: str | None
    last_at: str | None
    kinds: dict[str, int]
    feeds: list[FeedJson]
    state: str


def receipt_json(receipt: Receipt) -> ReceiptJson:
    """A receipt as the API shows it."""
    return ReceiptJson(
        b32encode(receipt.id),
        b32encode(receipt.feed),
        receipt.seq,
        receipt.position,
        receipt.leaf.hex(),
        receipt.checkpoint_size,
        receipt.duplicate,
        receipt.held or UNSET,
    )
