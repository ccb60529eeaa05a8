"""What keeps a node equal with others, put together from its parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from lognode.core.clock import time_text
from lognode.core.errors import ERRORS
from lognode.engine.service.heads import Heads
from lognode.engine.service.meters import Meters
from lognode.federation.discovery.service import Discovery
from lognode.federation.invites.service.ground import Ground
from lognode.federation.sync.service.answers import Answers
from lognode.federation.sync.service.holdings import HeldSpans
from lognode.federation.sync.service.linking.links import Links
from lognode.federation.sync.service.notices import Notices
from lognode.federation.sync.service.outside import Outside
from lognode.federation.sync.service.state.ties import Ties
from lognode.federation.transport.dialer import Dialer
from lognode.federation.transport.tls import TlsIdentity
from lognode.identity.keys import NodeKeys
from lognode.protocol.messages import INSTANCE_BYTES
from lognode.timeline.agreement.alerts import Alert
from lognode.timeline.record import TenantRef


class Syncing(NamedTuple):
    """The side that dials, the side that answers, and what both tell of."""

    links: Links
    answers: Answers
    notices: Notices


@asynccontextmanager
async def open_syncing(
    ground: Ground, heads: Heads, meters: Meters, discovery: Discovery, former: NodeKeys | None
) -> AsyncIterator[Syncing]:
    """What keeps a node equal with others; its connections are closed at the end.

    `former` are the node's keys before a rotation that not all may have heard of.
    """
    identity, notices = TlsIdentity.from_seed(ground.keys.tls_seed()), Notices()
    old = TlsIdentity.from_seed(former.tls_seed()) if former else None
    async with Dialer(identity, meters.peers.count_bytes, discovery.directory.tried, old) as dialer:
        outside = Outside(
            world=ground.world,
            store=ground.store,
            writer=ground.writer,
            heads=heads,
            standings=ground.standings,
            meters=meters,
            notices=notices,
            directory=discovery.directory,
            dialer=dialer,
            held=HeldSpans(ground.store),
            own_key=ground.own_key,
            instance=ground.world.random_bytes(INSTANCE_BYTES),
            addresses=partial(discovery.whereabouts.addresses, "peer"),
        )
        ground.writer.alerts.heed = partial(_pass_on, notices)
        ties = Ties(outside)
        yield Syncing(Links(ties, outside), Answers(ties, outside), notices)


def _pass_on(notices: Notices, tenant: TenantRef, alert: Alert) -> None:
    """Tell those who listen of an alert."""
    spec, at = ERRORS[alert.code], time_text(alert.at_ms)
    notices.tell(tenant.number, "alert", code=alert.code, at=at, title=spec.title, detail=alert.detail, hint=spec.hint)
