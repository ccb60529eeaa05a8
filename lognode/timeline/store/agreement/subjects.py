"""Subjects read from rows: what their spans come to, and which spans are taken back.

Synchronous, for a reader's thread. A subject costs what its feeds cost, however many spans there are about it, unless
the newest of a feed does not stand: then its history is read backwards until one does.
"""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, SpanId, parse_span_id
from lognode.core.limits import HISTORY_STEP_ROWS, HISTORY_STEP_ROWS_MAX, TEXT_BYTES_MAX
from lognode.core.span import EXECUTED, PRIVATE, decode_body
from lognode.timeline.agreement.pasts import Place, past_of
from lognode.timeline.agreement.restoring import read_restored
from lognode.timeline.agreement.subjects import (
    RESOLVE,
    ClockOf,
    Fold,
    Head,
    Original,
    Said,
    candidates,
    fold,
    is_live,
    may_be_value,
)
from lognode.timeline.proof.checkpoint import parse_checkpoint
from lognode.timeline.record import (
    RECORD_COLUMNS,
    STUB_COLUMNS,
    SUBJECT,
    FeedRef,
    Record,
    TenantRef,
    body_of,
    feed_of,
    header_of,
    id_of,
    origin_of,
    row_of,
)
from lognode.timeline.store.agreement.pasts import HeldKnowledge
from lognode.timeline.store.read.lookup import find_restored, find_span

_NEWEST: Final = (
    f"SELECT {STUB_COLUMNS} FROM latest l JOIN spans s ON s.row = l.row"
    " WHERE l.tenant = ? AND l.subject = ? AND l.private = ?"
)
_ABOUT: Final = f"l.tenant = ? AND l.field = {SUBJECT} AND l.value = ?"
_SOUGHT: Final = f"s.feed = ? AND s.seq < ? AND s.status = {EXECUTED} AND (s.visibility = {PRIVATE}) = ?"
_BELOW: Final = "SELECT hlc FROM spans WHERE feed = ? AND seq < ? ORDER BY seq DESC LIMIT 1"
# Two ways back to what a feed said: along what all feeds say about the subject, and along all that the feed says.
_LABELS: Final = f"FROM labels l WHERE {_ABOUT} AND (l.hlc, l.row) < (?, ?) ORDER BY l.hlc DESC, l.row DESC LIMIT ?"
_BY_SUBJECT: Final = (
    f"SELECT {STUB_COLUMNS} FROM (SELECT l.hlc, l.row {_LABELS}) l CROSS JOIN spans s ON s.row = l.row"
    f" WHERE {_SOUGHT} ORDER BY l.hlc DESC, l.row DESC"
)
_LAST_LABEL: Final = f"SELECT l.hlc, l.row {_LABELS} OFFSET ?"
_BY_FEED: Final = (
    f"SELECT {STUB_COLUMNS} FROM spans s WHERE {_SOUGHT} AND s.seq >= ?"
    f" AND EXISTS (SELECT 1 FROM labels l WHERE {_ABOUT} AND l.hlc = s.hlc AND l.row = s.row) ORDER BY s.seq DESC"
)
_REVERTS: Final = (
    f"SELECT {RECORD_COLUMNS} FROM reverts r JOIN spans s ON s.row = r.row LEFT JOIN bodies b ON b.row = s.row"
    " WHERE r.tenant = ? AND r.target = ?"
)
_CUTS: Final = "SELECT c.feed, c.size FROM cuts c JOIN feeds f ON f.feed = c.feed WHERE f.tenant = ?"


class State(NamedTuple):
    """What the spans about a subject come to. `local` is what this node's private spans say of it."""

    subject: str
    fold: Fold
    local: Head | None


