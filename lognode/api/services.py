"""What the API works with: the node's parts as one frozen value.

Built by the composition root and handed to `create_app`; nothing here is looked up by name or replaced
later; `settings` alone changes, when a reload changes what is in force. The API may not import the settings module,
so it states the few settings that it reads.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

import trio

from lognode.core.errors import LognodeError
from lognode.core.world import World
from lognode.engine.service.heads import Heads
from lognode.engine.service.meters import Meters
from lognode.engine.service.ruling.hindsight.backtest import Backtest
from lognode.engine.service.upkeep.supervisor import Supervisor
from lognode.engine.service.writer import Writer
from lognode.engine.subscriptions.service.desk import Subscriptions
from lognode.engine.tasks.service.runner import Tasks
from lognode.federation.discovery.service import Discovery
from lognode.federation.invites.service.desk import Desk
from lognode.federation.sync.service.linking.links import Links
from lognode.federation.sync.service.notices import Notices
from lognode.timeline.store.database import Store


class ApiSettings(Protocol):
    """What the API reads of the settings in force; `problem` and `waiting` are of their last reload."""

    @property
    def data_dir(self) -> Path: ...

    @property
    def allowed_hosts(self) -> tuple[str, ...]: ...

    @property
    def federation(self) -> bool: ...

    @property
    def problem(self) -> LognodeError | None: ...

    @property
    def waiting(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running node that requests use."""

    world: World
    settings: ApiSettings
    store: Store
    writer: Writer
    heads: Heads
    meters: Meters
    supervisor: Supervisor
    notices: Notices
    tasks: Tasks
    subscriptions: Subscriptions
    links: Links
    discovery: Discovery
    desk: Desk
    node_public: bytes  # 32 bytes
    admin_token: bytes = field(repr=False)  # as in admin.token, without line end
    started_s: float  # world.monotonic_s() at start
    version: str
    stopping: trio.Event  # set once the node begins to stop; live tails end then
    trials: WeakSet[Backtest] = field(default_factory=WeakSet)  # of rule sets, as long as they run
    parsing: trio.CapacityLimiter = field(
        default_factory=lambda: trio.CapacityLimiter(1)
    )  # of large drafts, in threads
