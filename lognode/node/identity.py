"""What a node does to its own identity while it does not run: declare a recovery key, use one, and rotate its key.

Holds the directory as a daemon does, with no more than the writer. Invariant: what is broken off can be done again and
goes on where it stopped; there is one whole key file at every moment.
"""

import os
import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import trio
from prometheus_client import CollectorRegistry

from lognode.core.access import Level
from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import FeedId, LogLineKind, SpanId, b32encode, format_logline, logline
from lognode.core.limits import CUTS_MAX
from lognode.core.world import World
from lognode.engine.service.heads import Heads
from lognode.engine.service.meters import Meters
from lognode.engine.service.standings import Standings
from lognode.engine.service.upkeep.supervisor import cause_of
from lognode.engine.service.writer import Writer
from lognode.identity.keys import SEED_BYTES, KeyPair, NodeKeys
from lognode.identity.store import create_key_file, find_passphrase, load_key_file, replace_key_file
from lognode.node.continuity import beginning
from lognode.timeline.control.identities import identity_recovery_data, identity_revoke_data, identity_rotate_data
from lognode.timeline.members import Membership, membership
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.controls import held_controls
from lognode.timeline.store.database import Store, lock_directory, open_store
from lognode.timeline.store.write import disown_feeds, newest_checkpoint

DATABASE_NAME: Final = "lognode.db"
KEY_NAME: Final = "node.key"
NEW_KEY_NAME: Final = "node.key.new"  # while a rotation is under way
FORMER_KEY_NAME: Final = "node.key.former"


class Declared(NamedTuple):
    """The tenants, by alias or id, in which a recovery key was declared, and those in which it was already."""

    declared: list[str]
    held: list[str]


class Rotated(NamedTuple):
    """A node's names before and after, the tenants that know, and the file that still holds the former key."""

    former: str
    node: str
    tenants: list[str]
    former_file: Path


class _Turn(NamedTuple):
    """A node with nothing of it running but the writer."""

    folder: Path
    world: World
    store: Store
    writer: Writer
    standings: Standings
    keys: NodeKeys

    @property
    def tenants(self) -> list[TenantRef]:
        return sorted(set(self.store.tenants.values()))

    def membership(self, tenant: TenantRef) -> Membership:
        return self.standings.of(tenant.number)


def declare_recovery(folder: Path, world: World, recovery_key: bytes, former: KeyPair | None) -> Declared:
    """Declare a recovery key in every tenant in which the node may write; `former` is the one that it replaces.

    Raises CallerError key.* or recovery.declared, NodeFault data_dir.*, database.* or those of the writer.
    """
    try:
        return trio.run(_declare, folder, world, recovery_key, former)
    except BaseExceptionGroup as group:
        raise cause_of(group) from group


def rotate_key(folder: Path, world: World, recovery: KeyPair | None) -> Rotated:
    """Give the node a new key, in every tenant of which it is a member; with `recovery` by that key.

    Raises CallerError key.*, recovery.unknown or rotation.refused, NodeFault data_dir.*, database.* or as the writer.
    """
    try:
        return trio.run(_rotate, folder, world, recovery)
    except BaseExceptionGroup as group:
        raise cause_of(group) from group


def revoke_nodes(folder: Path, world: World, recovery: KeyPair) -> list[tuple[str, str]]:
    """Remove every member whose recovery key this is, in all tenants where this node may write: tenants and nodes.

    Raises CallerError key.* or recovery.unknown, NodeFault data_dir.*, database.* or those of the writer.
    """
    try:
        return trio.run(_revoke, folder, world, recovery)
    except BaseExceptionGroup as group:
        raise cause_of(group) from group


async def settle_feeds(store: Store, own_key: bytes) -> None:
    """Let feeds of the node's former keys be those of another node. Raises NodeFault("key.foreign") for any others."""
    foreign = [feed for feed in store.feeds.values() if feed.own and feed.node_key != own_key]
    if not foreign:
        return
    for tenant in set(store.tenants.values()):
        held = await store.write(held_controls, tenant, store.feeds)
        members = membership(tenant.tenant_id, [control for control, _ in held.values()])
        if any(feed.tenant == tenant.number and not _leads_to(members, feed.node_key, own_key) for feed in foreign):
            raise NodeFault("key.foreign", f"{store.path} was written by another node")
    await store.write(disown_feeds, [feed.number for feed in foreign])
    await store.refresh()


def check_settled(folder: Path) -> None:
    """Pass if no rotation has begun that did not end. Raises NodeFault("rotation.unfinished")."""
    if (folder / NEW_KEY_NAME).exists():
        raise NodeFault("rotation.unfinished", str(folder / NEW_KEY_NAME))


def former_keys(folder: Path) -> NodeKeys | None:
    """The node's former keys, which peers may know it by still; None where there are none.

    Raises CallerError key.* as for the key itself.
    """
    path = folder / FORMER_KEY_NAME
    return NodeKeys.from_seed(load_key_file(path, find_passphrase(os.environ))) if path.exists() else None


def _leads_to(members: Membership, key: bytes, own_key: bytes) -> bool:
    seen = set[bytes]()
    while key != own_key and key not in seen:
        seen.add(key)
        member = members.members.get(key)
        key = member.successor if member and member.successor else key
    return key == own_key


@asynccontextmanager
async def _turn(folder: Path, world: World) -> AsyncIterator[_Turn]:
    path = folder / KEY_NAME
    if not path.exists():
        raise CallerError("key.missing", str(path))
    async with lock_directory(folder):
        keys = NodeKeys.from_seed(load_key_file(path, find_passphrase(os.environ)))
        async with (
            open_store(folder / DATABASE_NAME) as store,
            beginning(store, folder / KEY_NAME) as begun,
            trio.open_nursery() as nursery,
        ):
            await settle_feeds(store, keys.public)
            standings = Standings()
            impatient = begun._replace(doubt_s=0)  # nobody is asked
            writer = Writer(store, keys, world, Heads(), Meters(CollectorRegistry()), standings, impatient)
            await nursery.start(writer.run)
            yield _Turn(folder, world, store, writer, standings, keys)
            nursery.cancel_scope.cancel()


