"""The composition root: builds a node's parts, owns the one nursery, starts and stops in order.

Start: directory lock, key, token, database, writer, API, and only then api.url, by which commands find the
node. Stop: the API finishes what it has begun, then the writer, then the database. The only module that knows
every part.
"""

import os
import platform
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from socket import socket as Socket  # noqa: N812 - `socket` is a module of the API here
from typing import Final, NamedTuple

import trio
from prometheus_client import CollectorRegistry

from lognode import __version__
from lognode.api.about import metrics
from lognode.api.about import routes as about
from lognode.api.app import create_app
from lognode.api.evidence import bundle
from lognode.api.live import events, socket
from lognode.api.server.serve import serve_api
from lognode.api.server.sockets import Listening, open_listening
from lognode.api.services import Services
from lognode.api.spans import append, reads
from lognode.core.errors import NodeFault
from lognode.core.ids import b32encode, format_logline
from lognode.core.world import World
from lognode.engine.service.heads import Heads
from lognode.engine.service.indexer import Indexer
from lognode.engine.service.meters import Meters, ProcessMeters
from lognode.engine.service.mirror import Mirror
from lognode.engine.service.supervisor import Supervisor, cause_of
from lognode.engine.service.writer import Writer
from lognode.federation.sync.service.notices import Notices
from lognode.identity.keys import SEED_BYTES, NodeKeys
from lognode.identity.store import (
    create_key_file,
    find_passphrase,
    load_key_file,
    read_token,
    write_secret_file,
)
from lognode.service.handover import take_sockets
from lognode.service.log import configure_log
from lognode.service.notify import Notifier
from lognode.service.reload import Configuration, Reloader
from lognode.service.signals import Signals, receive_signals
from lognode.service.watchdog import Watchdog
from lognode.settings import Settings, parse_listen
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store, lock_directory, make_directory, open_store

DATABASE_NAME: Final = "lognode.db"
KEY_NAME: Final = "node.key"
TOKEN_NAME: Final = "admin.token"  # noqa: S105 - the file's name, not a token
URL_NAME: Final = "api.url"
DEFAULT_TENANT: Final = "default"
# Every route of the API, a module each.
REGISTRATIONS: Final = (
    about.register,
    metrics.register,
    append.register,
    reads.register,
    bundle.register,
    events.register,
    socket.register,
)
_TOKEN_BYTES: Final = 32


class NodeInfo(NamedTuple):
    """What a node is called and where it keeps its files."""

    node: str  # LogLine ID
    tenant: str  # id of the default tenant
    data_dir: Path
    is_new: bool  # made by this call


def init_node(settings: Settings) -> NodeInfo:
    """Make key, token, database and default tenant where there are none; start nothing.

    Raises CallerError key.*, NodeFault data_dir.*, disk.full or database.*.
    """
    return trio.run(_init, settings)


def run_node(load: Callable[[], Settings], announce: Callable[[NodeInfo, str | None], None]) -> None:
    """Run a node until SIGTERM or SIGINT; `announce` is told its name and URL once it can be used.

    `load` reads the settings, now and on each SIGHUP; the URL is None where the API is switched off.
    Raises what init_node and `load` do, and NodeFault listen.taken.
    """
    handed = take_sockets(os.environ, os.getpid())  # before a file of ours can be taken for one of them
    settings = load()
    _log_as(settings)
    try:
        trio.run(_run, settings, handed, load, announce)
    except BaseExceptionGroup as group:
        raise cause_of(group) from group


