"""Spans that publish and disable rule sets: their data, the table of them, and what an audit says of that."""

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId
from lognode.core.limits import RULE_SET_BYTES_MAX
from lognode.core.span import EXECUTED, ORGANIZATION, PRIVATE, PUBLIC, SIMULATED
from lognode.timeline.agreement.rules.publications import (
    DISABLE,
    PUBLISH,
    PUBLISHING,
    Publication,
    parse_publication,
    parse_rule_disable,
    parse_rule_publish,
    publication_json,
    publication_row,
    rule_disable_data,
    rule_publish_data,
)
from lognode.timeline.record import STUB_COLUMNS, Record, id_of
from lognode.timeline.store.agreement.rebuilding import rebuild_state
from lognode.timeline.store.audit import audit
from lognode.timeline.store.rules.publications import (
    next_names,
    read_publications,
    read_text,
    read_versions,
    rebuild_publications,
)
from lognode.timeline.store.write import load_feeds
from tests.engine.receivers import Receiver
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen

ONE, TWO = SpanId(b"1" * 24), SpanId(b"2" * 24)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,63}", fullmatch=True)
TEXTS = st.text(min_size=1).map(str.encode)
AFTER = st.lists(st.binary(min_size=24, max_size=24).map(SpanId), max_size=3)
ROWS: Final = "SELECT * FROM publications ORDER BY row"


