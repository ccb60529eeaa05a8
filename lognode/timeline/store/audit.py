"""Reads a whole database for an audit: one read transaction, in the order of rows, in bounded memory.

Owns the SQL; what is right is decided in timeline.verify. Invariant: damage never ends an audit. A read that
fails is a finding that names its table, and everything that can still be read is still checked. No TEXT is
fetched as such, because damaged text is no UTF-8.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, TenantId
from lognode.core.limits import MIB, TENANT_SHIFT_BITS
from lognode.core.span import Body, decode_body
from lognode.timeline.proof.checkpoint import Checkpoint, origin, verify_checkpoint, vkey
from lognode.timeline.proof.tree import HASH_BYTES
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.state import ENDING_REASONS
from lognode.timeline.store.migrate import ENDINGS_VERSION, apply_migrations, connect_reader, migrations
from lognode.timeline.verify.feed import FeedWalk, Tile
from lognode.timeline.verify.finding import FINDINGS_MAX, Finding, Report
from lognode.timeline.verify.history import SPAN_COLUMNS, History, Home, SpanRow, idem_rows, label_rows
from lognode.timeline.verify.tally import Tally, block_of
from lognode.timeline.verify.verdict import Entry, Verdict

CHUNK_SPANS: Final = 1024
VALUE_BYTES_MAX: Final = 4 * MIB  # no value of ours is larger; a damaged length must not cost memory
RANGES_MAX: Final = 64  # ranges of 1,024 spans whose labels are compared one by one; beyond, the range is named

_SCHEMA: Final = "SELECT type, name, tbl_name, CAST(sql AS BLOB) FROM sqlite_schema"
_FEEDS: Final = "SELECT feed, tenant, feed_id, node_key, log_key, own FROM feeds"
_SPANS: Final = f"SELECT {SPAN_COLUMNS} FROM spans WHERE row > ? ORDER BY row LIMIT {CHUNK_SPANS}"
_BODIES: Final = "SELECT row, body FROM bodies WHERE row > ? AND row <= ? ORDER BY row"
_ENTRIES: Final = """
    SELECT row, seq, hlc, visibility, header FROM spans WHERE feed = ? AND seq >= ? AND seq < ?
    AND typeof(seq) = 'integer' AND typeof(hlc) = 'integer' AND hlc >= 0 AND typeof(visibility) = 'integer'
    AND visibility BETWEEN 0 AND 255 AND typeof(header) = 'blob' ORDER BY seq"""
_TILE: Final = "SELECT hashes FROM tiles WHERE feed = ? AND level = ? AND tile = ?"
_NEXT_NOTE: Final = "SELECT size, note FROM checkpoints WHERE feed = ? AND size > ? ORDER BY size LIMIT 1"
_TENANT: Final = f"row >> {TENANT_SHIFT_BITS}"
_SAID: Final = f"SELECT {_TENANT}, hlc, row, body FROM spans JOIN bodies USING (row) WHERE row >= ? AND row < ?"
# Damage may put any type into a column; what is computed with must be a number.
_LABELS: Final = "SELECT tenant, field, CAST(value AS BLOB), hlc, coalesce(CAST(row AS INTEGER), -1) FROM labels"
_IDEMS: Final = "SELECT tenant, idem, coalesce(CAST(row AS INTEGER), -1) FROM idems"
_ENDINGS: Final = "SELECT feed_id, CAST(reason AS BLOB) FROM endings"
_TILES: Final = "SELECT feed, coalesce(CAST(level AS INTEGER), -1), coalesce(CAST(tile AS INTEGER), -1) FROM tiles"

_ROW_MIN, _ROW_MAX = -(2**63), 2**63 - 1

# What SQLite raises over a damaged file; its messages quote names that may be no UTF-8.
_UNREADABLE: Final = (sqlite3.DatabaseError, UnicodeDecodeError)

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
    except _UNREADABLE as error:
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
    except _UNREADABLE as error:
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
        self._conn = conn
        self._report = report
        self._node_public = node_public
        self._progress = progress or (lambda _done, _total: None)
        self._with_bodies = with_bodies
        self._failed = 0  # reads that failed
        self._last_row = _ROW_MIN  # up to here bodies were looked at
        self._heads: dict[int, _Heads] = {}
        self._has_endings = True

    def _read(self, place: str, sql: str, *args: object) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, as far as they can be read."""
        try:
            yield from self._conn.execute(sql, args)
        except _UNREADABLE as error:
            self._failed += 1
            self._report.add("database.damaged", None, place, f"cannot be read: {error}")

    def check_file(self) -> None:
        """SQLite's own check: pages, b-trees, types, and every index against its table."""
        for (message,) in self._read("the database", f"PRAGMA integrity_check({FINDINGS_MAX})"):
            for line in message.splitlines():
                if line != "ok" and not line.startswith("***"):
                    self._report.add("database.damaged", None, line, "found by SQLite's integrity_check")

    def check_schema(self) -> None:
        """The version, and every table, index and trigger, against those of the migrations up to it."""
        version = len(migrations())
        for (found,) in self._read("user_version", "PRAGMA user_version"):
            if 0 < found <= version:
                version = found  # an older one is migrated when a node starts on it
            else:
                self._report.add("schema.wrong", None, "user_version", f"{found}, where this lognode makes {version}")
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
            apply_migrations(model, version)
            expected = set(model.execute(_SCHEMA))
        self._has_endings = version >= ENDINGS_VERSION
        failed = self._failed
        found = set(self._read("sqlite_schema", _SCHEMA))
        if self._failed > failed:
            return
        for kind, name, *_ in expected - found:
            self._report.add("schema.wrong", None, f"sqlite_schema {kind} {name}", "not as its migration makes it")
        for kind, name, *_ in found - expected:
            self._report.add("schema.wrong", None, f"sqlite_schema {kind} {name}", "no migration makes it so")

    def check_history(self) -> None:
        """Every table of the timeline."""
        homes = self._load_homes()
        history = History(homes, self._node_public, self._report)
        for chunk in self._chunks():
            for span, body in self._with_their_bodies(chunk):
                history.take(span, body)
            feeds = {span[2] for span in chunk}
            for home in homes.values():
                for feed in feeds & home.walks.keys():
                    self._grow(home.ref.tenant_id, home.walks[feed])
        for home in homes.values():
            for walk in home.walks.values():
                history.doubtful |= self._finish_feed(home.ref.tenant_id, walk)
            self._finish_home(home)
        if self._with_bodies:
            self._compare("labels", _LABELS, history.labels, label_rows, history.doubtful)
            self._compare("idems", _IDEMS, history.idems, idem_rows, history.doubtful)
        self._find_strays({feed: walk for home in homes.values() for feed, walk in home.walks.items()})

    def _load_homes(self) -> dict[int, Home]:
        """The tenants with dictionaries and feeds; checks rows that name a tenant, and the seals of aliases."""
        homes = {
            number: Home(TenantRef(number, TenantId(_bytes(tenant_id)), None), {}, {})
            for number, tenant_id in self._read("tenants", "SELECT tenant, tenant_id FROM tenants")
        }
        strays = []
        for alias, number, seal in self._read("aliases", "SELECT CAST(alias AS BLOB), tenant, seal FROM aliases"):
            home = homes.get(number)
            sealed = sha256(b"lognode alias v1" + home.ref.tenant_id + _bytes(alias)).digest()[:16] if home else None
            if seal != sealed:
                place = f"aliases alias {_text(alias)}"
                self._report.add("alias.wrong", None, place, "its seal covers another name or tenant")
        for number, tenant, name in self._read("kinds", "SELECT kind, tenant, CAST(name AS BLOB) FROM kinds"):
            if tenant in homes:
                homes[tenant].kinds[_text(name)] = number
            else:
                strays.append(("dictionary.wrong", f"kinds kind {number} tenant"))
        for number, tenant, name in self._read("actors", "SELECT actor, tenant, logline FROM actors"):
            if tenant in homes:
                homes[tenant].actors[name] = number
            else:
                strays.append(("dictionary.wrong", f"actors actor {number} tenant"))
        for number, tenant, feed, node, log, own in self._read("feeds", _FEEDS):
            if tenant in homes:
                ref = FeedRef(number, tenant, FeedId(_bytes(feed)), _bytes(node), _bytes(log), own)
                homes[tenant].walks[number] = FeedWalk(ref)
            else:
                strays.append(("feed.wrong", f"feeds feed {number} tenant"))
        for code, place in strays:
            self._report.add(code, None, place, "there is no such tenant")
        return homes

    def _chunks(self) -> Iterator[list[SpanRow]]:
        """All rows of spans in their order, leaving out what cannot be read."""
        total = sum(count for (count,) in self._read("spans", "SELECT count(*) FROM spans"))
        after, stride, done = _ROW_MIN, CHUNK_SPANS, 0
        while after < _ROW_MAX:
            failed = self._failed
            chunk = list(self._read(f"spans after row {max(after, 0)}", _SPANS, after))
            if chunk:
                after, stride, done = chunk[-1][0], CHUNK_SPANS, done + len(chunk)
                yield chunk
                self._progress(done, total)
            elif self._failed == failed:
                return
            if self._failed > failed:
                # Behind an unreadable page the next readable one is looked for, in growing steps.
                after, stride = min(max(after, 0) + stride, _ROW_MAX), stride * 2

    def _with_their_bodies(self, chunk: list[SpanRow]) -> Iterator[tuple[SpanRow, bytes | None]]:
        """Each span with its body, None when that cannot be checked; reports bodies too few or too many."""
        if not self._with_bodies:
            yield from ((span, None) for span in chunk)
            return
        failed = self._failed
        last = chunk[-1][0]
        bodies = self._read(f"bodies up to row {last}", _BODIES, self._last_row, last)
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
                if self._failed == failed:
                    self._report.add("body.missing", None, f"bodies row {span[0]}", "the span's body is missing")
                yield span, None

    def _grow(self, tenant: TenantId, walk: FeedWalk) -> None:
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
        column, size = _ROW_MIN, 0
        while rows := list(self._read(f"checkpoints feed {walk.ref.number}", _NEXT_NOTE, walk.ref.number, column)):
            column, note = rows[0]
            place = f"checkpoints feed {walk.ref.number} size {column}"
            try:
                key = vkey(origin(tenant, walk.ref.feed_id), walk.ref.log_key)
                checkpoint = verify_checkpoint(_bytes(note), key)
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
        failed = self._failed
        rows = list(self._read(place, _TILE, feed, tile.level, tile.number))
        if rows:
            stored = _bytes(rows[0][0])
            walk.compare_tile(tile, stored)
            if len(stored) != HASH_BYTES * len(tile.hashes):
                detail = f"{len(stored)} bytes, by the spans {HASH_BYTES * len(tile.hashes)}"
                self._report.add("tile.wrong", tenant, place, detail)
        elif self._failed == failed:
            self._report.add("tile.wrong", tenant, place, "missing")

    def _finish_feed(self, tenant: TenantId, walk: FeedWalk) -> set[int]:
        """Judge a feed that was read to its end. Returns the rows of spans that are in doubt."""
        self._grow(tenant, walk)
        for tile in walk.open_tiles():
            self._compare_tile(tenant, walk, tile)
        feed, heads = walk.ref.number, self._heads[walk.ref.number]
        if heads.next is None and walk.signed < walk.size:
            detail = f"none that is right covers the entries {walk.signed} to {walk.size - 1}"
            self._report.add("checkpoint.wrong", tenant, f"checkpoints feed {feed}", detail)
        while heads.next:
            detail = f"signed over {heads.next.size} entries, of which {walk.size} are here"
            self._report.add("span.missing", tenant, f"checkpoints feed {feed} size {heads.next.size}", detail)
            heads.advance()
        if self._with_bodies and not walk.is_bound:
            self._report.add("feed.wrong", tenant, f"feeds feed {feed}", "no feed.open proves it")
        verdict = Verdict(walk, tenant, self._report, lambda block: self._load_entries(feed, block))
        verdict.judge()
        return verdict.doubtful

    def _load_entries(self, feed: int, block: range) -> list[Entry]:
        rows = self._read(f"spans feed {feed} seq {block.start}", _ENTRIES, feed, block.start, block.stop)
        return [Entry(*row) for row in rows]

    def _finish_home(self, home: Home) -> None:
        """Check what only the whole of a tenant's spans shows."""
        tenant = home.ref.tenant_id
        if self._with_bodies and not home.is_proven:
            self._report.add("tenant.wrong", tenant, f"tenants tenant {home.ref.number}", "no tenant.create proves it")
        for name, numbers in (("kind", home.kinds.values()), ("actor", home.actors.values())):
            for number in numbers:
                if (name, number) not in home.used:
                    self._report.add("dictionary.wrong", tenant, f"{name}s {name} {number}", "no header says it")

    def _compare(
        self, table: Literal["labels", "idems"], sql: str, tally: Tally, rows_of: RowsOf, doubtful: set[int]
    ) -> None:
        """Compare a table that follows from bodies with them; span by span where their sums differ."""
        code = f"{table[:-1]}.wrong"
        failed = self._failed
        tally.meet(self._read(table, sql))
        unequal = tally.unequal()
        if self._failed > failed or not unequal:
            return
        for block in unequal[RANGES_MAX:]:
            place = f"{table} rows {block.start} to {block.stop - 1}"
            self._report.add(code, None, place, "they are not what the bodies say")
        starts = {block.start for block in unequal[:RANGES_MAX]}
        found = {item for item in self._read(table, sql) if block_of(item[-1]).start in starts}
        said: set[tuple[Any, ...]] = set()
        for start in sorted(starts):
            for tenant, hlc, row, raw in self._read(f"bodies from row {start}", _SAID, start, block_of(start).stop):
                with suppress(CallerError):  # a body that no decoder reads says nothing
                    said.update(rows_of(tenant, hlc, row, decode_body(_bytes(raw))))
        for item in sorted(found ^ said, key=repr):
            if item[-1] not in doubtful:
                detail = "no body says it" if item in found else "missing"
                self._report.add(code, None, _place(table, item), detail)

    def _find_strays(self, walks: dict[int, FeedWalk]) -> None:
        """Report rows that belong to no span, no feed or no tree."""
        if self._with_bodies:
            for (row,) in self._read("bodies", "SELECT row FROM bodies WHERE row > ?", self._last_row):
                self._report.add("body.wrong", None, f"bodies row {row}", "there is no such span")
        for feed, level, number in self._read("tiles", _TILES):
            if feed not in walks or not walks[feed].has_tile(level, number):
                place = f"tiles feed {feed} level {level} tile {number}"
                self._report.add("tile.wrong", None, place, "no tree has such a tile")
        for (feed,) in self._read("checkpoints", "SELECT DISTINCT feed FROM checkpoints"):
            if feed not in walks:
                self._report.add("checkpoint.wrong", None, f"checkpoints feed {feed}", "there is no such feed")
        own = {walk.ref.feed_id for walk in walks.values() if walk.ref.own}
        for feed_id, reason in self._read("endings", _ENDINGS) if self._has_endings else ():
            if feed_id not in own or _text(reason) not in ENDING_REASONS:
                place = f"endings feed_id {_bytes(feed_id).hex()}"
                self._report.add("ending.wrong", None, place, f"no such feed of this node, or reason {_text(reason)}")


class _Heads:
    """The checkpoints of a feed, of which the next one is known."""

    def __init__(self, checkpoints: Iterator[Checkpoint]) -> None:
        self._checkpoints = checkpoints
        self.next = next(checkpoints, None)

    def advance(self) -> None:
        self.next = next(self._checkpoints, None)


def _place(table: str, item: tuple[Any, ...]) -> str:
    if table == "labels":
        tenant, field, value, _, row = item
        return f"labels tenant {tenant} field {field} value {_text(value)} row {row}"
    tenant, idem, row = item
    return f"idems tenant {tenant} idem {_bytes(idem).hex()} row {row}"


def _bytes(value: object) -> bytes:
    """A BLOB; anything else in its place reads as empty, which is right nowhere."""
    return value if isinstance(value, bytes) else b""


def _text(value: object) -> str:
    return _bytes(value).decode(errors="backslashreplace")
