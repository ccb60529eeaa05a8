"""Rule sets are read and compiled beside the writer: who needs one waits for it, and nobody else does."""

import sqlite3
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from lognode.core.draft import Draft
from lognode.core.limits import RULE_SETS_BYTES_MAX
from lognode.engine.receipt import AppendStopped
from lognode.engine.service.ruling import programs
from lognode.engine.service.ruling.programs import Programs, Ruled, Unread
from lognode.engine.service.ruling.recent import Recent
from lognode.rules.document import RuleSet
from lognode.rules.evaluation.program import compile_rules
from lognode.rules.grammar.reading import read_published_set
from lognode.timeline.agreement.rules.publications import PUBLISH, rule_publish_data
from lognode.timeline.record import TenantRef
from lognode.timeline.store.rules.publications import held_past
from tests.engine.nodes import Engine, run_engine
from tests.ruling.published import publish, settle

LATE = 2**62


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with run_engine(tmp_path, tenants=("default", "other")) as running:
        yield running


def text_of(name: str, kind: str = "a.done") -> bytes:
    rule = f"  - id: x\n    on: draft\n    kinds: [{kind}]\n    then: [{{reject: no}}]\n"
    late = "  - id: y\n    on: commit\n    kinds: [b.done]\n    then: [{note: seen}]\n"
    return f"rules: {name}\ndo:\n{rule}{late}".encode()


async def say(engine: Engine, text: bytes, name: str) -> None:
    """Publish a text as other nodes do: nobody here has read it."""
    said = partial(rule_publish_data, name=name, media="yaml", text=text)
    like = Draft(kind=PUBLISH, visibility=1)
    await engine.writer.append_control(engine.tenant, PUBLISH, lambda _, after: said(after), like=like)


