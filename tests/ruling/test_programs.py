"""The rules in force, read and compiled: by the past, kept until something changes, tenant by tenant."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from lognode.core.access import Level
from lognode.core.draft import Draft
from lognode.core.ids import FeedId, SpanId
from lognode.core.span import ORGANIZATION
from lognode.engine.receipt import Receipt
from lognode.engine.service.ruling.programs import ANSWERS_MAX, Ruled
from lognode.rules.grammar.faults import RuleSetFaults
from lognode.timeline.agreement.rules.publications import (
    DISABLE,
    PUBLISH,
    rule_disable_data,
    rule_publish_data,
)
from lognode.timeline.control.members import member_level_data
from lognode.timeline.members import Membership
from lognode.timeline.proof.tree import EMPTY, grow, root_of
from lognode.timeline.record import TenantRef
from lognode.timeline.store.opening.migrate import connect_reader
from lognode.timeline.store.rules.publications import held_past, read_versions
from tests.engine.nodes import Engine, run_engine
from tests.engine.receivers import keys_of
from tests.timeline.pens import Pen, admitted

LATE = 2**62


def text_of(name: str, note: str) -> bytes:
    return f'rules: {name}\ndo:\n  - id: x\n    on: draft\n    kinds: [a]\n    then: [{{note: "{note}"}}]\n'.encode()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with run_engine(tmp_path, tenants=("default", "other")) as running:
        yield running


async def act(engine: Engine, kind: str, data: object, tenant: TenantRef | None = None) -> Receipt:
    """A span of the node's own whose data is made from `after`, or of these bytes."""

    def build(_members: Membership, after: list[SpanId]) -> bytes:
        return data(after) if callable(data) else data  # type: ignore[return-value]

    like = Draft(kind=kind, visibility=ORGANIZATION)
    return await engine.writer.append_control(tenant or engine.tenant, kind, build, like=like)


async def publish(engine: Engine, name: str, note: str, tenant: TenantRef | None = None) -> Receipt:
    said = partial(rule_publish_data, name=name, media="yaml", text=text_of(name, note))
    return await act(engine, PUBLISH, said, tenant)


async def now(engine: Engine, tenant: TenantRef | None = None) -> Ruled:
    def look(conn: sqlite3.Connection) -> Ruled:
        return engine.writer.programs.ruled(conn, asked, held_past(conn, asked, LATE))

    asked = tenant or engine.tenant
    return await engine.store.read(look)


async def before(engine: Engine, receipt: Receipt) -> Ruled:
    """What was in force for a span of the own feed."""

    def look(conn: sqlite3.Connection) -> Ruled:
        feed = next(number for number, feed in engine.store.feeds.items() if feed.feed_id == receipt.feed)
        return engine.writer.programs.ruled(conn, engine.tenant, {feed: receipt.seq})

    return await engine.store.read(look)


async def test_each_past_has_what_was_published_in_it(engine: Engine) -> None:
    programs = engine.writer.programs
    assert await now(engine) == Ruled({}, {}, None)
    assert not programs.are_there(engine.tenant)
    one = await publish(engine, "a", "one")
    two = await publish(engine, "a", "two")
    other = await publish(engine, "b", "x")
    off = await act(engine, DISABLE, partial(rule_disable_data, name="a"))
    (last,) = await engine.writer.append(engine.tenant, [Draft(kind="note")])
    assert programs.are_there(engine.tenant)
    texts = [
        {name: rules.text for name, rules in (await before(engine, at)).sets.items()}
        for at in (one, two, other, off, last)
    ]
    assert texts == [
        {},
        {"a": text_of("a", "one")},
        {"a": text_of("a", "two")},
        {"a": text_of("a", "two"), "b": text_of("b", "x")},
        {"b": text_of("b", "x")},
    ]
    assert (await before(engine, one)).program is None
    ruled = await now(engine)
    assert ruled.program is not None
    assert {name: word.id for name, word in ruled.words.items()} == {"a": off.id, "b": other.id}


