"""What is known of the addresses of nodes: who told them, and how trying them went.

Knows no clock and no database. Invariant: entries join like sets, so that neither the order nor the repetition of
what is learnt matters, and no node and no number of nodes takes more than its share.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple, get_args

from lognode.core.limits import ADDRESS_DAYS_MAX, ADDRESSED_NODES_MAX, NODE_ADDRESSES_MAX
from lognode.federation.addresses.address import Address

# By how much a source is worth before anything was tried: a person wrote the first two, members told the third,
# anyone on the link may say the last.
Source = Literal["static", "invite", "member", "seen", "mdns"]
SOURCES: Final[tuple[Source, ...]] = get_args(Source)
_HOUR_MS: Final = 60 * 60 * 1000
_DAY_MS: Final = 24 * _HOUR_MS


class Entry(NamedTuple):
    """One address of one node. Times are Unix ms, 0 for never; `error` is the code of the last failure."""

    address: Address
    sources: frozenset[Source]
    told_ms: int
    reached_ms: int = 0
    failed_ms: int = 0
    error: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the node answered when it was last tried here."""
        return self.reached_ms > self.failed_ms

    @property
    def newest_ms(self) -> int:
        """When this address was last told, or did answer."""
        return max(self.told_ms, self.reached_ms)


def told(address: Address, source: Source, now_ms: int) -> Entry:
    """That `source` names this address."""
    return Entry(address, frozenset({source}), now_ms)


def joined(one: Entry, other: Entry) -> Entry:
    """What two entries of one address say together: commutative, associative, idempotent."""
    assert one.address == other.address
    failed_ms, error = max((one.failed_ms, one.error), (other.failed_ms, other.error))
    return Entry(
        one.address,
        one.sources | other.sources,
        max(one.told_ms, other.told_ms),
        max(one.reached_ms, other.reached_ms),
        failed_ms,
        error,
    )


def ranked(entries: Iterable[Entry]) -> list[Entry]:
    """The order in which to try them.

    First where the node answered last, the newest answer first; then what was never tried, by source and then the
    newest; then what failed, the oldest failure first, so that all of them are tried in turn.
    """
    return sorted(entries, key=_rank)


def _rank(entry: Entry) -> tuple[int, int, int, Address]:
    if entry.is_good:
        return 0, -entry.reached_ms, 0, entry.address
    if entry.failed_ms == 0:
        return 1, min(map(SOURCES.index, entry.sources)), -entry.told_ms, entry.address
    return 2, entry.failed_ms, 0, entry.address


def _is_news(before: Entry, after: Entry) -> bool:
    """Whether more than a few times changed by a little, as they do all day while nodes talk."""
    return (before.sources, before.is_good, before.error) != (
        after.sources,
        after.is_good,
        after.error,
    ) or after.newest_ms - before.newest_ms >= _HOUR_MS


def is_stale(entry: Entry, now_ms: int) -> bool:
    """Whether an address is too old to be kept."""
    return now_ms - entry.newest_ms > ADDRESS_DAYS_MAX * _DAY_MS


class Ledger:
    """The entries of all nodes, bounded: a node's worst address makes room for a better one."""

    def __init__(self) -> None:
        self._nodes: dict[bytes, dict[Address, Entry]] = {}

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._nodes)

    def of(self, node_key: bytes) -> list[Entry]:
        """What is known of one node, in the order in which to try it."""
        return ranked(self._nodes.get(node_key, {}).values())

    def entry(self, node_key: bytes, address: Address) -> Entry | None:
        """What is known of one address."""
        return self._nodes.get(node_key, {}).get(address)

    def add(self, node_key: bytes, entry: Entry) -> bool:
        """Join an entry to what is known; whether that is worth writing down."""
        entries = self._nodes.get(node_key)
        if entries is None:
            if len(self._nodes) >= ADDRESSED_NODES_MAX:
                return False
            entries = self._nodes[node_key] = {}
        before = entries.get(entry.address)
        entries[entry.address] = entry if before is None else joined(before, entry)
        if len(entries) > NODE_ADDRESSES_MAX:
            worst = ranked(entries.values())[-1].address
            del entries[worst]
            return worst != entry.address
        return before is None or _is_news(before, entries[entry.address])

    def forget(self, node_key: bytes) -> None:
        """Drop a node."""
        self._nodes.pop(node_key, None)

    def expire(self, now_ms: int) -> None:
        """Drop what is stale."""
        for node_key, entries in list(self._nodes.items()):
            for entry in list(entries.values()):
                if is_stale(entry, now_ms):
                    del entries[entry.address]
            if not entries:
                del self._nodes[node_key]
