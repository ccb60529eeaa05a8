"""Whoever was let in by an invite used too often, and is admitted again, loses nothing of what it wrote meanwhile."""

from hashlib import sha256
from pathlib import Path

import pytest

from lognode.core.access import Level
from lognode.core.draft import Draft
from lognode.core.ids import SpanId, TenantId
from lognode.core.span import PUBLIC, decode_body
from lognode.engine.service.agreement import restoring
from lognode.identity.keys import KeyPair, NodeKeys
from lognode.timeline.agreement.restoring import check_restored, read_restored
from lognode.timeline.control.invites import invite_create_data, invite_id
from lognode.timeline.control.members import join_statement, member_admit_data, sign_join
from lognode.timeline.record import TenantRef, header_of, origin_of
from lognode.timeline.store.read.lookup import find_span, find_span_or_copy
from lognode.timeline.store.read.voids import void_reason
from tests.agreement.test_restoring import Copy, restorer
from tests.engine.nodes import Engine, all_records
from tests.engine.pairs import admit, hand_over, two_nodes
from tests.timeline.pens import Pen, admitted

INVITE = KeyPair(b"\x05" * 32)
ROOT = NodeKeys.from_seed(b"r" * 32)


def rank(tenant: TenantId, key: bytes) -> bytes:
    """Of several who use up an invite, the smallest of these wins."""
    return sha256(invite_id(tenant, INVITE.public) + key).digest()


def by_invite(keys: NodeKeys, server: NodeKeys, tenant: TenantId, after: list[SpanId]) -> bytes:
    statement = join_statement(
        keys,
        tenant,
        invite_id(tenant, INVITE.public),
        server.public,
        Level.TRUSTED,
        bytes(16),
    )
    return member_admit_data(after, statement, sign_join(keys, tenant, statement, INVITE))


async def copies_in(engine: Engine, ref: TenantRef) -> list[Copy]:
    """The restored copies of one tenant of several, by position."""
    found = []
    for record in await engine.store.read(all_records):
        said = origin_of(record)
        if engine.store.feeds[record.feed].tenant == ref.number and said is not None and said.way == "restore":
            body = decode_body(record.body or b"")
            restored = read_restored(body.annotations)
            assert restored is not None
            found.append(Copy(record, header_of(record), body, restored))
    return found


async def test_what_the_loser_of_an_invite_wrote_is_recorded_again_once_it_is_let_in_anew(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (founder, loser, theirs):
        tenant, ours = founder.tenant.tenant_id, founder.tenant
        control = founder.writer.append_control
        winner = next(
            keys
            for keys in (NodeKeys.from_seed(bytes([number]) * 32) for number in range(1, 99))
            if rank(tenant, keys.public) < rank(tenant, loser.keys.public)
        )
        await control(ours, "member.admit", lambda _, after: admitted(ROOT, founder.keys, tenant, after, Level.ROOT))
        made = await control(
            ours,
            "invite.create",
            lambda _, after: invite_create_data(after, INVITE.public, Level.TRUSTED, 1, 2**46, approve=False),
        )
        # The other root lets the winner in, and knows nothing of what the founder does.
        root = Pen(ROOT, tenant, [made.id])
        root.write("member.admit", by_invite(winner, ROOT, tenant, [made.id]), visibility=PUBLIC)
        await control(ours, "member.admit", lambda _, after: by_invite(loser.keys, founder.keys, tenant, after))
        await hand_over(founder, loser, ours, theirs)
        drafts = [Draft("note", f"said {number}", subject="tap") for number in range(3)]
        written = await loser.writer.append(theirs, drafts)
        await hand_over(loser, founder, theirs, ours)

        for engine, ref in ((founder, ours), (loser, theirs)):
            assert await engine.writer.ingest(ref, [root.range()]) == [2]
            members = engine.standings.of(ref.number)
            assert [members.level(keys.public) for keys in (winner, loser.keys)] == [Level.TRUSTED, Level.BLOCKED]
            assert members.cuts[written[0].feed] == (0, "member.unknown")
            for receipt in written:
                record = await engine.store.read(find_span, ref, engine.store.feeds, receipt.id)
                assert record is not None
                assert await engine.store.read(void_reason, ref, record) == "member.unknown"
        work = restorer(loser)
        assert await work.restore(theirs) == 0  # it may not write

        await admit(founder, loser)
        await hand_over(founder, loser, ours, theirs)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(restoring, "STRANDING", {"feed.forked"})
            assert await restorer(loser).restore(theirs) == 0  # as it would be if forks alone stranded spans
        assert await work.restore(theirs) == 3
        assert await work.restore(theirs) == 0
        assert await restorer(loser).restore(theirs) == 0  # nor after a restart
        assert [(alert.code, alert.times) for alert in loser.writer.alerts.of(theirs)] == [("feed.restored", 3)]
        await hand_over(loser, founder, theirs, ours)
        for engine, ref in ((founder, ours), (loser, theirs)):
            made_copies = await copies_in(engine, ref)
            assert [copy.restored.id for copy in made_copies] == [receipt.id for receipt in written]
            key = next(feed.log_key for feed in engine.store.feeds.values() if feed.feed_id == written[0].feed)
            for receipt, copy in zip(written, made_copies, strict=True):
                check_restored(tenant, copy.restored, copy.header, copy.body, copy.record.visibility, key)
                found = await engine.store.read(find_span_or_copy, ref, engine.store.feeds, receipt.id)
                assert found == copy.record
                assert await engine.store.read(void_reason, ref, found) is None
            assert [copy.body.title for copy in made_copies] == ["said 0", "said 1", "said 2"]
