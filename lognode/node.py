"""The composition root: builds a node's parts, owns the one nursery, starts and stops in order.

Start: directory lock, key, token, database, writer, API, and only then api.url, by which commands find the
node. Stop: the API finishes what it has begun, then the writer, then the database. The only module that knows
every part.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TextIO, cast

import structlog
import trio

from lognode import __version__
from lognode.api.about import routes as about
from lognode.api.app import create_app
from lognode.api.live import events, socket
from lognode.api.server.serve import serve_api
from lognode.api.services import Services
from lognode.api.spans import append, reads
from lognode.core.errors import NodeFault
from lognode.core.ids import b32encode, format_logline
from lognode.core.world import World
from lognode.engine.service.heads import Heads
from lognode.engine.service.indexer import Indexer
from lognode.engine.service.writer import Writer
from lognode.identity.keys import SEED_BYTES, NodeKeys
from lognode.identity.store import (
    create_key_file,
    find_passphrase,
    load_key_file,
    read_token,
    write_secret_file,
)
from lognode.settings import Settings, parse_listen
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store, file_fault, lock_directory, open_store

DATABASE_NAME: Final = "lognode.db"
KEY_NAME: Final = "node.key"
TOKEN_NAME: Final = "admin.token"  # noqa: S105 - the file's name, not a token
URL_NAME: Final = "api.url"
DEFAULT_TENANT: Final = "default"
# Every route of the API, a module each.
REGISTRATIONS: Final = (about.register, append.register, reads.register, events.register, socket.register)
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


def run_node(settings: Settings, announce: Callable[[NodeInfo, str], None]) -> None:
    """Run a node until SIGTERM or SIGINT; `announce` is told its name and URL once it can be used.

    Raises what init_node does, and NodeFault listen.taken.
    """
    _configure_log(settings)
    try:
        trio.run(_run, settings, announce)
    except BaseExceptionGroup as group:
        raise _cause_of(group) from group


def real_world() -> World:
    """This machine's clocks and random numbers."""
    return World(lambda: time.time_ns() // 1_000_000, time.monotonic, os.urandom)


class _Parts(NamedTuple):
    store: Store
    writer: Writer
    heads: Heads
    indexer: Indexer
    searched: list[TenantRef]  # the tenants with full text
    keys: NodeKeys
    token: bytes
    info: NodeInfo


async def _init(settings: Settings) -> NodeInfo:
    async with _open(settings, real_world()) as parts:
        return parts.info


async def _run(settings: Settings, announce: Callable[[NodeInfo, str], None]) -> None:
    world = real_world()
    started_s = world.monotonic_s()
    stopping = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with _open(settings, world) as parts, trio.open_nursery() as nursery:
            await nursery.start(parts.writer.run)
            for tenant in parts.searched:
                nursery.start_soon(parts.indexer.run, tenant)
            nursery.start_soon(_stop_on_signal, signals, stopping)
            services = Services(
                world=world,
                settings=settings,
                store=parts.store,
                writer=parts.writer,
                heads=parts.heads,
                node_public=parts.keys.public,
                admin_token=parts.token,
                started_s=started_s,
                version=__version__,
                stopping=stopping,
            )
            app = create_app(services, REGISTRATIONS)
            listen = parse_listen(settings.listen)
            serve = partial(
                serve_api,
                app,
                host=listen.host,
                port=listen.port,
                unix_socket=settings.unix_socket,
                stopping=stopping,
            )
            async with trio.open_nursery() as serving:
                url = await serving.start(serve)
                url_file = settings.data_dir / URL_NAME
                write_secret_file(url_file, url.encode() + b"\n")
                try:
                    announce(parts.info, url)
                    await stopping.wait()
                finally:
                    url_file.unlink(missing_ok=True)
            nursery.cancel_scope.cancel()


async def _stop_on_signal(signals: AsyncIterator[int], stopping: trio.Event) -> None:
    async for number in signals:
        if stopping.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt  # asked again at the terminal: no more patience
        stopping.set()


def _cause_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error that nurseries wrapped; the group itself where there are several."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
        found = found.exceptions[0]
    return found


@asynccontextmanager
async def _open(settings: Settings, world: World) -> AsyncIterator[_Parts]:
    """The parts of a node on its data directory, made where they are missing."""
    folder = settings.data_dir
    os.umask(0o077)  # what a node keeps is its own
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise file_fault(folder, error) from error
    async with lock_directory(folder):
        # The last daemon may have been killed: until this one listens, its old address may be anybody's.
        (folder / URL_NAME).unlink(missing_ok=True)
        keys, is_new = _load_keys(folder / KEY_NAME, folder / DATABASE_NAME, world)
        token = _load_token(folder / TOKEN_NAME, world)
        async with open_store(folder / DATABASE_NAME) as store:
            foreign = [feed for feed in store.feeds.values() if feed.own and feed.node_key != keys.public]
            if foreign:
                raise NodeFault("key.foreign", f"{folder / DATABASE_NAME} was written by another node")
            heads = Heads()
            writer = Writer(store, keys, world, heads)
            if DEFAULT_TENANT not in store.tenants:
                await writer.create_tenant(DEFAULT_TENANT)
            tenant = b32encode(store.tenants[DEFAULT_TENANT].tenant_id)
            info = NodeInfo(format_logline(keys.logline), tenant, folder, is_new)
            indexer = Indexer(store, heads)
            searched = await indexer.choose(settings.search)
            yield _Parts(store, writer, heads, indexer, searched, keys, token, info)


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


class _Stderr:
    """Stderr whose failure is nobody's: a closed terminal must not turn a commit into an error."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            # Not into Python's buffer: what stays there fails again at the end, and makes a clean exit a code 120.
            os.write(sys.stderr.fileno(), text.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


# Tracebacks without the values of local variables: those hold keys and tokens.
_trace_without_values = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def _configure_log(settings: Settings) -> None:
    """Log to stderr: lines for people, or JSON for a collector."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    is_json = settings.log_format == "json"
    shown = max(level, logging.WARNING)  # of the libraries, only what is wrong
    logging.basicConfig(stream=sys.stderr, level=shown, format="%(levelname)s %(name)s %(message)s")
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            _trace_without_values if is_json else structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer() if is_json else console,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Stderr())),
        cache_logger_on_first_use=True,
    )
