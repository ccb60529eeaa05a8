"""What happens to machines meanwhile, and how often.

Owns the odds. Invariant: what is remembered as acknowledged was acknowledged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from lognode.core.errors import LognodeError
from lognode.engine.receipt import AppendStopped
from lognode.sim.deeds.members import Members
from lognode.sim.deeds.records import Records
from lognode.sim.deeds.trouble import Trouble
from lognode.sim.machines.machine import Down

if TYPE_CHECKING:
    from lognode.sim.simulation import Simulation

_ODDS: Final = {
    "write": 36,
    "revert": 3,
    "resolve": 3,
    "policy": 1,
    "run": 36,
    "restore": 3,
    "look": 4,
    "join": 10,
    "invite": 2,
    "revoke": 1,
    "adopt": 1,
    "remove": 1,
    "level": 2,
    "split": 3,
    "unite": 2,
    "crash": 3,
    "restart": 10,
    "wander": 1,
}
_RECOVERIES: Final = {"level": 8, "leave": 1, "declare": 6, "disown": 6}
_COPIES: Final = {"back_up": 6, "put_back": 5, "clone": 2}
_FORK: Final = 0.1


class Workload:
    """What happens next, by chance."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._random = world.random
        scenario = world.scenario
        self._odds = {
            **_ODDS,
            **(_RECOVERIES if scenario.recoveries else {}),
            **(_COPIES if scenario.copies else {}),
        }
        self._deeds = (Records(world), Members(world), Trouble(world))
        self._acts: Mapping[str, Callable[[], Awaitable[None]]] = {
            what: getattr(deeds, what)
            for deeds in self._deeds
            for what in [*_ODDS, *_RECOVERIES, *_COPIES, "fork"]
            if hasattr(deeds, what)
        }

    async def gather(self) -> None:
        """Some machines join before there is trouble, and some of them learn of each other."""
        for _ in range(self._random.randrange(3 * len(self._world.machines))):
            await self._try(self._random.choice(("join", "run")))

    async def act(self) -> None:
        """One event of any sort."""
        liar = self._world.liar
        if liar and liar.is_forking and self._random.random() < _FORK:
            await self._try("fork")
        await self._try(self._random.choices(list(self._odds), list(self._odds.values()))[0])

    async def part(self) -> None:
        """What happens while nobody hears of anybody: much is written, and who is down stays so."""
        for what in self._random.choices(
            ("write", "join", "remove", "level"), (12, 2, 1, 1), k=self._random.randint(0, 12)
        ):
            await self._try(what)

    async def _try(self, what: str) -> None:
        """What a machine refuses or cannot do for the moment is part of life."""
        try:
            await self._acts[what]()
        except Down:
            self._world.say(f"{what}: nobody is there")
        except AppendStopped as stopped:
            self._world.say(f"{what}: {stopped.error.code}")
        except LognodeError as error:
            self._world.say(f"{what}: {error.code}")
