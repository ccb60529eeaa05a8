"""Bundles of a real history: what is in them, what they show, and that no byte of them can be another."""

import random
import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import FeedId, LogLineKind, b32encode, logline
from lognode.core.span import PRIVATE, Body, decode_header, encode_body
from lognode.timeline.proof.bundle.frames import read_frames
from lognode.timeline.proof.bundle.items import FeedItem, Head, Seal, SpanItem, StubItem, TenantItem
from lognode.timeline.proof.bundle.reader import BundleReader, verify_bundle
from lognode.timeline.proof.bundle.verdict import BundledSpan
from lognode.timeline.proof.checkpoint import parse_checkpoint, vkey
from lognode.timeline.query import Query
from lognode.timeline.record import RECORD_COLUMNS, FeedRef, Record, id_of, leaf_of, span_json
from lognode.timeline.store.read.bundles import _FOUNDING, _RANGE, BundleSource, BundleWish, FeedRange
from lognode.timeline.store.write import newest_position
from tests.engine.nodes import run_engine
from tests.timeline.bundles import EVERYTHING, KEYS, MADE_MS, Place, bundle_of, items_of, sealed
from tests.timeline.histories import ALICE, append_signed, write_history

SPANS = 300
FORGED = Body(bytes(16), "Forged", b"", [], None, None, None, None, [], b"", b"", bytes(64), None)
FLIPS = 1000


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_history(tmp_path_factory.mktemp("history"), SPANS)


@pytest.fixture(scope="module")
def whole(database: Path) -> bytes:
    return bundle_of(database)


@pytest.fixture
def place(database: Path) -> Iterator[Place]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None)) as conn:
        yield Place(conn)


def read(raw: bytes) -> tuple[BundleReader, list[BundledSpan]]:
    reader = BundleReader([raw])
    return reader, list(reader.spans())


def timeline(place: Place) -> list[tuple[Record, FeedRef]]:
    """All spans of the tenant in timeline order, by hand."""
    feeds = [feed for feed in place.feeds.values() if feed.tenant == place.tenant.number]
    found = []
    for feed in feeds:
        sql = f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b USING (row) WHERE s.feed = ?"
        found += [(Record(*row), feed) for row in place.conn.execute(sql, (feed.number,))]
    return sorted(found, key=lambda one: (one[0].hlc, leaf_of(one[0], one[1].feed_id)))


def test_a_bundle_of_everything_has_every_span_of_every_feed_and_says_so(place: Place, whole: bytes) -> None:
    reader, spans = read(whole)
    verdict = reader.verdict
    stored = timeline(place)

    assert [span.id for span in spans] == [id_of(record, feed.feed_id) for record, feed in stored]
    assert [span.body for span in spans if span.visibility != PRIVATE] == [
        record.body for record, _ in stored if record.visibility != PRIVATE
    ]
    own = [feed for feed in place.feeds.values() if feed.tenant == place.tenant.number]
    assert len(own) == 2
    assert [feed.feed for feed in verdict.feeds] == [feed.feed_id for feed in own]
    assert [(feed.start, feed.stop, feed.is_whole) for feed in verdict.feeds] == [
        (0, feed.size, True) for feed in verdict.feeds
    ]
    assert sum(feed.size for feed in verdict.feeds) == len(stored)
    assert {feed.node_key for feed in verdict.feeds} == {verdict.founder, verdict.head.node_key} == {KEYS.public}
    assert verdict.head == Head(place.tenant.tenant_id, KEYS.public, own[-1].feed_id, MADE_MS, "", 0)
    assert (verdict.first_hlc, verdict.last_hlc, verdict.size) == (stored[0][0].hlc, stored[-1][0].hlc, len(whole))


