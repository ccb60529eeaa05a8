"""A node's history, as its clients read it through the API and as its database file holds it.

Says whether both are what was acknowledged. Its own SQL and its own decoding: of lognode it uses the base32
alphabet, the growing of a tree and the reading of a signed note. Invariant: a span that was seen once is
expected for ever, with the same bytes at the same place.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import cbor2
import httpx

from lognode.core.errors import CallerError
from lognode.core.ids import b32encode
from lognode.timeline.proof.checkpoint import Checkpoint, verify_checkpoint
from lognode.timeline.proof.tree import EMPTY, grow, root_of
from tests.daemon import Daemon
from tests.faults.load import SPANS, Client, Follower

CONTROL_KINDS: Final = ("tenant.create", "feed.open")
NAMES_SHOWN: Final = 5  # of a finding


class Row(NamedTuple):
    """A span by place and bytes, and the name in its data; None for a control span."""

    position: int
    feed: str
    seq: int
    id: str
    leaf: str
    name: str | None


class History:
    """Every span of a node, in arrival order, as it was read so far; and its newest checkpoint with its tree."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._cursor: str | None = None
        self._border = EMPTY
        self._seen_size = 0

    def read(self, daemon: Daemon) -> None:
        """Take in, page by page, what came since the last time."""
        with daemon.client() as http:
            while page := self._page(http):
                self.rows += page

    def _page(self, http: httpx.Client) -> list[Row]:
        params = {"order": "arrival", "sort": "asc", "limit": "1000"}
        answer = http.get(SPANS, params=params | ({"after": self._cursor} if self._cursor else {}))
        assert answer.is_success, f"no page: {answer.text}"
        page = answer.json()
        self._cursor = page["newer"]
        return [row_of(span) for span in page["spans"]]

    def findings(self, clients: Sequence[Client], *, all_sent: bool = False) -> Iterator[str]:
        """What is wrong with the spans, given what the clients sent; with `all_sent`, each of that must be there."""
        places = [(row.position, row.seq) for row in self.rows]
        if places != [(at + 1, at) for at in range(len(self.rows))] or len({row.feed for row in self.rows}) > 1:
            yield "positions or places in the feed have gaps"
        held = Counter(row.name for row in self.rows if row.name is not None)
        doubled = [name for name, count in held.items() if count > 1]
        if doubled:
            yield f"{len(doubled)} spans are doubled: {shown(doubled)}"
        sent = set[str]().union(*[client.sent for client in clients])
        if strange := held.keys() - sent:
            yield f"{len(strange)} spans were never sent: {shown(strange)}"
        if stored := set[str]().union(*[client.denied for client in clients]) & held.keys():
            yield f"{len(stored)} spans are there that were refused: {shown(stored)}"
        once = set[str]().union(*[client.denied | client.unknown for client in clients])
        if all_sent and (missing := sent - once - held.keys()):
            yield f"{len(missing)} spans that were sent until they went through are missing: {shown(missing)}"
        by_name = {row.name: row for row in self.rows}
        for client in clients:
            if lost := client.acknowledged.keys() - held.keys():
                yield f"{len(lost)} acknowledged spans of {client.name} are lost: {shown(lost)}"
            moved = [
                name
                for name, receipt in client.acknowledged.items()
                if name in by_name and receipt and row_of(receipt, name) != by_name[name]
            ]
            if moved:
                yield f"{len(moved)} spans are not what their receipts say: {shown(moved)}"

    def findings_of_tail(self, follower: Follower) -> Iterator[str]:
        """What a live tail was shown that is not the history: something else, twice, or not at all."""
        tail = [row_of(span) for span in follower.spans]
        if tail:
            start = tail[0].position - 1
            if tail != self.rows[start : start + len(tail)]:
                yield "a live tail, resumed at its cursor, was shown something else than the history"

    def findings_of_notes(self, notes: Sequence[bytes], vkey: str, size_min: int) -> Iterator[str]:
        """Which of some checkpoints, oldest first, does not extend those before it, or is not of these spans.

        The last one is the newest; receipts say that it has at least `size_min`.
        """
        for note in notes:
            try:
                checkpoint = verify_checkpoint(note, vkey)
            except CallerError as error:
                yield f"a checkpoint was shown that the feed's key did not sign: {error}"
                continue
            seen = max(self._seen_size, size_min if note is notes[-1] else 0)
            if checkpoint.size < seen:
                yield f"the checkpoint shrank from size {seen} to {checkpoint.size}"
            else:
                self._seen_size = checkpoint.size
                yield from self._fault_of(checkpoint)

    def _fault_of(self, checkpoint: Checkpoint) -> Iterator[str]:
        size = checkpoint.size
        if size > len(self.rows):
            yield f"a checkpoint of size {size} was shown, and only {len(self.rows)} spans are there"
            return
        leaves = [bytes.fromhex(row.leaf) for row in self.rows[self._border.size : size]]
        self._border = grow(self._border, leaves).border
        if root_of(self._border) != checkpoint.root:
            yield f"the checkpoint of size {size} is of another tree"


def row_of(span: dict[str, Any], name: str | None = None) -> Row:
    """The row of a span as the API shows it, or of a receipt, whose name the caller knows."""
    if name is None and span["kind"] not in CONTROL_KINDS:
        name = (span.get("data") or {}).get("name", "a span without a name")
    return Row(span["position"], span["feed"], span["seq"], span["id"], span["leaf"], name)


def database_rows(data_dir: Path, beyond_position: int = 0) -> list[Row]:
    """The spans of a database with one tenant, read from the file."""
    sql = (
        "SELECT row, feed_id, seq, hlc, visibility, header, body FROM spans JOIN feeds USING (feed)"
        " JOIN bodies USING (row) WHERE row > ? ORDER BY row"
    )
    with closing(sqlite3.connect(f"file:{data_dir}/lognode.db?mode=ro", uri=True)) as conn:
        rows = conn.execute(sql, (beyond_position,)).fetchall()
    return [_database_row(*row) for row in rows]


def _database_row(row: int, feed_id: bytes, seq: int, hlc: int, visibility: int, header: bytes, body: bytes) -> Row:
    kind = cbor2.loads(header)[1]
    name = None if kind in CONTROL_KINDS else cbor2.loads(cbor2.loads(body)[2])["name"]
    stub = hlc.to_bytes(8, "big")
    entry = feed_id + seq.to_bytes(8, "big") + stub + bytes([visibility]) + sha256(header).digest()
    leaf = sha256(b"\x00" + entry).digest()
    return Row(row, b32encode(feed_id), seq, b32encode(stub + leaf[:16]), leaf.hex(), name)


def shown(names: Sequence[str] | set[str]) -> str:
    """Some of the names, for a message."""
    return ", ".join(sorted(names)[:NAMES_SHOWN])
