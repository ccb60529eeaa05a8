"""What was written upon approvals is decided again with these; who only says that there are any is found and named."""

from pathlib import Path

import msgspec
import pytest

from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.core.ids import SpanId
from lognode.core.span import decode_header
from lognode.engine.ruling import judging
from lognode.engine.ruling.approvals.holding import approved
from lognode.engine.ruling.gating import Judged
from lognode.rules.records import APPROVE
from lognode.timeline.record import TenantRef, id_of
from tests.engine.nodes import Engine, Wall, all_records
from tests.engine.pairs import admit, hand_over, two_nodes
from tests.ruling.published import publish, rechecking
from tests.ruling.test_approvals import desk, payment

RULES = """
rules: limit
do:
  - id: large
    on: draft
    kinds: [payment]
    if: {greater_than: {data.amount: 100}}
    then: [{require_approval: {role: root, of: 2, within: 1h, text: "much money"}}]
"""
LIES = ["no approval", "one approval", "one twice", "another draft", "an approval of something else", "too late"]


async def swap(one: Engine, other: Engine, theirs: TenantRef) -> None:
    await hand_over(one, other, one.tenant, theirs)
    await hand_over(other, one, theirs, one.tenant)


@pytest.mark.parametrize("lie", ["", *LIES])
async def test_approvals_of_a_span_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    wall = Wall()
    async with two_nodes(tmp_path, wall) as (one, other, theirs):
        await admit(one, other, Level.ROOT)
        text = RULES.replace("of: 2", "of: 1") if not lie else RULES
        await publish(one, text)
        await swap(one, other, theirs)
        draft = payment(900)
        (held,) = await other.writer.append(theirs, [draft])
        assert held.held
        (beside,) = await one.writer.append(one.tenant, [Draft("note", data=encode(1))])
        await swap(one, other, theirs)
        (answer, _) = await desk(one, one.tenant, wall).answering.answer(one.tenant, held.id, "", is_denial=False)
        await swap(one, other, theirs)
        if not lie:
            await desk(other, theirs, wall).look()
        else:
            granted = answer.answers[0].span
            by = {"one twice": [granted, granted], "one approval": [granted]}.get(lie, [granted, SpanId(beside.id)])
            if lie == "another draft":
                draft = payment(901)
            wall.ms += 3 * 3_600_000 if lie == "too late" else 0
            claimed = draft if lie == "no approval" else approved(draft, held.id, by, "root")
            claimed = msgspec.structs.replace(claimed, idem=None)
            with monkeypatch.context() as patch:
                patch.setattr(judging.Judging, "judge", lambda _self, draft, _before: Judged(draft, None, None))
                await other.writer.append(theirs, [claimed])
        await swap(one, other, theirs)
        records = await one.store.read(all_records)
        assert lie or any(decode_header(record.header).kind == APPROVE for record in records)
        (written,) = [record for record in records if decode_header(record.header).kind == "payment"]
        span = id_of(written, one.store.feeds[written.feed].feed_id)
        for engine, tenant in ((one, one.tenant), (other, theirs)):
            found = await engine.store.read(rechecking(engine).recheck, tenant, span)
            assert (found.answer, found.lacks) == ("altered" if lie else "same", ()), found
            assert set(found.altered) == ({other.keys.public} if lie else set())
