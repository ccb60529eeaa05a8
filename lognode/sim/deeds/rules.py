"""What is done about rules: roots publish and disable sets, people write what these judge, and nodes react.

Has chance of its own, so that a world without rules is what it was. Invariant: all goes through what a daemon does it
through; nothing is known here of what rules decide.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Final

from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.core.errors import CallerError, LognodeError
from lognode.core.limits import CLOCK_AHEAD_MS_MAX, REACTION_LACK_S_MAX
from lognode.engine.receipt import AppendStopped
from lognode.sim.machines.machine import Down, Machine

if TYPE_CHECKING:
    from lognode.sim.simulation import Simulation

PAYMENT: Final = "payment.made"
ACCOUNT: Final = "account.set"
ALARM: Final = "alarm.raised"
NOTED: Final = "alarm.noted"
JUDGED: Final = (PAYMENT, ACCOUNT, ALARM, NOTED, "note")
EACH: Final = frozenset({("echoes", "seen")})
NAMES: Final = ("limits", "echoes")
_ACCOUNTS: Final = ("order:1", "order:2", "order:3")
_ODDS: Final = {"pay": 50, "set_account": 14, "publish": 5, "disable": 1, "wander": 2, "nothing": 28}
_REACTS: Final = 0.4
_CRASHES: Final = 0.04
_AHEAD_MS: Final = CLOCK_AHEAD_MS_MAX + 60_000


class Rules:
    """Deeds about rules."""

    def __init__(self, world: Simulation, random: Random) -> None:
        self._world = world
        self.random = random

    async def begin(self) -> None:
        """Some founders have rules from the first on."""
        if self.random.random() < 0.7:
            for name in NAMES:
                await self._publish(self._world.machines[0], name)

    async def act(self) -> None:
        """One event, or none, and what nodes do by themselves."""
        what = self.random.choices(list(_ODDS), list(_ODDS.values()))[0]
        try:
            await getattr(self, what)()
        except Down:
            self._world.say(f"{what}: nobody is there")
        except AppendStopped as stopped:
            self._world.say(f"{what}: {stopped.error.code}")
        except LognodeError as error:
            self._world.say(f"{what}: {error.code}")
        for machine in self._world.machines:
            if self.random.random() < _REACTS:
                if machine.is_up and self.random.random() < _CRASHES:
                    await self._world.crash(machine, at_commit=True)
                await self.react(machine)

    async def settle(self, machines: Sequence[Machine]) -> int:
        """How many of these had something to react to; what is nowhere is waited for until nobody waits any longer."""
        written = sum([await self.react(machine) for machine in machines])
        for _ in machines:
            if not any(machine.is_waiting for machine in machines):
                break
            self._world.now_ms += 1000 * REACTION_LACK_S_MAX
            written += sum([await self.react(machine) for machine in machines])
        return written

    async def react(self, machine: Machine) -> bool:
        """Whether a machine wrote something because of what it holds."""
        try:
            written = await machine.react()
        except (LognodeError, Down) as error:
            self._world.say(f"{machine.name} reacts to nothing: {error!r}")
            return False
        if written:
            self._world.say(f"{machine.name} reacts")
        return written

    async def nothing(self) -> None:
        """Nobody does anything about rules."""

    async def wander(self) -> None:
        """A clock is set far ahead, so that nobody names yet what is written by it."""
        machine = self.random.choice(self._world.machines)
        machine.skew_ms = 0 if machine.skew_ms else _AHEAD_MS
        self._world.say(f"the clock of {machine.name} is {machine.skew_ms / 1000} s ahead")

    async def pay(self) -> None:
        """Some payments in one go."""
        random = self.random
        drafts = [
            Draft(
                kind=PAYMENT,
                data=encode({"account": random.choice(_ACCOUNTS), "amount": random.randint(1, 110), "at": number}),
                visibility=random.choice((0, 1, 1, 1, 1, 2)),
            )
            for number in range(random.choice((1, 1, 2, 4)))
        ]
        await self._append(drafts)

    async def set_account(self) -> None:
        """An account is frozen, or not any more."""
        random = self.random
        state = random.choice(("frozen", "open", "open"))
        draft = Draft(kind=ACCOUNT, subject=random.choice(_ACCOUNTS), data=encode({"state": state}))
        await self._append([draft])

    async def publish(self) -> None:
        """A root publishes a set, perhaps one that was in force before."""
        await self._publish(self._root(), self.random.choice(NAMES))

    async def disable(self) -> None:
        """A root puts a set out of force."""
        machine, name = self._root(), self.random.choice(NAMES)
        await machine.disable(name)
        self._world.say(f"{machine.name} disables {name}")

    async def _publish(self, machine: Machine, name: str) -> None:
        most, often = self.random.choice((90, 100)), self.random.choice((1, 2, 3))
        await machine.publish(json.dumps(_limits(most, often) if name == "limits" else _echoes(often)).encode())
        self._world.say(f"{machine.name} publishes {name}: {most} {often}")

    async def _append(self, drafts: list[Draft]) -> None:
        may = [machine for machine in self._world.machines if _may_write(machine)]
        machine = self.random.choice(may or self._world.machines)
        receipts = await machine.append(drafts)
        for receipt, draft in zip(receipts, drafts, strict=True):
            self._world.acknowledged[receipt.id] = (machine, draft.visibility)
        self._world.say(f"{machine.name} writes {drafts[0].kind}: {receipts[-1].id.hex()}")

    def _root(self) -> Machine:
        """A root member whose clock and word are good. Raises CallerError, Down."""
        roots = [
            machine
            for machine in self._world.machines
            if machine.is_up and self._world.is_honest(machine)
            if machine.membership.level(machine.keys.public) == Level.ROOT
        ]
        if not roots:
            raise CallerError("member.not_root", "no root is there")
        return self.random.choice(roots)


def _may_write(machine: Machine) -> bool:
    return machine.is_up and machine.membership.level(machine.keys.public) >= Level.TRUSTED


def _limits(most: int, often: int) -> dict[str, Any]:
    """Gate rules: rejections, trials and notes, by values, windows and newest spans."""

    def gate(name: str, kind: str, condition: dict[str, Any], *deeds: dict[str, Any], **reads: Any) -> dict[str, Any]:
        return {"id": name, "on": "draft", "kinds": [kind], "if": condition, "then": list(deeds), **reads}

    paid = {"paid": {"over": "20s", "by": "data.account"}}
    spent = {"spent": {"over": "30s", "by": "data.account", "sum": "data.amount"}}
    account = {"account": {"subject": "data.account", "kinds": [ACCOUNT]}}
    alarm = {"alarm": {"subject": "subject", "kinds": [ALARM]}}
    rules = [
        gate("too-much", PAYMENT, {"greater_than": {"data.amount": most}}, {"reject": "more than {vars.most}"}),
        gate("frozen", PAYMENT, {"equals": {"last.account.data.state": "frozen"}}, {"reject": "frozen"}, last=account),
        gate(
            "often", PAYMENT, {"greater_than": {"windows.paid": often}},
            {"add_tag": "often"}, {"set_metadata": {"paid": "{windows.paid}"}}, windows=paid,
        ),
        gate("trusted", ACCOUNT, {"equals": {"level": "trusted"}}, {"add_tag": "by-trusted"}),
        gate("much", PAYMENT, {"greater_than": {"windows.spent": 200}}, {"simulate": "{windows.spent}"}, windows=spent),
        gate("watched", "note", {"exists": "last.alarm.kind"}, {"note": "after {last.alarm.title}"}, last=alarm),
    ]  # fmt: skip
    return {"rules": "limits", "variables": {"most": most}, "do": rules}


def _echoes(often: int) -> dict[str, Any]:
    """Reactions of authors, of which one sets off another, and of each node."""
    alarm = {"kind": ALARM, "title": "{data.account} paid {windows.paid} times", "subject": "{data.account}"}
    rules = [
        {
            "id": "alarm",
            "on": "commit",
            "kinds": [PAYMENT],
            "windows": {"paid": {"over": "20s", "by": "data.account"}},
            "if": {"any": [{"contains_tag": "often"}, {"greater_than": {"windows.paid": often}}]},
            "then": [{"emit": alarm}],
        },
        {"id": "answer", "on": "commit", "kinds": [ALARM], "then": [{"emit": {"kind": NOTED, "title": "{title}"}}]},
        {"id": "seen", "on": "commit", "run": "each", "kinds": [ACCOUNT], "then": [{"note": "is {data.state}"}]},
    ]
    return {"rules": "echoes", "do": rules}