@given(AFTER, NAMES, st.sampled_from(["yaml", "json"]), TEXTS)
def test_what_is_published_is_read_back(after: list[SpanId], name: str, media: Any, text: bytes) -> None:
    said = parse_rule_publish(rule_publish_data(after, name, media, text))
    assert publication_row(PUBLISH, EXECUTED, PUBLIC, rule_publish_data(after, name, media, text)) == (name, said.hash)
    assert tuple(said) == (sorted(set(after)), name, media, text)
    assert parse_rule_disable(rule_disable_data(after, name)) == (sorted(set(after)), name)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (PUBLISH, b""),
        (PUBLISH, encode([[], "a", "yaml"])),
        (PUBLISH, encode([[], "a", "toml", b"x"])),
        (PUBLISH, encode([[], "A", "yaml", b"x"])),
        (PUBLISH, encode([[], "-a", "yaml", b"x"])),
        (PUBLISH, encode([[], "a" * 65, "yaml", b"x"])),
        (PUBLISH, encode([[], "a\n", "yaml", b"x"])),
        (PUBLISH, encode([[], b"a", "yaml", b"x"])),
        (PUBLISH, encode([[], "a", "yaml", "x"])),
        (PUBLISH, encode([[], "a", "yaml", b""])),
        (PUBLISH, encode([[], "a", "yaml", b"\xff"])),
        (PUBLISH, encode([[], "a", "yaml", bytes(RULE_SET_BYTES_MAX + 1)])),
        (PUBLISH, encode([[TWO, ONE], "a", "yaml", b"x"])),
        (PUBLISH, encode([[ONE, ONE], "a", "yaml", b"x"])),
        (PUBLISH, encode(["", "a", "yaml", b"x"])),
        (PUBLISH, encode([[b"1"], "a", "yaml", b"x"])),
        (PUBLISH, encode([[], "a", "yaml", b"x"]) + b"\x00"),
        (DISABLE, encode([[]])),
        (DISABLE, encode([[], ""])),
        (DISABLE, encode([[], "a", "yaml", b"x"])),
        (DISABLE, encode([None, "a"])),
    ],
)
def test_malformed_data_says_nothing(kind: str, data: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        parse_publication(kind, data)
    assert caught.value.code == "body.malformed"
    assert publication_row(kind, EXECUTED, PUBLIC, data) is None


@given(st.sampled_from(PUBLISHING), st.binary() | st.lists(st.text() | st.binary() | st.none()).map(encode))
def test_any_data_is_read_or_refused_with_its_code(kind: str, data: bytes) -> None:
    row = publication_row(kind, EXECUTED, ORGANIZATION, data)
    if row is None:
        with pytest.raises(CallerError, match="Malformed"):
            parse_publication(kind, data)
    else:
        assert parse_publication(kind, data).name == row[0]


def test_trials_private_spans_and_other_kinds_publish_nothing() -> None:
    data = rule_publish_data([], "a", "yaml", b"x")
    assert publication_row(PUBLISH, EXECUTED, ORGANIZATION, data)
    assert publication_row(PUBLISH, SIMULATED, ORGANIZATION, data) is None
    assert publication_row(PUBLISH, EXECUTED, PRIVATE, data) is None
    assert publication_row("rule.fired", EXECUTED, ORGANIZATION, data) is None


def test_people_see_names_ids_and_the_text() -> None:
    shown = publication_json(PUBLISH, rule_publish_data([ONE], "a", "yaml", "é".encode()))
    assert shown == {
        "after": ["64rk2c9h64rk2c9h64rk2c9h64rk2c9h64rk2c8"],
        "name": "a",
        "media": "yaml",
        "text": "é",
        "version": "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c",
    }
    assert publication_json(DISABLE, rule_disable_data([], "a")) == {"after": [], "name": "a"}


SAID = st.lists(
    st.tuples(
        st.sampled_from((*PUBLISHING, "note")),
        st.sampled_from("ab"),
        st.sampled_from([PRIVATE, ORGANIZATION, PUBLIC]),
        st.sampled_from([EXECUTED, EXECUTED, SIMULATED]),
        st.sampled_from([b"x", b"y", b"\xff"]),
    ),
    max_size=8,
)


def write(pen: Pen, said: list[tuple[str, str, int, int, bytes]]) -> None:
    for kind, name, visibility, status, text in said:
        data = rule_disable_data([], name) if kind == DISABLE else rule_publish_data([], name, "yaml", text)
        pen.write(kind, b"" if kind == "note" else data, visibility=visibility, status=status)


@settings(max_examples=50, deadline=None)
@given(SAID, SAID, st.integers(0, 8), st.sampled_from(["at once", "one by one"]))
def test_the_table_is_what_all_spans_say_in_whatever_parts_they_came(
    one: list[Any], other: list[Any], cut: int, way: str
) -> None:
    founder = Founder()
    pen = founder.member(2)
    write(founder, one)
    write(pen, other)
    node = Receiver(founder.tenant)
    stop = min(1 + cut, len(pen.entries))
    ranges = [founder.range(), pen.range(0, stop), *([pen.range(stop)] if stop < len(pen.entries) else [])]
    if way == "at once":
        node.take(*ranges)
    else:
        for found in ranges:
            node.take(found)
    rows = node.conn.execute(ROWS).fetchall()
    rebuild_publications(node.conn)
    assert rows == node.conn.execute(ROWS).fetchall()
    assert len(rows) == sum(
        kind != "note" and visibility != PRIVATE and status == EXECUTED and (kind == DISABLE or text != b"\xff")
        for kind, _, visibility, status, text in [*one, *other]
    )
    assert rebuild_state(node.conn)["publications"] == (len(rows), 0)


@pytest.fixture
def node() -> Iterator[Receiver]:
    """A node that holds publications of a root and of another member, among other spans."""
    founder = Founder()
    pen = founder.member(2)
    write(founder, [(PUBLISH, "first", ORGANIZATION, EXECUTED, b"x"), ("note", "a", PUBLIC, EXECUTED, b"")])
    write(pen, [(PUBLISH, "first", ORGANIZATION, EXECUTED, b"y"), (DISABLE, "second", PUBLIC, EXECUTED, b"")])
    write(founder, [(DISABLE, "first", ORGANIZATION, EXECUTED, b""), (PUBLISH, "third", PUBLIC, EXECUTED, b"z")])
    node = Receiver(founder.tenant)
    node.take(founder.range(), pen.range())
    assert audit(node.conn) == []
    yield node
    node.conn.close()


def test_one_reads_names_versions_and_texts(node: Receiver) -> None:
    feeds = {feed.number: feed for feed in load_feeds(node.conn)}
    assert next_names(node.conn, node.tenant, "", 9) == ["first", "second", "third"]
    assert next_names(node.conn, node.tenant, "first", 1) == ["second"]
    versions = read_versions(node.conn, node.tenant, feeds, "first", 9)
    assert [one.hash is None for one in versions] == [True, False, False]
    assert [one.id for one in versions] == sorted([one.id for one in versions], reverse=True)
    assert read_versions(node.conn, node.tenant, feeds, "first", 1) == versions[:1]
    texts = {read_text(node.conn, one.row).text for one in versions if one.hash}
    assert texts == {b"x", b"y"}
    root, other = (feeds[number].node_key for number in sorted(feeds))
    known = dict[int, Publication]()

    def read(authors: list[bytes], unread_max: int = 9) -> list[Publication] | None:
        return read_publications(node.conn, node.tenant, feeds, authors, known, unread_max=unread_max)

    assert read([]) == []
    assert {one.name for one in read([root]) or ()} == {"first", "third"}
    assert {one.name for one in read([other]) or ()} == {"first", "second"}
    found = read([root, other], 0)
    assert found is not None
    assert {one.row: one for one in found} == known
    assert len(found) == 5
    known.popitem()
    assert read([root, other], 0) is None
    assert read([root, other], 1) == found
    stubs = f"SELECT {STUB_COLUMNS} FROM spans s WHERE s.seq = 0"
    openings = {record.feed: record for record in map(Record._make, node.conn.execute(stubs))}
    for one in versions:
        assert one.after == (id_of(openings[one.feed], feeds[one.feed].feed_id),)


def changes(value: object) -> Iterator[object]:
    """A value with one bit flipped, several times."""
    if isinstance(value, int):
        yield from (value ^ 1, value ^ 1 << 40)
    elif isinstance(value, str):
        yield chr(ord(value[0]) ^ 1) + value[1:]
    elif isinstance(value, bytes):
        yield from (bytes([value[0] ^ 1]) + value[1:], value[:-1], None)
    else:
        yield bytes(32)


def columns(conn: sqlite3.Connection) -> list[str]:
    return [name for _, name, *_ in conn.execute("PRAGMA table_info(publications)")]


def test_a_flipped_bit_in_any_column_of_any_row_is_found_and_named(node: Receiver) -> None:
    names = columns(node.conn)
    rows = node.conn.execute(ROWS).fetchall()
    for row in rows:
        for name, value in zip(names, row, strict=True):
            for changed in changes(value):
                node.conn.execute("BEGIN")
                node.conn.execute(
                    f"UPDATE publications SET {name} = ? WHERE row = ?", (changed, row[names.index("row")])
                )
                found = {(finding.code, finding.place) for finding in audit(node.conn)}
                node.conn.execute("ROLLBACK")
                assert ("publication.wrong", f"publications row {row[names.index('row')]}") in found
                assert {code for code, _ in found} == {"publication.wrong"}


@pytest.mark.parametrize(
    ("harm", "detail"),
    [
        (lambda conn: conn.execute("DELETE FROM publications WHERE name = 'third'"), "missing"),
        (
            lambda conn: conn.execute("INSERT INTO publications VALUES (0, 'fourth', 1, 4, 3, NULL)"),
            "no span says it",
        ),
    ],
)
def test_what_is_missing_or_too_much_is_found_and_made_right_again(
    node: Receiver, harm: Callable[[sqlite3.Connection], object], detail: str
) -> None:
    harm(node.conn)
    (finding,) = audit(node.conn)
    assert (finding.code, finding.detail) == ("publication.wrong", detail)
    assert rebuild_state(node.conn)["publications"].changed == 1
    assert audit(node.conn) == []
