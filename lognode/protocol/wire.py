"""Messages as bytes, and back.

A message is `length of head(4) || head || content`: the head is a deterministic CBOR array that begins with version
and type, the content holds ranges and control spans. Owns the layout of heads. Invariants: lengths are checked before
anything is decoded; a message has one encoding; what decodes is bounded.
Source: docs/protocol.md, Between nodes.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from lognode.core.codec import decode_any_array, encode
from lognode.core.errors import CallerError, PeerError
from lognode.core.ids import FEED_ID_BYTES, TENANT_ID_BYTES, FeedId, TenantId
from lognode.core.limits import (
    ADDRESS_CHARS_MAX,
    ADDRESSES_MAX,
    BATCH_ITEMS_MAX,
    EXPAND_HEADS_MAX,
    EXPAND_PREFIXES_MAX,
    MESSAGE_BYTES_MAX,
    MESSAGE_HEAD_BYTES_MAX,
    REQUEST_HEAD_BYTES_MAX,
    SIZE_MAX,
    VERSIONS_MAX,
)
from lognode.protocol.content import (
    Cursor,
    bytes_of,
    decode_controls,
    decode_ranges,
    encode_controls,
    encode_ranges,
    int_of,
    items_of,
    malformed,
    parts_of,
)
from lognode.protocol.messages import (
    DIGEST_BYTES,
    FINGERPRINT_BYTES,
    INSTANCE_BYTES,
    PREFIXES,
    SUMMARY_BYTES,
    VERSIONS,
    Answer,
    Branch,
    Controls,
    ControlsWant,
    ControlsWanted,
    Expand,
    Expanded,
    FeedHead,
    Follow,
    Hello,
    Leaves,
    Node,
    Pull,
    Pulse,
    Push,
    Pushed,
    Ranges,
    RangeWant,
    Refused,
    Request,
    Welcome,
)

# Types of messages; requests are odd, and each answer follows its request. Those below 16 are laid out alike in all
# versions, and carry 0 as their version.
HELLO, WELCOME, REFUSED = 1, 2, 4
EXPAND, EXPANDED, CONTROLS_WANTED, CONTROLS, PULL, RANGES, PUSH, PUSHED, FOLLOW, PULSE = range(17, 27)
_COMMON: Final = 16
_VERSION_MAX: Final = 1000
_LENGTH_BYTES: Final = 4
_PREFIX: Final = re.compile(f"[{PREFIXES}]{{0,{2 * FEED_ID_BYTES - 1}}}")
_CODE: Final = re.compile(r"[a-z_]{1,32}(?:\.[a-z_]{1,32}){1,2}")
_ADDRESS: Final = re.compile(rf"[0-9A-Za-z.:%_\[\]-]{{1,{ADDRESS_CHARS_MAX}}}")


def encode_request(request: Request) -> bytes:
    """The bytes of a request, in the version that it names."""
    match request:
        case Hello():
            return _message([0, HELLO, *request])
        case Expand(version, tenant, prefixes):
            return _message([version, EXPAND, tenant, prefixes])
        case ControlsWanted(version, tenant, wants):
            return _message([version, CONTROLS_WANTED, tenant, wants])
        case Pull(version, tenant, wants):
            return _message([version, PULL, tenant, wants])
        case Push(version, tenant, ranges, foretold):
            (ranges_head, ranges_pieces), (head, pieces) = encode_ranges(ranges), encode_controls(foretold)
            return _message([version, PUSH, tenant, ranges_head, head], ranges_pieces + pieces)
        case Follow(version, tenant, instance):
            return _message([version, FOLLOW, tenant, instance])


def encode_answer(answer: Answer, version: int) -> bytes:
    """The bytes of an answer to a request of `version`; those of Hello have their own layout."""
    match answer:
        case Welcome(chosen, instance, summary, addresses, root):
            return _message([0, WELCOME, chosen, instance, summary, addresses, root and _node_parts(root)])
        case Refused(code):
            return _message([0, REFUSED, code])
        case Expanded(nodes):
            return _message([version, EXPANDED, [_node_parts(node) for node in nodes]])
        case Controls(foretold, more):
            head, pieces = encode_controls(foretold)
            return _message([version, CONTROLS, head, more], pieces)
        case Ranges(ranges):
            head, pieces = encode_ranges(ranges)
            return _message([version, RANGES, head], pieces)
        case Pushed(outcomes):
            return _message([version, PUSHED, outcomes])
        case Pulse(summary):
            return _message([version, PULSE, summary])


def decode_request(data: bytes, versions: Sequence[int] = VERSIONS) -> Request:
    """The request that `data` encodes.

    Raises PeerError message.malformed, message.too_large, range.too_large, or version.unsupported for a request in none
    of `versions`.
    """
    version, kind, fields, cursor = _open(data, versions, REQUEST_HEAD_BYTES_MAX)
    if kind not in _REQUESTS:
        malformed(f"type {kind} is no request")
    request = _REQUESTS[kind](version, fields, cursor)
    cursor.close()
    return request


def decode_answer(data: bytes, versions: Sequence[int] = VERSIONS) -> Answer:
    """The answer that `data` encodes. Raises as `decode_request`."""
    _, kind, fields, cursor = _open(data, versions, MESSAGE_HEAD_BYTES_MAX)
    if kind not in _ANSWERS:
        malformed(f"type {kind} is no answer")
    answer = _ANSWERS[kind](fields, cursor)
    cursor.close()
    return answer


def _message(head: list[object], content: Iterable[bytes] = ()) -> bytes:
    encoded = encode(head)
    return b"".join((len(encoded).to_bytes(_LENGTH_BYTES, "big"), encoded, *content))


def _open(data: bytes, versions: Sequence[int], head_bytes_max: int) -> tuple[int, int, list[object], Cursor]:
    """Version, type, the other parts of the head, and the content."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise PeerError("message.too_large", f"{len(data)} bytes, at most {MESSAGE_BYTES_MAX}")
    head_bytes = int.from_bytes(data[:_LENGTH_BYTES], "big")
    if head_bytes > head_bytes_max:
        raise PeerError("message.too_large", f"a head of {head_bytes} bytes, at most {head_bytes_max}")
    stop = _LENGTH_BYTES + head_bytes
    if len(data) < stop:
        malformed("it ends early")
    try:
        parts = decode_any_array(data[_LENGTH_BYTES:stop])
    except CallerError as error:
        malformed(error.detail)
    if len(parts) < 2:
        malformed("no version and type")
    version, kind = int_of(parts[0], _VERSION_MAX, "version"), int_of(parts[1], 2 * _COMMON - 1, "type")
    if (version == 0) != (kind < _COMMON):
        malformed("version and type do not go together")
    if version and version not in versions:
        raise PeerError("version.unsupported", f"version {version}")
    return version, kind, parts[2:], Cursor(data[stop:])


