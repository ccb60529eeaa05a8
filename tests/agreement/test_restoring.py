"""Spans that lost their effect are recorded again: once each, saying what they said, and proving what was signed."""

import shutil
import sqlite3
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from lognode.core.access import Level
from lognode.core.clock import time_text
from lognode.core.codec import encode
from lognode.core.draft import Draft, Origin, idem_key, signing_message
from lognode.core.errors import CallerError
from lognode.core.ids import LogLineKind, SpanId, b32encode, format_logline, logline
from lognode.core.span import PRIVATE, PUBLIC, Body, Header, decode_body, leaf_hash
from lognode.engine.receipt import Receipt
from lognode.engine.service.agreement.restoring import Restorer
from lognode.identity.keys import KeyPair, NodeKeys
from lognode.timeline.agreement.restoring import Restored, check_restored, read_restored
from lognode.timeline.control.forks import feed_fork_data
from lognode.timeline.proof.checkpoint import sign_checkpoint
from lognode.timeline.proof.fork import Side, fork_proof
from lognode.timeline.proof.tree import EMPTY, grow, inclusion_proof, root_of
from lognode.timeline.record import (
    Record,
    TenantRef,
    entry_of,
    header_of,
    id_of,
    is_signed,
    origin_of,
)
from lognode.timeline.state import CLONED
from lognode.timeline.store.agreement.subjects import Registers
from lognode.timeline.store.read.lookup import causes, effects, find_restored, find_span, find_span_or_copy
from lognode.timeline.store.read.ranges import read_range
from tests.agreement.test_doubts import admit
from tests.engine.nodes import Engine, all_records, assert_sound, drafts, run_engine
from tests.engine.pairs import admit as admit_writer
from tests.engine.pairs import hand_over, two_nodes
from tests.vectors.history import NodesOf

ALICE = KeyPair(bytes(31) + b"\x01")
JOINER = NodeKeys.from_seed(bytes([7]) * 32)


class Copy(NamedTuple):
    """A copy, decoded."""

    record: Record
    header: Header
    body: Body
    restored: Restored


async def fork(engine: Engine, seq: int, number: int = 1) -> None:
    """Have the node learn that a feed of its own has another history from an entry on, which its key signed."""
    feed, tenant = engine.store.feeds[number], engine.tenant
    held = [record for record in await engine.store.read(all_records) if record.feed == number]
    key, opening = engine.keys.log_key(feed.feed_id), decode_body(held[0].body or b"").data
    entries = [entry_of(record, feed.feed_id) for record in held]
    sides = []
    for branch in (entries, [*entries[:seq], entries[seq][:-32] + bytes(32)]):
        leaves = list(map(leaf_hash, branch))
        root = root_of(grow(EMPTY, leaves).border)
        note = sign_checkpoint(key, tenant.tenant_id, feed.feed_id, len(leaves), root)
        sides.append((opening, Side(branch[seq], tuple(inclusion_proof(seq, len(leaves), NodesOf(leaves))), note)))
    proof = fork_proof(seq, *sides)
    await engine.writer._ledger.end_feed(tenant, CLONED)
    await engine.writer.append_control(tenant, "feed.fork", lambda _members, after: feed_fork_data(after, proof))
    assert engine.standings.of(tenant.number).cuts[feed.feed_id] == (seq, "feed.forked")


def restorer(engine: Engine) -> Restorer:
    return Restorer(engine.store, engine.writer, engine.standings, engine.keys.public)


async def copies(engine: Engine) -> list[Copy]:
    """The restored copies by position."""
    found = []
    for record in await assert_sound(engine):
        said = origin_of(record)
        if said is not None and said.way == "restore":
            body = decode_body(record.body or b"")
            restored = read_restored(body.annotations)
            assert restored is not None
            found.append(Copy(record, header_of(record), body, restored))
    return found


def check(engine: Engine, copy: Copy) -> None:
    key = engine.store.feeds[1].log_key
    check_restored(engine.tenant.tenant_id, copy.restored, copy.header, copy.body, copy.record.visibility, key)


