"""Nodes as people name them: the beginning of a key in tables, and what a command was given back to one node.

Knows no output. Invariant: a beginning that fits more than one node is never taken for one of them.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from lognode.core.errors import CallerError

if TYPE_CHECKING:
    from lognode.client import Client
    from lognode.client.filter import Filter

SCHEME: Final = "logline-id://node/"
KEY_CELLS: Final = 12  # of a key: enough to tell members apart
NAMED_MAX: Final = 4  # nodes that an error names


def short_key(node: str) -> str:
    """As much of a node's key as tables show."""
    return node.removeprefix(SCHEME)[:KEY_CELLS]


def choose(text: str, known: Iterable[str], missing: str) -> str:
    """The one of the `known` LogLine IDs, keys or ids that `text` is, or is the beginning of.

    Raises CallerError(`missing`) where it is none of them, CallerError("usage.invalid") where it is several.
    """
    key = text.strip().removeprefix(SCHEME)
    found = [name for name in known if key and name.removeprefix(SCHEME).startswith(key)]
    if not found:
        raise CallerError(missing, f"{key!r:.80}" if key else "nothing was named")
    if len(found) > 1:
        raise CallerError("usage.invalid", f"{_named(found, len(key))} begin with {key!r:.80}; write more of it")
    return found[0]


def name_knower(client: "Client", where: "Filter") -> "Filter":
    """The filter, with the LogLine ID of the member that --known-by names, be it by the beginning of its key.

    Raises CallerError member.unknown or usage.invalid.
    """
    if where.known_by is None:
        return where
    from msgspec.structs import replace

    known = choose(where.known_by, [member["node"] for member in client.members()], "member.unknown")
    return replace(where, known_by=known)


def _named(nodes: list[str], given: int) -> str:
    """Some of several names, each somewhat longer than what was given."""
    keys = [name.removeprefix(SCHEME) for name in nodes]
    cells = max(KEY_CELLS, given + KEY_CELLS // 2)
    named = [key[:cells] for key in keys[:NAMED_MAX]]
    more = len(keys) - len(named)
    return ", ".join(named) + f" and {more} more" if more else " and ".join((", ".join(named[:-1]), named[-1]))