class Registers:
    """The subjects of a tenant, in one snapshot."""

    def __init__(
        self,
        conn: sqlite3.Connection,
        tenant: TenantRef,
        feeds: Mapping[int, FeedRef],
        policies: Mapping[str, str],
        clock_of: ClockOf | None = None,
    ) -> None:
        self._conn = conn
        self._tenant = tenant
        self._feeds = feeds
        self._numbers = {feed.feed_id: number for number, feed in list(feeds.items()) if feed.tenant == tenant.number}
        self._policies = policies
        self._knowledge = HeldKnowledge(conn, tenant, feeds)
        self._clock_of = clock_of or _clock_of(self._knowledge)
        self._cuts: dict[int, int] = dict(conn.execute(_CUTS, (tenant.number,)).fetchall())
        has_reverts = "SELECT EXISTS (SELECT 1 FROM reverts WHERE tenant = ?)"
        self._has_reverts: int = conn.execute(has_reverts, (tenant.number,)).fetchone()[0]

    def may_change(self) -> bool:
        """Whether what was read last rests on claims of more than is held, which may turn out to be false."""
        return bool(self._knowledge.lacking)

    def read(self, subject: str) -> State:
        """What a subject comes to. Raises NodeFault("database.damaged")."""
        self._knowledge.lacking.clear()
        found = fold(self._candidates(subject, private=False), self._clock_of, self._policies)
        own = self._candidates(subject, private=True)
        return State(subject, found, max(own, key=lambda head: head.span.rank, default=None))

    def reverters(self, record: Record) -> list[SpanId]:
        """The spans that take a stored one back, as the document shows it: private ones for private spans alone."""
        target, is_private = self._id(record), record.visibility == PRIVATE
        subject = subject_of(record)
        return [
            revert
            for revert in self._reverts(target, subject, with_private=is_private)
            if self._is_live(revert, subject, with_private=is_private)
        ]

    def record(self, said: Said) -> Record:
        """The stored span, with its body."""
        sql = f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b ON b.row = s.row WHERE s.row = ?"
        return Record(*self._conn.execute(sql, (said.row,)).fetchone())

    def _candidates(self, subject: str, *, private: bool) -> list[Head]:
        number = self._tenant.number
        rows = self._conn.execute(_NEWEST, (number, subject, int(private)))
        newest = [self._said(Record(*row)) for row in rows.fetchall()]

        ends = {said.feed: min(said.seq, self._cuts.get(self._numbers[said.feed], said.seq)) for said in newest}

        def history(feeds: Collection[FeedId]) -> Iterator[Said]:
            for feed in list(feeds):
                for record in self._history(self._numbers[feed], ends[feed], subject, private=private):
                    said = self._said(record)
                    if may_be_value(said.kind):
                        yield said
                    if feed not in feeds:
                        break

        return candidates(newest, history, lambda said: self._means(said, subject, with_private=private))

    def _history(self, feed: int, end: int, subject: str, *, private: bool) -> Iterator[Record]:
        """What a feed says about a subject before entry `end`, the newest first.

        It looks back along the subject and along the feed by turns, in steps that grow: so it costs no more than twice
        what the shorter way does.
        """
        about = (self._tenant.number, subject)
        newest = self._conn.execute(_BELOW, (feed, end)).fetchone()
        label, seq, step = (newest[0] + 1, 0) if newest else None, end, HISTORY_STEP_ROWS
        while label is not None and seq > 0:
            records = self._rows(_BY_SUBJECT, (*about, *label, step, feed, end, int(private)))
            label = self._conn.execute(_LAST_LABEL, (*about, *label, 1, step - 1)).fetchone()
            yield from records
            if records:
                end = records[-1].seq
            seq = min(seq, end)
            if label is None:
                break
            records = self._rows(_BY_FEED, (feed, seq, int(private), seq - step, *about))
            seq -= step
            yield from records
            if records:
                end = records[-1].seq
                label = min(label, (records[-1].hlc, 0))
            step = min(2 * step, HISTORY_STEP_ROWS_MAX)

    def _rows(self, sql: str, values: Sequence[object]) -> list[Record]:
        return [Record(*row) for row in self._conn.execute(sql, values).fetchall()]

    def _means(self, said: Said, subject: str, *, with_private: bool) -> Said | None:
        """What a span stands for: itself, or what it chose; None where it does not stand."""
        if not self._counts(said) or not self._is_live(said.id, subject, with_private=with_private):
            return None
        if said.kind != RESOLVE:
            return said
        if said.caused_by is None:
            return None
        record = self._chosen(said.caused_by)
        if record is None or (record.visibility == PRIVATE and not with_private) or subject_of(record) != subject:
            return None
        chosen, header = self._said(record), header_of(record)
        if header.status != EXECUTED or chosen.kind == RESOLVE or not may_be_value(chosen.kind):
            return None
        return self._means(chosen, subject, with_private=with_private)

    def _chosen(self, span: SpanId) -> Record | None:
        """The span with this id; where it has no effect, the copy by which its node restored it, held or not."""
        record = find_span(self._conn, self._tenant, self._feeds, span)
        if record is not None and self._counts(self._said(record)):
            return record
        for node_key in sorted({self._feeds[number].node_key for number in self._cuts}):
            copy = find_restored(self._conn, self._tenant, node_key, span)
            if copy is not None and self._said(copy).restores:
                return copy
        return None

    def _is_live(self, span: SpanId, subject: str | None, *, with_private: bool) -> bool:
        if not self._has_reverts:
            return True
        return is_live(span, lambda target: self._reverts(target, subject, with_private=with_private))

    def _reverts(self, target: SpanId, subject: str | None, *, with_private: bool) -> Sequence[SpanId]:
        """The reverts of a span that count, whether or not others take these back."""
        found = []
        for name in self._names(target):
            for row in self._conn.execute(_REVERTS, (self._tenant.number, name)).fetchall():
                record = Record(*row)
                is_seen = with_private or record.visibility != PRIVATE
                if is_seen and self._counts(said := self._said(record)) and subject_of(record) == subject:
                    found.append(said.id)
        return found

    def _names(self, span: SpanId) -> Sequence[SpanId]:
        """The id of a span, and those that it had before it was restored: what named these names it."""
        if not self._cuts:
            return (span,)
        record = find_span(self._conn, self._tenant, self._feeds, span)
        if record is None or self._said(record).restores is None:
            return (span,)
        said = origin_of(record)
        if said is None or said.way != "restore":
            return (span,)
        return (span, *map(parse_span_id, said.spans))

    def _counts(self, said: Said) -> bool:
        number = self._numbers[said.feed]
        return said.seq < self._cuts.get(number, said.seq + 1)

    def _said(self, record: Record) -> Said:
        header, feed = header_of(record), feed_of(record, self._feeds)
        row = row_of(self._tenant.number, record.position)
        restores = self._original(feed, row) if self._cuts else None
        return Said(self._id(record), feed.feed_id, record.seq, header.kind, header.caused_by, row, restores)

    def _original(self, feed: FeedRef, row: int) -> Original | None:
        """The span without effect that a stored one restores; None where its node wrote no such span."""
        (raw,) = self._conn.execute("SELECT body FROM bodies WHERE row = ?", (row,)).fetchone() or (None,)
        try:
            restored = read_restored(decode_body(raw).annotations) if raw else None
            root = parse_checkpoint(restored.checkpoint).root if restored else b""
        except CallerError:
            return None
        number = self._numbers.get(restored.feed) if restored else None
        if restored is None or number is None or self._feeds[number].node_key != feed.node_key:
            return None
        if restored.seq < self._cuts.get(number, restored.seq + 1):
            return None
        return Original(restored.id, restored.feed, restored.seq, root)

    def _id(self, record: Record) -> SpanId:
        return id_of(record, feed_of(record, self._feeds).feed_id)


