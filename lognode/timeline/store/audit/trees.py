"""The tree of each feed as an audit grows it: from spans and inert entries, against tiles and checkpoints.

Owns the SQL of what trees are made of. Invariant: memory does not grow with a feed, also where most of its entries
are inert.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from lognode.core.errors import CallerError
from lognode.core.ids import TenantId
from lognode.core.limits import SIZE_MAX
from lognode.timeline.proof.checkpoint import Checkpoint, origin, verify_checkpoint, vkey
from lognode.timeline.proof.tree import HASH_BYTES
from lognode.timeline.store.audit.reading import Reading, as_bytes, as_text
from lognode.timeline.verify.entries import InertRow, take_inert
from lognode.timeline.verify.feed import FeedWalk, Tile
from lognode.timeline.verify.history import LOST_SPANS_MAX
from lognode.timeline.verify.verdict import Entry, Verdict

CHUNK_ENTRIES: Final = 1024

_ROW_MIN: Final = -(2**63)
_END: Final = SIZE_MAX
_SOUND: Final = """feed = ? AND seq >= ? AND seq < ?
    AND typeof(seq) = 'integer' AND typeof(hlc) = 'integer' AND hlc >= 0 AND typeof(visibility) = 'integer'
    AND visibility BETWEEN 0 AND 255 AND typeof(header) = 'blob' ORDER BY seq"""
_SPANS: Final = f"SELECT row, seq, hlc, visibility, header FROM spans WHERE {_SOUND}"
_INERT: Final = f"SELECT -1 - seq, seq, hlc, visibility, header FROM inert WHERE {_SOUND}"
_NEXT_INERT: Final = (
    "SELECT seq, hlc, visibility, header, body, CAST(reason AS BLOB) FROM inert"
    f" WHERE feed = ? AND seq >= ? AND seq < ? ORDER BY seq LIMIT {CHUNK_ENTRIES}"
)
_TILE: Final = "SELECT hashes FROM tiles WHERE feed = ? AND level = ? AND tile = ?"
_TILES: Final = "SELECT feed, coalesce(CAST(level AS INTEGER), -1), coalesce(CAST(tile AS INTEGER), -1) FROM tiles"
_NEXT_NOTE: Final = "SELECT size, note, {} FROM checkpoints WHERE feed = ? AND size > ? ORDER BY size LIMIT 1"


class Trees:
    """The trees of all feeds while their entries are read."""

    def __init__(self, reading: Reading, *, has_inert: bool, has_kept: bool, with_bodies: bool) -> None:
        """`has_kept`: checkpoints name the one before them."""
        self._reading = reading
        self._report = reading.report
        self._with_bodies = with_bodies
        self._next_note = _NEXT_NOTE.format("prior" if has_kept else "NULL")
        self._heads: dict[int, _Heads] = {}
        counts = "SELECT feed, count(*) FROM inert GROUP BY feed"
        self._inert: dict[int, int] = {}  # feed -> rows not read yet
        if has_inert:
            self._inert.update(reading.rows("inert", counts))
        self.inert_feeds = self._inert.keys()

    def fill(self, tenant: TenantId, walk: FeedWalk, stop: int) -> None:
        """Take the inert entries of a feed that come next, before the span at `stop`."""
        feed = walk.ref.number
        while self._inert.get(feed, 0) > 0 and walk.size < stop:
            rows = list(self._reading.rows(f"inert feed {feed}", _NEXT_INERT, feed, walk.size, stop))
            if not rows:
                break
            for *values, reason in rows:
                row = InertRow._make([*values, as_text(reason)])
                if not self._skip(tenant, walk, row.seq, stop):
                    return
                self._inert[feed] -= 1
                take_inert(walk, row, tenant, self._report, with_bodies=self._with_bodies)
            self.grow(tenant, walk)
        if 0 < stop - walk.size <= self._inert.get(feed, 0) and stop < _END:
            self._report.add("inert.wrong", tenant, f"inert feed {feed} seq {walk.size}", f"missing, up to {stop - 1}")
            walk.skip(stop - walk.size)

    def _skip(self, tenant: TenantId, walk: FeedWalk, seq: int, stop: int) -> bool:
        """Go on at an inert entry, where spans before it are missing; False where it can be none of the feed."""
        gap = seq - walk.size
        if gap and (gap > LOST_SPANS_MAX or stop == _END):
            return False
        if gap:
            place = f"spans feed {walk.ref.number} seq {walk.size}"
            self._report.add("span.missing", tenant, place, f"missing, up to {seq - 1}")
            walk.skip(gap)
        return True

    def grow(self, tenant: TenantId, walk: FeedWalk) -> None:
        """Bring a feed's tree up to what was read, and compare it with tiles and checkpoints on the way."""
        if walk.ref.number not in self._heads:
            self._heads[walk.ref.number] = _Heads(self._checkpoints(tenant, walk))
        heads = self._heads[walk.ref.number]
        while walk.border.size < walk.size:
            stop = min(walk.size, heads.next.size) if heads.next else walk.size
            for tile in walk.grow(stop):
                self._compare_tile(tenant, walk, tile)
            if heads.next and heads.next.size == stop:
                walk.meet_root(heads.next.root)
                heads.advance()

    def _checkpoints(self, tenant: TenantId, walk: FeedWalk) -> Iterator[Checkpoint]:
        """The signed heads of a feed by rising size, read one by one; reports those that are not right."""
        column, size, before = _ROW_MIN, 0, 0
        feed = walk.ref.number
        while rows := list(self._reading.rows(f"checkpoints feed {feed}", self._next_note, feed, column)):
            column, note, prior = rows[0]
            place = f"checkpoints feed {feed} size {column}"
            if prior is not None and prior != before:
                is_gone = before < prior < column
                where = f"checkpoints feed {feed} size {prior}" if is_gone else f"{place} prior"
                detail = "missing" if is_gone else f"{prior}, where the one before it has {before}"
                self._report.add("checkpoint.wrong", tenant, where, detail)
            before = column
            try:
                key = vkey(origin(tenant, walk.ref.feed_id), walk.ref.log_key)
                checkpoint = verify_checkpoint(as_bytes(note), key)
            except CallerError as error:
                self._report.add("checkpoint.wrong", tenant, f"{place} note", error.detail)
                continue
            if checkpoint.size != column:
                self._report.add("checkpoint.wrong", tenant, f"{place} size", f"{checkpoint.size} by its note")
            if checkpoint.size > size:
                size = checkpoint.size
                yield checkpoint

    def _compare_tile(self, tenant: TenantId, walk: FeedWalk, tile: Tile) -> None:
        feed = walk.ref.number
        place = f"tiles feed {feed} level {tile.level} tile {tile.number}"
        failed = self._reading.failed
        rows = list(self._reading.rows(place, _TILE, feed, tile.level, tile.number))
        if rows:
            stored = as_bytes(rows[0][0])
            walk.compare_tile(tile, stored)
            if len(stored) != HASH_BYTES * len(tile.hashes):
                detail = f"{len(stored)} bytes, by the spans {HASH_BYTES * len(tile.hashes)}"
                self._report.add("tile.wrong", tenant, place, detail)
        elif self._reading.failed == failed:
            self._report.add("tile.wrong", tenant, place, "missing")

    def finish(self, tenant: TenantId, walk: FeedWalk) -> set[int]:
        """Judge a feed that was read to its end. Returns the rows of spans that are in doubt."""
        feed = walk.ref.number
        self.fill(tenant, walk, _END)
        self.grow(tenant, walk)
        for tile in walk.open_tiles():
            self._compare_tile(tenant, walk, tile)
        heads = self._heads[feed]
        if heads.next is None and walk.signed < walk.size:
            detail = f"none that is right covers the entries {walk.signed} to {walk.size - 1}"
            self._report.add("checkpoint.wrong", tenant, f"checkpoints feed {feed}", detail)
        while heads.next:
            detail = f"signed over {heads.next.size} entries, of which {walk.size} are here"
            self._report.add("span.missing", tenant, f"checkpoints feed {feed} size {heads.next.size}", detail)
            heads.advance()
        if self._with_bodies and not walk.is_bound:
            self._report.add("feed.wrong", tenant, f"feeds feed {feed}", "no feed.open proves it")
        if self._inert.get(feed, 0) > 0:
            detail = f"{self._inert[feed]} entries have a place that a span has, or none in the feed"
            self._report.add("inert.wrong", tenant, f"inert feed {feed}", detail)
        verdict = Verdict(walk, tenant, self._report, lambda block: self._load_entries(feed, block))
        verdict.judge()
        return verdict.doubtful

    def _load_entries(self, feed: int, block: range) -> list[Entry]:
        found = []
        for table, sql in (("spans", _SPANS), ("inert", _INERT))[: 1 + (feed in self._inert)]:
            rows = self._reading.rows(f"{table} feed {feed} seq {block.start}", sql, feed, block.start, block.stop)
            found += [Entry(*row) for row in rows]
        return sorted(found, key=lambda entry: entry.seq)

    def find_strays(self, walks: Mapping[int, FeedWalk]) -> None:
        """Report rows that belong to no feed or no tree."""
        for feed, level, number in self._reading.rows("tiles", _TILES):
            if feed not in walks or not walks[feed].has_tile(level, number):
                place = f"tiles feed {feed} level {level} tile {number}"
                self._report.add("tile.wrong", None, place, "no tree has such a tile")
        for (feed,) in self._reading.rows("checkpoints", "SELECT DISTINCT feed FROM checkpoints"):
            if feed not in walks:
                self._report.add("checkpoint.wrong", None, f"checkpoints feed {feed}", "there is no such feed")
        for feed in self._inert.keys() - walks.keys():
            self._report.add("inert.wrong", None, f"inert feed {feed}", "there is no such feed")


class _Heads:
    """The checkpoints of a feed, of which the next one is known."""

    def __init__(self, checkpoints: Iterator[Checkpoint]) -> None:
        self._checkpoints = checkpoints
        self.next = next(checkpoints, None)

    def advance(self) -> None:
        self.next = next(self._checkpoints, None)
