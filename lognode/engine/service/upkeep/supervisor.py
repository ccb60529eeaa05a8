"""Runs the node's subsystems, each so that its failure is not the node's.

A subsystem is what the node can do without for a while: the API, an index. One that fails is started again after
a back-off, and says so in its state. Knows nothing of what they do. The writer and the store are none: whatever
they cannot deal with ends the node. Invariant: a subsystem ends for good only by its own return or by `stop`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, get_args

import structlog
import trio

from lognode.core.errors import LognodeError
from lognode.core.limits import RESTART_S_MAX, RESTART_S_MIN, RESTART_WELL_S
from lognode.core.world import World
from lognode.engine.service.meters import Meters

State = Literal["running", "waiting", "off"]
STATES: Final = get_args(State)
DETAIL_CHARS_MAX: Final = 300
_DOUBLINGS_MAX: Final = 16  # far beyond RESTART_S_MAX already
_log = structlog.get_logger(__name__)


class SubsystemState(NamedTuple):
    """How one subsystem is doing; `error` and `detail` are of its last failure, `retry_s` counts down."""

    name: str
    state: State
    restarts: int
    error: str | None
    detail: str | None
    retry_s: float | None


@dataclass(slots=True, eq=False)
class _Subsystem:
    run: Callable[[], Awaitable[None]]
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    pause: trio.CancelScope = field(default_factory=trio.CancelScope)  # the newest one
    ended: trio.Event = field(default_factory=trio.Event)
    is_last: bool = False  # it is not started again
    restarts: int = 0
    failure: BaseException | None = None
    retry_at: float | None = None  # trio's clock; None while it runs


class Supervisor:
    """The subsystems of a node by name."""

    def __init__(self, world: World, meters: Meters) -> None:
        self._world = world
        self._meters = meters
        self._subsystems: dict[str, _Subsystem | None] = {}  # None: switched off
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run what `start` is given, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Have `run` running from now on; nothing if a subsystem of this name is."""
        assert self._nursery is not None, "the supervisor does not run"
        subsystem = self._subsystems.get(name)
        if subsystem is None or subsystem.ended.is_set():
            self._subsystems[name] = subsystem = _Subsystem(run)
            self._nursery.start_soon(self._supervise, name, subsystem)

    def switch_off(self, name: str) -> None:
        """Show a subsystem that the settings switch off."""
        self._subsystems[name] = None

    async def stop(self, sort: str) -> None:
        """End every subsystem of one sort, and forget it."""
        names = [name for name in self._subsystems if sort_of(name) == sort]
        ending = [subsystem for name in names if (subsystem := self._subsystems.pop(name)) is not None]
        for subsystem in ending:
            subsystem.scope.cancel()
        for subsystem in ending:
            await subsystem.ended.wait()

    async def finish(self, name: str) -> None:
        """Wait for a subsystem that ends by itself; it is not started again."""
        subsystem = self._subsystems.get(name)
        if subsystem is not None:
            subsystem.is_last = True
            subsystem.pause.cancel()
            await subsystem.ended.wait()

    def states(self) -> list[SubsystemState]:
        """How all of them are doing, by name."""
        now = trio.current_time()
        return [_state(name, subsystem, now) for name, subsystem in sorted(self._subsystems.items())]

    async def _supervise(self, name: str, subsystem: _Subsystem) -> None:
        failures = 0
        try:
            with subsystem.scope:
                while True:
                    begun = trio.current_time()
                    try:
                        await subsystem.run()
                        return
                    except Exception as error:  # noqa: BLE001 - what fails here is not the node's end
                        failures = 1 if trio.current_time() - begun >= RESTART_WELL_S else failures + 1
                        if not await self._pause(name, subsystem, error, failures):
                            return
        finally:
            subsystem.ended.set()

    async def _pause(self, name: str, subsystem: _Subsystem, error: Exception, failures: int) -> bool:
        """Wait until a subsystem that failed may try again; False when it shall not."""
        subsystem.failure = cause_of(error)
        wait_s = backoff_s(failures, int.from_bytes(self._world.random_bytes(2)) / 0x1_0000)
        code, detail = _blame(subsystem.failure)
        self._meters.subsystem_failures.labels(sort_of(name)).inc()
        trace = None if isinstance(subsystem.failure, LognodeError) else error  # a code says it all
        _log.error("subsystem_failed", subsystem=name, code=code, detail=detail, retry_s=wait_s, exc_info=trace)
        if not subsystem.is_last:
            subsystem.retry_at = trio.current_time() + wait_s
            with trio.CancelScope() as subsystem.pause:
                await trio.sleep_until(subsystem.retry_at)
        if subsystem.is_last:
            return False
        subsystem.retry_at = None
        subsystem.restarts += 1
        _log.info("subsystem_restarts", subsystem=name, restarts=subsystem.restarts)
        return True


def backoff_s(failures: int, chance: float) -> float:
    """Seconds to wait after so many failures in a row; `chance`, in [0, 1), takes off up to half.

    Doubling spares a machine that is down, the cap bounds how long a subsystem stays away after the cause has gone,
    chance keeps subsystems that failed together from trying together.
    """
    longest = min(RESTART_S_MAX, RESTART_S_MIN * 2.0 ** min(failures - 1, _DOUBLINGS_MAX))
    return longest * (1 - chance / 2)


def sort_of(name: str) -> str:
    """What a subsystem is, without whose: `search` of `search.default`."""
    return name.partition(".")[0]


def cause_of(error: BaseException) -> BaseException:
    """The one error that nurseries wrapped; the group itself where there are several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _blame(error: BaseException) -> tuple[str, str]:
    """Code and detail of a failure."""
    if isinstance(error, LognodeError):
        return error.code, error.detail
    return "node.internal", f"{type(error).__name__}: {error}"[:DETAIL_CHARS_MAX]


def _state(name: str, subsystem: _Subsystem | None, now: float) -> SubsystemState:
    if subsystem is None or subsystem.ended.is_set():
        return SubsystemState(name, "off", 0, None, None, None)
    code, detail = (None, None) if subsystem.failure is None else _blame(subsystem.failure)
    if subsystem.retry_at is None:
        return SubsystemState(name, "running", subsystem.restarts, code, detail, None)
    retry_s = round(max(0.0, subsystem.retry_at - now), 3)
    return SubsystemState(name, "waiting", subsystem.restarts, code, detail, retry_s)
