"""What a database holds of forks, each checked by its own proof: found ones, and other histories of feeds."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from itertools import groupby
from struct import error as StructError  # noqa: N812
from typing import Any, Final

from lognode.core.errors import CallerError, NodeFault
from lognode.core.span import Entry, decode_body, leaf_hashes
from lognode.timeline.control.founding import check_feed_open, parse_feed_open
from lognode.timeline.proof.checkpoint import origin, verify_checkpoint, vkey
from lognode.timeline.proof.fork import check_fork, parse_fork
from lognode.timeline.proof.tree import border_at, grow, root_of
from lognode.timeline.store.audit.reading import Reading, as_bytes
from lognode.timeline.store.read.proofs import node_source
from lognode.timeline.verify.feed import FeedWalk
from lognode.timeline.verify.history import Home
from lognode.timeline.verify.inert import named_body

_EVIDENCE: Final = "SELECT tenant, feed_id, seq, proof FROM evidence"
_BRANCHES: Final = "SELECT feed, tip, seq, hlc, visibility, header, body, note FROM branches ORDER BY feed, tip, seq"
_WRONG: Final = (CallerError, NodeFault, StructError, TypeError, ValueError, AttributeError, IndexError)


def check_forks(reading: Reading, homes: Mapping[int, Home]) -> None:
    """Report proofs that show nothing or something else, and histories that do not lead to what was signed."""
    for tenant, feed_id, seq, proof in reading.rows("evidence", _EVIDENCE):
        home, place = homes.get(tenant), f"evidence feed_id {as_bytes(feed_id).hex()}"
        try:
            fork = check_fork(parse_fork(as_bytes(proof)))
        except CallerError as error:
            reading.report.add("evidence.wrong", home.ref.tenant_id if home else None, place, error.detail)
            continue
        if home is None or (fork.tenant, fork.feed, fork.seq) != (home.ref.tenant_id, feed_id, seq):
            reading.report.add(
                "evidence.wrong", home.ref.tenant_id if home else None, place, "the proof says otherwise"
            )
    walks = {number: (home, walk) for home in homes.values() for number, walk in home.walks.items()}
    for (feed, tip), rows in groupby(reading.rows("branches", _BRANCHES), key=lambda row: (row[0], as_bytes(row[1]))):
        held = walks.get(feed)
        fault = "there is no such feed" if held is None else _fault_of(reading, *held, tip, rows)
        if fault:
            tenant_id = held[0].ref.tenant_id if held else None
            reading.report.add("branch.wrong", tenant_id, f"branches feed {feed} tip {tip.hex()}", fault)


def _fault_of(reading: Reading, home: Home, walk: FeedWalk, tip: bytes, rows: Iterable[tuple[Any, ...]]) -> str | None:
    """What is wrong with another history of a feed; None where nothing is."""
    ref, log_key, border = walk.ref, walk.ref.log_key, None
    try:
        for _, _, seq, *depths, note in rows:
            entry = Entry(*depths)
            if seq == 0:
                opened = parse_feed_open(decode_body(entry.body or b"").data)
                check_feed_open(home.ref.tenant_id, ref.feed_id, opened)
                log_key = opened.log_key
            if border is None:
                border = border_at(seq, node_source(reading.conn, ref))
            if seq != border.size:
                return f"entry {border.size} is missing"
            if entry.body is not None and named_body(entry.header) != (sha256(entry.body).digest(), len(entry.body)):
                return f"the body of entry {seq} is not the one that its header names"
            border = grow(border, leaf_hashes(ref.feed_id, seq, [entry])).border
            if note is not None:
                head = verify_checkpoint(as_bytes(note), vkey(origin(home.ref.tenant_id, ref.feed_id), log_key))
                if (head.size, head.root) != (border.size, root_of(border)):
                    return f"it does not lead to its checkpoint at {border.size}"
    except _WRONG as error:
        return str(error)[:200]
    return None if border is not None and note is not None and root_of(border) == tip else "its end is not its tip"
