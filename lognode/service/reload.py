"""Reading the settings again while the node runs, as SIGHUP asks for.

Owns which settings may change under way, and what became of the last reload. Knows nothing of what they do.
Invariant: settings that cannot be read, or cannot be applied, change nothing.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog
import trio

from lognode.core.errors import LognodeError, NodeFault
from lognode.service.notify import Notifier
from lognode.settings import Settings

# What takes effect under way; all else is fixed when the node starts.
HOT: Final = frozenset(
    "advertise allowed_hosts federation join_listen log_format log_level mirror_dir peer_listen search "
    "webhook_allow webhooks".split()
)
_log = structlog.get_logger(__name__)


class ReloadPlan(NamedTuple):
    """The settings in force from now on, and the names of those that changed and of those that wait for a restart."""

    settings: Settings
    changed: tuple[str, ...]
    waiting: tuple[str, ...]


def plan_reload(running: Settings, wanted: Settings) -> ReloadPlan:
    """What becomes of `wanted` while a node runs with `running`."""
    values: dict[str, Any] = {
        field.name: getattr(wanted, field.name)
        for field in fields(Settings)
        if getattr(wanted, field.name) != getattr(running, field.name)
    }
    hot = {name: value for name, value in values.items() if name in HOT}
    return ReloadPlan(replace(running, **hot), tuple(sorted(hot)), tuple(sorted(values.keys() - hot)))


class Configuration:
    """The settings in force now, and what became of the last reload."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.problem: LognodeError | None = None  # of the last reload
        self.waiting: tuple[str, ...] = ()  # settings that changed and wait for a restart

    @property
    def data_dir(self) -> Path:
        return self.settings.data_dir

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        return self.settings.allowed_hosts

    @property
    def federation(self) -> bool:
        return self.settings.federation


class Reloader:
    """Reloads a node's configuration whenever it is asked to.

    `load` reads the settings as at start; `apply` makes hot ones take effect, or raises and changes nothing.
    `status` says in a line what the node does when nothing is wrong.
    """

    def __init__(
        self,
        configuration: Configuration,
        notifier: Notifier,
        load: Callable[[], Settings],
        apply: Callable[[Settings], Awaitable[None]],
        status: str,
    ) -> None:
        self._configuration = configuration
        self._notifier = notifier
        self._load = load
        self._apply = apply
        self._status = status
        self._asked = trio.Event()

    def ask(self) -> None:
        """Ask for a reload; one that is under way is followed by another."""
        self._asked.set()

    async def run(self) -> None:
        """Reload when asked, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            self._notifier.reloading()
            self._notifier.ready(await self._reload())

    async def _reload(self) -> str:
        """Reload once; what came of it, in a line."""
        configuration = self._configuration
        try:
            plan = plan_reload(configuration.settings, self._load())
            await self._apply(plan.settings)
        except Exception as error:  # noqa: BLE001 - a node that runs is worth more than its next settings
            problem = _problem(error)
            configuration.problem = problem
            trace = error if problem.code == "node.internal" else None
            _log.error("reload_failed", code=problem.code, place=problem.place, detail=problem.detail, exc_info=trace)
            said = ": ".join(part for part in (problem.place, problem.detail or problem.spec.title) if part)
            return f"{self._status}; reload failed, nothing changed: {said} [{problem.code}]"
        configuration.settings = plan.settings
        configuration.problem = None
        configuration.waiting = plan.waiting
        _log.info("reloaded", changed=plan.changed, waiting_for_restart=plan.waiting)
        return self._status + (f"; restart for {', '.join(plan.waiting)}" if plan.waiting else "")


def _problem(error: Exception) -> LognodeError:
    """What a reload that failed of `error` has to say."""
    if isinstance(error, LognodeError):
        return error
    if isinstance(error, sqlite3.Error | OSError):
        return NodeFault("system.failed", str(error))
    return NodeFault("node.internal", f"{type(error).__name__}: {error}")
