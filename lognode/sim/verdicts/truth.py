"""What really happened: what each machine wrote, and what it held when it did.

Kept by the simulator beside the machines, commit by commit, so that what they say of it afterwards can be compared.
Knows nothing of merges. Invariant: what stands here was committed.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeVar

from lognode.core.clock import hlc_from_ms, hlc_ms
from lognode.core.ids import FeedId
from lognode.core.limits import CLOCK_AHEAD_MS_MAX
from lognode.sim.machines.disk import Watch
from lognode.timeline.agreement.merges import MERGE
from lognode.timeline.members import Membership
from lognode.timeline.state import WritePlan
from lognode.timeline.store.read.proofs import checkpoint_of

_HELD: Final = (
    "SELECT f.feed, f.feed_id, f.node_key, max(c.size) FROM feeds f JOIN checkpoints c USING (feed) GROUP BY 1"
)
_FEED: Final = "SELECT feed_id, node_key, own FROM feeds WHERE feed = ?"
_NEWEST: Final = "SELECT max(hlc) FROM spans WHERE feed <> ? AND hlc < ?"
_WRITTEN: Final = "SELECT seq, hlc, name FROM spans JOIN kinds USING (kind) WHERE feed = ? AND seq >= ? ORDER BY seq"

R = TypeVar("R")
Sizes = dict[FeedId, int]


class Commit(NamedTuple):
    """Entries [start, stop) of a feed, and what their author knew of other feeds then: at least, and at most."""

    start: int
    stop: int
    first_ms: int
    last_ms: int
    said: int  # the end of what is no merge, 0 where all is
    least: Sizes
    most: Sizes


class Held(NamedTuple):
    """How much of a feed a machine held."""

    number: int
    feed: FeedId
    node_key: bytes
    size: int


class Place(NamedTuple):
    """Entries of a feed, which has this number on a machine."""

    number: int
    feed: FeedId
    start: int
    stop: int


class Watched(NamedTuple):
    """A machine, as far as it matters what it knew."""

    name: int
    now_ms: Callable[[], int]
    membership: Callable[[], Membership]


class Truth:
    """Everything that was written in a world."""

    def __init__(self) -> None:
        self.commits: defaultdict[FeedId, list[Commit]] = defaultdict(list)
        self.authors: dict[FeedId, bytes] = {}
        self.forks: dict[FeedId, int] = {}  # feeds with two histories, and who signed the second
        self.early = set[FeedId]()  # feeds that begin before what their node once wrote, or before its admission
        self.data_commits = 0
        self.faults: list[str] = []
        self._roots: defaultdict[FeedId, dict[int, bytes]] = defaultdict(dict)

    def watch(self, watched: Watched) -> Watch:
        """What is to see each commit of a machine."""
        return partial(self._carry_out, watched)

    def _carry_out(self, watched: Watched, conn: sqlite3.Connection, plan: WritePlan, apply: Callable[[], R]) -> R:
        """Let a machine commit a plan, and remember what it wrote."""
        held = [Held(*row) for row in conn.execute(_HELD)]
        done = apply()
        sizes = {number: size for number, _, _, size in held}
        for number, size, note in plan.checkpoints:
            feed_id, node_key, own = conn.execute(_FEED, (number,)).fetchone()
            root = checkpoint_of(note).root
            start = sizes.get(number, 0)
            if not own or self._roots[feed_id].get(size) == root or size <= start:
                continue
            if any(known > start for known in self._roots[feed_id]):
                self.forks.setdefault(feed_id, watched.name)
            self._roots[feed_id][size] = root
            self.authors[feed_id] = node_key
            self._note(watched, conn, Place(number, feed_id, start, size), held)
            self._judge_merges(watched, node_key, plan)
        return done

    def written_beyond(self, node_key: bytes, conn: sqlite3.Connection) -> Iterator[tuple[FeedId, int]]:
        """The entries that a node has written and that are not on a disk."""
        held = {feed: size for _, feed, _, size in conn.execute(_HELD)}
        for feed, author in self.authors.items():
            stop = max(commit.stop for commit in self.commits[feed])
            yield from ((feed, seq) for seq in range(held.get(feed, 0), stop) if author == node_key)

    def _note(self, watched: Watched, conn: sqlite3.Connection, place: Place, held: Sequence[Held]) -> None:
        number, feed, start, stop = place
        written = conn.execute(_WRITTEN, (number, start)).fetchall()
        if start == 0 and held and not self.commits[feed]:  # else it founds the tenant, or gets back what was written
            self._judge_opening(watched, conn, place, written[0][1])
        self.data_commits += any(kind != MERGE for _, _, kind in written)
        horizon_ms = watched.now_ms() + CLOCK_AHEAD_MS_MAX
        least: Sizes = {}
        most = self.most(feed, start - 1)
        for _, other, node_key, size in held:
            if node_key == self.authors[feed]:
                sound = size if other != feed else start
            else:
                sound = self._sound(other, size, horizon_ms)
                members = watched.membership()
                is_plain = node_key in members.members and other not in members.cuts
                # A feed's opening comes before all merges in it.
                if start and is_plain and self._is_sound(other, size, horizon_ms):
                    # For merges alone no merge is written.
                    least[other] = max((one.said for one in self.commits[other] if one.stop <= size), default=0)
            raise_sizes(most, self.most(other, sound - 1))
        times = [hlc_ms(hlc) for _, hlc, _ in written] or [0]
        said = max((seq + 1 for seq, _, kind in written if kind != MERGE), default=0)
        self.commits[feed].append(Commit(start, stop, times[0], times[-1], said, least, most))

    def _judge_opening(self, watched: Watched, conn: sqlite3.Connection, place: Place, hlc: int) -> None:
        """A feed begins behind all that its node holds and can believe; not always behind what it cannot."""
        beyond = hlc_from_ms(watched.now_ms() + CLOCK_AHEAD_MS_MAX)
        if hlc < (conn.execute(_NEWEST, (place.number, beyond)).fetchone()[0] or 0):
            self.faults.append(f"{watched.name} opens a feed before what it knows")
        key = self.authors[place.feed]
        member = watched.membership().members.get(key)
        written = [one.last_ms for feed, author in self.authors.items() if author == key for one in self.commits[feed]]
        if hlc_ms(hlc) <= max(written, default=0) or (member and hlc < int.from_bytes(member.admission[:8])):
            self.early.add(place.feed)

    def _judge_merges(self, watched: Watched, node_key: bytes, plan: WritePlan) -> None:
        rows = plan.rows.get("merged", [])
        for other, size in zip(rows[1::5], rows[3::5], strict=True):
            is_foreign = self.authors.get(other, node_key) != node_key and other not in self.forks
            if is_foreign and not self._is_sound(other, size, watched.now_ms() + CLOCK_AHEAD_MS_MAX):
                self.faults.append(f"{watched.name} merges what lies ahead of its time")

    def _sound(self, feed: FeedId, size: int, horizon_ms: int) -> int:
        """How much at most of the first `size` entries lies before a horizon."""
        sound = [min(size, one.stop) for one in self.commits[feed] if one.start < size and one.first_ms <= horizon_ms]
        return max(sound, default=0)

    def _is_sound(self, feed: FeedId, size: int, horizon_ms: int) -> bool:
        return all(one.last_ms <= horizon_ms for one in self.commits[feed] if one.start < size)

    def most(self, feed: FeedId, seq: int) -> Sizes:
        """What the author of an entry can have known of any feed, by all that was held anywhere."""
        known: Sizes = {feed: seq + 1} if seq >= 0 else {}
        for commit in reversed(self.commits[feed]):
            if commit.start <= seq:
                raise_sizes(known, {other: size for other, size in commit.most.items() if other != feed})
                if feed not in self.forks:
                    break
        return known

    def least(self, feed: FeedId, seq: int) -> Sizes:
        """What the author of an entry held itself in its commit, and had no reason not to name."""
        held = next((one.least for one in self.commits[feed] if one.start <= seq < one.stop), {})
        return {**held, feed: seq + 1}


def raise_sizes(known: Sizes, more: Mapping[FeedId, int]) -> None:
    """Have `known` hold what either knows."""
    for feed, size in more.items():
        if size > known.get(feed, 0):
            known[feed] = size
