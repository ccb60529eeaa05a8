"""Merges: one form, the same rows wherever they arrive, and cosignatures that any C2SP verifier reads."""

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId
from lognode.core.span import ORGANIZATION, PUBLIC
from lognode.timeline.agreement.merges import MERGE, Merged, merge_data, parse_merge
from lognode.timeline.store.agreement.merges import rebuild_merges
from tests.engine.receivers import Receiver
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen

MERGED = Merged(FeedId(bytes(16)), 1, bytes(32), 0, bytes(64))

merges = st.lists(
    st.builds(
        Merged,
        st.binary(min_size=16, max_size=16).map(FeedId),
        st.integers(1, 2**63 - 1),
        st.binary(min_size=32, max_size=32),
        st.integers(0, 2**63 - 1),
        st.binary(min_size=64, max_size=64),
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda item: item.feed,
)


@given(merges)
def test_what_a_merge_names_is_read_as_it_was_written(merged: list[Merged]) -> None:
    assert parse_merge(merge_data(merged)) == sorted(merged)


@pytest.mark.parametrize(
    "items",
    [
        [],
        [list(MERGED), list(MERGED)],
        [list(MERGED._replace(feed=FeedId(bytes(15) + b"\x01"))), list(MERGED)],
        [list(MERGED)[:4]],
        [list(MERGED._replace(size=0))],
        [list(MERGED._replace(size=2**63))],
        [list(MERGED._replace(root=bytes(31)))],
        [list(MERGED._replace(time_s=-1))],
        [list(MERGED._replace(time_s=True))],
        [list(MERGED._replace(signature=b""))],
        [list(MERGED._replace(feed=FeedId(n.to_bytes(16, "big")))) for n in range(1025)],
        "text",
    ],
)
def test_other_data_is_malformed(items: object) -> None:
    with pytest.raises(CallerError) as failure:
        parse_merge(encode(items))
    assert failure.value.code == "body.malformed"


def rows(conn: sqlite3.Connection) -> list[list[tuple[object, ...]]]:
    tables = ("merged", "cosignatures")
    return [conn.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall() for table in tables]


@pytest.fixture
def tenant() -> Iterator[tuple[Receiver, Founder, Pen]]:
    founder = Founder()
    member = founder.member(2)
    founder.merge(member.head)
    member.merge(founder.head)
    member.write()
    member.merge(founder.head, time_s=1_760_000_009)
    node = Receiver(founder.tenant)
    node.take(founder.range(), member.range(0, 2), member.range(2))
    yield node, founder, member
    node.conn.close()


def test_a_merge_becomes_a_row_for_each_feed_and_the_newest_cosignature_of_its_witness(
    tenant: tuple[Receiver, Founder, Pen],
) -> None:
    node, founder, member = tenant
    found = node.dump()
    feed, size, root = founder.head
    assert [row[:4] for row in found["merged"] if row[0] == member.feed_id] == [
        (member.feed_id, feed, 1, size),
        (member.feed_id, feed, 3, size),
    ]
    (row,) = [row for row in found["cosignatures"] if row[0] == feed]
    assert row[:5] == (feed, member.keys.public, size, root, 1_760_000_009)


def test_the_checkpoint_of_a_cosignature_is_kept_where_it_is_at_hand(tenant: tuple[Receiver, Founder, Pen]) -> None:
    node, founder, member = tenant
    sql = "SELECT note FROM cosignatures WHERE feed_id = ?"
    assert node.conn.execute(sql, (founder.feed_id,)).fetchone() == (founder.note(),)
    # Of a tree that its author never signed there is none.
    member.merge((founder.feed_id, len(founder.leaves), bytes(32)), time_s=1_760_000_010)
    node.take(member.range())
    assert node.conn.execute(sql, (founder.feed_id,)).fetchone() == (None,)


def test_what_is_no_merge_of_a_node_says_nothing(tenant: tuple[Receiver, Founder, Pen]) -> None:
    node, _, member = tenant
    before = rows(node.conn)
    member.write(MERGE, b"\x80", visibility=PUBLIC)
    member.write(MERGE, merge_data([MERGED]), visibility=ORGANIZATION)
    assert node.codes(member.range()) == [len(member.leaves)]
    assert rows(node.conn) == before


def test_the_tables_are_made_again_as_they_were(tenant: tuple[Receiver, Founder, Pen]) -> None:
    node, _, _ = tenant
    before = rows(node.conn)
    rebuild_merges(node.conn)
    assert rows(node.conn) == before
    assert all(before)
