"""Full text: what is found, how the index fills in steps, and that it can be emptied and filled again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.span import Body, encode_body
from lognode.timeline.query import Query
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.read.pages import select_page
from lognode.timeline.store.read.search import (
    index_next,
    match_expression,
    matches,
    search_disable,
    search_enable,
    search_position,
    text_of,
)
from tests.timeline.rows import Rows


def body_of(*, title: str | None = None, data: bytes = b"", tags: list[str] | None = None) -> bytes:
    return encode_body(
        Body(bytes(16), title, data, tags or [], "a subject", None, None, None, [], b"", b"", None, None)
    )


def index(rows: Rows, tenant: TenantRef, steps: int = 1000) -> bool:
    rows.conn.execute("BEGIN")
    more = index_next(rows.conn, tenant.number, steps)
    rows.conn.execute("COMMIT")
    return more


def found(rows: Rows, tenant: TenantRef, text: str) -> list[int]:
    query = Query(text=text, order="arrival", descending=False)
    return [record.position for record in select_page(rows.conn, tenant, rows.feeds, query).records]


def written(rows: Rows, titles: list[str]) -> tuple[TenantRef, FeedRef]:
    tenant = rows.add_tenant()
    feed = rows.add_feed(tenant)
    for number, title in enumerate(titles):
        rows.add(feed, number, title=title)
    return tenant, feed


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ("sky", [1, 2]),
        ("SKY red", [1]),
        ('"red sky"', [1]),
        ('"sky red"', []),
        ("sk*", [1, 2]),
        ("sk", []),
        ("uber", [2]),
        ("über", [2]),
        ("kibana-search.png", [3]),
        ("search png", [3]),
        ('search "png', [3]),
        ("-- sky", [1, 2]),
        ("sky\0red", [1]),
        ("OR", []),
        ("sky AND red", []),
        ("text:sky", []),
        ("NEAR(red sky)", []),
        ("(sky", [1, 2]),
        ("sky^2", []),
    ],
)
def test_all_words_must_be_there_and_no_sign_has_a_meaning_but_quotes_and_a_star(
    text: str, positions: list[int]
) -> None:
    rows = Rows()
    tenant, _ = written(rows, ["a red sky", "über sky", "GET /images/kibana-search.png"])
    search_enable(rows.conn, tenant.number)
    index(rows, tenant)
    assert found(rows, tenant, text) == positions


def test_title_subject_tags_and_every_text_in_data_are_found() -> None:
    raw = body_of(
        title="title", tags=["tag"], data=encode({"key": ["one", {"k": "two", "n": 3, "x": None}], "t": True})
    )
    assert text_of(raw).split("\n") == ["title", "a subject", "tag", "one", "two"]


def test_of_a_malformed_body_what_is_readable_is_found() -> None:
    assert text_of(body_of(title="title", data=b"\xff")) == "title\na subject"
    assert text_of(b"\xff") == ""


@given(st.text(max_size=40), st.sampled_from("aé7"))
def test_no_text_with_a_word_breaks_the_expression(text: str, word: str) -> None:
    rows = Rows()
    rows.conn.execute("SELECT rowid FROM search WHERE search MATCH ?", (match_expression(text + word),)).fetchall()


@pytest.mark.parametrize("text", ["", " ", "*", '"', '""', "-- !", "\0"])
def test_text_without_a_word_is_refused(text: str) -> None:
    with pytest.raises(CallerError) as caught:
        match_expression(text)
    assert (caught.value.code, caught.value.place) == ("filter.invalid", "text")


def test_the_index_fills_in_steps_and_says_when_it_is_done() -> None:
    rows = Rows()
    tenant, feed = written(rows, ["sky"] * 5)
    search_enable(rows.conn, tenant.number)
    progress = [(index(rows, tenant, 2), search_position(rows.conn, tenant.number)) for _ in range(4)]
    assert progress == [(True, 2), (True, 4), (False, 5), (False, 5)]
    rows.add(feed, 9, title="sky")
    assert found(rows, tenant, "sky") == [1, 2, 3, 4, 5]
    assert not index(rows, tenant, 2)
    assert found(rows, tenant, "sky") == [1, 2, 3, 4, 5, 6]


def test_enabling_twice_indexes_once() -> None:
    rows = Rows()
    tenant, _ = written(rows, ["sky"])
    for _ in range(2):
        search_enable(rows.conn, tenant.number)
        index(rows, tenant)
    assert rows.conn.execute("SELECT count(*) FROM search WHERE search MATCH 'sky'").fetchone() == (1,)


def test_a_span_without_its_body_is_passed_over() -> None:
    rows = Rows()
    tenant, feed = written(rows, [])
    rows.add(feed, 1, title="sky", has_body=False)
    search_enable(rows.conn, tenant.number)
    assert not index(rows, tenant)
    assert search_position(rows.conn, tenant.number) == 1


def test_search_of_one_tenant_finds_nothing_of_another() -> None:
    rows = Rows()
    tenants = [written(rows, ["sky"] * count)[0] for count in (1, 2, 3)]
    for tenant in tenants:
        search_enable(rows.conn, tenant.number)
        index(rows, tenant)
    assert [found(rows, tenant, "sky") for tenant in tenants] == [[1], [1, 2], [1, 2, 3]]


def test_disabling_takes_a_tenants_texts_out_and_has_the_others_filled_again() -> None:
    rows = Rows()
    gone, kept = written(rows, ["sky", "secret"])[0], written(rows, ["sky"])[0]
    for tenant in (gone, kept):
        search_enable(rows.conn, tenant.number)
        index(rows, tenant)
    rows.conn.execute("BEGIN")
    search_disable(rows.conn, gone.number)
    rows.conn.execute("COMMIT")
    with pytest.raises(CallerError) as caught:
        found(rows, gone, "secret")
    assert caught.value.code == "search.off"
    assert rows.conn.execute("SELECT count(*) FROM search WHERE search MATCH 'secret'").fetchone() == (0,)
    assert search_position(rows.conn, kept.number) == 0
    index(rows, kept)
    assert found(rows, kept, "sky") == [1]
    search_enable(rows.conn, gone.number)
    index(rows, gone)
    assert found(rows, gone, "sky secret") == []
    assert found(rows, gone, "secret") == [2]


def test_disabling_a_tenant_that_had_no_search_leaves_the_others_alone() -> None:
    rows = Rows()
    kept, other = written(rows, ["sky"])[0], written(rows, [])[0]
    search_enable(rows.conn, kept.number)
    index(rows, kept)
    rows.conn.execute("BEGIN")
    search_disable(rows.conn, other.number)
    rows.conn.execute("COMMIT")
    assert found(rows, kept, "sky") == [1]


def test_bodies_are_matched_without_the_index_as_with_it() -> None:
    rows = Rows()
    bodies = [body_of(title="über sky"), None, body_of(title="sea"), body_of(data=encode(["skyline"]))]
    assert matches(rows.conn, bodies, "UBER") == {0}
    assert matches(rows.conn, bodies, "sky*") == {0, 3}
    assert matches(rows.conn, bodies, "subject") == {0, 2, 3}
