"""What goes wrong: networks split, machines crash, disks are put back, clocks jump, one member signs two histories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.sim.machines.disk import Disk
from lognode.sim.machines.exchange import Exchange
from lognode.sim.machines.machine import Machine
from lognode.timeline.agreement.continuity import Mark

if TYPE_CHECKING:
    from lognode.sim.simulation import Simulation

# How far clocks of machines go wrong; more than ten minutes ahead is further than anybody believes.
SKEWS_MS: Final = (0, 0, 50, -2_000, 90_000, -300_000, 3_000_000)
_REBOOT: Final = 0.3
_AT_ONCE: Final = 0.7
_CLONES_MAX: Final = 2


class Trouble:
    """Deeds that nobody wants."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._random = world.random
        self._backups: list[tuple[Machine, Disk]] = []
        self._signs = 1

    async def fork(self) -> None:
        """The liar tells two machines different things, by a disk that is put back in between."""
        liar = self._world.liar
        assert liar is not None
        machine = self._world.machines[liar.name]
        others = [
            other for other in self._world.machines if other is not machine and other.accepts(machine.keys.public)
        ]
        if machine.tenant is None or len(others) < 2:
            return
        older = machine.disk.copy()
        for at, other in enumerate(self._random.sample(others, 2)):
            await machine.append([Draft(kind="note", data=encode(["to", other.name]), visibility=1)])
            await Exchange(0, machine, other, liar).finish()
            self._world.say(f"{machine.name} tells {other.name} one thing")
            if at == 0:
                machine.put_back(older, machine.mark)
                await self._world.restart(machine)

    async def split(self) -> None:
        """Some reach only some others."""
        self._world.say(f"the network splits: {self._world.network.split()}")

    async def unite(self) -> None:
        """All reach all."""
        self._world.network.join()
        self._world.say("the network is whole")

    async def wander(self) -> None:
        """A machine's clock is set to another time."""
        machine = self._world.any()
        machine.skew_ms = self._random.choice(SKEWS_MS)
        self._world.say(f"the clock of {machine.name} is {machine.skew_ms / 1000} s ahead")

    async def back_up(self) -> None:
        """Keep a disk as it is."""
        machine = self._world.honest()
        self._backups.append((machine, machine.disk.copy()))
        self._world.say(f"{machine.name} is backed up")

    async def put_back(self) -> None:
        """A machine goes on from a backup, which shows in where it runs."""
        if not self._backups:
            return
        machine, older = self._random.choice(self._backups)
        mark = machine.mark
        is_moved = self._random.random() < 0.5
        machine.put_back(older.copy(), mark._replace(database=self._sign()) if is_moved else self._booted(mark))
        self._world.note_put_back(machine)
        self._world.say(f"{machine.name} is put back to what it was, {'moved' if is_moved else 'started anew'}")
        if self._random.random() < _AT_ONCE:
            await self._world.restart(machine)

    async def clone(self) -> None:
        """A second machine goes on from the disk of a first one, and nothing there shows it."""
        machine = self._world.honest()
        if machine.tenant is not None and len(self._world.machines) < self._world.scenario.nodes + _CLONES_MAX:
            twin = await self._world.add_clone(machine)
            self._world.say(f"{twin.name} is a clone of {machine.name}")

    async def crash(self) -> None:
        """A process ends, or a machine does."""
        machine = self._world.any()
        if self._random.random() < _REBOOT:
            machine.mark = self._booted(machine.mark)
        await self._world.crash(machine)

    async def restart(self) -> None:
        """What is down runs again."""
        for machine in self._world.machines:
            await self._world.restart(machine)

    def _booted(self, mark: Mark) -> Mark:
        return mark._replace(boot=f"boot {self._sign()}")

    def _sign(self) -> int:
        self._signs += 1
        return self._signs
