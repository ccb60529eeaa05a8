"""What people record: spans about nothing, about subjects that others write about as well, and reverts of these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.core.ids import SpanId
from lognode.core.span import VISIBILITIES
from lognode.engine.receipt import Receipt
from lognode.sim.machines.machine import Machine
from lognode.sim.verdicts.looks import look_at
from lognode.timeline.control.policies import LATEST, MANUAL, tenant_policy_data

if TYPE_CHECKING:
    from lognode.sim.simulation import Simulation

_POLICIES: Final = (LATEST, MANUAL)
_KINDS: Final = ("order.paid", "note", "sensor.read")
_SUBJECTS: Final = ("order:1", "order:2", "order:3")


class Records:
    """Deeds that are written down."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._random = world.random
        self._said: list[tuple[SpanId, Draft]] = []  # what was said of subjects

    async def write(self) -> None:
        """Some spans in one go."""
        machine, random = self._world.any(), self._random
        drafts = [
            Draft(
                kind=random.choice(_KINDS),
                data=encode(["event", self._world.events, number, "x" * random.choice((1, 30, 300))]),
                title=random.choice((None, "a title")),
                visibility=random.choice((0, 1, 1, 1, 2)),
                subject=random.choice((None, *_SUBJECTS)),
            )
            for number in range(random.choice((1, 1, 1, 3, 20)))
        ]
        receipts = await self._append(machine, drafts)
        said = ", ".join(VISIBILITIES[draft.visibility][:3] for draft in drafts)
        self._world.say(f"{machine.name} writes {said}: {receipts[-1].id.hex()}")

    async def revert(self) -> None:
        """Take something back that was said of a subject; that may be taken back as well."""
        machine = self._world.any()
        if self._said:
            target, draft = self._random.choice(self._said)
            revert = Draft("span.revert", caused_by=target, subject=draft.subject, visibility=draft.visibility)
            (receipt,) = await self._append(machine, [revert])
            self._world.say(f"{machine.name} takes {target.hex()} back: {receipt.id.hex()}")

    async def resolve(self) -> None:
        """Choose what a subject comes to."""
        machine = self._world.any()
        chosen = [(span, draft) for span, draft in self._said if draft.kind in _KINDS]
        if chosen:
            span, draft = self._random.choice(chosen)
            resolve = Draft("conflict.resolve", caused_by=span, subject=draft.subject, visibility=draft.visibility)
            (receipt,) = await self._append(machine, [resolve])
            self._world.say(f"{machine.name} chooses {span.hex()}: {receipt.id.hex()}")

    async def policy(self) -> None:
        """Say how conflicts about a kind are settled."""
        machine, kind, policy = self._world.honest(), self._random.choice(_KINDS), self._random.choice(_POLICIES)
        await machine.act("tenant.policy", lambda _, after: tenant_policy_data(after, kind, policy))
        self._world.say(f"{machine.name} has conflicts about {kind} settled by {policy}")

    async def run(self) -> None:
        """Two machines begin to compare."""
        dialer, answerer = self._random.sample(self._world.machines, 2)
        if dialer.keys.public != answerer.keys.public:
            await self._world.begin(dialer, answerer)

    async def look(self) -> None:
        """Somebody asks a machine what is settled."""
        machine = self._world.honest()
        if machine.tenant is not None:
            self._world.looks.append(look_at(machine))

    async def restore(self) -> None:
        """A machine records again what of its own has no effect."""
        machine = self._world.any()
        if restored := await machine.restore():
            self._world.say(f"{machine.name} restores {restored}")

    async def _append(self, machine: Machine, drafts: list[Draft]) -> list[Receipt]:
        receipts = await machine.append(drafts)
        for receipt, draft in zip(receipts, drafts, strict=True):
            self._world.acknowledged[receipt.id] = (machine, draft.visibility)
            if draft.subject is not None:
                self._said.append((receipt.id, draft))
        return receipts