def test_of_private_spans_a_gapless_bundle_shows_the_stub_and_no_other_bundle_shows_anything(
    place: Place, whole: bytes
) -> None:
    private = [record for record, _ in timeline(place) if record.visibility == PRIVATE]
    assert len(private) > 50
    for gapless in (whole, place.bundle(Query(since_ms=1, until_ms=2 << 40))):
        reader, spans = read(gapless)
        assert [(span.header, span.body) for span in spans if span.visibility == PRIVATE] == [(None, None)] * len(
            private
        )
        assert reader.verdict.stubs == len(private)
        assert not any(record.header in gapless for record in private)

    reader, spans = read(place.bundle(Query(status=0, kinds=("order.*", "note"))))
    assert (reader.verdict.stubs, {span.visibility for span in spans}) == (0, {1, 2})

    reader, spans = read(place.bundle(has_private=True))
    assert [span.body for span in spans] == [record.body for record, _ in timeline(place)]
    assert reader.verdict.head.has_private


@pytest.mark.parametrize(
    "query", [Query(kinds=("note",)), Query(tags=("all",), subject="order-7"), Query(subject="nobody")]
)
def test_a_bundle_of_a_query_has_what_matches(place: Place, query: Query) -> None:
    reader, spans = read(place.bundle(query, text="kind=note"))
    kinds = {decode_header(span.header or b"").kind for span in spans}

    assert len(spans) == reader.verdict.spans
    assert (reader.verdict.head.query, bool(spans)) == ("kind=note", query.subject != "nobody")
    assert not query.kinds or kinds == set(query.kinds)
    assert sum(feed.count for feed in reader.verdict.feeds) == len(spans)
    assert not any(feed.is_whole for feed in reader.verdict.feeds if feed.count > 1)


@pytest.mark.parametrize(("start", "stop"), [(0, None), (0, 1), (10, 75), (254, 258), (301, 302)])
def test_a_range_of_a_feed_leaves_none_out(place: Place, start: int, stop: int | None) -> None:
    feed = place.feeds[1]
    reader, spans = read(place.bundle(FeedRange(feed, start, stop)))
    found = reader.verdict.feeds[0]

    assert [span.seq for span in spans] == list(range(start, stop or found.size))
    assert (found.start, found.stop, found.is_whole) == (start, stop or found.size, True)


@pytest.mark.parametrize(("start", "stop", "name"), [(302, None, "start"), (5, 5, "start"), (0, 303, "stop")])
def test_a_range_that_is_not_there_is_refused(place: Place, start: int, stop: int | None, name: str) -> None:
    with pytest.raises(CallerError) as caught:
        place.bundle(FeedRange(place.feeds[1], start, stop))
    assert (caught.value.code, caught.value.place) == ("filter.invalid", name)


