"""What is done about members: some are let in, given other levels, thrown out or revoked, or leave.

Owns the invites and recovery keys that are about. Invariant: a liar decides about nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lognode.core.access import Level
from lognode.identity.keys import KeyPair
from lognode.sim.machines.machine import Down, Machine
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

_NAMED: Final = 0.9
_INVITE_MS: Final = 600_000


class Members:
    """Deeds about members."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._random = world.random
        self._invites: list[tuple[KeyPair, Level]] = []
        self._words: list[tuple[Machine, KeyPair]] = []  # recovery keys and whose they are, the newest last

    async def join(self) -> None:
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

    async def invite(self) -> None:
        machine = self._world.honest()
        key, level = KeyPair(self._random.randbytes(32)), self._random.choice((Level.TRUSTED, Level.ROOT))
        uses, expires_ms = self._random.choice((1, 2)), self._world.now_ms + _INVITE_MS
        await machine.act(
            "invite.create",
            lambda _, after: invite_create_data(after, key.public, level, uses, expires_ms, approve=False),
        )
        self._invites.append((key, level))
        self._world.say(f"{machine.name} invites {uses}")

    async def revoke(self) -> None:
        machine = self._world.honest()
        invites = sorted(machine.membership.invites)
        if invites:
            revoked = self._random.choice(invites)
            await machine.act("invite.revoke", lambda _, after: invite_revoke_data(after, revoked))
            self._world.say(f"{machine.name} revokes an invite")

    async def adopt(self) -> None:
        """A root lets count what it holds of a feed that was cut."""
        machine = self._world.honest()
        tenant = machine.tenant
        if tenant is None:
            raise Down
        clock = read_clock(machine.disk.conn, tenant)
        cut = [feed for feed in sorted(machine.membership.cuts) if feed in clock]
        if cut:
            feed = self._random.choice(cut)
            await machine.act("feed.adopt", lambda _, after: feed_adopt_data(after, feed, *clock[feed]))
            self._world.say(f"{machine.name} adopts {feed.hex()[:8]}")

    async def remove(self) -> None:
        machine, target = self._world.honest(), self._world.any()
        cuts = self._cuts(machine, target)
        await machine.act("member.remove", lambda _, after: member_remove_data(after, target.keys.public, cuts, "no"))
        self._world.say(f"{machine.name} removes {target.name}")

    async def level(self) -> None:
        machine, target = self._world.honest(), self._world.any()
        level = self._random.choice((Level.OBSERVER, Level.TRUSTED, Level.ROOT))
        cuts = self._cuts(machine, target) if level < machine.membership.level(target.keys.public) else []
        await machine.act("member.level", lambda _, after: member_level_data(after, target.keys.public, level, cuts))
        self._world.say(f"{machine.name} makes {target.name} {level.name}")

    async def leave(self) -> None:
        """A node removes itself, which may be the last thing that anybody hears of it."""
        machine = self._world.honest()
        key, cuts = machine.keys.public, self._cuts(machine, machine)
        await machine.act("member.remove", lambda _, after: member_remove_data(after, key, cuts, "left"))
        self._world.say(f"{machine.name} leaves")

    async def declare(self) -> None:
        """A recovery key, or another one in the place of the one before."""
        machine, key = self._world.honest(), KeyPair(self._random.randbytes(32))
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

    async def disown(self) -> None:
        """Somebody with words that are a node's, or were, revokes it through any other node."""
        machine = self._world.honest()
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
