"""What a database says that feeds know of each other, against what their merges and openings say."""

from collections.abc import Iterator
from typing import Any, Final

from lognode.core.errors import CallerError
from lognode.core.span import decode_body, decode_header
from lognode.timeline.agreement.merges import is_merge, merge_rows, parent_rows
from lognode.timeline.proof.checkpoint import origin, verify_checkpoint, vkey
from lognode.timeline.store.audit.reading import Reading, as_bytes
from lognode.timeline.verify.feed import FeedWalk
from lognode.timeline.verify.history import History, Home
from lognode.timeline.verify.tally import block_of

BLOCKS_MAX: Final = 64  # of 1,024 entries, whose rows are compared one by one; beyond, the block is named
# By seq, as the walk counts them; damage may have put any type there.
_MERGED: Final = "SELECT feed, other, size, root, coalesce(CAST(seq AS INTEGER), -1) FROM merged"
_COSIGNED: Final = "SELECT tenant, feed_id, witness, size, root, time_s, signature, note FROM cosignatures"
_SPANS: Final = """SELECT feed, seq, visibility, header, body FROM spans JOIN bodies USING (row)
    WHERE feed = ? AND seq >= ? AND seq < ? AND kind IN (SELECT kind FROM kinds WHERE tenant = ?
    AND name IN ('timeline.merge', 'feed.open'))"""


def check_merged(reading: Reading, history: History) -> None:
    """Report rows of `merged` that no span says, and those that are missing."""
    failed = reading.failed
    history.merged.meet(reading.rows("merged", _MERGED))
    unequal = [block.start for block in history.merged.unequal()]
    if reading.failed > failed or not unequal:
        return
    for start in unequal[BLOCKS_MAX:]:
        place = f"merged seq {start} to {block_of(start).stop - 1}"
        reading.report.add("merge.wrong", None, place, "they are not what the spans say")
    starts = set(unequal[:BLOCKS_MAX])
    found = {row for row in reading.rows("merged", _MERGED) if block_of(row[-1]).start in starts}
    said: set[tuple[Any, ...]] = set()
    for home in history.homes.values():
        for walk in home.walks.values():
            for start in sorted(starts):
                said.update(_said(reading, home, walk, start))
    for feed, other, size, root, seq in sorted(found ^ said, key=repr):
        is_stray = (feed, other, size, root, seq) in found
        place = f"merged feed {feed} other {as_bytes(other).hex()} seq {seq}"
        reading.report.add("merge.wrong", None, place, "no span says it" if is_stray else "missing")


def _said(reading: Reading, home: Home, walk: FeedWalk, start: int) -> Iterator[tuple[Any, ...]]:
    """What spans of a feed from `start` on say, as far as they can be read."""
    feed, stop = walk.ref.number, block_of(start).stop
    for number, seq, visibility, header, body in reading.rows("spans", _SPANS, feed, start, stop, home.ref.number):
        try:
            said, data = decode_header(as_bytes(header)), decode_body(as_bytes(body)).data
        except CallerError:
            continue
        if said.kind == "feed.open":
            rows = parent_rows(number, seq, data)
        elif is_merge(said.kind, said.actor, said.status, visibility):
            rows, _ = merge_rows(home.ref.number, number, walk.ref.node_key, seq, data)
        else:
            continue
        yield from ((number, other, size, root, at) for _, other, at, size, root in rows)


def check_cosignatures(reading: Reading, history: History) -> None:
    """Report cosignatures that are not the newest in merges, and checkpoints beside them that are not theirs."""
    walks = {
        (home.ref.number, walk.ref.feed_id): (home, walk)
        for home in history.homes.values()
        for walk in home.walks.values()
    }
    waiting = dict(history.cosigned)
    for row in reading.rows("cosignatures", _COSIGNED):
        key, note = (row[0], as_bytes(row[1]), as_bytes(row[2])), row[7]
        place = f"cosignatures tenant {row[0]} feed_id {key[1].hex()} witness {key[2].hex()}"
        if waiting.pop(key, None) != row[:7]:
            reading.report.add("cosignature.wrong", None, place, "it is not the newest that merges say")
        elif note is not None and not _is_for(walks.get((row[0], row[1])), row, as_bytes(note)):
            reading.report.add("cosignature.wrong", None, f"{place} note", "it is no checkpoint of this tree")
    for tenant, feed_id, witness in waiting:
        place = f"cosignatures tenant {tenant} feed_id {feed_id.hex()} witness {witness.hex()}"
        reading.report.add("cosignature.wrong", None, place, "missing")


def _is_for(place: tuple[Home, FeedWalk] | None, row: tuple[Any, ...], note: bytes) -> bool:
    if place is None:
        return False
    home, walk = place
    try:
        head = verify_checkpoint(note, vkey(origin(home.ref.tenant_id, walk.ref.feed_id), walk.ref.log_key))
    except CallerError:
        return False
    return (head.size, head.root) == (row[3], row[4])
