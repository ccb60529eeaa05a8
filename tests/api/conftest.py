"""The parts of a node on a new database, without its sockets."""

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from prometheus_client import CollectorRegistry

from lognode.api.services import Services
from lognode.core.errors import PeerError
from lognode.core.world import World
from lognode.engine.service.heads import Heads
from lognode.engine.service.meters import Meters
from lognode.engine.service.standings import Standings
from lognode.engine.service.upkeep.supervisor import Supervisor
from lognode.engine.service.writer import Writer
from lognode.engine.subscriptions.service.desk import Subscriptions
from lognode.engine.tasks.service.runner import Tasks
from lognode.engine.tasks.service.webhooks import Webhooks
from lognode.federation.discovery.directory import Directory
from lognode.federation.discovery.service import Discovery
from lognode.federation.discovery.whereabouts import Whereabouts
from lognode.federation.invites.service.desk import Desk
from lognode.federation.invites.service.ground import Ground
from lognode.federation.sync.service.holdings import HeldSpans
from lognode.federation.sync.service.linking.links import Links
from lognode.federation.sync.service.notices import Notices
from lognode.federation.sync.service.outside import Outside
from lognode.federation.sync.service.state.ties import Ties
from lognode.federation.transport.dialer import Dialer
from lognode.federation.transport.tls import TlsIdentity
from lognode.identity.keys import NodeKeys
from lognode.service.reload import Configuration
from lognode.settings import Settings
from lognode.timeline.store.database import open_store

TOKEN = "a-token-of-the-tests"


def now() -> int:
    return time.time_ns() // 1_000_000


async def nobody_answers(address: str, _tls_key: bytes, _body: bytes) -> bytes:
    raise PeerError("peer.unreachable", address)


@asynccontextmanager
async def open_services(settings: Settings, now_ms: Callable[[], int] = now) -> AsyncIterator[Services]:
    """Services of a node with the default tenant, whose writer runs."""
    world = World(now_ms, time.monotonic, os.urandom)
    async with open_store(settings.data_dir / "lognode.db") as store, trio.open_nursery() as nursery:
        keys = NodeKeys.from_seed(bytes(range(32)))
        heads, meters, standings = Heads(), Meters(CollectorRegistry()), Standings()
        writer = Writer(store, keys, world, heads, meters, standings)
        await writer.create_tenant("default")
        await nursery.start(writer.run)
        directory = Directory(store, world)
        discovery = Discovery(directory, Whereabouts(directory, world, keys.public), world, is_on=True)
        notices = Notices()
        outside = Outside(
            world=world,
            store=store,
            writer=writer,
            heads=heads,
            standings=standings,
            meters=meters,
            notices=notices,
            directory=directory,
            dialer=Dialer(TlsIdentity.from_seed(keys.tls_seed())),
            held=HeldSpans(store),
            own_key=keys.public,
            instance=bytes(16),
            addresses=lambda: (),
        )
        webhooks = Webhooks(world)
        yield Services(
            world=world,
            settings=Configuration(settings),
            store=store,
            writer=writer,
            heads=heads,
            supervisor=Supervisor(world, meters),
            notices=notices,
            tasks=Tasks(store, writer, world, meters.tasks, keys.logline, webhooks),
            subscriptions=Subscriptions(store, heads, world, webhooks, keys.public),
            links=Links(Ties(outside), outside),
            discovery=discovery,
            desk=Desk.of(
                Ground(store, writer, standings, world, keys),
                directory,
                discovery.whereabouts,
                ask=nobody_answers,
                adopted=lambda _tenant, _peers: None,
            ),
            meters=meters,
            node_public=keys.public,
            admin_token=TOKEN.encode(),
            started_s=world.monotonic_s(),
            version="0.0.0",
            stopping=trio.Event(),
        )
        nursery.cancel_scope.cancel()


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    """Services that also answer to the name of a proxy."""
    async with open_services(Settings(data_dir=tmp_path, allowed_hosts=("node.example",))) as opened:
        yield opened


@pytest.fixture
def token() -> dict[str, str]:
    """The header that lets a request in."""
    return {"Authorization": f"Bearer {TOKEN}"}