def real_world() -> World:
    """This machine's clocks and random numbers."""
    return World(lambda: time.time_ns() // 1_000_000, time.monotonic, os.urandom)


class _Parts(NamedTuple):
    world: World
    store: Store
    writer: Writer
    heads: Heads
    meters: Meters
    supervisor: Supervisor
    notices: Notices
    indexer: Indexer
    searched: list[TenantRef]  # the tenants with full text
    keys: NodeKeys
    token: bytes
    info: NodeInfo


async def _init(settings: Settings) -> NodeInfo:
    async with _open(settings, real_world()) as parts:
        return parts.info


async def _run(
    settings: Settings,
    handed: Sequence[Socket],
    load: Callable[[], Settings],
    announce: Callable[[NodeInfo, str | None], None],
) -> None:
    stopping = trio.Event()
    notifier = Notifier(os.environ, os.getpid())
    configuration = Configuration(settings)
    with receive_signals() as signals, ExitStack() as closing:
        async with _open(settings, real_world()) as parts, trio.open_nursery() as nursery:
            listening = _listen(settings, handed, closing)
            await nursery.start(parts.writer.run)
            await nursery.start(parts.supervisor.run)
            _index(parts)
            _mirror(parts, settings)
            _serve(parts, configuration, listening, stopping)
            url = listening.url if listening else None
            status = f"API at {url}" if url else "API switched off"
            reloader = Reloader(configuration, notifier, load, partial(_apply, parts, configuration), status)
            nursery.start_soon(reloader.run)
            nursery.start_soon(_obey, signals, stopping, reloader)
            if notifier.watchdog_s is not None:
                nursery.start_soon(Watchdog(parts.store, notifier, notifier.watchdog_s).run)
            with _url_file(settings.data_dir / URL_NAME, url):
                announce(parts.info, url)
                notifier.ready(status)
                await stopping.wait()
            notifier.stopping()
            await parts.supervisor.finish("api")
            nursery.cancel_scope.cancel()


async def _obey(signals: Signals, stopping: trio.Event, reloader: Reloader) -> None:
    async for asked in signals:
        if asked == "stop":
            stopping.set()
        elif not stopping.is_set():
            reloader.ask()


def _listen(settings: Settings, handed: Sequence[Socket], closing: ExitStack) -> Listening | None:
    """What the API is served on, closed with `closing`; None where it is switched off."""
    for sock in handed:
        closing.callback(sock.close)
    if not settings.api:
        return None
    listen = parse_listen(settings.listen)
    listening = open_listening(listen.host, listen.port, settings.unix_socket, handed)
    closing.callback(listening.close)
    return listening


def _serve(parts: _Parts, configuration: Configuration, listening: Listening | None, stopping: trio.Event) -> None:
    """Have the API served, if there is something to serve it on."""
    if listening is None:
        parts.supervisor.switch_off("api")
        return
    services = Services(
        world=parts.world,
        settings=configuration,
        store=parts.store,
        writer=parts.writer,
        heads=parts.heads,
        meters=parts.meters,
        supervisor=parts.supervisor,
        notices=parts.notices,
        node_public=parts.keys.public,
        admin_token=parts.token,
        started_s=parts.world.monotonic_s(),
        version=__version__,
        stopping=stopping,
    )
    app = create_app(services, REGISTRATIONS)
    parts.supervisor.start("api", partial(serve_api, app, listening, stopping))


def _index(parts: _Parts) -> None:
    """Have every searched tenant's index follow its timeline."""
    for tenant in parts.searched:
        parts.supervisor.start(f"search.{_name(tenant)}", partial(parts.indexer.run, tenant))


def _mirror(parts: _Parts, settings: Settings) -> None:
    """Have the files of every tenant follow its timeline, where there is a directory for them."""
    if settings.mirror_dir is None:
        return
    mirror = Mirror(parts.store, parts.heads, settings.mirror_dir)
    for tenant in set(parts.store.tenants.values()):
        parts.supervisor.start(f"mirror.{_name(tenant)}", partial(mirror.run, tenant))


def _name(tenant: TenantRef) -> str:
    return tenant.alias or b32encode(tenant.tenant_id)


async def _apply(parts: _Parts, configuration: Configuration, settings: Settings) -> None:
    """Make new settings take effect, or raise and change nothing."""
    if settings.search != configuration.settings.search:
        await parts.supervisor.stop("search")
        try:
            parts.searched[:] = await parts.indexer.choose(settings.search)
        finally:
            _index(parts)
    if settings.mirror_dir != configuration.settings.mirror_dir:
        await parts.supervisor.stop("mirror")
        _mirror(parts, settings)
    _log_as(settings)


def _log_as(settings: Settings) -> None:
    configure_log(settings.log_level, settings.log_format, os.environ)


@contextmanager
def _url_file(path: Path, url: str | None) -> Iterator[None]:
    """While inside, commands find the node by this file."""
    if url is not None:
        write_secret_file(path, url.encode() + b"\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@asynccontextmanager
async def _open(settings: Settings, world: World) -> AsyncIterator[_Parts]:
    """The parts of a node on its data directory, made where they are missing."""
    folder = settings.data_dir
    os.umask(0o077)  # what a node keeps is its own
    make_directory(folder)
    async with lock_directory(folder):
        # The last daemon may have been killed: until this one listens, its old address may be anybody's.
        (folder / URL_NAME).unlink(missing_ok=True)
        keys, is_new = _load_keys(folder / KEY_NAME, folder / DATABASE_NAME, world)
        token = _load_token(folder / TOKEN_NAME, world)
        async with open_store(folder / DATABASE_NAME) as store:
            foreign = [feed for feed in store.feeds.values() if feed.own and feed.node_key != keys.public]
            if foreign:
                raise NodeFault("key.foreign", f"{folder / DATABASE_NAME} was written by another node")
            heads, meters = Heads(), _meters()
            writer = Writer(store, keys, world, heads, meters)
            if DEFAULT_TENANT not in store.tenants:
                await writer.create_tenant(DEFAULT_TENANT)
            tenant = b32encode(store.tenants[DEFAULT_TENANT].tenant_id)
            info = NodeInfo(format_logline(keys.logline), tenant, folder, is_new)
            indexer = Indexer(store, heads, meters)
            searched = await indexer.choose(settings.search)
            supervisor = Supervisor(world, meters)
            yield _Parts(
                world, store, writer, heads, meters, supervisor, Notices(), indexer, searched, keys, token, info
            )


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
