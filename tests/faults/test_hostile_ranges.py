"""What a hostile member claims of feeds: refused with its reason, or kept without effect, pushed or pulled alike."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from lognode.core.clock import hlc_from_ms, hlc_ms
from lognode.core.codec import encode
from lognode.core.ids import TenantId
from lognode.core.limits import RANGE_SPANS_MAX
from lognode.core.span import ORGANIZATION, Entry, Range, leaf_hashes
from lognode.engine.ingest import plan, rows
from lognode.engine.ingest.proof import Proven
from lognode.identity.keys import NodeKeys
from lognode.protocol.messages import Push, Refused
from lognode.protocol.wire import decode_answer, encode_request
from lognode.timeline.control.founding import feed_id, feed_open_data
from lognode.timeline.proof.tree import grow
from lognode.timeline.state import FeedState
from lognode.timeline.store.read.statistics import statistics
from lognode.timeline.store.read.voids import read_ahead, read_voided
from lognode.timeline.verify.inert import WITHHELD
from tests.faults.hostile_peer import Mallory, answering, lying, stage
from tests.federation.linked import LinkedNode, wait_equal
from tests.timeline.pens import Pen

YEARS_MS: Final = 10 * 365 * 24 * 60 * 60 * 1000
STRANGER: Final = NodeKeys.from_seed(bytes([7]) * 32)


def changed(part: Range, at: int, **fields: Any) -> Range:
    entries = list(part.entries)
    entries[at] = entries[at]._replace(**fields)
    return part._replace(entries=entries)


def one_changed_byte(mallory: Mallory, _alice: LinkedNode) -> Range:
    part = mallory.pen.range()
    header = bytearray(part.entries[2].header)
    header[-1] ^= 1
    return changed(part, 2, header=bytes(header))


def another_time(mallory: Mallory, _alice: LinkedNode) -> Range:
    part = mallory.pen.range()
    return changed(part, 3, hlc=part.entries[3].hlc + 1)


def one_changed_byte_in_a_body(mallory: Mallory, _alice: LinkedNode) -> Range:
    part = mallory.pen.range()
    body = part.entries[2].body
    assert body is not None
    return changed(part, 2, body=body[:-1] + b"\x00")


def stubs_in_place_of_spans(mallory: Mallory, _alice: LinkedNode) -> Range:
    part = mallory.pen.range()
    return changed(part, 2, header=part.entries[2].header_sha256, body=None)


def a_body_left_out(mallory: Mallory, _alice: LinkedNode) -> Range:
    return changed(mallory.pen.range(), 2, body=None)


def one_more_entry_than_was_signed(mallory: Mallory, _alice: LinkedNode) -> Range:
    part = mallory.pen.range(0, 3)
    return part._replace(entries=mallory.pen.range().entries)


def a_gap(mallory: Mallory, _alice: LinkedNode) -> Range:
    return mallory.pen.range(2)


def another_nodes_feed_under_its_own_name(mallory: Mallory, alice: LinkedNode) -> Range:
    """It begins like one of a node that is a member, whose key signed nothing of it."""
    pen, victim = mallory.pen, alice.peer.keys.public
    nonce = bytes(16)
    pen.feed_id = feed_id(mallory.tenant, victim, nonce)
    pen.entries, pen.leaves, pen.key = [], [], mallory.peer.keys.log_key(pen.feed_id)
    data = feed_open_data(mallory.peer.keys, mallory.tenant, pen.feed_id, nonce, [mallory.admission], None, "mine")
    pen.write("feed.open", data.replace(mallory.key, victim), visibility=2)
    pen.write()
    return pen.range()


def more_in_the_feed_of_another_node(mallory: Mallory, alice: LinkedNode) -> Range:
    (own,) = [feed for feed in alice.store.feeds.values() if feed.own and feed.tenant == alice.tenant.number]
    return mallory.pen.range()._replace(feed=own.feed_id)


def a_feed_of_a_stranger(mallory: Mallory, _alice: LinkedNode) -> Range:
    mallory.pen = Pen(STRANGER, mallory.tenant, [mallory.admission])
    mallory.pen.write()
    return mallory.pen.range()


REFUSED: Final[dict[Callable[[Mallory, LinkedNode], Range], str]] = {
    one_changed_byte: "range.unproven",
    another_time: "range.unproven",
    one_changed_byte_in_a_body: "range.unproven",
    stubs_in_place_of_spans: "range.stubbed",
    a_body_left_out: "range.stubbed",
    one_more_entry_than_was_signed: "range.unproven",
    a_gap: "range.gap",
    another_nodes_feed_under_its_own_name: "range.unproven",
    more_in_the_feed_of_another_node: "range.unproven",
    a_feed_of_a_stranger: "feed.unadmitted",
}


@pytest.mark.parametrize("make", REFUSED)
async def test_what_is_not_as_its_author_signed_it_is_refused_with_its_reason(
    make: Callable[[Mallory, LinkedNode], Range], tmp_path: Path
) -> None:
    async with stage(tmp_path) as (alice, _bob, mallory):
        await check_refused(make, alice, mallory)


async def check_refused(make: Callable[[Mallory, LinkedNode], Range], alice: LinkedNode, mallory: Mallory) -> None:
    for number in range(3):
        mallory.pen.write(title=str(number))
    part, before = make(mallory, alice), await alice.state()
    assert await mallory.push(part) == [REFUSED[make]]
    assert mallory.code == REFUSED[make]
    assert await alice.state() == before
    if make not in (more_in_the_feed_of_another_node, another_nodes_feed_under_its_own_name):
        mallory.alice.ties.tie(mallory.key, alice.tenant).error = None
        async with answering(mallory, await lying(mallory, part)):
            await mallory.wait_code(REFUSED[make])
        assert await alice.state() == before


async def test_two_histories_of_one_feed_are_told_from_each_other(tmp_path: Path) -> None:
    async with stage(tmp_path) as (_alice, _bob, mallory):
        other = mallory.new_pen(0)
        for pen, title in ((mallory.pen, "one"), (other, "another")):
            pen.write(title=title)
        assert await mallory.push(mallory.pen.range()) == [2]
        assert await mallory.push(other.range()) == ["feed.forked"]
        assert mallory.code == "feed.forked"


async def test_more_than_a_range_may_hold_is_no_message(tmp_path: Path) -> None:
    async with stage(tmp_path) as (_alice, _bob, mallory):
        for _ in range(RANGE_SPANS_MAX):
            mallory.pen.write()
        body = encode_request(Push(1, mallory.tenant, [mallory.pen.range()], ()))
        assert decode_answer(await mallory.ask(body)) == Refused("range.too_large")
        assert mallory.code == "range.too_large"


def without_root(tenant: TenantId, head: FeedState, found: Range) -> Proven:
    """What a range adds, whatever was signed."""
    entries = found.entries[head.border.size :]
    leaves = leaf_hashes(head.feed.feed_id, head.border.size, entries)
    return Proven(entries, leaves, grow(head.border, leaves), found.note)


def any_stub(entry: Entry, _floor: int) -> rows.Inert:
    """What is kept of an entry, whoever might have had all of it."""
    return rows.Inert(entry.hlc, entry.visibility, entry.header_sha256, None, WITHHELD)


@pytest.mark.parametrize(
    ("make", "module", "name", "broken"),
    [
        (another_time, plan, "prove_range", without_root),
        (stubs_in_place_of_spans, rows, "_inert", any_stub),
        (a_body_left_out, rows, "_inert", any_stub),
    ],
)
async def test_without_its_check_a_lie_gets_in(
    make: Callable[[Mallory, LinkedNode], Range],
    module: ModuleType,
    name: str,
    broken: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(tmp_path, is_checked=False) as (alice, _bob, mallory):
        monkeypatch.setattr(module, name, broken)
        with pytest.raises(AssertionError):
            await check_refused(make, alice, mallory)


async def test_spans_ten_years_ahead_are_kept_and_move_no_clock(tmp_path: Path) -> None:
    async with stage(tmp_path) as (alice, bob, mallory):
        now_ms = alice.outside.world.now_ms()
        ahead = hlc_from_ms(now_ms + YEARS_MS)
        mallory.pen.write("from.the.future", hlc=ahead)
        assert await mallory.push(mallory.pen.range()) == [2]
        await wait_equal(alice, bob)
        await alice.append("now")
        newest = await alice.store.read(
            lambda conn: conn.execute("SELECT max(hlc) FROM spans WHERE hlc < ?", (ahead,)).fetchone()[0]
        )
        assert abs(hlc_ms(newest) - now_ms) < 60_000
        assert (await bob.kinds())["from.the.future"] == 1
        await mallory.say_equal()
        assert mallory.code == "clock.ahead"
        mallory.pen.write()
        assert await mallory.push(one_changed_byte(mallory, alice)) == ["range.unproven"]
        assert mallory.code == "range.unproven"
        for node in (alice, bob):  # whatever else goes wrong, and whoever passed it on
            assert await node.store.read(read_ahead, node.tenant, hlc_from_ms(now_ms + YEARS_MS) - 1) == [
                (mallory.key, 1, ahead)
            ]


async def test_void_entries_in_mid_feed_stop_nothing_behind_them(tmp_path: Path) -> None:
    async with stage(tmp_path) as (alice, bob, mallory):
        pen = mallory.pen
        pen.write("before")
        unknown = encode([2, "note", None, 0, None, sha256(b"new").digest(), 3])
        pen.add(Entry(pen.next_hlc, ORGANIZATION, unknown, b"new"))
        pen.write("late", hlc=pen.next_hlc - 2)
        pen.add(Entry(pen.next_hlc, 9, *pen.entries[1][2:]))
        pen.write("member.admit", b"\xff", visibility=2)
        pen.write("behind")
        stop = len(pen.entries)
        assert await mallory.push(pen.range()) == [stop]
        await wait_equal(alice, bob)
        for node in (alice, bob):
            stats = await node.store.read(statistics, node.tenant, node.store.feeds)
            (feed,) = [feed for feed in stats["feeds"] if feed["size"] == stop and not feed["own"]]
            assert (feed["void"], feed["withheld"]) == (4, 0)
            assert (stats["kinds"]["before"], stats["kinds"]["behind"]) == (1, 1)
            voided = await node.store.read(read_voided, node.tenant)
            assert {(each.author, each.reason, each.entries) for each in voided} == {
                (mallory.key, reason, 1)
                for reason in ("header.malformed", "hlc.not_rising", "visibility.unknown", "body.malformed")
            }
            assert "late" not in stats["kinds"]
