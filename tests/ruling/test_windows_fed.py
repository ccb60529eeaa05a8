"""Windows that some drafts ask and others feed: the gate counts what a look at all spans finds, commit by commit."""

from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.engine.receipt import AppendStopped
from tests.engine.nodes import run_engine
from tests.ruling.published import publish, recheck_all

RULES = """
rules: fed
do:
  - id: failed
    on: draft
    kinds: [asks.one, asks.both]
    windows: {n: {over: 1h, by: data.who, kinds: [feeds.one, feeds.both]}}
    then: [{set_metadata: {one: "{windows.n}"}}]
  - id: spent
    on: draft
    kinds: [asks.both, asks.two]
    windows: {sum: {over: 1h, by: data.who, kinds: [feeds.both, asks.two], sum: data.n}}
    then: [{set_metadata: {two: "{windows.sum}"}}]
  - id: enough
    on: draft
    kinds: [asks.two]
    windows: {sum: {over: 1h, by: data.who, kinds: [feeds.both, asks.two], sum: data.n}}
    if: {greater_than: {windows.sum: 40}}
    then: [{reject: "{windows.sum} is enough"}]
"""
KINDS = ("asks.one", "asks.both", "asks.two", "feeds.one", "feeds.both", "other")


@pytest.mark.parametrize("seed", range(3))
async def test_what_a_commit_feeds_that_asks_no_window_is_counted_when_one_is_asked(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    async with run_engine(tmp_path) as engine:
        await publish(engine, RULES)
        for _ in range(60):
            drafts = [
                Draft(kind=rng.choice(KINDS), data=encode({"who": rng.choice("ab"), "n": rng.randrange(5)}))
                for _ in range(rng.choice((1, 1, 1, 4)))
            ]
            with suppress(AppendStopped):
                await engine.writer.append(engine.tenant, drafts)
        found = await recheck_all(engine)
    assert {one.answer for one in found.values()} == {"same"}
