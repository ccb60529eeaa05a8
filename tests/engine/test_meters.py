"""What the engine counts moves with what it does, and says nothing of whose spans they are."""

import threading
import time
from pathlib import Path

import pytest
import trio
import trio.testing
from prometheus_client import CollectorRegistry

from lognode.core.draft import Draft, idem_key
from lognode.core.errors import ERRORS, NodeFault
from lognode.core.limits import INDEX_STEP_SPANS
from lognode.engine.service.meters import ProcessMeters
from lognode.engine.service.upkeep.indexer import Indexer
from tests.engine.nodes import CutConnection, Engine, Wall, run_engine


def value(engine: Engine, name: str, **labels: str) -> float:
    found = engine.meters.registry.get_sample_value(name, labels)
    assert found is not None, name
    return found


def drafts(count: int) -> list[Draft]:
    return [Draft(kind="note", title=str(number)) for number in range(count)]


def cut_commits(engine: Engine, *, commits: bool) -> None:
    """Let the next commit report an error; the connection that the writer then opens is sound."""
    connection = engine.store._writer
    connection._connection = CutConnection(connection._conn, commits=commits)  # type: ignore[assignment]


async def test_stored_spans_are_counted_by_commit(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        assert value(engine, "lognode_appended_spans_total") == 2  # the control spans of a new tenant
        bytes_before = value(engine, "lognode_appended_bytes_total")
        wall.ms += 5_000
        await engine.writer.append(engine.tenant, drafts(30))
        await engine.writer.append(engine.tenant, drafts(1))

        assert value(engine, "lognode_appended_spans_total") == 33
        stored = await engine.store.read(lambda conn: conn.execute("SELECT body FROM bodies ORDER BY row").fetchall())
        assert value(engine, "lognode_appended_bytes_total") - bytes_before == sum(len(body) for (body,) in stored[2:])
        assert value(engine, "lognode_commit_spans_count") == 3
        assert value(engine, "lognode_commit_spans_bucket", le="2.0") == 2
        assert value(engine, "lognode_commit_spans_bucket", le="50.0") == 3
        assert value(engine, "lognode_commit_duration_seconds_count") == 3
        assert value(engine, "lognode_commit_duration_seconds_sum") > 0
        assert value(engine, "lognode_last_commit_timestamp_seconds") == wall.ms / 1000


async def test_spans_that_come_again_are_counted_apart(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        keyed = [
            Draft(kind="note", title=name, idem=idem_key(engine.tenant.tenant_id, b"admin", name)) for name in "abc"
        ]
        await engine.writer.append(engine.tenant, keyed[:2])
        await engine.writer.append(engine.tenant, keyed)

        assert value(engine, "lognode_appended_spans_total") == 2 + 3
        assert value(engine, "lognode_duplicate_spans_total") == 2


@pytest.mark.parametrize("commits", [True, False])
async def test_a_commit_that_reports_an_error_is_counted_even_if_it_took_place(
    tmp_path: Path, *, commits: bool
) -> None:
    async with run_engine(tmp_path) as engine:
        assert value(engine, "lognode_commit_errors_total") == 0
        cut_commits(engine, commits=commits)
        if commits:
            await engine.writer.append(engine.tenant, drafts(1))
        else:
            with pytest.raises(NodeFault):
                await engine.writer.append(engine.tenant, drafts(1))

        assert value(engine, "lognode_commit_errors_total") == 1
        assert value(engine, "lognode_appended_spans_total") == 2 + commits


async def test_the_mailbox_shows_what_waits(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        gate = threading.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.store.write, lambda _conn: gate.wait())
            try:
                nursery.start_soon(engine.writer.append, engine.tenant, drafts(1))
                await trio.testing.wait_all_tasks_blocked()  # it is being written
                for _ in range(2):
                    nursery.start_soon(engine.writer.append, engine.tenant, drafts(10))
                await trio.testing.wait_all_tasks_blocked()
                assert value(engine, "lognode_mailbox_spans") == 20
                assert value(engine, "lognode_mailbox_bytes") == 2 * sum(draft.content_bytes() for draft in drafts(10))
            finally:
                gate.set()

        assert value(engine, "lognode_mailbox_spans") == 0
        assert value(engine, "lognode_mailbox_bytes") == 0


async def test_the_index_shows_how_far_it_is_behind(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine, trio.open_nursery() as nursery:
        indexer = Indexer(engine.store, engine.heads, engine.meters)
        assert value(engine, "lognode_index_lag_spans") == 0
        await engine.writer.append(engine.tenant, drafts(2 * INDEX_STEP_SPANS))
        await indexer.choose([])
        assert value(engine, "lognode_index_lag_spans") == 0
        await indexer.choose(["default"])
        assert value(engine, "lognode_index_lag_spans") == 2 + 2 * INDEX_STEP_SPANS
        nursery.start_soon(indexer.run, engine.tenant)
        with trio.fail_after(20):
            while value(engine, "lognode_index_lag_spans"):  # noqa: ASYNC110 - it has no event
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()

    async with run_engine(tmp_path) as engine:
        # After a start it knows how far it had come before it has done anything.
        await Indexer(engine.store, engine.heads, engine.meters).choose(["default"])
        assert value(engine, "lognode_index_lag_spans") == 0


async def test_every_fault_of_the_node_is_there_before_it_happens(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        for code, spec in ERRORS.items():
            found = engine.meters.registry.get_sample_value("lognode_errors_total", {"code": code, "blame": spec.kind})
            assert found == (0 if spec.kind == "node" else None)


def test_the_process_is_measured_also_where_proc_shows_processes_alone(tmp_path: Path) -> None:
    (tmp_path / "self").symlink_to("/proc/self")
    hidden, whole = CollectorRegistry(), CollectorRegistry()
    ProcessMeters(proc=str(tmp_path), registry=hidden)
    ProcessMeters(registry=whole)

    assert {family.name for family in hidden.collect()} == {family.name for family in whole.collect()} != set()
    started_s = hidden.get_sample_value("process_start_time_seconds")
    assert started_s is not None
    assert time.time() - 24 * 3600 < started_s <= time.time() + 1
