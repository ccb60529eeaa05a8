"""What is void is counted by author and reason, and what is ahead of time by author."""

from hypothesis import given
from hypothesis import strategies as st

from lognode.core.clock import hlc_from_ms
from lognode.timeline.store.read.statistics import statistics
from lognode.timeline.store.read.voids import Ahead, Voided, read_ahead, read_voided
from tests.timeline.rows import BOB, KEYS
from tests.timeline.test_statistics import Timeline

DEPTHS = ["span", "withheld", "hlc.not_rising", "header.malformed"]


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(DEPTHS)), max_size=20), st.data())
def test_every_void_entry_is_counted_under_one_reason(entries: list[tuple[int, str]], data: st.DataObject) -> None:
    timeline = Timeline()
    feeds = (timeline.feed, timeline.second)
    spans = []
    for hlc, (feed, depth) in enumerate(entries):
        if depth == "span":
            spans.append(timeline.add(feeds[feed], hlc))
        else:
            timeline.add_inert(feeds[feed], hlc, bytes(32), depth)
    for span in data.draw(st.sets(st.sampled_from(spans))) if spans else ():
        timeline.void(timeline.tenant, span)
    if data.draw(st.booleans()):
        timeline.cut(timeline.second, data.draw(st.integers(0, 5)))
    timeline.sign(timeline.tenant)
    voided = read_voided(timeline.conn, timeline.tenant)
    stats = statistics(timeline.conn, timeline.tenant, timeline.feeds)

    assert sum(each.entries for each in voided) == stats["void"]
    assert {(each.author, each.reason) for each in voided} >= {
        ((KEYS, BOB)[feed].public, depth) for feed, depth in entries if depth in DEPTHS[2:]
    }
    assert len({(each.author, each.reason) for each in voided}) == len(voided)
    assert read_voided(timeline.conn, timeline.other) == []


def test_each_reason_names_the_first_place() -> None:
    timeline = Timeline()
    timeline.add(timeline.second, 1)
    for hlc in (2, 3):
        timeline.add_inert(timeline.second, hlc, b"\xff", "header.malformed", visibility=1)
    timeline.add(timeline.second, 4)
    timeline.cut(timeline.second, 1)
    timeline.sign(timeline.tenant)
    (cut,) = timeline.conn.execute("SELECT reason FROM cuts").fetchone()
    place = timeline.second.feed_id

    assert read_voided(timeline.conn, timeline.tenant) == sorted(
        [Voided(BOB.public, "header.malformed", 2, place, 1), Voided(BOB.public, cut, 1, place, 3)]
    )


def test_what_is_ahead_of_a_time_is_counted_by_author() -> None:
    timeline = Timeline()
    for ms in (5, 10, 20, 30):
        timeline.add(timeline.second, hlc_from_ms(ms))
    timeline.add(timeline.feed, hlc_from_ms(9))
    timeline.sign(timeline.tenant)

    assert read_ahead(timeline.conn, timeline.tenant, hlc_from_ms(10)) == [Ahead(BOB.public, 2, hlc_from_ms(30))]
    assert read_ahead(timeline.conn, timeline.tenant, hlc_from_ms(30)) == []
