"""What a node had itself named before it wrote a span: the past that its rules decide by.

Synchronous, for a database thread. It is less than the causal past, which may still grow when more arrives of what
others claim: this one is whole with the feed of the span alone, so that every node that holds that feed decides alike.
Source: docs/protocol.md, Past of a decision.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Mapping

from lognode.core.ids import FeedId
from lognode.timeline.record import FeedRef, Record

# Local number of a feed -> how many of its entries, from the first on.
Named = Mapping[int, int]

_NAMED = "SELECT other, max(size) FROM merged WHERE feed = ? AND seq < ? GROUP BY other"
_MORE = "SELECT other, max(size) FROM merged WHERE feed = ? AND seq >= ? AND seq < ? GROUP BY other"
_HELD = "SELECT coalesce(max(size), 0) FROM checkpoints WHERE feed = ?"
_KEPT_MAX = 64  # feeds whose pasts are kept; a past names each feed of the tenant
_EPOCHS_MAX = 10_000  # a longer line of feeds than any node has; a liar's may lead in a ring


def named_past(conn: sqlite3.Connection, feeds: Mapping[int, FeedRef], feed: int, seq: int) -> dict[int, int]:
    """What the node of a feed had named before entry `seq` of it, and what it had written itself.

    Of other feeds that are not held it says nothing.
    """
    return _walk(conn, feeds, feed, seq)[0]


def _walk(conn: sqlite3.Connection, feeds: Mapping[int, FeedRef], feed: int, seq: int) -> tuple[dict[int, int], bool]:
    """The named past, and whether all feeds that are named are held."""
    held = {FeedId(ref.feed_id): ref for ref in list(feeds.values()) if ref.tenant == feeds[feed].tenant}
    named: dict[int, int] = {feed: seq}
    is_known = True
    epochs = [feed]
    for epoch in epochs:
        for other, size in conn.execute(_NAMED, (epoch, named[epoch])).fetchall():
            ref = held.get(FeedId(other))
            if ref is None:
                is_known = False
                continue
            is_own = ref.node_key == feeds[feed].node_key
            if is_own and ref.number not in named and len(epochs) < _EPOCHS_MAX:
                epochs.append(ref.number)
            if size > named.get(ref.number, 0) and ref.number != feed:
                named[ref.number] = size
    return named, is_known


class Pasts:
    """Named pasts of spans, feed by feed in their order: each costs no more than what is new in it."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, dict[int, int]] = OrderedDict()  # feed -> its past so far, with all before `seq`
        self._held: dict[int, int] = {}  # how many entries of a feed were held at some time: these stay
        self._lacking: dict[int, int] = {}  # of these, those that name what is not held, and how many feeds were then
        self._whole: set[int] = set()  # of these, those whose past was found to be held, and grew no more since

    def before(
        self, conn: sqlite3.Connection, feeds: Mapping[int, FeedRef], record: Record, feed: FeedRef
    ) -> dict[int, int]:
        """The named past of a stored span; the next call may change it. Raises NodeFault("database.damaged")."""
        number, known = feed.number, self._known.pop(feed.number, None)
        if known is None or not self._goes_on(conn, feeds, record, feed, known):
            known, is_known = _walk(conn, feeds, number, record.seq)
            self._lacking.pop(number, None)
            self._whole.discard(number)
            if not is_known:
                self._lacking[number] = len(feeds)
        self._known[number] = known
        if len(self._known) > _KEPT_MAX:
            oldest = self._known.popitem(last=False)[0]
            self._lacking.pop(oldest, None)
            self._whole.discard(oldest)
        return known

    def _goes_on(
        self,
        conn: sqlite3.Connection,
        feeds: Mapping[int, FeedRef],
        record: Record,
        feed: FeedRef,
        known: dict[int, int],
    ) -> bool:
        """Whether a past was carried on to a span; if not, it has to be found anew."""
        number = feed.number
        # What was not held may be by now.
        if known[number] > record.seq or self._lacking.get(number, len(feeds)) != len(feeds):
            return False
        if known[number] < record.seq:
            for other, size in conn.execute(_MORE, (number, known[number], record.seq)):
                self._whole.discard(number)
                ref = next((one for one in list(feeds.values()) if one.feed_id == other), None)
                if ref is None or ref.tenant != feed.tenant:
                    self._lacking[number] = len(feeds)
                    continue
                if ref.node_key == feed.node_key and size > known.get(ref.number, 0):
                    return False  # an earlier epoch names more than itself
                known[ref.number] = max(known.get(ref.number, 0), size)
            known[number] = record.seq
        return True

    def is_whole(self, conn: sqlite3.Connection, feed: FeedRef) -> bool:
        """Whether all is held that the past names which was last asked for in a feed."""
        if feed.number in self._lacking:
            return False
        if feed.number in self._whole:
            return True
        for number, size in self._known[feed.number].items():
            if self._held.get(number, 0) < size:
                self._held[number] = conn.execute(_HELD, (number,)).fetchone()[0]
                if self._held[number] < size:
                    return False
        self._whole.add(feed.number)
        return True


def is_whole(conn: sqlite3.Connection, named: Named) -> bool:
    """Whether all that is named of these feeds is held."""
    return all(conn.execute(_HELD, (feed,)).fetchone()[0] >= size for feed, size in named.items())