async def _declare(folder: Path, world: World, recovery_key: bytes, former: KeyPair | None) -> Declared:
    check_settled(folder)
    done = Declared([], [])
    async with _turn(folder, world) as turn:
        writable = [tenant for tenant in turn.tenants if _may_write(turn, tenant)]
        for tenant in writable:
            known = turn.membership(tenant).members[turn.keys.public].recovery_keys
            if known and recovery_key not in known and (former is None or former.public not in known):
                raise CallerError("recovery.declared", f"in the tenant {_name(tenant)}")
        for tenant in writable:
            known = turn.membership(tenant).members[turn.keys.public].recovery_keys
            if recovery_key in known:
                done.held.append(_name(tenant))
                continue

            def build(_members: Membership, after: list[SpanId], tenant: TenantRef = tenant) -> bytes:
                return identity_recovery_data(turn.keys, recovery_key, former, tenant.tenant_id, after)

            await turn.writer.append_control(tenant, "identity.recovery", build)
            done.declared.append(_name(tenant))
    return done


async def _rotate(folder: Path, world: World, recovery: KeyPair | None) -> Rotated:
    key_file, new_file = folder / KEY_NAME, folder / NEW_KEY_NAME
    async with _turn(folder, world) as turn:
        old = turn.keys
        _refuse_losses(turn, old.public, recovery)
        passphrase = find_passphrase(os.environ)
        if not new_file.exists():
            create_key_file(new_file, world.random_bytes(SEED_BYTES), passphrase, world.random_bytes)
        new = NodeKeys.from_seed(load_key_file(new_file, passphrase))
        tenants = []
        for tenant in turn.tenants:
            if _may_write(turn, tenant):
                await _rotate_in(turn, tenant, new, recovery)
            if _leads_to(turn.membership(tenant), old.public, new.public):
                tenants.append(_name(tenant))
        replace_key_file(key_file, new_file, folder / FORMER_KEY_NAME)
        await settle_feeds(turn.store, new.public)
    return Rotated(format_logline(old.logline), format_logline(new.logline), tenants, folder / FORMER_KEY_NAME)


async def _revoke(folder: Path, world: World, recovery: KeyPair) -> list[tuple[str, str]]:
    check_settled(folder)
    done = []
    async with _turn(folder, world) as turn:
        for tenant in turn.tenants:
            members = turn.membership(tenant).members.values() if _may_write(turn, tenant) else ()
            for member in members:
                if not member.removed and recovery.public in member.recovery_keys:
                    await _revoke_in(turn, tenant, member.node_key, recovery)
                    node = format_logline(logline(LogLineKind.NODE, member.node_key))
                    done.append((_name(tenant), node))
    if not done:
        raise CallerError("recovery.unknown", "no member that this node knows declared it")
    return done


async def _revoke_in(turn: _Turn, tenant: TenantRef, node_key: bytes, recovery: KeyPair) -> None:
    feeds = [feed for feed in turn.store.feeds.values() if feed.tenant == tenant.number and feed.node_key == node_key]
    # Should there be more than fit, those that were here first: what is left out is cut off whole.
    cuts = await turn.store.write(_heads, sorted(feeds, key=lambda feed: feed.number)[:CUTS_MAX])

    def build(_members: Membership, after: list[SpanId]) -> bytes:
        return identity_revoke_data(node_key, recovery, tenant.tenant_id, turn.keys.public, after, cuts)

    await turn.writer.append_control(tenant, "identity.revoke", build)


def _refuse_losses(turn: _Turn, key: bytes, recovery: KeyPair | None) -> None:
    """Refuse where the node could not say that it has another key, before it has one."""
    for tenant in turn.tenants:
        members = turn.membership(tenant)
        if members.level(key) == Level.OBSERVER:
            raise CallerError("rotation.refused", f"it only reads {_name(tenant)}, where it could not say so")
        if recovery and _may_write(turn, tenant) and recovery.public not in members.members[key].recovery_keys:
            raise CallerError("recovery.unknown", f"in the tenant {_name(tenant)}")


async def _rotate_in(turn: _Turn, tenant: TenantRef, new: NodeKeys, recovery: KeyPair | None) -> None:
    own = [feed for feed in turn.store.feeds.values() if feed.own and feed.tenant == tenant.number]
    cuts = await turn.store.write(_heads, own)
    old = turn.keys
    sign = recovery.sign if recovery else old.sign_binding

    def build(_members: Membership, after: list[SpanId]) -> bytes:
        return identity_rotate_data(old.public, sign, new, tenant.tenant_id, old.public, after, cuts)

    await turn.writer.append_control(tenant, "identity.rotate", build)


def _heads(conn: sqlite3.Connection, feeds: Collection[FeedRef]) -> Sequence[tuple[FeedId, int, bytes]]:
    """Size and root of each feed. The one that takes the rotation ends behind it whatever is said of it here."""
    heads = [(feed.feed_id, newest_checkpoint(conn, feed)) for feed in feeds]
    return [(feed_id, head.size, head.root) for feed_id, head in heads if head is not None]


def _may_write(turn: _Turn, tenant: TenantRef) -> bool:
    return turn.membership(tenant).level(turn.keys.public) >= Level.TRUSTED


def _name(tenant: TenantRef) -> str:
    return tenant.alias or b32encode(tenant.tenant_id)
