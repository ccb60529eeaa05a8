"""What is taken of others: whose feeds, at which depth, and what control spans change in the same commit."""

import sqlite3
from dataclasses import replace

import pytest

from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.errors import PeerError
from lognode.core.ids import IDEM_BYTES
from lognode.core.limits import TAGS_MAX
from lognode.core.span import ORGANIZATION, PRIVATE, PUBLIC, Entry
from lognode.engine.ingest.plan import plan_ingest
from lognode.timeline.control.members import (
    join_statement,
    member_admit_data,
    member_level_data,
    member_remove_data,
    sign_join,
)
from lognode.timeline.store.audit import audit
from lognode.timeline.store.read.ranges import read_foretold
from lognode.timeline.store.write import find_idems, load_tenant
from tests.engine.receivers import Receiver, keys_of
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen


def test_a_feed_waits_until_the_span_that_admits_its_author_is_known() -> None:
    founder = Founder()
    stranger = Pen(keys_of(7), founder.tenant, [])
    member = founder.member(2)
    node = Receiver(founder.tenant)
    assert node.codes(member.range()) == ["feed.unadmitted"]
    assert node.codes(member.range(), founder.range()) == [1, 3]  # they may come in any order in one message
    assert node.codes(stranger.range()) == ["feed.unadmitted"]
    assert node.conn.execute("SELECT count(*) FROM feeds").fetchone() == (2,)


def test_control_spans_ahead_of_their_ranges_admit_and_go_when_these_arrive() -> None:
    founder = Founder()
    for _ in range(300):
        founder.write()
    member = founder.member(2)
    node = Receiver(founder.tenant)
    ahead = [founder.foretold(seq) for seq in (0, 1, 302)]
    assert node.codes(foretold=ahead) == []
    assert node.book.members.level(member.keys.public) is Level.TRUSTED
    assert node.codes(member.range()) == [1]
    assert len(node.dump()["foretold"]) == 3
    assert node.codes(founder.range(0, 300)) == [300]
    assert [row[1] for row in node.dump()["foretold"]] == [302]
    assert node.codes(founder.range(300)) == [303]
    assert not node.dump()["foretold"]
    fresh = Receiver(founder.tenant)
    fresh.take(founder.range(), member.range())
    assert fresh.dump() == node.dump()


def test_control_spans_that_are_not_proven_or_of_no_member_are_refused() -> None:
    founder = Founder()
    stranger = Pen(keys_of(7), founder.tenant, [])
    node = Receiver(founder.tenant)
    node.take(founder.range())
    founder.member(2)
    admission = founder.foretold(2)
    forged = [
        admission._replace(seq=1, path=admission.path),
        admission._replace(seq=2, entry=admission.entry._replace(hlc=admission.entry.hlc + 1)),
        admission._replace(entry=admission.entry._replace(body=b"\x80")),
        admission._replace(path=admission.path[:-1]),
        admission._replace(note=founder.note(2)),
        admission._replace(note=stranger.note()),
        admission._replace(feed=stranger.feed_id),
        admission._replace(entry=admission.entry._replace(body=None)),
    ]
    for span in forged[1:]:
        assert node.codes(foretold=[span]) == ["control.unproven"]
    assert node.codes(foretold=[stranger.foretold(0)]) == ["feed.unadmitted"]
    founder.write()
    assert node.codes(foretold=[founder.foretold(3)]) == ["control.unproven"]  # it is none
    assert not node.dump()["foretold"]
    assert node.codes(foretold=[admission, admission]) == []
    assert len(node.dump()["foretold"]) == 1


def test_control_spans_whose_feed_open_came_with_a_refused_range_are_not_kept() -> None:
    """Kept without it, they would belong to nobody once they are read again."""
    founder = Founder()
    member = founder.member(2)
    member.write()
    member.write("member.unheard_of", visibility=PUBLIC)
    entry = member.entries[1]
    stub = Entry(entry.hlc, entry.visibility, entry.header_sha256, None)
    stubbed = member.range()._replace(entries=[member.entries[0], stub, member.entries[2]])
    node = Receiver(founder.tenant)
    node.take(founder.range())
    assert node.codes(stubbed, foretold=[member.foretold(2)]) == ["range.stubbed", "control.unproven"]
    assert not node.dump()["foretold"]
    assert node.codes(member.range(0, 2), foretold=[member.foretold(2)]) == [2]
    assert len(node.dump()["foretold"]) == 1
    assert not [finding for finding in audit(node.conn) if finding.severity == "damage"]