def _hello(_version: int, fields: list[object], _cursor: Cursor) -> Hello:
    tenant, versions, instance, summary, addresses, known = parts_of(fields, 6, "hello")
    spoken = tuple([int_of(item, _VERSION_MAX, "version") for item in items_of(versions, "versions", VERSIONS_MAX)])
    return Hello(
        _tenant(tenant),
        spoken,
        bytes_of(instance, INSTANCE_BYTES, "instance"),
        bytes_of(summary, SUMMARY_BYTES, "summary"),
        _addresses(addresses),
        bytes_of(known, DIGEST_BYTES, "known", is_optional=True),
    )


def _welcome(fields: list[object], _cursor: Cursor) -> Welcome:
    version, instance, summary, addresses, root = parts_of(fields, 5, "welcome")
    return Welcome(
        int_of(version, _VERSION_MAX, "version"),
        bytes_of(instance, INSTANCE_BYTES, "instance"),
        bytes_of(summary, SUMMARY_BYTES, "summary"),
        None if addresses is None else _addresses(addresses),
        None if root is None else _node(root),
    )


def _refused(fields: list[object], _cursor: Cursor) -> Refused:
    (code,) = parts_of(fields, 1, "refused")
    return Refused(_code(code))


def _expand(version: int, fields: list[object], _cursor: Cursor) -> Expand:
    tenant, prefixes = parts_of(fields, 2, "expand")
    wanted = items_of(prefixes, "prefixes", EXPAND_PREFIXES_MAX)
    found = tuple([_prefix(prefix) for prefix in wanted])
    if len(set(found)) < len(found):
        malformed("a prefix that stands twice")
    return Expand(version, _tenant(tenant), found)


def _expanded(fields: list[object], _cursor: Cursor) -> Expanded:
    (nodes,) = parts_of(fields, 1, "expanded")
    return Expanded(tuple([_node(node) for node in items_of(nodes, "nodes", EXPAND_PREFIXES_MAX)]))


def _controls_wanted(version: int, fields: list[object], _cursor: Cursor) -> ControlsWanted:
    tenant, wants = parts_of(fields, 2, "controls wanted")
    found = []
    for item in items_of(wants, "wants"):
        feed, start, known = parts_of(item, 3, "want")
        digest = bytes_of(known, DIGEST_BYTES, "known", is_optional=True)
        found.append(ControlsWant(_feed(feed), int_of(start, SIZE_MAX, "start"), digest))
    return ControlsWanted(version, _tenant(tenant), tuple(found))


def _controls(fields: list[object], cursor: Cursor) -> Controls:
    head, more = parts_of(fields, 2, "controls")
    if more.__class__ is not bool:
        malformed("more")
    return Controls(decode_controls(head, cursor), more is True)


