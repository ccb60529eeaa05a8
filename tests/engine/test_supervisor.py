"""A subsystem that fails is started again, ever later, and nothing else is touched."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from trio.testing import MockClock

from lognode.core.errors import NodeFault
from lognode.core.limits import RESTART_S_MAX, RESTART_S_MIN, RESTART_WELL_S
from lognode.core.world import World
from lognode.engine.service.meters import Meters
from lognode.engine.service.upkeep.supervisor import Supervisor, backoff_s

WORLD = World(lambda: 0, lambda: 0.0, bytes)  # whose chance is always 0
FAULT = NodeFault("disk.full", "no room for it")


class Part:
    """A subsystem that ends as its next `ends` says, each after so many seconds; then it runs for ever."""

    def __init__(self, *ends: tuple[float, Exception | None]) -> None:
        self.begun: list[float] = []
        self._ends = list(ends)

    async def run(self) -> None:
        self.begun.append(trio.current_time())
        if not self._ends:
            await trio.sleep_forever()
        after_s, error = self._ends.pop(0)
        await trio.sleep(after_s)
        if error is not None:
            raise error


@asynccontextmanager
async def supervising(**parts: Callable[[], Awaitable[None]]) -> AsyncIterator[Supervisor]:
    """A supervisor that runs these parts."""
    supervisor = Supervisor(WORLD, Meters(CollectorRegistry()))
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        for name, run in parts.items():
            supervisor.start(name, run)
        yield supervisor
        nursery.cancel_scope.cancel()


async def test_a_part_that_fails_is_started_again_after_ever_longer_waits(autojump_clock: MockClock) -> None:
    part = Part(*[(0, FAULT)] * 10)
    async with supervising(part=part.run):
        await trio.sleep(600)

    waits = [after - before for before, after in zip(part.begun, part.begun[1:], strict=False)]
    assert waits == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60])


async def test_what_it_failed_of_before_it_ran_well_is_forgotten(autojump_clock: MockClock) -> None:
    part = Part((0, FAULT), (0, FAULT), (RESTART_WELL_S, FAULT), (0, FAULT))
    async with supervising(part=part.run):
        await trio.sleep(2 * RESTART_WELL_S)

    waits = [after - before for before, after in zip(part.begun, part.begun[1:], strict=False)]
    assert waits == pytest.approx([0.5, 1, RESTART_WELL_S + 0.5, 1])


async def test_its_state_says_what_happened_and_when_it_tries_again(autojump_clock: MockClock) -> None:
    part, other = Part((5, None), (0, FAULT)), Part()

    async def fail_inside() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 100)
            raise OSError(5, "the cable is out")

    async with supervising(other=other.run, part=part.run, inside=fail_inside) as supervisor:
        supervisor.switch_off("unwanted")
        await trio.sleep(0.25)
        inside, running, first, unwanted = supervisor.states()
        assert inside == ("inside", "waiting", 0, "node.internal", "OSError: [Errno 5] the cable is out", 0.25)
        assert running == ("other", "running", 0, None, None, None)
        assert first == ("part", "running", 0, None, None, None)
        assert unwanted == ("unwanted", "off", 0, None, None, None)
        await trio.sleep(5)
        assert supervisor.states()[2].state == "off"  # it said that it was done
        supervisor.start("part", part.run)
        await trio.sleep(0.1)
        assert supervisor.states()[2][:5] == ("part", "waiting", 0, "disk.full", "no room for it")
        await trio.sleep(1)
        assert supervisor.states()[2] == ("part", "running", 1, "disk.full", "no room for it", None)
        assert other.begun == [0]


async def test_a_part_that_is_stopped_is_gone_also_while_it_waits(autojump_clock: MockClock) -> None:
    part, failing = Part(), Part((0, FAULT), (0, FAULT))
    async with supervising(part=part.run, failing=failing.run) as supervisor:
        await trio.sleep(0.1)
        await supervisor.stop("part")
        await supervisor.stop("failing")
        await supervisor.stop("nobody")
        assert supervisor.states() == []
        await trio.sleep(600)
        assert (len(part.begun), len(failing.begun)) == (1, 1)


async def test_a_part_that_shall_finish_is_waited_for_and_not_started_again(autojump_clock: MockClock) -> None:
    ending, failing, waiting = Part((5, None)), Part((3, FAULT)), Part((0, FAULT))
    async with supervising(ending=ending.run, failing=failing.run, waiting=waiting.run) as supervisor:
        await trio.sleep(0.1)
        await supervisor.finish("waiting")
        assert trio.current_time() == pytest.approx(0.1)
        await supervisor.finish("failing")
        assert trio.current_time() == pytest.approx(3)
        await supervisor.finish("ending")
        assert trio.current_time() == pytest.approx(5)
        await trio.sleep(600)
        assert (len(ending.begun), len(failing.begun), len(waiting.begun)) == (1, 1, 1)


async def test_what_is_no_mere_failure_ends_the_node() -> None:
    async def interrupted() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyboardInterrupt

    with pytest.RaisesGroup(pytest.RaisesGroup(KeyboardInterrupt)):
        async with supervising(part=interrupted):
            await trio.sleep_forever()


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_wait_grows_up_to_a_bound_and_chance_takes_half_of_it_at_most(failures: int, chance: float) -> None:
    longest = backoff_s(failures, 0)

    assert RESTART_S_MIN <= longest <= RESTART_S_MAX
    assert longest <= backoff_s(failures + 1, 0)
    assert longest / 2 <= backoff_s(failures, chance) <= longest


async def test_failures_are_counted_by_sort_whose_ever_they_are(autojump_clock: MockClock) -> None:
    meters = Meters(CollectorRegistry())
    supervisor = Supervisor(WORLD, meters)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        for name in ("search.one", "search.other", "api"):
            supervisor.start(name, Part((0, FAULT)).run)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()

    for sort, count in {"search": 2, "api": 1, "search.one": None}.items():
        found = meters.registry.get_sample_value("lognode_subsystem_failures_total", {"subsystem": sort})
        assert found == count