def test_of_two_feed_opens_of_one_feed_the_one_that_is_kept_says_who_signs() -> None:
    founder = Founder()
    member = founder.member(2)
    member.write("member.unheard_of", visibility=PUBLIC)
    double = Pen(replace(member.keys, _seed=bytes(32)), founder.tenant, [founder.newest])  # with another log key
    double.write("member.unheard_of", visibility=PUBLIC)
    node = Receiver(founder.tenant)
    node.take(founder.range())
    told = [member.foretold(0), double.foretold(0), double.foretold(1)]
    assert node.codes(foretold=told) == ["control.unproven"]
    assert not [finding for finding in audit(node.conn) if finding.severity == "damage"]
    assert node.codes(foretold=[double.foretold(0), double.foretold(1)]) == []
    assert not [finding for finding in audit(node.conn) if finding.severity == "damage"]


def test_control_spans_are_those_whose_kind_begins_so_also_when_they_are_read_again() -> None:
    founder = Founder()
    for word in ("feed", "tenant", "member", "invite", "identity", "quorum"):
        founder.write(word, encode([[founder.newest]]), visibility=PUBLIC)
        founder.write(f"{word}.unheard_of", encode([[founder.newest]]), visibility=PUBLIC)
        founder.write(f"{word}s.mine")
    node = Receiver(founder.tenant)
    assert node.codes(founder.range()) == [20]
    assert len(node.dump()["voids"]) == 12
    node.conn.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 8)  # so anybody may make up kinds without end
    assert len(node.book.controls) == 14
    assert len(read_foretold(node.conn, node.tenant, founder.feed_id, 0)) == 14


def test_a_range_takes_the_place_of_a_foretold_span_of_another_history() -> None:
    founder, other = Founder(), Founder()
    founder.member(2)
    other.member(3)
    node = Receiver(founder.tenant)
    node.take(founder.range(0, 2), foretold=[founder.foretold(2)])
    assert node.codes(foretold=[other.foretold(2)]) == []  # what is known stays
    assert node.codes(other.range()) == [3]
    assert not node.dump()["foretold"]
    assert node.codes(foretold=[founder.foretold(2)]) == []
    assert not node.dump()["foretold"]
    assert node.codes(founder.range()) == ["feed.forked"]
    assert node.codes(other.range(), founder.range(0, 2)) == [3, 3]


def test_what_a_removal_cuts_is_void_in_its_commit_and_for_what_comes_later() -> None:
    founder = Founder()
    member = founder.member(2)
    for _ in range(10):
        member.write()
    node = Receiver(founder.tenant)
    node.take(founder.range(), member.range())
    founder.remove(member.keys, (member, 4))
    plan = node.plan([founder.range()])
    assert [(size, reason) for _, size, reason in plan.write.verdicts[0].cuts] == [(4, "member.removed")]
    node.take(founder.range())
    assert [size for _, size, _ in node.dump()["cuts"]] == [4]
    member.write()
    assert node.codes(member.range()) == [12]  # they are held and shown, without effect
    late = Receiver(founder.tenant)
    late.take(founder.range())
    assert not late.dump()["cuts"]  # nothing is held that it cuts
    late.take(member.range())
    assert late.dump() == node.dump()


def test_control_spans_without_effect_are_spans_and_void() -> None:
    founder = Founder()
    member = founder.member(2)
    usurper = Founder()
    usurper.keys = member.keys
    data = usurper.admit(keys_of(9))
    entry = usurper.entries[-1]
    member.add(entry._replace(hlc=member.next_hlc))
    member.write("member.admit", b"\x80", visibility=PUBLIC)
    member.write("member.unheard_of", b"\x80", visibility=PUBLIC)
    node = Receiver(founder.tenant)
    assert data
    assert node.codes(founder.range(), member.range()) == [3, 4]
    assert [seq for _, seq, _ in node.dump()["voids"]] == [1, 2, 3]
    assert node.book.members.level(keys_of(9).public) is Level.BLOCKED


