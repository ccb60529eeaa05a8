"""What people do to machines meanwhile: write, let in, throw out, split the network, pull plugs.

Owns the odds. Invariant: what is remembered as acknowledged was acknowledged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.core.errors import LognodeError
from lognode.core.span import VISIBILITIES
from lognode.engine.receipt import AppendStopped
from lognode.identity.keys import KeyPair
from lognode.sim.exchange import Exchange
from lognode.sim.machine import Down, Machine
from lognode.timeline.control.identities import identity_recovery_data, identity_revoke_data
from lognode.timeline.control.invites import invite_create_data, invite_id, invite_revoke_data
from lognode.timeline.control.members import (
    Cuts,
    feed_adopt_data,
    join_statement,
    member_admit_data,
    member_level_data,
    member_remove_data,
    sign_join,
)
from lognode.timeline.store.read.ranges import read_clock

if TYPE_CHECKING:
    from lognode.sim.simulation import Simulation

_ODDS: Final = {
    "write": 36,
    "run": 36,
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
}
_RECOVERIES: Final = {"leave": 1, "declare": 6, "disown": 6}
_FORK: Final = 0.1
_NAMED: Final = 0.9
_INVITE_MS: Final = 600_000


class Workload:
    """What happens next, by chance."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._random = world.random
        self._invites: list[tuple[KeyPair, Level]] = []
        self._words: list[tuple[Machine, KeyPair]] = []  # recovery keys and whose they are, the newest last
        self._odds = {**_ODDS, **_RECOVERIES} if world.scenario.recoveries else _ODDS
        self._acts: Mapping[str, Callable[[], Awaitable[None]]] = {
            "write": self._write,
            "run": self._run,
            "join": self._join,
            "invite": self._invite,
            "revoke": self._revoke,
            "adopt": self._adopt,
            "remove": self._remove,
            "level": self._level,
            "split": self._split,
            "unite": self._unite,
            "crash": self._crash,
            "restart": self._restart,
            "fork": self._fork,
            "leave": self._leave,
            "declare": self._declare,
            "disown": self._disown,
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

    def _any(self) -> Machine:
        return self._random.choice(self._world.machines)

    def _honest(self) -> Machine:
        """A machine whose acts nobody keeps from the others."""
        liar = self._world.liar
        return self._random.choice([found for found in self._world.machines if not liar or found.name != liar.name])

    async def _write(self) -> None:
        machine, random = self._any(), self._random
        drafts = [
            Draft(
                kind=random.choice(("order.paid", "note", "sensor.read")),
                data=encode(["event", self._world.events, number, "x" * random.choice((1, 30, 300))]),
                title=random.choice((None, "a title")),
                visibility=random.choice((0, 1, 1, 1, 2)),
            )
            for number in range(random.choice((1, 1, 1, 3, 20)))
        ]
        receipts = await machine.append(drafts)
        for receipt, draft in zip(receipts, drafts, strict=True):
            self._world.acknowledged[receipt.id] = (machine, draft.visibility)
        said = ", ".join(VISIBILITIES[draft.visibility][:3] for draft in drafts)
        self._world.say(f"{machine.name} writes {said}: {receipts[-1].id.hex()}")

    async def _fork(self) -> None:
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
                machine.end()
                machine.disk = older
                await self._world.restart(machine)

    async def _run(self) -> None:
        dialer, answerer = self._random.sample(self._world.machines, 2)
        await self._world.begin(dialer, answerer)

    async def _join(self) -> None:
        """A machine that is none yet becomes a member, by an invite or a root's own act."""
        outside = [machine for machine in self._world.machines if not machine.tenant_id]
        roots = [machine for machine in self._world.machines if machine.is_up and self._is_root(machine)]
        if not outside or not roots:
            return
        joiner, root = self._random.choice(outside), self._random.choice(roots)
        if not joiner.is_up or not self._world.network.reaches(joiner.name, root.name):
            raise Down
        assert root.tenant_id is not None
        invite, level = None, self._random.choice((Level.OBSERVER, Level.TRUSTED, Level.TRUSTED, Level.ROOT))
        if self._invites and self._random.random() < 0.5:
            invite, level = self._random.choice(self._invites)
        invited = invite_id(root.tenant_id, invite.public) if invite else None
        nonce = self._random.randbytes(16)
        statement = join_statement(joiner.keys, root.tenant_id, invited, root.keys.public, level, nonce)
        signatures = sign_join(joiner.keys, root.tenant_id, statement, invite)
        await root.act("member.admit", lambda _, after: member_admit_data(after, statement, signatures))
        self._world.say(f"{root.name} admits {joiner.name} as {level.name}")
        await joiner.adopt(root.tenant_id, root.membership.members)

    async def _invite(self) -> None:
        machine = self._honest()
        key, level = KeyPair(self._random.randbytes(32)), self._random.choice((Level.TRUSTED, Level.ROOT))
        uses, expires_ms = self._random.choice((1, 2)), self._world.now_ms + _INVITE_MS
        await machine.act(
            "invite.create",
            lambda _, after: invite_create_data(after, key.public, level, uses, expires_ms, approve=False),
        )
        self._invites.append((key, level))
        self._world.say(f"{machine.name} invites {uses}")

    async def _revoke(self) -> None:
        machine = self._honest()
        invites = sorted(machine.membership.invites)
        if invites:
            revoked = self._random.choice(invites)
            await machine.act("invite.revoke", lambda _, after: invite_revoke_data(after, revoked))
            self._world.say(f"{machine.name} revokes an invite")

    async def _adopt(self) -> None:
        """A root lets count what it holds of a feed that was cut."""
        machine = self._honest()
        tenant = machine.tenant
        if tenant is None:
            raise Down
        clock = read_clock(machine.disk.conn, tenant)
        cut = [feed for feed in sorted(machine.membership.cuts) if feed in clock]
        if cut:
            feed = self._random.choice(cut)
            await machine.act("feed.adopt", lambda _, after: feed_adopt_data(after, feed, *clock[feed]))
            self._world.say(f"{machine.name} adopts {feed.hex()[:8]}")

    async def _remove(self) -> None:
        machine, target = self._honest(), self._any()
        cuts = self._cuts(machine, target)
        await machine.act("member.remove", lambda _, after: member_remove_data(after, target.keys.public, cuts, "no"))
        self._world.say(f"{machine.name} removes {target.name}")

    async def _level(self) -> None:
        machine, target = self._honest(), self._any()
        level = self._random.choice((Level.OBSERVER, Level.TRUSTED, Level.ROOT))
        cuts = self._cuts(machine, target) if level < machine.membership.level(target.keys.public) else []
        await machine.act("member.level", lambda _, after: member_level_data(after, target.keys.public, level, cuts))
        self._world.say(f"{machine.name} makes {target.name} {level.name}")

    async def _leave(self) -> None:
        """A node removes itself, which may be the last thing that anybody hears of it."""
        machine = self._honest()
        key, cuts = machine.keys.public, self._cuts(machine, machine)
        await machine.act("member.remove", lambda _, after: member_remove_data(after, key, cuts, "left"))
        self._world.say(f"{machine.name} leaves")

    async def _declare(self) -> None:
        """A recovery key, or another one in the place of the one before."""
        machine, key = self._honest(), KeyPair(self._random.randbytes(32))
        if machine.tenant is None:
            raise Down
        tenant = machine.tenant.tenant_id
        former = next((words for owner, words in reversed(self._words) if owner is machine), None)
        await machine.act(
            "identity.recovery",
            lambda _, after: identity_recovery_data(machine.keys, key.public, former, tenant, after),
        )
        self._words.append((machine, key))
        self._world.say(f"{machine.name} declares a recovery key")

    async def _disown(self) -> None:
        """Somebody with words that are a node's, or were, revokes it through any other node."""
        machine = self._honest()
        if machine.tenant is None or not self._words:
            raise Down
        tenant, (target, words) = machine.tenant.tenant_id, self._random.choice(self._words)
        cuts = self._cuts(machine, target) if self._random.random() < 0.5 else []
        await machine.act(
            "identity.revoke",
            lambda _, after: identity_revoke_data(target.keys.public, words, tenant, machine.keys.public, after, cuts),
        )
        self._world.say(f"{machine.name} revokes {target.name}")

    def _cuts(self, machine: Machine, target: Machine) -> Cuts:
        """What a machine holds of another one's feeds."""
        tenant = machine.tenant
        if tenant is None:
            raise Down
        store = machine.process.store
        clock = read_clock(machine.disk.conn, tenant)
        feeds = [feed for feed in store.feeds.values() if feed.node_key == target.keys.public]
        # One that is left out goes whole.
        named = [feed.feed_id for feed in feeds if feed.feed_id in clock and self._random.random() < _NAMED]
        return [(feed, *clock[feed]) for feed in named]

    def _is_root(self, machine: Machine) -> bool:
        liar = self._world.liar
        is_honest = liar is None or machine.name != liar.name
        return is_honest and machine.membership.level(machine.keys.public) is Level.ROOT

    async def _split(self) -> None:
        self._world.say(f"the network splits: {self._world.network.split()}")

    async def _unite(self) -> None:
        self._world.network.join()
        self._world.say("the network is whole")

    async def _crash(self) -> None:
        await self._world.crash(self._any())

    async def _restart(self) -> None:
        for machine in self._down():
            await self._world.restart(machine)

    def _down(self) -> Sequence[Machine]:
        return [machine for machine in self._world.machines if not machine.is_up]
