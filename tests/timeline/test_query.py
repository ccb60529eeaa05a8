"""URL parameters become queries, cursors become text and come back, and both are refused with a way out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.clock import HLC_MAX
from lognode.core.errors import CallerError
from lognode.core.ids import ALPHABET, FeedId, LogLineKind, SpanId, TenantId, b32encode, format_logline, logline
from lognode.core.limits import FILTER_KINDS_MAX, PAGE_SPANS_DEFAULT, PAGE_SPANS_MAX
from lognode.timeline.query import (
    Cursor,
    Lineage,
    Place,
    Query,
    arrival_cursor,
    decode_cursor,
    encode_cursor,
    parse_query,
    start_cursor,
    timeline_cursor,
)
from lognode.timeline.record import FeedRef

LIVES = tuple(FeedRef(number, 0, FeedId(bytes([number]) * 16), b"n" * 32, bytes(32), own=True) for number in (1, 2, 3))
LINEAGE = Lineage(b"n" * 32, TenantId(b"t" * 20), LIVES)
ACTOR = logline(LogLineKind.AGENT, b"a" * 32)
SPAN = SpanId(b"s" * 24)

cursors = st.one_of(
    st.builds(timeline_cursor, st.integers(0, HLC_MAX), st.binary(min_size=32, max_size=32)),
    st.builds(arrival_cursor, st.integers(0, 2**40 - 1)),
)


def one(**params: str) -> Query:
    return parse_query({name: [value] for name, value in params.items()}).query


def test_no_parameters_ask_for_the_newest_spans_of_the_timeline() -> None:
    request = parse_query({})
    assert (request.before, request.after) == (None, None)
    assert request.query == Query()
    assert request.query.order == "timeline"
    assert request.query.descending
    assert request.query.limit == PAGE_SPANS_DEFAULT


def test_every_parameter_reaches_its_field() -> None:
    request = parse_query(
        {
            "kind": ["order.paid", "order.*", "order.paid"],
            "tag": ["b", "a"],
            "actor": [format_logline(ACTOR)],
            "subject": ["order 7"],
            "status": ["simulated"],
            "visibility": ["public"],
            "since": ["1000"],
            "until": ["1970-01-01T00:00:02Z"],
            "caused_by": [b32encode(SPAN)],
            "contract": ["c"],
            "workflow": ["w"],
            "flow": ["f"],
            "origin": [b32encode(bytes(24))],
            "text": ["hello"],
            "order": ["arrival"],
            "sort": ["asc"],
            "limit": ["7"],
            "after": ["xyz"],
        }
    )
    assert request.query == Query(
        kinds=("order.paid", "order.*"),
        tags=("b", "a"),
        actor=ACTOR,
        subject="order 7",
        status=1,
        visibility=2,
        since_ms=1000,
        until_ms=2000,
        caused_by=SPAN,
        contract_id="c",
        workflow_id="w",
        flow_id="f",
        origin=b32encode(bytes(24)),
        text="hello",
        order="arrival",
        descending=False,
        limit=7,
    )
    assert (request.before, request.after) == (None, "xyz")


@pytest.mark.parametrize(
    ("text", "unix_ms"),
    [
        ("0", 0),
        ("1760000000123", 1760000000123),
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01t00:00:01z", 1000),
        ("1970-01-01 00:00:01.5Z", 1500),
        ("1970-01-01T01:00:00.001+01:00", 1),
        ("1970-01-01T00:00:00.0001Z", 1),  # a span of millisecond 0 came before it
        ("1970-01-01T00:00:00.000000Z", 0),
        ("1960-01-01T00:00:00Z", 0),
        ("2026-02-28T23:59:59.999Z", 1772323199999),
    ],
)
def test_a_time_is_read_as_milliseconds_rounded_up(text: str, unix_ms: int) -> None:
    assert one(since=text).since_ms == unix_ms


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("kind", "Order", "filter.invalid"),
        ("kind", "*", "filter.invalid"),
        ("kind", "order*", "filter.invalid"),
        ("kind", "", "filter.invalid"),
        ("tag", "", "filter.invalid"),
        ("subject", "", "filter.invalid"),
        ("subject", "x" * 5000, "filter.invalid"),
        ("subject", "\udc80", "filter.invalid"),
        ("actor", "alice", "id.malformed"),
        ("caused_by", "abc", "id.malformed"),
        ("status", "reverted", "filter.invalid"),
        ("visibility", "2", "filter.invalid"),
        ("since", "yesterday", "filter.invalid"),
        ("since", "-1", "filter.invalid"),
        ("since", "٣", "filter.invalid"),
        ("since", "2026-01-01", "filter.invalid"),
        ("since", "2026-01-01T00:00:00", "filter.invalid"),
        ("since", "2026-13-01T00:00:00Z", "filter.invalid"),
        ("since", "2026-01-01T24:00:01Z", "filter.invalid"),
        ("since", "9" * 30, "filter.invalid"),
        ("until", str(2**47), "filter.invalid"),
        ("text", "--- !", "filter.invalid"),
        ("order", "random", "filter.invalid"),
        ("sort", "up", "filter.invalid"),
        ("limit", "0", "filter.invalid"),
        ("limit", str(PAGE_SPANS_MAX + 1), "filter.invalid"),
        ("limit", "ten", "filter.invalid"),
        ("limit", "9" * 5000, "filter.invalid"),
    ],
)
def test_a_wrong_value_is_refused_and_its_parameter_named(name: str, value: str, code: str) -> None:
    with pytest.raises(CallerError) as caught:
        one(**{name: value})
    assert (caught.value.code, caught.value.place) == (code, name)
    assert len(caught.value.detail) < 400


def test_an_unknown_parameter_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(CallerError, match=r"no parameter 'kinds': did you mean 'kind'\?"):
        one(kinds="note")
    with pytest.raises(CallerError, match="there are kind, tag, actor"):
        one(zzz="note")


def test_parameters_with_one_value_are_refused_twice() -> None:
    with pytest.raises(CallerError, match="given 2 times") as caught:
        parse_query({"subject": ["a", "b"]})
    assert caught.value.place == "subject"


def test_too_many_kinds_are_refused() -> None:
    kinds = [f"kind{number}" for number in range(FILTER_KINDS_MAX + 1)]
    assert len(parse_query({"kind": kinds[1:]}).query.kinds) == FILTER_KINDS_MAX
    with pytest.raises(CallerError, match="at most 64"):
        parse_query({"kind": kinds})


def test_a_time_range_that_ends_before_it_begins_is_refused() -> None:
    assert one(since="5", until="5").until_ms == 5
    with pytest.raises(CallerError, match="later than 'until'"):
        one(since="6", until="5")


def test_one_cursor_is_enough() -> None:
    with pytest.raises(CallerError, match="not both"):
        one(before="a", after="b")


@given(cursors)
def test_a_cursor_comes_back_from_its_text(cursor: Cursor) -> None:
    assert decode_cursor(encode_cursor(cursor, LINEAGE), LINEAGE) == Place(cursor, None)


@given(cursors, st.integers(0, 2))
def test_a_cursor_of_an_earlier_life_comes_back_with_the_feed_that_followed(cursor: Cursor, lives: int) -> None:
    text = encode_cursor(cursor, LINEAGE._replace(feeds=LIVES[:lives]))
    assert decode_cursor(text, LINEAGE) == Place(cursor, LIVES[lives])


@pytest.mark.parametrize(
    "other",
    [
        LINEAGE._replace(node_public=b"m" * 32),
        LINEAGE._replace(tenant_id=TenantId(b"u" * 20)),
        LINEAGE._replace(feeds=LIVES[:2]),
        LINEAGE._replace(feeds=(*LIVES[:2], LIVES[2]._replace(feed_id=FeedId(bytes(16))))),
    ],
    ids=["another node", "another tenant", "an older copy", "a copy that went its own way"],
)
@given(cursor=cursors)
def test_a_cursor_is_foreign_on(cursor: Cursor, other: Lineage) -> None:
    with pytest.raises(CallerError) as caught:
        decode_cursor(encode_cursor(cursor, LINEAGE), other)
    assert caught.value.code == "cursor.foreign"


@given(cursors, st.data())
def test_a_cursor_with_one_character_changed_is_invalid(cursor: Cursor, data: st.DataObject) -> None:
    text = encode_cursor(cursor, LINEAGE)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from([char for char in ALPHABET + "lU-é" if char != text[place]]))
    with pytest.raises(CallerError) as caught:
        decode_cursor(text[:place] + other + text[place + 1 :], LINEAGE)
    assert caught.value.code == "cursor.invalid"


@given(st.text(max_size=100))
def test_other_text_is_no_cursor(text: str) -> None:
    with pytest.raises(CallerError) as caught:
        decode_cursor(text, LINEAGE)
    assert caught.value.code == "cursor.invalid"


def test_a_cursor_beyond_every_place_is_invalid() -> None:
    for cursor in (arrival_cursor(2**40), Cursor("timeline", b"\x80" + bytes(39))):
        with pytest.raises(CallerError) as caught:
            decode_cursor(encode_cursor(cursor, LINEAGE), LINEAGE)
        assert caught.value.code == "cursor.invalid"


@given(cursors)
def test_cursors_move_by_one_place_and_never_below_the_start(cursor: Cursor) -> None:
    assert cursor.key < cursor.moved(1).key
    assert cursor.moved(1).moved(-1) == cursor
    assert start_cursor(cursor.order).moved(-1) == start_cursor(cursor.order)
