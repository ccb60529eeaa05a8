"""Bundles of what other nodes wrote: ranges without gaps, whatever their entries are, sealed by who holds them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import pytest

from lognode.core.errors import CallerError
from lognode.core.ids import TenantId
from lognode.core.span import PRIVATE
from lognode.identity.keys import NodeKeys
from lognode.timeline.proof.bundle.items import SpanItem, StubItem, VoidItem
from lognode.timeline.proof.bundle.reader import verify_bundle
from lognode.timeline.query import Query
from lognode.timeline.store.read import bundles
from lognode.timeline.store.read.bundles import FeedRange
from tests.independent.bundle_checker import check
from tests.timeline.bundles import KEYS, Place, items_of, joined, with_whole_paths
from tests.timeline.histories import write_history
from tests.timeline.pens import Pen, write_all_sorts

BOB: Final = NodeKeys.from_seed(bytes(31) + b"\x02")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A tenant with feeds of two nodes; Bob's holds entries of every sort, and its last hundred are cut."""
    path = write_history(tmp_path_factory.mktemp("history"), spans=30)
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        (raw,) = conn.execute("SELECT tenant_id FROM tenants WHERE tenant = 0").fetchone()
        bob = Pen(BOB, TenantId(raw), [])
        write_all_sorts(bob, 500)
        feed = bob.store(conn, 0, milestones=(256,))
        conn.execute("INSERT INTO cuts VALUES (?, ?, 'member.removed')", (feed.number, len(bob.entries) - 100))
        yield Place(conn)


@pytest.mark.parametrize(("start", "stop"), [(0, None), (3, 4), (5, 300), (9, 10), (17, 18), (400, 550)])
def test_a_range_of_another_nodes_feed_leaves_none_out(place: Place, start: int, stop: int | None) -> None:
    raw = place.bundle(FeedRange(place.feeds[4], start, stop))
    found = next(feed for feed in verify_bundle([raw]).feeds if feed.node_key == BOB.public)
    assert found.is_whole
    assert (found.start, found.stop) == (start, found.size if stop is None else stop)
    accepted = check(raw, [KEYS.public, BOB.public])
    assert accepted.complete_runs()[-1] == (found.start, found.stop)
    assert place.bundle(FeedRange(place.feeds[4], start, stop)) == raw


def test_small_steps_give_the_same_bundle(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    what = FeedRange(place.feeds[4])
    whole = place.bundle(what)
    for spans, size in ((1, 1 << 20), (7, 1 << 20), (256, 300)):
        monkeypatch.setattr(bundles, "BUNDLE_STEP_SPANS", spans)
        monkeypatch.setattr(bundles, "PAGE_BYTES_MAX", size)
        assert place.bundle(what) == whole


def test_what_is_withheld_shows_its_stub_and_what_is_void_its_header(place: Place) -> None:
    raw = place.bundle(FeedRange(place.feeds[4]))
    items = [item for item in items_of(raw) if isinstance(item, SpanItem | StubItem | VoidItem) and item.feed == 2]
    stubs = [item for item in items if isinstance(item, StubItem)]
    voids = [item for item in items if isinstance(item, VoidItem)]
    verdict = verify_bundle([raw])
    assert (len(stubs), len(voids)) == (verdict.stubs, verdict.voids) == (166, 60)
    assert {item.visibility for item in voids} == {1, 7}
    assert verdict.spans == len(items) - 226


def test_a_bundle_of_a_query_leaves_out_what_is_void(place: Place) -> None:
    verdict = verify_bundle([place.bundle(Query(kinds=("note",)))])
    found = next(feed for feed in verdict.feeds if feed.node_key == BOB.public)
    (size,) = place.conn.execute("SELECT size FROM cuts").fetchone()
    assert found.stop <= size
    assert (verdict.stubs, verdict.voids) == (0, 0)


def test_a_header_that_is_not_private_cannot_be_left_out(place: Place) -> None:
    items = with_whole_paths(items_of(place.bundle(FeedRange(place.feeds[4], 0, 20))))
    (at,) = [at for at, item in enumerate(items) if isinstance(item, SpanItem) and item.seq == 1]
    span = items[at]
    assert isinstance(span, SpanItem)
    assert span.visibility != PRIVATE
    hidden = VoidItem(span.feed, 1, span.hlc, span.visibility, bytes(32), 0, span.hashes)
    with pytest.raises(CallerError, match="left out"):
        verify_bundle([joined([*items[:at], hidden, *items[at + 1 :]], KEYS.log_key(place.feeds[3].feed_id))])


def test_a_tenant_create_that_proves_nothing_founds_no_bundle(place: Place) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        place.conn.backup(conn)
        forger = Pen(NodeKeys.from_seed(bytes(31) + b"\x05"), place.tenant.tenant_id, [], number=1)
        forger.write("tenant.create", b"\x80", visibility=2, hlc=forger.next_hlc)
        forger.entries = [entry._replace(hlc=at + 1) for at, entry in enumerate(forger.entries)]
        forger.store(conn, 0)
        verdict = verify_bundle([Place(conn).bundle(Query(kinds=("order.paid",)))])
        assert verdict.founder == KEYS.public
        conn.executescript("DROP TRIGGER spans_are_never_deleted; DELETE FROM spans WHERE feed = 1 AND seq = 1")
        with pytest.raises(CallerError) as caught:
            Place(conn).bundle()
        assert caught.value.code == "feed.unknown"
