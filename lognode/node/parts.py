"""The parts of a node on its data directory: made where they are missing, opened in order, closed in the other.

Directory lock, key, token, database, writer. Starts nothing.
"""

import os
import platform
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry

from lognode import __version__
from lognode.core.errors import NodeFault
from lognode.core.ids import b32encode, format_logline
from lognode.core.world import World
from lognode.engine.service.heads import Heads
from lognode.engine.service.meters import Meters, ProcessMeters
from lognode.engine.service.standings import Standings
from lognode.engine.service.upkeep.indexer import Indexer
from lognode.engine.service.upkeep.supervisor import Supervisor
from lognode.engine.service.writer import Writer
from lognode.engine.subscriptions.service.desk import Subscriptions
from lognode.engine.tasks.service.runner import Tasks
from lognode.engine.tasks.service.webhooks import Webhooks
from lognode.federation.discovery.directory import Directory
from lognode.federation.discovery.service import Discovery
from lognode.federation.discovery.whereabouts import Whereabouts
from lognode.federation.invites.messages import Peer
from lognode.federation.invites.service.desk import Desk
from lognode.federation.invites.service.ground import Ground
from lognode.federation.sync.service.answers import Answers
from lognode.federation.sync.service.linking.links import Links
from lognode.federation.sync.service.notices import Notices
from lognode.federation.transport.contact import Contact
from lognode.federation.transport.redeemer import redeem
from lognode.identity.keys import SEED_BYTES, NodeKeys
from lognode.identity.store import (
    create_key_file,
    find_passphrase,
    load_key_file,
    read_token,
    write_secret_file,
)
from lognode.node.continuity import beginning
from lognode.node.identity import DATABASE_NAME, KEY_NAME, check_settled, former_keys, settle_feeds
from lognode.node.syncing import open_syncing
from lognode.settings import Settings
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store, lock_directory, make_directory, open_store

TOKEN_NAME: Final = "admin.token"  # noqa: S105 - the file's name, not a token
URL_NAME: Final = "api.url"
DEFAULT_TENANT: Final = "default"
_TOKEN_BYTES: Final = 32


class NodeInfo(NamedTuple):
    """What a node is called and where it keeps its files."""

    node: str  # LogLine ID
    tenant: str  # id of the default tenant
    data_dir: Path
    is_new: bool  # made by this call


class Parts(NamedTuple):
    world: World
    store: Store
    writer: Writer
    heads: Heads
    standings: Standings
    meters: Meters
    supervisor: Supervisor
    notices: Notices
    links: Links
    answers: Answers
    discovery: Discovery
    desk: Desk
    indexer: Indexer
    tasks: Tasks
    subscriptions: Subscriptions
    searched: list[TenantRef]  # the tenants with full text
    keys: NodeKeys
    token: bytes
    info: NodeInfo


def real_world() -> World:
    """This machine's clocks and random numbers."""
    return World(lambda: time.time_ns() // 1_000_000, time.monotonic, os.urandom)


@asynccontextmanager
async def open_parts(settings: Settings, world: World) -> AsyncIterator[Parts]:
    """The parts of a node on its data directory, made where they are missing."""
    folder = settings.data_dir
    os.umask(0o077)  # what a node keeps is its own
    make_directory(folder)
    async with lock_directory(folder):
        # The last daemon may have been killed: until this one listens, its old address may be anybody's.
        (folder / URL_NAME).unlink(missing_ok=True)
        check_settled(folder)
        keys, is_new = _load_keys(folder / KEY_NAME, folder / DATABASE_NAME, world)
        token = _load_token(folder / TOKEN_NAME, world)
        async with open_store(folder / DATABASE_NAME) as store, AsyncExitStack() as closing:
            await settle_feeds(store, keys.public)
            heads, meters, standings = Heads(), _meters(), Standings()
            begun = await closing.enter_async_context(beginning(store, folder / KEY_NAME))
            writer = Writer(store, keys, world, heads, meters, standings, begun)
            if DEFAULT_TENANT not in store.tenants:
                await writer.create_tenant(DEFAULT_TENANT)
            tenant = b32encode(store.tenants[DEFAULT_TENANT].tenant_id)
            info = NodeInfo(format_logline(keys.logline), tenant, folder, is_new)
            indexer = Indexer(store, heads, meters)
            searched = await indexer.choose(settings.search)
            discovery = await _open_discovery(settings, world, store, keys)
            ground = Ground(store, writer, standings, world, keys)
            syncing = await closing.enter_async_context(
                open_syncing(ground, heads, meters, discovery, former_keys(folder))
            )
            webhooks = Webhooks(world)
            yield Parts(
                world=world,
                store=store,
                writer=writer,
                heads=heads,
                standings=standings,
                meters=meters,
                supervisor=Supervisor(world, meters),
                notices=syncing.notices,
                links=syncing.links,
                answers=syncing.answers,
                discovery=discovery,
                desk=_make_desk(ground, discovery, syncing.links),
                indexer=indexer,
                tasks=Tasks(store, writer, world, meters.tasks, keys.logline, webhooks),
                subscriptions=Subscriptions(store, heads, world, webhooks, keys.public),
                searched=searched,
                keys=keys,
                token=token,
                info=info,
            )


async def _open_discovery(settings: Settings, world: World, store: Store, keys: NodeKeys) -> Discovery:
    """What is known of where nodes are, and how to find out more."""
    directory = Directory(store, world, settings.peers)
    await directory.load()
    return Discovery(directory, Whereabouts(directory, world, keys.public), world, is_on=settings.discovery)


def _make_desk(ground: Ground, discovery: Discovery, links: Links) -> Desk:
    """What is done about invites and members."""

    async def ask(address: str, tls_key: bytes, body: bytes) -> bytes:
        return await redeem([address], [tls_key], body)

    def adopted(tenant: TenantRef, peers: tuple[Peer, ...]) -> None:
        links.attend(tenant, [Contact(*peer) for peer in peers])

    def is_refused(tenant: TenantRef) -> bool:
        return links.trouble(tenant) is not None

    whereabouts = discovery.whereabouts
    return Desk.of(ground, discovery.directory, whereabouts, ask=ask, adopted=adopted, is_refused=is_refused)


def _meters() -> Meters:
    """The node's metrics, those of its process among them."""
    registry = CollectorRegistry()
    ProcessMeters(registry=registry)
    meters = Meters(registry)
    versions = {"version": __version__, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    meters.build.info(versions)
    return meters


def _load_keys(path: Path, database: Path, world: World) -> tuple[NodeKeys, bool]:
    """The node's keys, made if this is the first start. A database without its key is not given a new one."""
    passphrase = find_passphrase(os.environ)
    if path.exists():
        return NodeKeys.from_seed(load_key_file(path, passphrase)), False
    if database.exists():
        raise NodeFault("key.foreign", f"{database} exists, but {path} does not")
    seed = world.random_bytes(SEED_BYTES)
    create_key_file(path, seed, passphrase, world.random_bytes)
    return NodeKeys.from_seed(seed), True


def _load_token(path: Path, world: World) -> bytes:
    if not path.exists():
        write_secret_file(path, b32encode(world.random_bytes(_TOKEN_BYTES)).encode() + b"\n")
    return read_token(path)
