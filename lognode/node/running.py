"""The composition root: owns the one nursery, starts and stops in order.

Start: the node's parts, then the writer, its subsystems, and only then api.url, by which commands find the node.
Stop: the API and tasks finish what they have begun, then the writer, then the database.
"""

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from socket import socket as Socket  # noqa: N812 - `socket` is a module of the API here

import structlog
import trio

from lognode.core.limits import GC_OBJECTS
from lognode.engine.service.upkeep.supervisor import cause_of
from lognode.identity.store import write_secret_file
from lognode.node import subsystems
from lognode.node.parts import URL_NAME, NodeInfo, open_parts, real_world
from lognode.service.handover import take_sockets
from lognode.service.notify import Notifier
from lognode.service.reload import Configuration, Reloader
from lognode.service.signals import Signals, receive_signals
from lognode.service.watchdog import Watchdog
from lognode.settings import Settings

_log = structlog.get_logger(__name__)


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
    subsystems.log_as(settings)
    try:
        trio.run(_run, settings, handed, load, announce)
    except BaseExceptionGroup as group:
        raise cause_of(group) from group


async def _init(settings: Settings) -> NodeInfo:
    async with open_parts(settings, real_world()) as parts:
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
        async with open_parts(settings, real_world()) as parts, trio.open_nursery() as nursery:
            listening = subsystems.open_api(settings, handed, closing)
            await nursery.start(parts.writer.run)
            await nursery.start(parts.supervisor.run)
            subsystems.start_indexes(parts)
            subsystems.start_mirrors(parts, settings)
            subsystems.start_merging(parts)
            subsystems.start_rules(parts)
            subsystems.start_conflicts(parts)
            subsystems.start_discovery(parts)
            subsystems.start_federation(parts, settings)
            subsystems.start_restoring(parts)
            subsystems.start_telling(parts)
            subsystems.start_tasks(parts, settings, stopping)
            subsystems.start_subscriptions(parts)
            subsystems.start_api(parts, configuration, listening, stopping)
            url = listening.url if listening else None
            status = f"API at {url}" if url else "API switched off"
            reloader = Reloader(
                configuration, notifier, load, partial(subsystems.apply_settings, parts, configuration), status
            )
            nursery.start_soon(reloader.run)
            nursery.start_soon(_obey, signals, stopping, reloader)
            if notifier.watchdog_s is not None:
                nursery.start_soon(Watchdog(parts.store, notifier, notifier.watchdog_s).run)
            await parts.desk.joins.resume()
            _settle_memory()
            joined = partial(subsystems.follow_tenants, parts, configuration)
            with _url_file(settings.data_dir / URL_NAME, url), parts.desk.joins.telling(joined):
                announce(parts.info, url)
                notifier.ready(status)
                await stopping.wait()
            notifier.stopping()
            await parts.supervisor.finish("api")
            await parts.supervisor.finish("tasks")
            nursery.cancel_scope.cancel()


def _settle_memory() -> None:
    """Spare the search for garbage what is none.

    What starting made stays until the end, and would be looked through each time, for 50 ms. The entries of a message
    are thousands of objects that soon go by themselves.
    """
    gc.freeze()
    gc.set_threshold(GC_OBJECTS, *gc.get_threshold()[1:])


async def _obey(signals: Signals, stopping: trio.Event, reloader: Reloader) -> None:
    async for asked in signals:
        if asked == "stop":
            _log.info("node_stopping", hint="Ctrl-C once more ends it at once")
            stopping.set()
        elif not stopping.is_set():
            reloader.ask()


@contextmanager
def _url_file(path: Path, url: str | None) -> Iterator[None]:
    """While inside, commands find the node by this file."""
    if url is not None:
        write_secret_file(path, url.encode() + b"\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
