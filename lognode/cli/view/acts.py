"""What nodes record of themselves, in one line for people: who let whom in, which invite was made, what was merged.

Makes text of the data as the API shows it. Invariant: whatever the data holds, there is a line or None: a node may
sign what it likes.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from lognode.cli.view.nodes import short_key
from lognode.client.answers import Span
from lognode.core.ids import b32encode

Data = Any
_OPENINGS: Final = {
    "founding": "opened the first feed of the tenant",
    "first": "opened its first feed",
    "clock": "opened another feed, since its time had been ahead",
    "restore": "opened another feed, restored from a backup",
    "fetched": "opened another feed, since others held more of the one before",
    "cut": "opened another feed, since the one before was cut",
}


def act_text(span: Span) -> str | None:
    """What a span of a node's own says; None where that is of another kind, or not in its form."""
    try:
        return ACTS[span["kind"]](short_key(span["node"]), span["data"]) if is_act(span) else None
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError):
        return None


def is_act(span: Span) -> bool:
    """Whether a span is what a node recorded of itself."""
    return span["kind"] in ACTS and span["actor"] is None


def usual_visibility(span: Span) -> str:
    """Who sees spans of this kind as a rule: what a node recorded of itself anybody, but for rules."""
    return "public" if is_act(span) and not span["kind"].startswith("rule.") else "organization"


def _key(text: str) -> str:
    """As much of a key in hex as tables show."""
    return short_key(_id(text))


def _id(text: str) -> str:
    """An id in hex as commands take it."""
    return b32encode(bytes.fromhex(text))


def _opened(node: str, data: Data) -> str:
    return f"{node} {_OPENINGS.get(data['reason'], 'opened another feed')}"


def _admitted(node: str, data: Data) -> str:
    invite = data["invite_id"]
    by = f", by invite {_key(invite)}" if invite else ""
    return f"{node} let in {_key(data['node_key'])} as {data['level']}{by}"


def _removed(node: str, data: Data) -> str:
    reason = data["reason"]
    who = "itself" if _key(data["node_key"]) == node else _key(data["node_key"])
    return f"{node} removed {who}" + (f": {reason}" if reason else "")


def _invited(node: str, data: Data) -> str:
    until = datetime.fromtimestamp(data["expires_ms"] / 1000, UTC)
    count = f"{data['uses']} nodes" if data["uses"] > 1 else "a node"
    approved = ", each to be approved" if data["approve"] and data["uses"] > 1 else ""
    approved = approved or (", to be approved" if data["approve"] else "")
    return f"{node} invited {count} as {data['level']} until {until:%Y-%m-%d %H:%M}Z{approved}"


def _merged(node: str, data: Sequence[Mapping[str, Any]]) -> str:
    feeds = [f"{short_key(item['feed'])} up to {item['size']:,}" for item in data]
    more = f" and {len(feeds) - 1:,} more" if len(feeds) > 1 else ""
    return f"{node} holds feed {feeds[0]}{more}"


ACTS: Final[Mapping[str, Callable[[str, Data], str]]] = {
    "tenant.create": lambda node, _data: f"{node} founded the tenant",
    "tenant.policy": lambda node, data: f"{node} set {data['kind']} to be settled by policy {data['policy']}",
    "feed.open": _opened,
    "feed.adopt": lambda node, data: f"{node} lets {data['size']:,} entries of feed {_key(data['feed'])} count",
    "feed.fork": lambda node, data: f"{node} has proof of two histories of a feed from entry {data['seq']:,} on",
    "member.admit": _admitted,
    "member.level": lambda node, data: f"{node} made {_key(data['node_key'])} {data['level']}",
    "member.remove": _removed,
    "invite.create": _invited,
    "invite.revoke": lambda node, data: f"{node} revoked invite {_key(data['invite_id'])}",
    "identity.rotate": lambda _node, data: f"{_key(data['old_key'])} has the key {_key(data['new_key'])} now",
    "identity.recovery": lambda node, _data: f"{node} declared a recovery key",
    "identity.revoke": lambda node, data: f"{node} removed {_key(data['node_key'])} by its recovery key",
    "timeline.merge": _merged,
    "rule.publish": lambda node, data: f"{node} published rule set {data['name']}, version {data['version'][:12]}",
    "rule.disable": lambda node, data: f"{node} disabled rule set {data['name']}",
}
