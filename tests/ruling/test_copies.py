"""Who says that it restores a span gets past no rule by that, unless its node had really lost such a span."""

from pathlib import Path

import msgspec
import pytest

from lognode.core.codec import encode
from lognode.core.draft import Draft, read_origin
from lognode.core.span import decode_header
from lognode.engine.ruling.hindsight.reasons import UNSHOWN
from lognode.timeline.agreement.restoring import restored_draft
from lognode.timeline.store.agreement.stranded import read_stranded
from tests.engine.nodes import all_records
from tests.engine.pairs import admit, hand_over, two_nodes
from tests.ruling.published import publish, rechecking, settle

RULES = """
rules: guard
do:
  - id: never
    on: draft
    kinds: [login]
    if: {equals: {data.client: mallory}}
    then: [{reject: "not you"}]
  - id: seen
    on: commit
    run: each
    kinds: [login]
    then: [{emit: {kind: seen, title: "{data.client}"}}]
"""


@pytest.mark.parametrize("lie", ["of another span", "of one that counts", "without proof"])
async def test_a_span_that_falsely_says_that_it_restores_one_is_judged_and_reacted_to(tmp_path: Path, lie: str) -> None:
    async with two_nodes(tmp_path) as (one, other, theirs):
        await admit(one, other)
        await publish(one, RULES)
        await hand_over(one, other, one.tenant, theirs)
        (first,) = await other.writer.append(theirs, [Draft("login", data=encode({"client": "ann"}))])
        feed = next(feed for feed in other.store.feeds.values() if feed.feed_id == first.feed)
        part = await other.store.read(read_stranded, theirs, feed, first.seq)
        copy = restored_draft(theirs.tenant_id, part.spans[0])
        assert copy is not None
        if lie != "of one that counts":
            copy = msgspec.structs.replace(copy, data=encode({"client": "mallory"}))
        if lie == "without proof":
            copy = msgspec.structs.replace(copy, annotations=b"")
        (told,) = await other.writer.append(theirs, [copy])
        await settle(other, theirs)
        await hand_over(other, one, theirs, one.tenant)
        for engine, tenant in ((one, one.tenant), (other, theirs)):
            found = await engine.store.read(rechecking(engine).recheck, tenant, told.id)
            if lie != "of one that counts":
                assert (found.answer, set(found.altered)) == ("altered", {other.keys.public})
            else:
                assert (found.answer, found.lacks) == ("withheld", (UNSHOWN,))
        await settle(one)
        records = await one.store.read(all_records)
        seen = [record for record in records if decode_header(record.header).kind == "seen"]
        assert len(seen) == 4, "each node saw both"
        assert read_origin(copy.annotations) is not None or lie == "without proof"
