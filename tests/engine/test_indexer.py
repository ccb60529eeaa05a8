"""The full-text index follows the timeline, is switched by settings, and can be made again at any time."""

import sqlite3
from pathlib import Path

import pytest
import trio

from lognode.core.draft import Draft, parse_json_draft
from lognode.core.errors import CallerError
from lognode.core.limits import INDEX_STEP_SPANS
from lognode.engine.service.upkeep.indexer import Indexer
from lognode.timeline.query import Query
from lognode.timeline.store.read.pages import Page, select_page
from tests.engine.nodes import Engine, run_engine


def find(conn: sqlite3.Connection, engine: Engine, text: str) -> Page:
    return select_page(conn, engine.tenant, engine.store.feeds, Query(text=text, limit=1000))


async def wait_found(engine: Engine, text: str, count: int) -> None:
    with trio.fail_after(20):
        while len((await engine.store.read(find, engine, text)).records) != count:  # noqa: ASYNC110 - it has no event
            await trio.sleep(0.01)


async def test_spans_are_found_by_their_words_soon_after_they_are_written(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine, trio.open_nursery() as nursery:
        indexer = Indexer(engine.store, engine.heads, engine.meters)
        drafts = [Draft(kind="note", title=f"apple {number}") for number in range(2 * INDEX_STEP_SPANS)]
        await engine.writer.append(engine.tenant, drafts)
        assert await indexer.choose(["default"]) == [engine.tenant]
        nursery.start_soon(indexer.run, engine.tenant)
        await wait_found(engine, "apple", 2 * INDEX_STEP_SPANS)
        later, _ = parse_json_draft(b'{"kind":"note","data":{"deep":["a quince"]}}')
        await engine.writer.append(engine.tenant, [later])
        await wait_found(engine, "quince", 1)
        nursery.cancel_scope.cancel()


async def test_a_tenant_that_is_not_named_has_no_index(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        indexer = Indexer(engine.store, engine.heads, engine.meters)
        await indexer.choose(["default"])
        await engine.store.read(find, engine, "apple")
        assert await indexer.choose([]) == []
        with pytest.raises(CallerError, match="off for this tenant"):
            await engine.store.read(find, engine, "apple")


async def test_a_name_that_no_tenant_has_is_said_at_start(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        with pytest.raises(CallerError, match="'nobody' in the setting 'search'"):
            await Indexer(engine.store, engine.heads, engine.meters).choose(["nobody"])
