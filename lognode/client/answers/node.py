"""What a node answers: its JSON objects as sent, unchanged, with names for their fields.

Nothing is translated, so a field that a newer node adds is there too.
"""

from typing import Any, NamedTuple, NotRequired, TypedDict

import msgspec

from lognode.core.errors import NodeFault


class Tenant(TypedDict):
    """A tenant that a node holds; `position` counts its spans there."""

    id: str
    alias: str | None
    position: int


class Subsystem(TypedDict):
    """A part of a node that is started again when it fails: running, waiting or off, and its last failure."""

    name: str
    state: str
    restarts: int
    error: str | None
    detail: str | None
    retry_s: float | None


class Reload(TypedDict):
    """Why a node's last reload of its settings failed, if it did, and the settings that wait for a restart."""

    error: str | None
    detail: str | None
    place: str | None
    waiting: list[str]


class Node(TypedDict):
    """Who a node is, and how it is doing. `waiting_spans` have been sent to it but are not durable yet."""

    node: str
    version: str
    format_version: int
    uptime_s: float
    waiting_spans: int
    subsystems: list[Subsystem]
    reload: Reload
    tenants: list[Tenant]


class Feed(TypedDict):
    """A feed, the key that its checkpoints verify under, and its newest one; `open` where the node writes now.

    Of its `size` entries so many are `void`, and `withheld` from this node. `own` where this node wrote it.
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


class Stats(TypedDict):
    """What a tenant's timeline amounts to; `kinds` counts spans, `state` is the state hash.

    `spans` have effect; entries that are `void` or `withheld` from this node are counted besides.
    """

    spans: int
    void: int
    withheld: int
    first_at: str | None
    last_at: str | None
    kinds: dict[str, int]
    feeds: list[Feed]
    state: str


class Receipt(TypedDict):
    """Proof of a place: the span is durable, and `leaf` is entry `seq` of the feed's tree.

    With `held` nothing is written so far: rules have it wait for approval, and `id` is that of the approval.
    """

    id: str
    feed: str
    seq: int
    position: int
    leaf: str
    checkpoint_size: int
    duplicate: bool
    held: NotRequired[bool]


class Proven(TypedDict):
    """A proof of a span as text, and why the span is `void` all the same."""

    proof: str
    void: str | None


class Span(TypedDict):
    """A recorded action. Where the body is not held or malformed, `body` says so and its fields are left out.

    Without effect where it says why it is `void`.
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
    actor_signed: NotRequired[bool]
    title: NotRequired[str | None]
    data: NotRequired[Any]
    tags: NotRequired[list[str]]
    subject: NotRequired[str | None]
    contract_id: NotRequired[str | None]
    workflow_id: NotRequired[str | None]
    flow_id: NotRequired[str | None]
    related: NotRequired[list[str]]
    metadata: NotRequired[Any]
    annotations: NotRequired[Any]
    body: NotRequired[str]
    body_fault: NotRequired[str]
    void: NotRequired[str]
    restored_from: NotRequired[dict[str, Any]]
    reverted_by: NotRequired[list[str]]
    entry: NotRequired[str]  # hex; only where one span is asked for
    depth: NotRequired[int]  # only in a walk: steps from the span that was asked for


class Page(TypedDict):
    """Some spans, and the cursors that lead on from them; `older` is null where nothing older is held.

    `more`: there may be more in the direction that was asked for, whether or not this page has any.
    """

    spans: list[Span]
    older: str | None
    newer: str
    more: bool


class Walk(TypedDict):
    """Causes or effects of a span, nearest first; `missing` names spans that the node does not hold."""

    spans: list[Span]
    missing: list[str]
    truncated: bool


class Appended(TypedDict):
    """What became of a batch of lines; with `dry_run`, what would have. `held` lines wait for approval."""

    lines: int
    appended: int
    duplicates: int
    first: Receipt | None
    last: Receipt | None
    checkpoint_size: int
    dry_run: NotRequired[bool]
    held: NotRequired[int]


class Arrival(NamedTuple):
    """A span of a live tail, and the cursor that resumes after it."""

    cursor: str
    span: Span


def parse_answer(body: bytes) -> dict[str, Any]:
    """The JSON object of an answer. Raises NodeFault("client.protocol") where it is none."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise NodeFault("client.protocol", str(error)) from error