def test_only_private_spans_may_be_withheld_and_they_are_whatever_a_peer_gives_away() -> None:
    founder = Founder()
    founder.write(visibility=PRIVATE, title="mine")
    founder.write(visibility=ORGANIZATION)
    whole = founder.range()._replace(entries=founder.entries)
    node = Receiver(founder.tenant)
    assert node.codes(whole) == [4]
    assert b"mine" not in node.bytes()
    assert node.dump()["inert"][0][-1] == "withheld"
    for seq in range(4):
        if seq == 2:
            continue
        entry = founder.entries[seq]
        for stub in (entry._replace(body=None), Entry(entry.hlc, entry.visibility, entry.header_sha256, None)):
            entries = [*founder.entries[:seq], stub, *founder.entries[seq + 1 :]]
            fresh = Receiver(founder.tenant)
            (code,) = fresh.codes(whole._replace(entries=entries))
            assert code == "range.stubbed" or (seq == 0 and code == "range.unproven")
            assert not fresh.dump()["spans"]


def test_what_another_copy_wrote_is_taken_in_and_ends_the_feed() -> None:
    founder = Founder()
    node = Receiver(founder.tenant, founder.keys.public)
    assert node.codes(founder.range()) == [2]
    # Restored from a backup without it, it has the feed back, and goes on in none of its copies.
    assert node.conn.execute("SELECT reason FROM endings").fetchall() == [("fetched",)]
    founder.write()
    assert node.codes(founder.range()) == [3]
    node.conn.execute("DELETE FROM endings")
    founder.write()
    assert node.codes(founder.range()) == [4, "identity.cloned"]  # told besides
    founder.write()
    assert node.codes(founder.range()) == [5]
    assert node.conn.execute("SELECT reason FROM endings").fetchall() == [("cloned",)]
    node.conn.execute("UPDATE endings SET reason = 'doubt'")
    founder.write()
    assert node.codes(founder.range()) == [6]
    assert node.conn.execute("SELECT reason FROM endings").fetchall() == [("continuity",)]


def test_own_spans_fetched_back_keep_their_keys_though_these_were_used_again() -> None:
    founder = Founder()
    key = bytes([7]) * IDEM_BYTES
    founder.write(idem=key, title="once")
    founder.write(idem=key, title="and again, in one feed")
    restored = Pen(founder.keys, founder.tenant, [founder.newest], number=1)
    restored.write(idem=key, title="sent again after the restore")
    for first, second in ((founder, restored), (restored, founder)):
        node = Receiver(founder.tenant, founder.keys.public)
        assert node.codes(first.range(), foretold=[founder.foretold(0), founder.foretold(1)]) == [len(first.entries)]
        assert node.codes(second.range()) == [len(second.entries)]
        held = find_idems(node.conn, 0, [key])[key].record
        at = 2 if first is founder else 1
        assert (held.seq, held.body) == (at, first.entries[at].body)  # the earlier span stands
        assert not [finding for finding in audit(node.conn) if finding.severity == "damage"]


@pytest.mark.parametrize("ahead_ms", [0, 60_000, 3_600_000])
def test_spans_ahead_of_now_are_taken_and_do_not_drive_this_nodes_time(ahead_ms: int) -> None:
    founder = Founder()
    hlc = (1_760_000_000_000 + ahead_ms << 16) + 99
    founder.write(hlc=hlc)
    plan = Receiver(founder.tenant).plan([founder.range()])
    size, *more = plan.outcomes
    assert size == 3
    assert (plan.state.hlc == hlc) == (ahead_ms < 600_000) == (not more)
    assert [told.code for told in more if isinstance(told, PeerError)] == ["clock.ahead"] * len(more)


def test_a_span_costs_no_more_rows_than_one_of_a_draft_whatever_its_author_put_into_it() -> None:
    founder = Founder()
    founder.write(tags=[f"tag-{number:06d}" for number in range(50_000)], subject="x" * 100_000)
    founder.write(annotations=b"\xff", metadata=b"\xff", data=b"\xff")
    node = Receiver(founder.tenant)
    assert node.codes(founder.range()) == [4]
    assert len(node.dump()["labels"]) == TAGS_MAX
    assert not [finding for finding in audit(node.conn) if finding.code.startswith("label")]


