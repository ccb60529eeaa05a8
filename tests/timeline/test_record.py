"""A stored span as JSON, and damage to it, which is the node's fault and nobody else's."""

from collections.abc import Mapping
from hashlib import sha256

import pytest

from lognode.core.draft import Draft, signing_message
from lognode.core.errors import NodeFault
from lognode.core.ids import FeedId, LogLineKind, TenantId, logline
from lognode.core.span import Body, Header, encode_body, encode_header
from lognode.identity.keys import KeyPair
from lognode.timeline.query import Query
from lognode.timeline.record import FeedRef, Record, feed_of, span_json
from lognode.timeline.store.read.pages import select_page
from tests.timeline.rows import Rows

TENANT = TenantId(sha256(b"tenant 0").digest()[:20])


@pytest.fixture
def held() -> tuple[Record, Mapping[int, FeedRef]]:
    """The second of two spans, and the feeds."""
    rows = Rows()
    tenant = rows.add_tenant()
    feed = rows.add_feed(tenant)
    for hlc in (1, 2):
        rows.add(feed, hlc, title="a title")
    return select_page(rows.conn, tenant, rows.feeds, Query()).records[0], rows.feeds


def shown(record: Record, feeds: Mapping[int, FeedRef]) -> dict[str, object]:
    return span_json(record, feed_of(record, feeds), TENANT)


def fault_of(record: Record, feeds: Mapping[int, FeedRef]) -> NodeFault | None:
    try:
        shown(record, feeds)
    except NodeFault as fault:
        return fault
    return None


def test_any_flipped_bit_of_header_or_body_that_shows_is_damage_at_its_position(
    held: tuple[Record, Mapping[int, FeedRef]],
) -> None:
    record, feeds = held
    assert shown(record, feeds)["title"] == "a title"
    assert record.body is not None
    for field in ("header", "body"):
        whole: bytes = getattr(record, field)
        for bit in range(8 * len(whole)):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            damaged = record._replace(**{field: bytes(flipped)})  # type: ignore[arg-type]
            found = fault_of(damaged, feeds)
            if found:
                assert (found.code, found.place) == ("database.damaged", "position 2")
            else:
                # A header that can be read all the same is another span's: no id leads to it.
                assert field == "header"
                assert shown(damaged, feeds)["id"] != shown(record, feeds)["id"]


@pytest.mark.parametrize(
    "change",
    [
        {"feed": 7}, {"seq": -1}, {"hlc": -1}, {"hlc": "1"}, {"visibility": 3}, {"visibility": 300}, {"header": None},
        {"header": "text"}, {"body": "text"}, {"body": 1},
    ],
)  # fmt: skip
def test_what_no_node_writes_is_damage(held: tuple[Record, Mapping[int, FeedRef]], change: dict[str, object]) -> None:
    record, feeds = held
    with pytest.raises(NodeFault) as caught:
        shown(record._replace(**change), feeds)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.place) == ("database.damaged", "position 2")


def test_a_body_that_is_not_held_is_missing_and_no_damage(held: tuple[Record, Mapping[int, FeedRef]]) -> None:
    record, feeds = held
    assert shown(record._replace(body=None), feeds)["body"] == "missing"


@pytest.mark.parametrize("is_right", [True, False])
def test_an_actors_signature_in_a_feed_of_another_node_counts_when_it_holds(is_right: bool) -> None:  # noqa: FBT001
    alice = KeyPair(bytes(31) + b"\x07")
    actor = logline(LogLineKind.PERSON, alice.public)
    draft = Draft(kind="note", title="mine", actor=actor)
    signature = alice.sign(signing_message(TENANT, draft)) if is_right else bytes(64)
    body = encode_body(Body(bytes(16), "mine", b"", [], None, None, None, None, [], b"", b"", signature, None))
    header = encode_header(Header(1, "note", actor, 0, None, sha256(body).digest(), len(body)))
    record = Record(1, 1, 0, 5, draft.visibility, header, body)
    for own in (True, False):
        feed = FeedRef(1, 0, FeedId(bytes(16)), bytes(32), bytes(32), own=own)
        assert span_json(record, feed, TENANT)["actor_signed"] == (own or is_right)
