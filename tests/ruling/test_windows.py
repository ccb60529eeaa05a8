"""Windows of rules over stored spans: what they hold is what a look at all spans finds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.codec import decode_value, encode
from lognode.core.span import ORGANIZATION, PRIVATE, decode_body
from lognode.timeline.record import Record
from lognode.timeline.store.rules import windows
from lognode.timeline.store.rules.windows import Counted, Entry, fill_window, spans_within
from tests.engine.receivers import Receiver
from tests.engine.tenants import Founder
from tests.timeline.pens import Pen

WINDOW = b"w" * 16
SPANS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(0, 5), st.booleans()), min_size=1, max_size=30
)


def measure(record: Record) -> Entry | None:
    assert record.body is not None
    said = decode_value(decode_body(record.body).data)
    return Entry(said[0].encode(), said[1], said[2]) if isinstance(said, list) else None


@pytest.fixture
def founder() -> Founder:
    return Founder()


def kinds(node: Receiver, *names: str) -> list[int]:
    found = dict(node.conn.execute("SELECT name, kind FROM kinds").fetchall())
    return [found[name] for name in names if name in found]


@settings(max_examples=40)
@given(SPANS, SPANS, st.integers(0, 20), st.integers(0, 20), st.integers(0, 40))
def test_a_window_holds_what_a_look_at_all_spans_finds(
    early: list[tuple[str, int, int, bool]],
    late: list[tuple[str, int, int, bool]],
    after: int,
    until: int,
    size: int,
) -> None:
    founder = Founder()
    node = Receiver(founder.tenant)
    held = []
    for number, spans in enumerate((early, late)):
        pen = Pen(founder.keys, founder.tenant, [], number=number + 1)
        for key, at, value, is_shared in spans:
            visibility = ORGANIZATION if is_shared else PRIVATE
            pen.write("login", encode([key, at, value]), visibility=visibility)
        pen.write("other", encode(["a", 1, 1]))
        feed = pen.store(node.conn, node.tenant.number).number
        # Private spans of others are not held; those that are shared have kept their places.
        held += [
            (key, at, Counted(feed, seq, value))
            for seq, (key, at, value, is_shared) in enumerate(spans, start=1)
            if is_shared
        ]
        fill_window(node.conn, node.tenant, WINDOW, kinds(node, "login"), measure)
    for key in "ab":
        found = spans_within(node.conn, node.tenant, WINDOW, key.encode(), after, until, {1: size, 2: 7})
        assert sorted(found) == sorted(
            one
            for held_key, at, one in held
            if held_key == key and after < at <= until and one.seq < {1: size, 2: 7}[one.feed]
        )


def test_a_long_history_is_taken_in_part_by_part_and_a_window_that_holds_too_much_gives_one_more(
    founder: Founder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_FILL_SPANS", 50)
    monkeypatch.setattr(windows, "WINDOW_SPANS_MAX", 200)
    node = Receiver(founder.tenant)
    for _ in range(201):
        founder.write("login", encode(["a", 5, 1]))
    feed = founder.store(node.conn, node.tenant.number).number
    fill_window(node.conn, node.tenant, WINDOW, kinds(node, "login"), measure)
    named = {feed: len(founder.entries)}
    assert spans_within(node.conn, node.tenant, WINDOW, b"a", 5, 9, named) == []
    assert len(spans_within(node.conn, node.tenant, WINDOW, b"a", 4, 5, named)) == 201


def test_what_is_asked_about_is_gone_with_the_connection_and_made_again(founder: Founder) -> None:
    node = Receiver(founder.tenant)
    founder.write("login", encode(["a", 5, 1]))
    founder.store(node.conn, node.tenant.number)
    for _ in range(2):
        fill_window(node.conn, node.tenant, WINDOW, kinds(node, "login"), measure)
        assert spans_within(node.conn, node.tenant, WINDOW, b"a", 0, 9, {1: 99}) == [Counted(1, 2, 1)]
        node.conn.executescript("DROP TABLE temp.window_spans; DROP TABLE temp.window_ends")


def test_what_is_not_named_does_not_make_a_window_hold_too_much(
    founder: Founder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_SPANS_MAX", 20)
    node, liar = Receiver(founder.tenant), Pen(founder.keys, founder.tenant, [], number=1)
    founder.write("login", encode(["a", 4, 1]))
    for _ in range(30):
        liar.write("login", encode(["a", 5, 1]))
    feed = founder.store(node.conn, node.tenant.number).number
    liar.store(node.conn, node.tenant.number)
    fill_window(node.conn, node.tenant, WINDOW, kinds(node, "login"), measure)
    assert spans_within(node.conn, node.tenant, WINDOW, b"a", 0, 9, {feed: 9}) == [Counted(feed, 2, 1)]