def test_a_range_for_another_tenant_or_feed_is_refused() -> None:
    founder = Founder()
    member = founder.member(2)
    node = Receiver(founder.tenant)
    node.take(founder.range())
    assert node.codes(founder.range()._replace(feed=member.feed_id)) == ["range.unproven"]
    assert node.codes(member.range()._replace(feed=founder.feed_id)) == [3]  # nothing new
    assert node.codes(member.range()._replace(start=1)) == ["range.gap"]
    assert node.codes(member.range()._replace(entries=[])) == ["range.gap"]
    elsewhere = Pen(member.keys, Receiver(founder.tenant).tenant.tenant_id[::-1], [])  # type: ignore[arg-type]
    assert node.codes(elsewhere.range()) == ["range.unproven"]


def test_what_a_refused_range_says_of_kinds_is_forgotten() -> None:
    founder = Founder()
    member, censored = founder.member(2), founder.member(3)
    censored.write("order.paid")
    censored.write()
    stub = censored.entries[-1]
    whole = censored.range()
    entries = [*whole.entries[:-1], Entry(stub.hlc, stub.visibility, stub.header_sha256, None)]
    member.write("sensor.read")
    member.write("order.paid")
    node = Receiver(founder.tenant)
    assert node.codes(whole._replace(entries=entries), founder.range(), member.range()) == ["range.stubbed", 4, 3]
    shown = {(feed, seq): kind for feed, seq, _, _, kind, *_ in node.dump()["spans"]}
    assert [shown[member.feed_id, seq] for seq in range(3)] == ["feed.open", "sensor.read", "order.paid"]


def test_planning_changes_nothing_that_it_was_given() -> None:
    founder = Founder()
    for number in range(5):
        founder.write(f"order.n{number}")
    node = Receiver(founder.tenant)
    node.take(founder.range(0, 4))
    for number in range(5):
        founder.write(f"sensor.n{number}")
    state = load_tenant(node.conn, node.tenant)
    first = plan_ingest(node.ground(state), [founder.range(), founder.range()], [])
    assert state == load_tenant(node.conn, node.tenant)
    assert plan_ingest(node.ground(state), [founder.range(), founder.range()], []) == first


def test_a_foretold_span_that_its_range_shows_to_be_void_never_was() -> None:
    founder = Founder()
    member = keys_of(2)
    founder.admit(member, Level.ROOT)
    victim = founder.member(3)
    liar = Pen(member, founder.tenant, [founder.newest])
    liar.write()
    data = member_remove_data([founder.newest], founder.keys.public, [], "lied")
    liar.write(
        "member.level", member_level_data([founder.newest], victim.keys.public, Level.OBSERVER), visibility=PUBLIC
    )
    liar.write("member.remove", data, visibility=PUBLIC, hlc=liar.entries[0].hlc)
    liar.write("member.admit", b"\x80", visibility=PRIVATE)
    node = Receiver(founder.tenant)
    node.take(founder.range())
    before = node.book.members
    assert node.codes(foretold=[liar.foretold(0), liar.foretold(3)]) == []
    assert len(node.book.controls) == len(founder.entries) + 2
    assert node.codes(foretold=[liar.foretold(4)]) == ["control.unproven"]
    assert node.codes(liar.range()) == [5]
    assert len(node.book.controls) == len(founder.entries) + 2  # the feed.open, and the one in order
    fresh = Receiver(founder.tenant)
    fresh.take(founder.range(), liar.range())
    assert fresh.book.members == node.book.members
    assert fresh.dump() == node.dump()
    assert before.level(founder.keys.public) == node.book.members.level(founder.keys.public)


def test_the_feed_of_whom_a_void_span_let_in_is_taken_so_that_all_orders_end_alike() -> None:
    founder = Founder()
    member = founder.member(2)
    keys = keys_of(3)
    statement = join_statement(keys, founder.tenant, None, member.keys.public, Level.TRUSTED, bytes(16))
    data = member_admit_data([founder.newest], statement, sign_join(keys, founder.tenant, statement, None))
    member.write("member.admit", data, visibility=PUBLIC)  # it is no root
    guest = Pen(keys, founder.tenant, [founder.newest])
    guest.write()
    node, other = Receiver(founder.tenant), Receiver(founder.tenant)
    assert node.codes(guest.range()) == ["feed.unadmitted"]
    assert node.codes(founder.range(), member.range(), guest.range()) == [3, 2, 2]
    assert other.codes(guest.range(), member.range(), founder.range()) == [2, 2, 3]
    assert node.dump() == other.dump()
    assert node.book.members.level(keys.public) is Level.BLOCKED
    assert node.dump()["cuts"] == [(guest.feed_id, 0, "member.unknown")]
