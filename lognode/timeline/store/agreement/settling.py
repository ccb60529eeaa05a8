"""Up to when nothing more can be sorted in: how far the members that may write are held.

Synchronous, for a reader's thread.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from lognode.core.access import Level
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId
from lognode.core.span import decode_body
from lognode.timeline.control.founding import parse_feed_open
from lognode.timeline.members import Membership
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.write import newest_hlc

_OPENING: Final = "SELECT body FROM spans JOIN bodies USING (row) WHERE feed = ? AND seq = 0"


class Standing(NamedTuple):
    """A member that may write, its open feeds, and the HLC behind which its next span lies."""

    node_key: bytes
    feeds: Sequence[FeedRef]
    hlc: int


def settled_hlc(conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], members: Membership) -> int:
    """The time behind which all spans lie that are still to come: the lowest newest HLC of the open feeds."""
    return min((member.hlc for member in standings(conn, tenant, feeds, members)), default=0)


def standings(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], members: Membership
) -> Iterator[Standing]:
    """How far each member is held that may write; one that has no open feed here stands with its admission."""
    held: defaultdict[bytes, list[FeedRef]] = defaultdict(list)
    for feed in list(feeds.values()):
        if feed.tenant == tenant.number and feed.feed_id not in members.cuts:
            held[feed.node_key].append(feed)
    for key, member in members.members.items():
        if member.level >= Level.TRUSTED:
            ends = list(_open(conn, held[key]))
            admitted = int.from_bytes(member.admission[:8], "big")
            yield Standing(key, ends, min([newest_hlc(conn, feed) for feed in ends], default=admitted))


def _open(conn: sqlite3.Connection, feeds: Sequence[FeedRef]) -> Iterator[FeedRef]:
    """The feeds of one node that no other one of them goes on from."""
    parents = {_parent(conn, feed) for feed in feeds} if len(feeds) > 1 else set[FeedId | None]()
    return (feed for feed in feeds if feed.feed_id not in parents)


def _parent(conn: sqlite3.Connection, feed: FeedRef) -> FeedId | None:
    found = conn.execute(_OPENING, (feed.number,)).fetchone()
    return _parent_in(found[0]) if found else None


@lru_cache(maxsize=4096)
def _parent_in(body: bytes) -> FeedId | None:
    try:
        return parse_feed_open(decode_body(body).data).parent_feed
    except CallerError:
        return None
