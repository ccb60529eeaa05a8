"""A history with something of everything, written by the real writer; the same bytes every time."""

import random
import sqlite3
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import msgspec
import trio

from lognode.core.clock import time_text
from lognode.core.codec import encode
from lognode.core.draft import Draft, Origin, idem_key, signing_message
from lognode.core.ids import LogLineKind, SpanId, b32encode, format_logline, logline
from lognode.core.limits import CLOCK_AHEAD_MS_MAX
from lognode.core.span import ORGANIZATION, Header, encode_header, entry_bytes, leaf_hash
from lognode.core.world import World
from lognode.engine.service.agreement.doubts import Beginning
from lognode.engine.subscriptions.progress import Changes, Parked
from lognode.engine.subscriptions.store import insert_subscription, save_changes
from lognode.engine.subscriptions.subscription import Beyond, Terms, Tried, new_subscription
from lognode.engine.tasks.schedule import Timing, new_schedule
from lognode.engine.tasks.store import insert_schedule, insert_task, save_pause
from lognode.engine.tasks.task import Work
from lognode.engine.tasks.work import new_task
from lognode.identity.keys import KeyPair, NodeKeys
from lognode.timeline.agreement.continuity import Mark, seal_mark
from lognode.timeline.proof.checkpoint import sign_checkpoint
from lognode.timeline.proof.tree import grow, root_of
from lognode.timeline.record import TenantRef, row_of
from lognode.timeline.state import RESTORED
from lognode.timeline.store.rules.cursors import cursor_row
from lognode.timeline.store.rules.held import HeldDraft, held_rows
from lognode.timeline.store.write import end_open_feeds, load_tenant, load_tenants
from tests.engine.nodes import SEED, Engine, Wall, run_engine

START_MS = 1_760_000_000_000
ALICE = KeyPair(bytes(31) + b"\x01")
BOB = KeyPair(bytes(31) + b"\x02")


@dataclass
class SeededWall(Wall):
    """A world in which nothing is left to chance."""

    ms: int = START_MS
    rng: random.Random = field(default_factory=lambda: random.Random(2))

    def world(self) -> World:
        return World(lambda: self.ms, time.monotonic, self.rng.randbytes)


def write_history(folder: Path, spans: int = 1000) -> Path:
    """The closed database of a node with two tenants; the first has `spans` drafts in two feeds."""
    trio.run(_write, folder, spans)
    return folder / "lognode.db"


async def _write(folder: Path, spans: int) -> None:
    wall = SeededWall()
    beginning = Beginning(mark=seal_mark(Mark("boot", "machine", 1, 2, 3)))
    async with run_engine(folder, wall, ("default", "second"), beginning=beginning) as engine:
        causes: list[SpanId] = []
        for start in range(0, spans, 50):
            wall.ms += 1000
            batch = [_draft(engine.tenant, n, causes) for n in range(start, min(start + 50, spans))]
            causes += [receipt.id for receipt in await engine.writer.append(engine.tenant, batch)]
        second = engine.store.tenants["second"]
        await engine.writer.append(second, [_draft(second, n, []) for n in range(20)])
        # A clock that is set back far opens a new feed, which follows the old one by `parent`.
        wall.ms -= 2 * CLOCK_AHEAD_MS_MAX
        await engine.writer.append(engine.tenant, [_draft(engine.tenant, spans + n, causes) for n in range(20)])
        await engine.writer.alerts.tell(second, "identity.copied", "other files")
        await _write_tasks(engine)
        # As in a copy that somebody may restore.
        await engine.store.write(end_open_feeds, RESTORED)


async def _write_tasks(engine: Engine) -> None:
    """A task, a schedule and a draft that waits in which no column is empty, a pause and a cursor."""
    work = Work("journal", encode(["journal", "text", None]), cause=bytes(24))
    task = new_task(0, bytes(16), work, now_ms=1, due_ms=2, deadline_ms=3, schedule=bytes(16), name="nightly")
    ended = task._replace(state="dead", ended_ms=3, span=bytes(24), error="task.late", detail="late")
    timing = Timing(interval_ms=60_000, patience_ms=1000)
    schedule = new_schedule(0, bytes(16), "nightly", work, timing, now_ms=START_MS)._replace(cron="0 3 * * *")
    await engine.store.write(insert_task, ended)
    await engine.store.write(insert_schedule, schedule)
    await engine.store.write(save_pause, 1, START_MS)
    held = HeldDraft(0, SpanId(bytes(24)), b"draft", "limit", "large", "root", 2, 1, 2, "waiting", 3)
    rows = {**held_rows([held]), "rule_cursors": cursor_row(engine.tenant, 1)}
    await engine.writer.append(engine.tenant, [], beside=lambda _: rows)
    await engine.store.write(_write_subscription)