class Watched:
    """How often texts were read and rules compiled, and in which threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads = set[int]()
        self.read = list[bytes]()
        self.compiled = 0
        self.hold: threading.Event | None = None
        self.begun = threading.Event()

        def reads(text: bytes, *, is_json: bool) -> RuleSet:
            self.threads.add(threading.get_ident())
            self.read.append(text)
            self.begun.set()
            assert self.hold is None or self.hold.wait(30), "nobody went on meanwhile"
            return read_published_set(text, is_json=is_json)

        def compiles(sets: Any) -> Any:
            self.threads.add(threading.get_ident())
            self.compiled += 1
            return compile_rules(sets)

        monkeypatch.setattr(programs, "read_published_set", reads)
        monkeypatch.setattr(programs, "compile_rules", compiles)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


async def writers_thread(engine: Engine) -> int:
    return await engine.store.write(lambda _: threading.get_ident())


async def test_the_writer_reads_no_text_and_compiles_nothing(engine: Engine, watched: Watched) -> None:
    await say(engine, text_of("one"), "one")
    with pytest.raises(AppendStopped) as refused:
        await engine.writer.append(engine.tenant, [Draft(kind="a.done")])
    assert refused.value.error.code == "rule.rejected"
    await say(engine, text_of("two"), "two")
    waits, error = await engine.writer.rehearse(engine.tenant, [Draft(kind="a.done")])
    assert (waits, error and error.code) == ([], "rule.rejected")
    await say(engine, text_of("three"), "three")
    await engine.writer.append(engine.tenant, [Draft(kind="b.done")])
    await settle(engine)
    assert (len(watched.read), watched.compiled) == (3, 3)
    assert await writers_thread(engine) not in watched.threads


async def test_the_variant_that_reads_in_the_writer_is_seen(
    engine: Engine, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def program(self: Programs, conn: sqlite3.Connection, tenant: TenantRef, past: Any) -> Any:
        return self.ruled(conn, tenant, past).program

    monkeypatch.setattr(Programs, "program", program)
    await say(engine, text_of("one"), "one")
    with pytest.raises(AppendStopped):
        await engine.writer.append(engine.tenant, [Draft(kind="a.done")])
    assert watched.threads == {await writers_thread(engine)}


async def test_others_write_while_a_text_is_read_and_who_waits_is_judged_by_it(
    engine: Engine, watched: Watched
) -> None:
    other = engine.store.tenants["other"]
    await engine.writer.append(other, [Draft(kind="a.done")])
    await say(engine, text_of("one"), "one")
    watched.hold = threading.Event()
    outcomes = list[str]()

    async def append() -> None:
        try:
            await engine.writer.append(engine.tenant, [Draft(kind="a.done")])
        except AppendStopped as stopped:
            outcomes.append(stopped.error.code)
        else:
            outcomes.append("written")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(append)
        await trio.to_thread.run_sync(watched.begun.wait)
        (receipt,) = await engine.writer.append(other, [Draft(kind="a.done")])
        assert receipt.id
        assert not outcomes
        watched.hold.set()
    assert outcomes == ["rule.rejected"]


async def test_many_who_wait_for_one_text_have_it_read_once(engine: Engine, watched: Watched) -> None:
    await say(engine, text_of("one"), "one")
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(engine.writer.append, engine.tenant, [Draft(kind="other.done")])
    assert (len(watched.read), watched.compiled) == (1, 1)


async def test_a_text_that_is_no_rule_set_is_read_once_whatever_comes_after(engine: Engine, watched: Watched) -> None:
    bad = [f"rules: a\ndo: {number}\n".encode() for number in range(8)]
    await say(engine, text_of("a"), "a")
    for text in bad:
        await say(engine, text, "a")
        with pytest.raises(AppendStopped):
            await engine.writer.append(engine.tenant, [Draft(kind="a.done")])
    engine.writer.programs.forget()
    with pytest.raises(AppendStopped):
        await engine.writer.append(engine.tenant, [Draft(kind="a.done")])
    assert sorted(watched.read) == sorted([text_of("a"), *bad])
    assert watched.compiled == 1


async def test_what_this_node_publishes_is_not_read_twice(engine: Engine, watched: Watched) -> None:
    await publish(engine, text_of("a").decode())
    with pytest.raises(AppendStopped):
        await engine.writer.append(engine.tenant, [Draft(kind="a.done")])
    assert not watched.read


async def test_pasts_without_end_have_no_more_kept_than_may_be(engine: Engine) -> None:
    """Of texts that were in force one after the other, those that are asked for are read again, and right."""
    filler = "#" * (RULE_SETS_BYTES_MAX // 5)
    for number in range(12):
        await say(engine, text_of("a", f"k{number}.done") + filler.encode(), "a")

    def look(conn: sqlite3.Connection) -> list[Ruled]:
        past = held_past(conn, engine.tenant, LATE)
        (feed, size) = max(past.items())
        ruled = engine.writer.programs.ruled
        return [ruled(conn, engine.tenant, {feed: size - back}) for back in (*range(12), *range(12))]

    ruled = await engine.store.read(look)
    kinds = [one.sets["a"].rules[0].kinds[0] for one in ruled]
    assert kinds == [f"k{11 - back}.done" for back in range(12)] * 2
    kept = engine.writer.programs._kept[engine.tenant.number].texts.values()
    assert sum(len(one.text) for one in kept) <= 2 * RULE_SETS_BYTES_MAX


async def test_who_may_publish_too_many_bad_texts_is_told_of_when_others_publish(engine: Engine) -> None:
    for number in range(17):
        await say(engine, b"rules: a" + bytes([97 + number]) + b"\n" + b"#" * 65_000, f"a{chr(97 + number)}")
    with pytest.raises(Exception, match="texts that are no rule sets"):
        await publish(engine, text_of("b").decode())
    await publish(engine, text_of("a").decode())


def test_what_was_asked_for_longest_ago_is_kept_no_more() -> None:
    recent: Recent[str, str] = Recent(10)
    for name in "abc":
        recent.put(name, name.upper(), 3)
    assert recent.get("a") == "A"
    recent.put("d", "D", 4)
    assert [recent.get(name) for name in "abcd"] == ["A", None, "C", "D"]
    recent.put("d", "E", 7)
    assert recent.values() == ["C", "E"]
    recent.put("f", "F", 99)
    assert recent.values() == ["F"]


async def test_whoever_asks_the_writer_s_thread_for_what_is_unread_is_told_so(engine: Engine) -> None:
    await say(engine, text_of("one"), "one")
    past: Any = None

    def ask(conn: sqlite3.Connection) -> Any:
        nonlocal past
        past = held_past(conn, engine.tenant, LATE)
        return engine.writer.programs.program(conn, engine.tenant, past)

    with pytest.raises(Unread) as unread:
        await engine.store.write(ask)
    assert unread.value.past == past
    await engine.writer.programs.read_ahead(unread.value)
    assert (await engine.store.write(ask)).has_gates
