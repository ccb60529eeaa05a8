"""What sync works with: the parts of the node around it, as one frozen value."""

from collections.abc import Callable
from dataclasses import dataclass

from lognode.core.world import World
from lognode.engine.service.heads import Heads
from lognode.engine.service.meters import Meters
from lognode.engine.service.standings import Standings
from lognode.engine.service.writer import Writer
from lognode.federation.discovery.directory import Directory
from lognode.federation.sync.service.holdings import HeldSpans
from lognode.federation.sync.service.notices import Notices
from lognode.federation.transport.dialer import Dialer
from lognode.protocol.serve import Presence
from lognode.timeline.store.database import Store


@dataclass(frozen=True, slots=True)
class Outside:
    """The parts of a node that sync uses."""

    world: World
    store: Store
    writer: Writer
    heads: Heads
    standings: Standings
    meters: Meters
    notices: Notices
    directory: Directory
    dialer: Dialer
    held: HeldSpans
    own_key: bytes  # 32 bytes, public
    instance: bytes  # random, of this process
    addresses: Callable[[], tuple[str, ...]]  # where this node listens, as it tells others

    @property
    def presence(self) -> Presence:
        """What this node says of itself to members."""
        return Presence(self.instance, self.addresses())
