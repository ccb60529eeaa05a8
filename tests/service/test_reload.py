"""Which settings change under way, and that settings which cannot be applied change nothing."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import trio
import trio.testing
from structlog.testing import capture_logs

from lognode.core.errors import CallerError
from lognode.service.notify import Notifier
from lognode.service.reload import HOT, Configuration, Reloader, plan_reload
from lognode.settings import Settings

OLD = Settings(Path("/d"))
NEW = replace(OLD, log_level="debug", search=("default",), listen="127.0.0.1:1", api=False)
ALREADY = replace(OLD, log_level="debug", search=("default",))


def test_what_can_change_changes_and_the_rest_waits_for_a_restart() -> None:
    assert plan_reload(OLD, NEW) == (ALREADY, ("log_level", "search"), ("api", "listen"))
    assert plan_reload(ALREADY, NEW) == (ALREADY, (), ("api", "listen"))  # and is said again
    assert plan_reload(ALREADY, OLD) == (OLD, ("log_level", "search"), ())


def test_a_setting_is_fixed_unless_it_says_that_it_is_not() -> None:
    assert {field.name for field in fields(Settings)} > HOT


class Heard(Notifier):
    """A notifier whose messages can be read, by what they tell."""

    def __init__(self) -> None:
        super().__init__({}, 0)
        self.messages: list[str] = []

    def reloading(self) -> None:
        self.messages.append("reloading")

    def ready(self, status: str) -> None:
        self.messages.append(status)


async def reload(configuration: Configuration, load: Callable[[], Settings], *, apply: Any = None) -> list[str]:
    """What the manager hears of one reload."""

    async def accept(_: Settings) -> None:
        await trio.lowlevel.checkpoint()

    heard = Heard()
    reloader = Reloader(configuration, heard, load, apply or accept, "fine")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reloader.run)
        reloader.ask()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return heard.messages


async def test_a_reload_is_told_from_beginning_to_end() -> None:
    configuration = Configuration(OLD)

    assert await reload(configuration, lambda: NEW) == ["reloading", "fine; restart for api, listen"]
    assert configuration.settings == ALREADY
    assert list(configuration.waiting) == ["api", "listen"]
    assert await reload(configuration, lambda: OLD) == ["reloading", "fine"]
    assert configuration.settings == OLD
    assert list(configuration.waiting) == []
    assert configuration.problem is None


async def test_settings_that_cannot_be_read_or_applied_change_nothing() -> None:
    def refuse(*_: object) -> Settings:
        raise CallerError("settings.unknown", "'listn' is not a setting", place="lognode.toml:3")

    async def fail(_: Settings) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(5, "the disk is gone")

    configuration = Configuration(OLD)

    (_, status) = await reload(configuration, refuse)
    said = "lognode.toml:3: 'listn' is not a setting [settings.unknown]"
    assert status == f"fine; reload failed, nothing changed: {said}"
    assert configuration.settings is OLD
    assert configuration.problem is not None
    assert configuration.problem.code == "settings.unknown"
    (_, status) = await reload(configuration, lambda: NEW, apply=fail)
    assert "the disk is gone [system.failed]" in status
    assert configuration.settings is OLD
    await reload(configuration, lambda: NEW)
    assert configuration.problem is None


async def test_a_mistake_of_ours_is_told_as_one_and_changes_nothing_either() -> None:
    async def stumble(_: Settings) -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("by us")

    configuration = Configuration(OLD)
    with capture_logs() as logged:
        (_, status) = await reload(configuration, lambda: NEW, apply=stumble)

    assert status == "fine; reload failed, nothing changed: ZeroDivisionError: by us [node.internal]"
    assert configuration.settings is OLD
    (entry,) = logged
    assert isinstance(entry["exc_info"], ZeroDivisionError)