def signed(tenant: TenantRef, draft: Draft) -> Draft:
    draft = msgspec.structs.replace(draft, actor=logline(LogLineKind.PERSON, ALICE.public))
    return msgspec.structs.replace(draft, actor_signature=ALICE.sign(signing_message(tenant.tenant_id, draft)))


def many_sorts(tenant: TenantRef, cause: SpanId) -> list[Draft]:
    return [
        signed(tenant, Draft("order.paid", "Paid", encode({"n": 1}), ("a", "b"), "order-1", "c", "w", "f", (cause,))),
        Draft("order.paid", metadata=encode({"m": [1, None]}), visibility=PRIVATE, status=1, caused_by=cause),
        Draft("note", visibility=PUBLIC, idem=idem_key(tenant.tenant_id, b"tester", "key")),
        Draft("span.revert", subject="order-1", caused_by=cause),
    ]


async def test_what_was_stranded_is_recorded_again_and_proves_what_was_signed(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        (first,) = await engine.writer.append(engine.tenant, drafts(1))
        receipts = await engine.writer.append(engine.tenant, many_sorts(engine.tenant, first.id))
        before = await engine.store.read(all_records)
        await fork(engine, 3)
        assert await restorer(engine).restore(engine.tenant) == 4
        made = await copies(engine)
        originals = [record for record in before if record.seq >= 3]
        for original, receipt, copy in zip(originals, receipts, made, strict=True):
            check(engine, copy)
            body, header = decode_body(original.body or b""), header_of(original)
            assert copy.restored.id == receipt.id
            assert copy.body._replace(nonce=b"", annotations=b"") == body._replace(nonce=b"", annotations=b"")
            assert copy.header[:5] == header[:5]
            assert copy.record.visibility == original.visibility
            assert is_signed(engine.tenant.tenant_id, copy.header, copy.body, copy.record.visibility) is bool(
                body.actor_signature
            )
        assert [alert.code for alert in engine.writer.alerts.of(engine.tenant)] == ["feed.restored"]


async def test_each_span_is_restored_once_whatever_is_interrupted(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        for start in (0, 1000, 2000):
            await engine.writer.append(engine.tenant, drafts(1000 if start < 2000 else 500, start))
        await fork(engine, 2)
        work = restorer(engine)
        work._writer = _Failing(engine, 1)  # type: ignore[assignment]
        with pytest.raises(CallerError):
            await work.restore(engine.tenant)
        assert len(await copies(engine)) == 1000
        work._writer = engine.writer
        assert await work.restore(engine.tenant) == 1500
        assert await work.restore(engine.tenant) == 0
        assert await restorer(engine).restore(engine.tenant) == 0
        made = await copies(engine)
        assert [copy.body.title for copy in made] == [str(number) for number in range(2500)]
        check(engine, made[2400])


class _Failing:
    """A writer that takes so many appends."""

    def __init__(self, engine: Engine, appends: int) -> None:
        self._engine = engine
        self._appends = appends

    async def append(self, tenant: TenantRef, batch: list[Draft], *, wait: bool) -> list[Receipt]:
        if not self._appends:
            raise CallerError("member.removed")
        self._appends -= 1
        return await self._engine.writer.append(tenant, batch, wait=wait)


async def test_old_ids_and_keys_lead_to_the_copies(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        tenant = engine.tenant
        keyed = Draft("note", "keyed", idem=idem_key(tenant.tenant_id, b"tester", "key"))
        (old,) = await engine.writer.append(tenant, [keyed])
        (effect,) = await engine.writer.append(tenant, [Draft("effect", caused_by=old.id)])
        await fork(engine, old.seq)
        (again,) = await engine.writer.append(tenant, [keyed])
        assert (again.id, again.duplicate) == (old.id, True)  # it is about to be restored
        await restorer(engine).restore(tenant)
        (after,) = await engine.writer.append(tenant, [keyed])
        first, second = await copies(engine)
        assert (after.duplicate, after.position) == (True, first.record.position)

        def walk(conn: sqlite3.Connection) -> None:
            feeds = engine.store.feeds
            assert find_span_or_copy(conn, tenant, feeds, old.id) == first.record
            assert find_restored(conn, tenant, engine.keys.public, effect.id) == second.record
            void = find_span(conn, tenant, feeds, old.id)
            assert void is not None
            assert void.feed == 1  # it is there still, for proofs
            assert [record for _, record in causes(conn, tenant, feeds, effect.id, 9).steps] == [first.record]
            assert [record for _, record in effects(conn, tenant, feeds, old.id, 9).steps] == [second.record]

        await engine.store.read(walk)


async def test_members_let_in_beyond_the_fork_are_let_in_again(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await admit(engine, JOINER)
        await fork(engine, 2)
        assert engine.standings.of(engine.tenant.number).level(JOINER.public) is Level.BLOCKED
        assert await restorer(engine).restore(engine.tenant) == 1
        assert engine.standings.of(engine.tenant.number).level(JOINER.public) is Level.OBSERVER
        (copy,) = await copies(engine)
        check(engine, copy)
        assert copy.restored.after is not None


async def test_a_copy_that_is_stranded_again_is_copied_again_under_all_its_ids(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        (old,) = await engine.writer.append(engine.tenant, [Draft("note", "once")])
        await fork(engine, old.seq)
        await restorer(engine).restore(engine.tenant)
        (first,) = await copies(engine)
        feed = engine.store.feeds[2]
        first_id = id_of(first.record, feed.feed_id)
        await fork(engine, first.record.seq, 2)
        assert await restorer(engine).restore(engine.tenant) == 1
        _, second = await copies(engine)
        assert second.restored == first.restored  # what was signed first is what it proves
        check(engine, second)

        def find(conn: sqlite3.Connection) -> None:
            for name in (old.id, first_id):
                assert find_span_or_copy(conn, engine.tenant, engine.store.feeds, name) == second.record

        await engine.store.read(find)


async def test_what_another_node_says_it_restored_is_neither_lost_nor_hidden(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, other, tenant):
        await admit_writer(one, other)
        (old,) = await one.writer.append(one.tenant, [Draft("note", "acknowledged")])
        await fork(one, old.seq)
        await hand_over(one, other, one.tenant, tenant)
        names = [b32encode(name) for name in (tenant.tenant_id, old.feed)]
        node = format_logline(logline(LogLineKind.NODE, one.keys.public))
        said = Origin(
            b32encode(old.id), time_text(0), names[0], node, names[1], old.seq, actor_signed=False, way="restore"
        )
        await other.writer.append(tenant, [Draft("note", f"forged {n}", origin=said) for n in range(70)])
        await hand_over(other, one, tenant, one.tenant)
        assert await restorer(one).restore(one.tenant) == 1
        assert await restorer(one).restore(one.tenant) == 0
        await hand_over(one, other, one.tenant, tenant)
        for engine in (one, other):
            ref = one.tenant if engine is one else tenant
            found = await engine.store.read(find_span_or_copy, ref, engine.store.feeds, old.id)
            assert found is not None
            assert decode_body(found.body or b"").title == "acknowledged"
            assert engine.store.feeds[found.feed].node_key == one.keys.public


@pytest.mark.parametrize("change", ["title", "nonce", "seq", "path", "checkpoint", "visibility", "key"])
async def test_a_copy_that_says_something_else_is_no_proof(tmp_path: Path, change: str) -> None:
    async with run_engine(tmp_path) as engine:
        await engine.writer.append(engine.tenant, drafts(2))
        await fork(engine, 2)
        await restorer(engine).restore(engine.tenant)
        copy = (await copies(engine))[0]
        check(engine, copy)
        restored, body, visibility, key = (
            copy.restored,
            copy.body,
            copy.record.visibility,
            engine.store.feeds[1].log_key,
        )
        if change == "title":
            body = body._replace(title="other")
        elif change == "visibility":
            visibility = PUBLIC
        elif change == "key":
            key = ALICE.public
        elif change == "seq":
            restored = restored._replace(seq=3)
        elif change == "path":
            restored = restored._replace(path=[bytes(32), *restored.path[1:]])
        elif change == "nonce":
            restored = restored._replace(nonce=bytes(16))
        else:
            restored = restored._replace(checkpoint=restored.checkpoint.replace(b"\n4\n", b"\n5\n"))
        with pytest.raises(CallerError) as caught:
            check_restored(engine.tenant.tenant_id, restored, copy.header, body, visibility, key)
        assert caught.value.code == "proof.invalid"


async def test_another_history_is_restored_as_well_where_nobody_else_does(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    async with run_engine(here) as engine:
        await engine.writer.append(engine.tenant, drafts(3))
    shutil.copytree(here, there)
    async with run_engine(there) as engine:
        lost = await engine.writer.append(
            engine.tenant, [Draft("note", f"lost {at}", visibility=at % 3) for at in range(9)]
        )
        found = await engine.store.read(read_range, engine.store.feeds[1], 5)
        assert found is not None
    async with run_engine(here) as engine:
        kept = await engine.writer.append(engine.tenant, drafts(2, 100))
        await engine.writer._ledger.end_feed(engine.tenant, CLONED)
        assert await engine.writer.forks.keep(engine.tenant, found.feed, [found]) is not None
        work = restorer(engine)
        assert await work.restore(engine.tenant) == 2  # the other copy may yet come and do so itself
        work.patience_s = 0
        assert await work.restore(engine.tenant) == 6
        assert await work.restore(engine.tenant) == 0
        assert await restorer(engine).restore(engine.tenant) == 0
        made = await copies(engine)
        told = [receipt.id for at, receipt in enumerate(lost) if at % 3 != PRIVATE]
        assert [copy.restored.id for copy in made] == [*(receipt.id for receipt in kept), *told]
        for copy in made:
            check(engine, copy)


async def test_what_was_taken_back_or_chosen_stays_so_once_it_is_restored(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        tenant = engine.tenant

        async def say(kind: str, title: str, subject: str, cause: SpanId | None = None) -> SpanId:
            draft = Draft(kind, title, subject=subject, caused_by=cause)
            (receipt,) = await engine.writer.append(tenant, [draft])
            return receipt.id

        async def holds() -> dict[str, str]:
            def read(conn: sqlite3.Connection) -> dict[str, str]:
                registers, found = Registers(conn, tenant, engine.store.feeds, {}), {}
                for subject in ("taken", "given", "chosen"):
                    value = registers.read(subject).fold.value
                    body = registers.record(value.means).body if value else None
                    found[subject] = decode_body(body).title or "" if body else ""
                return found

            return await engine.store.read(read)

        for subject in ("taken", "given"):
            await say("note", "first", subject)
        wrong = await say("note", "wrong", "taken")
        right = await say("note", "right", "given")
        chosen = await say("note", "chosen", "chosen")
        await say("span.revert", "", "taken", wrong)
        await say("span.revert", "", "given", await say("span.revert", "", "given", right))
        await say("note", "other", "chosen")
        await say("conflict.resolve", "", "chosen", chosen)
        before = await holds()
        assert before == {"taken": "first", "given": "right", "chosen": "chosen"}
        at = await engine.store.read(find_span, tenant, engine.store.feeds, wrong)
        assert at is not None
        await fork(engine, at.seq)
        await restorer(engine).restore(tenant)
        assert await holds() == before


async def test_what_is_restored_does_not_replace_what_was_said_since(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        tenant = engine.tenant

        async def say(title: str) -> Receipt:
            (receipt,) = await engine.writer.append(tenant, [Draft("note", title, subject="tap")])
            return receipt

        async def heads() -> list[str]:
            def read(conn: sqlite3.Connection) -> list[str]:
                registers = Registers(conn, tenant, engine.store.feeds, {})
                found = [registers.record(head.means).body for head in registers.read("tap").fold.heads]
                return [decode_body(body).title or "" for body in found if body]

            return await engine.store.read(read)

        await say("first")
        old = await say("old")
        await say("older")
        await fork(engine, old.seq)
        await say("since")
        assert await restorer(engine).restore(tenant) == 2
        assert await heads() == ["since", "older"]  # they knew nothing of each other
        await say("now")
        assert await heads() == ["now"]