def _pull(version: int, fields: list[object], _cursor: Cursor) -> Pull:
    tenant, wants = parts_of(fields, 2, "pull")
    found = []
    for item in items_of(wants, "wants"):
        feed, start = parts_of(item, 2, "want")
        found.append(RangeWant(_feed(feed), int_of(start, SIZE_MAX, "start")))
    return Pull(version, _tenant(tenant), tuple(found))


def _ranges(fields: list[object], cursor: Cursor) -> Ranges:
    (head,) = parts_of(fields, 1, "ranges")
    return Ranges(decode_ranges(head, cursor))


def _push(version: int, fields: list[object], cursor: Cursor) -> Push:
    tenant, ranges, controls = parts_of(fields, 3, "push")
    return Push(version, _tenant(tenant), decode_ranges(ranges, cursor), decode_controls(controls, cursor))


def _pushed(fields: list[object], _cursor: Cursor) -> Pushed:
    (outcomes,) = parts_of(fields, 1, "pushed")
    return Pushed(
        tuple(
            [
                _code(outcome) if outcome.__class__ is str else int_of(outcome, SIZE_MAX, "size")
                for outcome in items_of(outcomes, "outcomes", BATCH_ITEMS_MAX + 1)
            ]
        )
    )


def _follow(version: int, fields: list[object], _cursor: Cursor) -> Follow:
    tenant, instance = parts_of(fields, 2, "follow")
    return Follow(version, _tenant(tenant), bytes_of(instance, INSTANCE_BYTES, "instance"))


def _pulse(fields: list[object], _cursor: Cursor) -> Pulse:
    (summary,) = parts_of(fields, 1, "pulse")
    return Pulse(bytes_of(summary, SUMMARY_BYTES, "summary"))


_REQUESTS: Final[Mapping[int, Callable[[int, list[object], Cursor], Request]]] = {
    HELLO: _hello,
    EXPAND: _expand,
    CONTROLS_WANTED: _controls_wanted,
    PULL: _pull,
    PUSH: _push,
    FOLLOW: _follow,
}
_ANSWERS: Final[Mapping[int, Callable[[list[object], Cursor], Answer]]] = {
    WELCOME: _welcome,
    REFUSED: _refused,
    EXPANDED: _expanded,
    CONTROLS: _controls,
    RANGES: _ranges,
    PUSHED: _pushed,
    PULSE: _pulse,
}


def _node_parts(node: Node) -> list[object]:
    """A branch is prefix and 16 fingerprints; leaves are prefix and an array of heads."""
    return [node.prefix, list(node.children) if isinstance(node, Branch) else [list(head) for head in node.heads]]


def _node(value: object) -> Node:
    prefix_part, below = parts_of(value, 2, "node")
    prefix = _prefix(prefix_part)
    items = items_of(below, "node", EXPAND_HEADS_MAX)
    if items and items[0].__class__ is bytes:
        if len(items) != len(PREFIXES):
            malformed("a branch has 16 fingerprints")
        prints = [bytes_of(item, FINGERPRINT_BYTES, "fingerprint", is_optional=True) for item in items]
        return Branch(prefix, tuple(prints))
    heads = tuple([_head(item) for item in items])
    if any(not head.feed.hex().startswith(prefix) for head in heads) or not _is_rising([head.feed for head in heads]):
        malformed("feeds out of place")
    return Leaves(prefix, heads)


def _head(value: object) -> FeedHead:
    feed, size, root, foretold = parts_of(value, 4, "head")
    count = int_of(size, SIZE_MAX, "size")
    digest = bytes_of(foretold, DIGEST_BYTES, "foretold", is_optional=True)
    if not count and not digest:
        malformed("a feed of which nothing is held")
    return FeedHead(_feed(feed), count, bytes_of(root, SUMMARY_BYTES if count else 0, "root"), digest)


def _is_rising(feeds: list[FeedId]) -> bool:
    return all(one < other for one, other in pairwise(feeds))


def _tenant(value: object) -> TenantId:
    return TenantId(bytes_of(value, TENANT_ID_BYTES, "tenant"))


def _feed(value: object) -> FeedId:
    return FeedId(bytes_of(value, FEED_ID_BYTES, "feed"))


def _prefix(value: object) -> str:
    return _text(value, _PREFIX, "prefix")


def _code(value: object) -> str:
    return _text(value, _CODE, "code")


def _addresses(value: object) -> tuple[str, ...]:
    return tuple([_text(item, _ADDRESS, "address") for item in items_of(value, "addresses", ADDRESSES_MAX)])


def _text(value: object, form: re.Pattern[str], what: str) -> str:
    if value.__class__ is not str or not form.fullmatch(value):
        malformed(f"{what}: {value!r:.40}")
    return value