async def test_nothing_is_read_or_compiled_again_until_something_is_published(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(engine, "a", "one")
    first = await now(engine)

    def fails(*_arguments: object, **_options: object) -> None:
        raise AssertionError("it is known")

    with monkeypatch.context() as patch:
        for name in ("read_publications", "read_text", "read_published_set", "compile_rules"):
            patch.setattr(f"lognode.engine.service.ruling.programs.{name}", fails)
        await engine.writer.append(engine.tenant, [Draft(kind="note")])
        assert await now(engine) is first
    await publish(engine, "b", "x")
    second = await now(engine)
    assert set(second.sets) == {"a", "b"}
    assert second.sets["a"] is first.sets["a"]
    # What does not count changes what is known, and nothing of what is in force.
    await act(engine, PUBLISH, partial(rule_publish_data, name="c", media="yaml", text=b"rules: c"))
    third = await now(engine)
    assert third.sets == second.sets
    assert third.program is second.program


async def test_few_answers_are_kept_and_all_are_right(engine: Engine) -> None:
    receipts = [await publish(engine, "a", str(number)) for number in range(ANSWERS_MAX + 4)]
    for number, receipt in enumerate(receipts[1:]):
        assert (await before(engine, receipt)).sets["a"].text == text_of("a", str(number))
    for number, receipt in enumerate(receipts[1:]):
        assert (await before(engine, receipt)).sets["a"].text == text_of("a", str(number))


async def test_a_text_that_is_no_rule_set_leaves_the_one_before(engine: Engine) -> None:
    await publish(engine, "a", "one")
    await act(engine, PUBLISH, partial(rule_publish_data, name="a", media="yaml", text=b"rules: a\ndo: nothing\n"))
    await act(engine, PUBLISH, partial(rule_publish_data, name="a", media="json", text=text_of("a", "two")))
    await act(engine, PUBLISH, partial(rule_publish_data, name="a", media="yaml", text=text_of("b", "three")))

    def look(conn: sqlite3.Connection) -> list[tuple[str | None, bool]]:
        programs, feeds = engine.writer.programs, engine.store.feeds
        found = read_versions(conn, engine.tenant, feeds, "a", 9)
        return [
            (
                programs.fault(conn, engine.tenant, one),
                isinstance(programs.read(conn, engine.tenant, one), RuleSetFaults),
            )
            for one in found
        ]

    assert (await now(engine)).sets["a"].text == text_of("a", "one")
    assert await engine.store.read(look) == [
        ("rule.other_name", False),
        ("rule.malformed", True),
        ("rule.wrong_type", True),
        (None, False),
    ]


async def test_a_change_of_levels_judges_everything_anew(engine: Engine) -> None:
    own = await publish(engine, "a", "one")
    root = keys_of(8)
    admission = await act(
        engine,
        "member.admit",
        lambda after: admitted(root, engine.keys, engine.tenant.tenant_id, after, Level.ROOT),
    )
    pen = Pen(root, engine.tenant.tenant_id, [admission.id])
    data = rule_publish_data([admission.id], "a", "yaml", text_of("a", "theirs"))
    pen.write(PUBLISH, data, hlc=int.from_bytes(admission.id[:8], "big") + 1)
    assert await engine.writer.ingest(engine.tenant, [pen.range()]) == [2]
    assert (await now(engine)).sets["a"].text == text_of("a", "theirs")
    await act(
        engine, "member.level", lambda after: member_level_data(after, root.public, Level.TRUSTED, [pen_cut(pen)])
    )
    ruled = await now(engine)
    assert (ruled.words["a"].id, ruled.sets["a"].text) == (own.id, text_of("a", "one"))


def pen_cut(pen: Pen) -> tuple[FeedId, int, bytes]:
    """A cut that leaves the feed's opening alone."""
    return pen.feed_id, 1, root_of(grow(EMPTY, pen.leaves[:1]).border)


async def test_an_older_snapshot_leaves_nothing_behind(engine: Engine) -> None:
    await publish(engine, "a", "one")
    programs = engine.writer.programs
    with closing(connect_reader(engine.store.path)) as conn:
        conn.execute("BEGIN")
        past = held_past(conn, engine.tenant, LATE)
        await publish(engine, "a", "two")
        assert programs.ruled(conn, engine.tenant, past).sets["a"].text == text_of("a", "one")
        assert (await now(engine)).sets["a"].text == text_of("a", "two")
        assert programs.ruled(conn, engine.tenant, past).sets["a"].text == text_of("a", "one")
        conn.execute("COMMIT")


async def test_a_writer_that_has_to_look_again_forgets_nothing_that_is_durable(engine: Engine) -> None:
    await publish(engine, "a", "one")
    ruled = await now(engine)
    engine.writer.programs.forget()
    again = await now(engine)
    assert again.sets == ruled.sets
    assert again.program is ruled.program


async def test_tenants_share_nothing(engine: Engine) -> None:
    other = engine.store.tenants["other"]
    await publish(engine, "a", "one")
    assert await now(engine, other) == Ruled({}, {}, None)
    ruled = await now(engine)
    await publish(engine, "a", "one", other)
    assert await now(engine) is ruled
    theirs = await now(engine, other)
    assert theirs.sets == ruled.sets
    assert theirs.sets["a"] is not ruled.sets["a"]
    assert theirs.program is not ruled.program
