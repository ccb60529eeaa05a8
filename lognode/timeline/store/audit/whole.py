"""One audit from end to end: the file, the schema, every table of the timeline.

Owns the SQL of tenants, spans and what follows from bodies; what is right is decided in timeline.verify. Invariant:
everything that can still be read is still checked.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, TenantId
from lognode.core.limits import MIB, TENANT_SHIFT_BITS
from lognode.core.span import Body, decode_body
from lognode.timeline.agreement.alerts import read_alert
from lognode.timeline.agreement.continuity import is_sealed
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.state import ENDING_REASONS, SEALED_TABLES, seal_of
from lognode.timeline.store.audit.agreement import check_cosignatures, check_merged
from lognode.timeline.store.audit.foretold import check_foretold
from lognode.timeline.store.audit.forks import check_forks
from lognode.timeline.store.audit.reading import UNREADABLE, Reading, as_bytes, as_text
from lognode.timeline.store.audit.rules import check_publications
from lognode.timeline.store.audit.subjects import check_subjects
from lognode.timeline.store.audit.trees import Trees
from lognode.timeline.store.audit.voids import check_voids
from lognode.timeline.store.opening.migrate import (
    AGREEMENT_VERSION,
    ALERTS_VERSION,
    ENDINGS_VERSION,
    FEDERATION_VERSION,
    KEPT_VERSION,
    RULES_VERSION,
    TASKS_VERSION,
    apply_migrations,
    connect_reader,
    migrations,
)
from lognode.timeline.verify.feed import FeedWalk
from lognode.timeline.verify.finding import FINDINGS_MAX, Finding, Report
from lognode.timeline.verify.history import SPAN_COLUMNS, History, Home, SpanRow, idem_rows, label_rows
from lognode.timeline.verify.tally import Tally, block_of

CHUNK_SPANS: Final = 1024
VALUE_BYTES_MAX: Final = 4 * MIB  # no value of ours is larger; a damaged length must not cost memory
RANGES_MAX: Final = 64  # ranges of 1,024 spans whose labels are compared one by one; beyond, the range is named

_SCHEMA: Final = "SELECT type, name, tbl_name, CAST(sql AS BLOB) FROM sqlite_schema"
_FEEDS: Final = "SELECT feed, tenant, feed_id, node_key, log_key, own FROM feeds"
_SPANS: Final = f"SELECT {SPAN_COLUMNS} FROM spans WHERE row > ? ORDER BY row LIMIT {CHUNK_SPANS}"
_BODIES: Final = "SELECT row, body FROM bodies WHERE row > ? AND row <= ? ORDER BY row"
_TENANT: Final = f"row >> {TENANT_SHIFT_BITS}"
_SAID: Final = f"SELECT feed, {_TENANT}, hlc, row, body FROM spans JOIN bodies USING (row) WHERE row >= ? AND row < ?"
# Damage may put any type into a column; what is computed with must be a number.
_LABELS: Final = "SELECT tenant, field, CAST(value AS BLOB), hlc, coalesce(CAST(row AS INTEGER), -1) FROM labels"
_IDEMS: Final = "SELECT tenant, idem, coalesce(CAST(row AS INTEGER), -1) FROM idems"
_CONTINUITY: Final = "SELECT mark FROM continuity"
_ALERTS: Final = "SELECT tenant, CAST(code AS BLOB), said FROM alerts"
_ENDINGS: Final = "SELECT feed_id, CAST(reason AS BLOB) FROM endings"

_ROW_MIN, _ROW_MAX = -(2**63), 2**63 - 1

Progress = Callable[[int, int], None]
RowsOf = Callable[[int, int, int, Body], list[tuple[Any, ...]]]


def audit(
    conn: sqlite3.Connection, *, node_public: bytes | None = None, progress: Progress | None = None, quick: bool = False
) -> list[Finding]:
    """Everything that is wrong in a node's database; empty when all is as it was written.

    `quick` leaves out SQLite's own check and bodies with what follows from them (labels, idempotency keys, keys
    of feeds and tenants). `progress` is told how many spans of how many are done. Without `node_public` it is not
    checked whose feeds are marked as own.
    """
    report = Report()
    steps = _Audit(conn, report, node_public, progress, with_bodies=not quick)
    length_max = conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
    is_ours = not conn.in_transaction
    try:
        if is_ours:
            conn.execute("BEGIN")
        if not quick:
            steps.check_file()
        steps.check_schema()
        steps.check_history()
    except UNREADABLE as error:
        report.add("database.damaged", None, "the database", str(error))
    finally:
        conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, length_max)
        if is_ours and conn.in_transaction:
            conn.execute("ROLLBACK")
    return report.findings()


def audit_file(
    path: Path, *, node_public: bytes | None = None, progress: Progress | None = None, quick: bool = False
) -> list[Finding]:
    """What `audit` finds in a file; that it cannot be opened is a finding as well."""
    try:
        conn = connect_reader(path)
    except UNREADABLE as error:
        return [Finding("database.damaged", None, path.name, f"cannot be opened: {error}")]
    with closing(conn):
        return audit(conn, node_public=node_public, progress=progress, quick=quick)


class _Audit:
    """One audit as it goes."""

    def __init__(
        self,
        conn: sqlite3.Connection,
        report: Report,
        node_public: bytes | None,
        progress: Progress | None,
        *,
        with_bodies: bool,
    ) -> None:
        self._reading = Reading(conn, report)
        self._report = report
        self._node_public = node_public
        self._progress = progress or (lambda _done, _total: None)
        self._with_bodies = with_bodies
        self._sealed: set[int] = set()  # tenants that have an alias
        self._last_row = _ROW_MIN  # up to here bodies were looked at
        self._version = len(migrations())

    def check_file(self) -> None:
        """SQLite's own check: pages, b-trees, types, and every index against its table."""
        for (message,) in self._reading.rows("the database", f"PRAGMA integrity_check({FINDINGS_MAX})"):
            for line in message.splitlines():
                if line != "ok" and not line.startswith("***"):
                    self._report.add("database.damaged", None, line, "found by SQLite's integrity_check")

    def check_schema(self) -> None:
        """The version, and every table, index and trigger, against those of the migrations up to it."""
        version = len(migrations())
        for (found,) in self._reading.rows("user_version", "PRAGMA user_version"):
            if 0 < found <= version:
                version = found  # an older one is migrated when a node starts on it
            else:
                self._report.add("schema.wrong", None, "user_version", f"{found}, where this lognode makes {version}")
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
            apply_migrations(model, version)
            expected = set(model.execute(_SCHEMA))
        self._version = version
        failed = self._reading.failed
        found = set(self._reading.rows("sqlite_schema", _SCHEMA))
        if self._reading.failed > failed:
            return
        for kind, name, *_ in expected - found:
            self._report.add("schema.wrong", None, f"sqlite_schema {kind} {name}", "not as its migration makes it")
        for kind, name, *_ in found - expected:
            self._report.add("schema.wrong", None, f"sqlite_schema {kind} {name}", "no migration makes it so")

    def check_history(self) -> None:
        """Every table of the timeline."""
        homes = self._load_homes()
        history = History(homes, self._node_public, self._report)
        trees = Trees(
            self._reading,
            has_inert=self._version >= FEDERATION_VERSION,
            has_kept=self._version >= KEPT_VERSION,
            with_bodies=self._with_bodies,
        )
        for chunk in self._chunks():
            for span, body in self._with_their_bodies(chunk):
                if span[2] in trees.inert_feeds:
                    self._fill(trees, homes, span)
                history.take(span, body)
            feeds = {span[2] for span in chunk}
            for home in homes.values():
                for feed in feeds & home.walks.keys():
                    trees.grow(home.ref.tenant_id, home.walks[feed])
        for home in homes.values():
            for walk in home.walks.values():
                history.doubtful |= trees.finish(home.ref.tenant_id, walk)
        if self._version >= FEDERATION_VERSION and self._with_bodies:
            check_foretold(self._reading, homes)
            check_voids(self._reading, homes, with_bounds=self._version >= AGREEMENT_VERSION)
        for home in homes.values():
            self._finish_home(home)
        if self._with_bodies:
            self._compare("labels", _LABELS, history.labels, label_rows, history.doubtful)
            self._compare("idems", _IDEMS, history.idems, idem_rows, history.doubtful, feeds=history.own_feeds())
        if self._with_bodies and self._version >= AGREEMENT_VERSION:
            check_merged(self._reading, history)
            check_cosignatures(self._reading, history)
        walks = {feed: walk for home in homes.values() for feed, walk in home.walks.items()}
        trees.find_strays(walks)
        self._find_strays(walks)
        if self._version >= AGREEMENT_VERSION and self._with_bodies and not self._report.is_damaged:
            check_subjects(self._reading, homes)
            check_forks(self._reading, homes)
            if self._version >= RULES_VERSION:
                check_publications(self._reading)

    def _fill(self, trees: Trees, homes: Mapping[int, Home], span: SpanRow) -> None:
        """Take the entries that are no spans before this one."""
        row, _, feed, seq, *_ = span
        home = homes.get(row >> TENANT_SHIFT_BITS)
        walk = home.walks.get(feed) if home else None
        if home and walk and isinstance(seq, int):
            trees.fill(home.ref.tenant_id, walk, seq)

    def _load_homes(self) -> dict[int, Home]:
        """The tenants with dictionaries and feeds; checks rows that name a tenant, and the seals of aliases."""
        homes = {
            number: Home(TenantRef(number, TenantId(as_bytes(tenant_id)), None), {}, {})
            for number, tenant_id in self._reading.rows("tenants", "SELECT tenant, tenant_id FROM tenants")
        }
        strays = []
        for alias, number, seal in self._reading.rows(
            "aliases", "SELECT CAST(alias AS BLOB), tenant, seal FROM aliases"
        ):
            home = homes.get(number)
            sealed = sha256(b"lognode alias v1" + home.ref.tenant_id + as_bytes(alias)).digest()[:16] if home else None
            self._sealed.add(number)
            if seal != sealed:
                place = f"aliases alias {as_text(alias)}"
                self._report.add("alias.wrong", None, place, "its seal covers another name or tenant")
        for number, tenant, name in self._reading.rows("kinds", "SELECT kind, tenant, CAST(name AS BLOB) FROM kinds"):
            if tenant in homes:
                homes[tenant].kinds[as_text(name)] = number
            else:
                strays.append(("dictionary.wrong", f"kinds kind {number} tenant"))
        for number, tenant, name in self._reading.rows("actors", "SELECT actor, tenant, logline FROM actors"):
            if tenant in homes:
                homes[tenant].actors[name] = number
            else:
                strays.append(("dictionary.wrong", f"actors actor {number} tenant"))
        for number, tenant, feed, node, log, own in self._reading.rows("feeds", _FEEDS):
            if tenant in homes:
                ref = FeedRef(number, tenant, FeedId(as_bytes(feed)), as_bytes(node), as_bytes(log), own)
                homes[tenant].walks[number] = FeedWalk(ref)
            else:
                strays.append(("feed.wrong", f"feeds feed {number} tenant"))
        for code, place in strays:
            self._report.add(code, None, place, "there is no such tenant")
        return homes

    def _chunks(self) -> Iterator[list[SpanRow]]:
        """All rows of spans in their order, leaving out what cannot be read."""
        total = sum(count for (count,) in self._reading.rows("spans", "SELECT count(*) FROM spans"))
        after, stride, done = _ROW_MIN, CHUNK_SPANS, 0
        while after < _ROW_MAX:
            failed = self._reading.failed
            chunk = list(self._reading.rows(f"spans after row {max(after, 0)}", _SPANS, after))
            if chunk:
                after, stride, done = chunk[-1][0], CHUNK_SPANS, done + len(chunk)
                yield chunk
                self._progress(done, total)
            elif self._reading.failed == failed:
                return
            if self._reading.failed > failed:
                # Behind an unreadable page the next readable one is looked for, in growing steps.
                after, stride = min(max(after, 0) + stride, _ROW_MAX), stride * 2

    def _with_their_bodies(self, chunk: list[SpanRow]) -> Iterator[tuple[SpanRow, bytes | None]]:
        """Each span with its body, None when that cannot be checked; reports bodies too few or too many."""
        if not self._with_bodies:
            yield from ((span, None) for span in chunk)
            return
        failed = self._reading.failed
        last = chunk[-1][0]
        bodies = self._reading.rows(f"bodies up to row {last}", _BODIES, self._last_row, last)
        self._last_row = last
        held = next(bodies, None)
        for span in chunk:
            while held is not None and held[0] < span[0]:
                self._report.add("body.wrong", None, f"bodies row {held[0]}", "there is no such span")
                held = next(bodies, None)
            if held is not None and held[0] == span[0]:
                yield span, held[1] if held[1].__class__ is bytes else b""
                held = next(bodies, None)
            else:
                if self._reading.failed == failed:
                    self._report.add("body.missing", None, f"bodies row {span[0]}", "the span's body is missing")
                yield span, None

    def _finish_home(self, home: Home) -> None:
        """Check what only the whole of a tenant's spans shows."""
        tenant = home.ref.tenant_id
        # A tenant that a node has joined and got nothing of is named by the seal of its alias alone.
        if self._with_bodies and not home.is_proven and (home.has_spans or home.ref.number not in self._sealed):
            self._report.add("tenant.wrong", tenant, f"tenants tenant {home.ref.number}", "no tenant.create proves it")
        for name, numbers in (("kind", home.kinds.values()), ("actor", home.actors.values())):
            for number in numbers:
                if (name, number) not in home.used:
                    self._report.add("dictionary.wrong", tenant, f"{name}s {name} {number}", "no header says it")

    def _compare(
        self,
        table: Literal["labels", "idems"],
        sql: str,
        tally: Tally,
        rows_of: RowsOf,
        doubtful: set[int],
        *,
        feeds: set[int] | None = None,
    ) -> None:
        """Compare a table that follows from bodies, those of `feeds` if given; span by span where sums differ."""
        code = f"{table[:-1]}.wrong"
        failed = self._reading.failed
        tally.meet(self._reading.rows(table, sql))
        unequal = tally.unequal()
        if self._reading.failed > failed or not unequal:
            return
        for block in unequal[RANGES_MAX:]:
            place = f"{table} rows {block.start} to {block.stop - 1}"
            self._report.add(code, None, place, "they are not what the bodies say")
        starts = {block.start for block in unequal[:RANGES_MAX]}
        found = {item for item in self._reading.rows(table, sql) if block_of(item[-1]).start in starts}
        said: set[tuple[Any, ...]] = set()
        for start in sorted(starts):
            place, stop = f"bodies from row {start}", block_of(start).stop
            for feed, tenant, hlc, row, raw in self._reading.rows(place, _SAID, start, stop):
                if feeds is not None and feed not in feeds:
                    continue
                with suppress(CallerError):  # a body that no decoder reads says nothing
                    said.update(rows_of(tenant, hlc, row, decode_body(as_bytes(raw))))
        for item in sorted(found ^ said, key=repr):
            if item[-1] not in doubtful:
                detail = "no body says it" if item in found else "missing"
                self._report.add(code, None, _place(table, item), detail)

    def _find_strays(self, walks: dict[int, FeedWalk]) -> None:
        """Report rows that belong to no span, no feed or no tree."""
        if self._with_bodies:
            for (row,) in self._reading.rows("bodies", "SELECT row FROM bodies WHERE row > ?", self._last_row):
                self._report.add("body.wrong", None, f"bodies row {row}", "there is no such span")
        own = {walk.ref.feed_id for walk in walks.values() if walk.ref.own}
        if self._version >= TASKS_VERSION:
            self._check_seals()
        for (mark,) in self._reading.rows("continuity", _CONTINUITY) if self._version >= AGREEMENT_VERSION else ():
            if not is_sealed(as_bytes(mark)):
                self._report.add("continuity.wrong", None, "continuity mark", "it is not as it was written")
        for tenant, code, said in self._reading.rows("alerts", _ALERTS) if self._version >= ALERTS_VERSION else ():
            if not isinstance(tenant, int) or read_alert(tenant, as_text(code), as_bytes(said)) is None:
                place = f"alerts tenant {tenant} code {as_text(code)}"
                self._report.add("alert.wrong", None, place, "it is not as it was written")
        for feed_id, reason in self._reading.rows("endings", _ENDINGS) if self._version >= ENDINGS_VERSION else ():
            if feed_id not in own or as_text(reason) not in ENDING_REASONS:
                place = f"endings feed_id {as_bytes(feed_id).hex()}"
                self._report.add("ending.wrong", None, place, f"no such feed of this node, or reason {as_text(reason)}")

    def _check_seals(self) -> None:
        """Report rows that follow from nothing and are not as they were written."""
        for table in SEALED_TABLES:
            info = list(self._reading.rows(table, f"SELECT name, type, pk FROM pragma_table_info('{table}')"))
            if not info:
                continue  # an older database has not all of them; of others the schema is wrong
            columns = [f"CAST({name} AS BLOB)" if type_ == "TEXT" else name for name, type_, _ in info]
            for row in self._reading.rows(table, f"SELECT {', '.join(columns)} FROM {table}"):
                if row[-1] != seal_of(table, row[:-1]):
                    named = zip((name for name, _, _ in info), (pk for *_, pk in info), row, strict=True)
                    key = [f"{name} {as_bytes(value).hex() or value}" for name, pk, value in named if pk]
                    self._report.add("seal.wrong", None, " ".join((table, *key)), "it is not as it was written")


def _place(table: str, item: tuple[Any, ...]) -> str:
    if table == "labels":
        tenant, field, value, _, row = item
        return f"labels tenant {tenant} field {field} value {as_text(value)} row {row}"
    tenant, idem, row = item
    return f"idems tenant {tenant} idem {as_bytes(idem).hex()} row {row}"