async def test_what_comes_while_a_bundle_is_made_is_left_to_a_later_one(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        notes = [Draft(kind="note", title=str(number)) for number in range(600)]
        await engine.writer.append(engine.tenant, notes)
        store = engine.store
        for what in (EVERYTHING, FeedRange(store.feeds[1])):
            size = newest = await store.read(newest_position, engine.tenant.number)
            source = BundleSource(engine.tenant, store.feeds, BundleWish(what, "", has_private=False))
            part: bytes | None = await store.read(source.begin, KEYS.public, MADE_MS)
            parts = []
            while part is not None:
                parts.append(part)
                await engine.writer.append(engine.tenant, notes)
                newest += len(notes)
                part = await store.read(source.step)
            verdict = verify_bundle([*parts, sealed(source.writer, source.sealing, engine.tenant)])

            assert (verdict.spans, verdict.feeds[0].size, verdict.feeds[0].is_whole) == (size, size, True)
            assert len(parts) > 3
            assert newest == await store.read(newest_position, engine.tenant.number)


def test_a_feed_that_is_about_to_open_is_no_obstacle(place: Place) -> None:
    soon = FeedRef(9, place.tenant.number, FeedId(bytes(16)), KEYS.public, bytes(32), own=True)
    before = place.bundle()
    place.feeds[9] = soon
    assert place.bundle() == before
    with pytest.raises(CallerError, match="not open yet"):
        place.bundle(FeedRange(soon))


def test_an_absent_body_is_carried_as_absent(tmp_path: Path) -> None:
    database = write_history(tmp_path, 20)
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        triggers = conn.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'bodies'")
        for (name,) in triggers.fetchall():
            conn.execute(f"DROP TRIGGER {name}")
        conn.execute("DELETE FROM bodies WHERE row IN (5, 6)")
        reader, spans = read(Place(conn).bundle(has_private=True))

    assert [(span.feed, span.seq) for span in spans if span.body is None] == [(spans[-1].feed, 4), (spans[-1].feed, 5)]
    assert (reader.verdict.absent, reader.verdict.feeds[0].is_whole) == (2, True)


def test_a_span_of_a_bundle_shows_as_its_node_shows_it(place: Place) -> None:
    reader, spans = read(place.bundle(has_private=True))
    for span, (record, feed) in zip(spans, timeline(place), strict=True):
        shown = span_json(record, feed, place.tenant.tenant_id)
        del shown["position"]
        assert span.json(place.tenant.tenant_id) == {**shown, "tenant": b32encode(place.tenant.tenant_id)}
    assert reader.verdict.spans == len(spans)
    stubs = [span for span in read(place.bundle())[1] if span.visibility == PRIVATE]
    assert {span.json(place.tenant.tenant_id) is None for span in stubs} == {True}


def test_signatures_of_actors_are_checked_and_wrong_ones_told(tmp_path: Path) -> None:
    database = write_history(tmp_path, 150)
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        verdict = verify_bundle([Place(conn).bundle(has_private=True)])
        assert (verdict.signed, verdict.missigned) == (3, 0)
        actor = logline(LogLineKind.PERSON, ALICE.public)
        append_signed(conn, encode_body(FORGED), actor=actor)
        append_signed(conn, b"no body at all", actor=actor)
        reader, spans = read(Place(conn).bundle(has_private=True))
        assert (reader.verdict.signed, reader.verdict.missigned) == (3, 1)
        shown = [span.json(reader.verdict.head.tenant) or {} for span in spans]
        assert [span["actor_signed"] for span in shown if span.get("title") == "Forged"] == [False]
        assert sum(span.get("actor_signed", False) for span in shown) == 3


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE spans SET hlc = hlc + 1 WHERE row = 30",
        "UPDATE spans SET visibility = (visibility + 1) % 3 WHERE row = 31",
        "UPDATE bodies SET body = zeroblob(length(body)) WHERE row = 30",
        "UPDATE tiles SET hashes = zeroblob(length(hashes))",
        "DELETE FROM spans WHERE row = 3",
    ],
)
def test_nothing_damaged_is_bundled(tmp_path: Path, damage: str) -> None:
    database = write_history(tmp_path, 300)
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        for (name,) in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            conn.execute(f"DROP TRIGGER {name}")
        conn.execute(damage)
        with pytest.raises(NodeFault) as caught:
            Place(conn).bundle(has_private=True)
    assert caught.value.code == "database.damaged"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(data=st.data())
def test_a_bundle_reads_alike_however_it_is_cut(whole: bytes, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 5000))
    reader = BundleReader(whole[start : start + size] for start in range(0, len(whole), size))
    expected, spans = read(whole)

    assert list(reader.spans()) == spans
    assert reader.verdict == expected.verdict


def test_every_flipped_byte_is_found(whole: bytes) -> None:
    rng = random.Random(41)
    frames = list(read_frames([whole]))
    kinds = [type(item) for item in items_of(whole)]
    assert set(kinds) == {Head, FeedItem, TenantItem, SpanItem, StubItem, Seal}
    by_kind = [[frame for frame, other in zip(frames, kinds, strict=True) if other is kind] for kind in set(kinds)]
    found = set()
    for number in range(FLIPS):
        frame = rng.choice(by_kind[number % len(by_kind)])
        at = frame.offset + rng.randrange(len(frame.head) + len(frame.payload))
        flipped = bytearray(whole)
        flipped[at] ^= rng.randrange(1, 256)
        with pytest.raises(CallerError) as caught:
            verify_bundle([bytes(flipped)])
        assert caught.value.code == "bundle.invalid"
        found.add(caught.value.place)
    assert len(found) > FLIPS / 10