def _write_subscription(conn: sqlite3.Connection) -> None:
    """A subscription, and a span that it parked."""
    fresh = new_subscription(0, "orders", {"kind": ["order.*"]}, webhook="till", terms=Terms(), checkpoint=1, now_ms=1)
    insert_subscription(conn, fresh)
    parked = [Parked(7, 5, "no answer", START_MS)]
    beyond = Beyond([7, 9], [Tried(8, 1, START_MS)])
    save_changes(conn, fresh, Changes(fresh.run, 5, beyond, parked, []))


def _draft(tenant: TenantRef, n: int, causes: list[SpanId]) -> Draft:
    rng = random.Random(n)
    actor = ALICE if n % 70 == 3 else BOB if n % 7 == 5 else None
    text = rng.randbytes(20).hex() * (300 if n % 97 == 0 else 2)
    draft = Draft(
        kind=("order.paid", "order.sent", "note")[n % 3],
        title=f"Number {n}" if n % 2 else None,
        data=encode({"n": n, "text": text, "amount": n / 4, "list": [1, None, True]}),
        tags=tuple(sorted({f"n:{n % 10}", "all", f"größe:{n % 4}"})) if n % 5 else (),
        subject=f"order-{n % 50}" if n % 3 else None,
        contract_id=f"contract-{n % 5}" if n % 11 == 0 else None,
        workflow_id=f"workflow-{n % 6}" if n % 13 == 0 else None,
        flow_id=f"flow-{n % 7}" if n % 17 == 0 else None,
        related=tuple(causes[-2:]) if n % 19 == 0 else (),
        metadata=encode({"source": "test"}) if n % 4 == 0 else b"",
        visibility=rng.choice((0, 1, 1, 2)),
        status=int(n % 23 == 0),
        caused_by=rng.choice(causes) if causes and n % 4 == 1 else None,
        actor=logline(LogLineKind.PERSON, actor.public) if actor else None,
        idem=idem_key(tenant.tenant_id, b"tester", f"key {n}") if n % 2 == 0 else None,
        origin=_origin(n) if n % 29 == 0 else None,
    )
    if actor is ALICE:
        return _signed(tenant, draft, actor)
    return draft


def _origin(n: int) -> Origin:
    """That of a copy of a span of another node."""
    span, via = (b32encode(((START_MS - n) << 16).to_bytes(8, "big") + bytes([last]) * 16) for last in (1, 2))
    node = format_logline(logline(LogLineKind.NODE, BOB.public))
    return Origin(
        span, time_text(START_MS - n), b32encode(bytes(20)), node, b32encode(bytes(16)), n, actor_signed=False,
        way="import", via=(via,) if n % 2 else (),
    )  # fmt: skip


def _signed(tenant: TenantRef, draft: Draft, key: KeyPair) -> Draft:
    return msgspec.structs.replace(draft, actor_signature=key.sign(signing_message(tenant.tenant_id, draft)))


def append_signed(conn: sqlite3.Connection, body: bytes, **header: object) -> int:
    """A span with any body, signed as an author would; for bodies that no draft makes. Returns its row."""
    keys = NodeKeys.from_seed(SEED)
    tenant = next(tenant for tenant in load_tenants(conn) if tenant.alias == "default")
    state = load_tenant(conn, tenant)
    assert state.head is not None
    feed, seq, hlc = state.head.feed, state.head.border.size, state.hlc + 1
    fields = {"version": 1, "kind": "note", "actor": None, "status": 0, "caused_by": None} | header
    raw = encode_header(Header(**fields, body_sha256=sha256(body).digest(), body_len=len(body)))  # type: ignore[arg-type]
    border = grow(state.head.border, [leaf_hash(entry_bytes(feed.feed_id, seq, hlc, ORGANIZATION, raw))]).border
    note = sign_checkpoint(keys.log_key(feed.feed_id), tenant.tenant_id, feed.feed_id, seq + 1, root_of(border))
    row = row_of(tenant.number, state.position + 1)
    actor = state.actors[fields["actor"]] if fields["actor"] else None  # type: ignore[index]
    columns = (state.kinds[str(fields["kind"])], actor, fields["status"], fields["caused_by"], raw)
    conn.execute(
        f"INSERT INTO spans VALUES ({', '.join('?' * 11)})",
        (row, tenant.number, feed.number, seq, hlc, ORGANIZATION, *columns),
    )
    conn.execute("INSERT INTO bodies VALUES (?, ?)", (row, body))
    conn.execute("UPDATE checkpoints SET size = ?, note = ? WHERE feed = ?", (seq + 1, note, feed.number))
    return row
