"""Commits that were judged and do not take place leave nothing behind that later ones are judged by."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio

from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.core.errors import NodeFault
from lognode.engine.receipt import AppendStopped
from lognode.timeline.record import TenantRef
from tests.engine.nodes import Wall, run_engine
from tests.ruling.published import publish, recheck_all

RULES = """
rules: few
do:
  - id: one
    on: draft
    kinds: [try]
    windows: {n: {over: 1h, by: data.who}}
    if: {greater_than: {windows.n: 2}}
    then: [{reject: "{windows.n}"}]
"""


def attempt(who: str) -> Draft:
    return Draft(kind="try", data=encode({"who": who}))


async def test_what_was_judged_beside_a_tenant_that_failed_counts_in_no_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The time stands still, so that the next commit begins at the time of the one that did not take place.
    async with run_engine(tmp_path, Wall(), tenants=("default", "other")) as engine:
        await publish(engine, RULES)
        await engine.writer.append(engine.tenant, [attempt("ann")])
        other = engine.store.tenants["other"]
        state = engine.writer._openings.state

        async def fails(tenant: TenantRef) -> Any:
            if tenant == other:
                raise sqlite3.OperationalError("disk I/O error")
            return await state(tenant)

        faults = []

        async def append(tenant: TenantRef) -> None:
            try:
                await engine.writer.append(tenant, [attempt("ann")])
            except NodeFault as fault:
                faults.append(fault.code)

        with monkeypatch.context() as patch:
            patch.setattr(engine.writer._openings, "state", fails)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(append, engine.tenant)
                nursery.start_soon(append, other)
        assert faults == ["writer.failed"] * 2, "they were in one group"
        await engine.writer.append(engine.tenant, [Draft(kind="timeline.alert")])  # which no rule judges
        await engine.writer.append(engine.tenant, [attempt("ann")])
        with pytest.raises(AppendStopped):
            await engine.writer.append(engine.tenant, [attempt("ann")])
        assert {one.answer for one in (await recheck_all(engine)).values()} == {"same"}