def test_no_byte_anywhere_can_be_another(place: Place) -> None:
    small = place.bundle(FeedRange(place.feeds[1], 7, 10))
    kinds = {type(item) for item in items_of(small)}
    assert kinds == {Head, FeedItem, TenantItem, SpanItem, StubItem, Seal}
    rng = random.Random(42)
    for at in range(len(small)):
        flipped = bytearray(small)
        flipped[at] ^= 1 << rng.randrange(8)
        with pytest.raises(CallerError):
            verify_bundle([bytes(flipped)])


def test_no_cut_or_longer_bundle_passes(whole: bytes) -> None:
    offsets = [frame.offset for frame in read_frames([whole])]
    for stop in [*offsets, *(offset + 5 for offset in offsets[::20]), len(whole) - 1]:
        with pytest.raises(CallerError):
            verify_bundle([whole[:stop]])
    for more in (b"\x00", b"\x40", whole[offsets[-1] :], whole):
        with pytest.raises(CallerError):
            verify_bundle([whole, more])


def test_one_counts_as_known_by_node_or_by_the_keys_of_all_feeds(place: Place, whole: bytes) -> None:
    verdict = verify_bundle([whole])
    vkeys = [feed.vkey for feed in verdict.feeds]

    assert verdict.strangers([KEYS.public], []) == []
    assert verdict.strangers([], vkeys) == []
    assert [feed.feed for feed in verdict.strangers([bytes(32)], vkeys[:1])] == [verdict.feeds[1].feed]
    assert len(verdict.strangers([], [])) == 2
    # A feed that only opens the tenant speaks for no span.
    late = verify_bundle([place.bundle(FeedRange(place.feeds[3]))])
    assert [feed.count for feed in late.feeds] == [0, 21]
    assert late.strangers([], vkeys[1:]) == []
    assert vkey(late.feeds[1].origin, late.feeds[1].log_key) == vkeys[1]


def test_a_seal_is_no_checkpoint(whole: bytes) -> None:
    seal = items_of(whole)[-1]
    assert isinstance(seal, Seal)
    with pytest.raises(CallerError):
        parse_checkpoint(seal.note)


async def test_a_reader_holds_one_span_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "large.bundle"
    async with run_engine(tmp_path) as engine:
        for number in range(40):
            large = Draft(kind="note", data=encode(f"{number:09}" * 100_000))
            await engine.writer.append(engine.tenant, [large])
        source = BundleSource(engine.tenant, engine.store.feeds, BundleWish(EVERYTHING, "", has_private=False))
        with path.open("wb") as file:
            part: bytes | None = await engine.store.read(source.begin, KEYS.public, MADE_MS)
            while part is not None:
                file.write(part)
                part = await engine.store.read(source.step)
            file.write(sealed(source.writer, source.sealing, engine.tenant))
    assert path.stat().st_size > 40 * 900_000

    with path.open("rb") as file:
        tracemalloc.start()
        try:
            verdict = verify_bundle(iter(lambda: file.read(65_536), b""))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert verdict.spans == 42
    assert peak < 8 * 900_000


@pytest.mark.parametrize(("sql", "index"), [(_FOUNDING, "spans_by_kind"), (_RANGE, "spans_by_place")])
def test_what_a_bundle_reads_by_itself_it_reads_by_an_index(place: Place, sql: str, index: str) -> None:
    plan = place.conn.execute(f"EXPLAIN QUERY PLAN {sql}", [0] * sql.count("?")).fetchall()
    steps = [step for *_, step in plan]

    assert index in steps[0]
    assert not any(word in step for step in steps for word in ("SCAN", "TEMP B-TREE"))


def test_nothing_is_said_of_a_bundle_before_its_end(whole: bytes) -> None:
    reader = BundleReader([whole])
    next(reader.spans())
    with pytest.raises(AssertionError, match="before its last byte"):
        _ = reader.verdict


def test_an_empty_file_is_no_bundle() -> None:
    with pytest.raises(CallerError, match="without a seal"):
        verify_bundle([])