def _clock_of(knowledge: HeldKnowledge) -> ClockOf:
    """What the authors of spans knew, as far as it is held."""
    return lambda feed, seq: past_of([Place(feed, seq)], knowledge)


def subject_of(record: Record) -> str | None:
    """What a stored span is about; None where it is about nothing, or its body is not held or malformed.

    Raises NodeFault("database.damaged").
    """
    raw = body_of(record, header_of(record))
    try:
        said = decode_body(raw).subject if raw else None
    except CallerError:
        return None
    return said if said and len(said) <= TEXT_BYTES_MAX else None


def has_subject(conn: sqlite3.Connection, tenant: TenantRef, subject: str) -> bool:
    """Whether any span says something about a subject, also where it does not stand."""
    sql = "SELECT EXISTS (SELECT 1 FROM latest WHERE tenant = ? AND subject = ?)"
    return bool(conn.execute(sql, (tenant.number, subject)).fetchone()[0])


def next_subjects(conn: sqlite3.Connection, tenant: TenantRef, prefix: str, after: str | None, limit: int) -> list[str]:
    """The subjects that begin with `prefix` behind `after`, by their UTF-8 bytes, at most `limit`."""
    sql = (
        "SELECT subject FROM latest WHERE tenant = ? AND subject > ? AND subject >= ? AND subject < ?"
        " GROUP BY subject ORDER BY subject LIMIT ?"
    )
    values = (tenant.number, after or "", prefix, prefix + chr(0x10FFFF), limit)
    return [subject for (subject,) in conn.execute(sql, values)]


def settle_disputes(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feeds: Mapping[int, FeedRef],
    policies: Mapping[str, str],
    subjects: Sequence[str],
) -> None:
    """Let those of the subjects be disputed no more that are in no conflict, as far as is certain.

    On the writing connection: no commit comes between the look and the deed.
    """
    registers = Registers(conn, tenant, feeds, policies)
    over = [
        subject for subject in subjects if not registers.read(subject).fold.is_conflict and not registers.may_change()
    ]
    conn.execute("BEGIN IMMEDIATE")
    try:
        sql = "DELETE FROM disputes WHERE tenant = ? AND subject = ?"
        conn.executemany(sql, [(tenant.number, subject) for subject in over])
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
