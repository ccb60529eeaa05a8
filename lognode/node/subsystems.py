"""What a node does besides writing: each a subsystem that may fail and is started again.

Says which there are with which settings, and changes that when the settings change.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from socket import socket as Socket  # noqa: N812 - `socket` is a module of the API here
from typing import Final

import trio

from lognode import __version__
from lognode.api.about import metrics
from lognode.api.about import routes as about
from lognode.api.app import create_app
from lognode.api.evidence import bundle, forks, order, policy
from lognode.api.evidence.state import conflicts, rebuilding, subjects
from lognode.api.federation import invites, join, members, peers, sync
from lognode.api.live import events, socket
from lognode.api.live.subscriptions import consuming, managing, stream
from lognode.api.live.subscriptions import socket as subscription_socket
from lognode.api.rules import approvals, backtest, deciding, publishing, schedules, tasks
from lognode.api.server.serve import serve_api
from lognode.api.server.sockets import Listening, open_listening
from lognode.api.services import Services
from lognode.api.spans import append, reads
from lognode.core.ids import b32encode
from lognode.engine.service.agreement.conflicts import Conflicts, EventName
from lognode.engine.service.agreement.merging import Merging
from lognode.engine.service.agreement.restoring import Restorer
from lognode.engine.service.agreement.telling import Telling
from lognode.engine.service.ruling.approvals.announcing import Announcing
from lognode.engine.service.ruling.approvals.announcing import EventName as ApprovalEvent
from lognode.engine.service.ruling.approvals.ending import Waiting
from lognode.engine.service.ruling.reactions import Reactions
from lognode.engine.service.ruling.rejected import RejectionTeller
from lognode.engine.service.upkeep.mirror import Mirror
from lognode.engine.subscriptions.service.calling import Calling
from lognode.engine.tasks.service.webhooks import Hook
from lognode.engine.tasks.targets import Allowed
from lognode.node.listening import LISTENING, start_listeners, stop_listeners
from lognode.node.parts import Parts
from lognode.service.log import configure_log
from lognode.service.reload import Configuration
from lognode.settings import Settings, parse_listen
from lognode.timeline.record import TenantRef

# Every route of the API, a module each.
REGISTRATIONS: Final = (
    about.register,
    metrics.register,
    append.register,
    reads.register,
    bundle.register,
    order.register,
    policy.register,
    forks.register,
    events.register,
    socket.register,
    managing.register,
    consuming.register,
    stream.register,
    subscription_socket.register,
    invites.register,
    members.register,
    join.register,
    sync.register,
    peers.register,
    subjects.register,
    conflicts.register,
    publishing.register,
    deciding.register,
    backtest.register,
    rebuilding.register,
    tasks.register,
    schedules.register,
    approvals.register,
)


def open_api(settings: Settings, handed: Sequence[Socket], closing: ExitStack) -> Listening | None:
    """What the API is served on, closed with `closing`; None where it is switched off."""
    for sock in handed:
        closing.callback(sock.close)
    if not settings.api:
        return None
    listen = parse_listen(settings.listen)
    listening = open_listening(listen.host, listen.port, settings.unix_socket, handed)
    closing.callback(listening.close)
    return listening


def start_api(parts: Parts, configuration: Configuration, listening: Listening | None, stopping: trio.Event) -> None:
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
        tasks=parts.tasks,
        subscriptions=parts.subscriptions,
        links=parts.links,
        discovery=parts.discovery,
        desk=parts.desk,
        node_public=parts.keys.public,
        admin_token=parts.token,
        started_s=parts.world.monotonic_s(),
        version=__version__,
        stopping=stopping,
    )
    app = create_app(services, REGISTRATIONS)
    parts.supervisor.start("api", partial(serve_api, app, listening, stopping))


def start_indexes(parts: Parts) -> None:
    """Have every searched tenant's index follow its timeline."""
    for tenant in parts.searched:
        parts.supervisor.start(f"search.{_name(tenant)}", partial(parts.indexer.run, tenant))


def start_merging(parts: Parts) -> None:
    """Have merges written where nothing else is."""
    parts.supervisor.start("merging", Merging(parts.store, parts.writer).run)


def start_rules(parts: Parts) -> None:
    """Have rules react to what is committed, told how often they rejected, and what waits for approval ended, and told.

    Whoever listens hears of approvals; the database says all of it.
    """

    def tell(tenant: int, name: ApprovalEvent, content: Mapping[str, object]) -> None:
        parts.notices.tell(tenant, name, **content)

    announcing = Announcing(parts.store, parts.heads, parts.standings, parts.world, parts.notices.is_heard, tell)
    parts.supervisor.start("announcing", announcing.run)
    waiting = Waiting(parts.store, parts.writer, parts.heads, parts.standings, parts.world, parts.keys.public)
    parts.supervisor.start("approvals", waiting.run)
    parts.supervisor.start("rejections", RejectionTeller(parts.writer, parts.store, parts.world).run)
    reactions = Reactions(parts.store, parts.writer, parts.heads, parts.standings, parts.world, parts.keys.public)
    parts.supervisor.start("reactions", reactions.run)


def start_conflicts(parts: Parts) -> None:
    """Have conflicts noticed as they come and go."""

    def tell(tenant: int, name: EventName, content: Mapping[str, object]) -> None:
        parts.notices.tell(tenant, name, **content)

    parts.supervisor.start("conflicts", Conflicts(parts.store, parts.heads, parts.standings, tell).run)


def start_discovery(parts: Parts) -> None:
    """Have other nodes found, and what is learnt of them kept."""
    parts.supervisor.start("discovery", parts.discovery.run)


def start_telling(parts: Parts) -> None:
    """Have forks told to all that not all can know yet."""
    parts.supervisor.start("forks", Telling(parts.store, parts.writer, parts.standings).run)


def start_tasks(parts: Parts, settings: Settings, stopping: trio.Event) -> None:
    """Have tasks run when they are due, until the node stops."""
    use_webhooks(parts, settings)
    parts.supervisor.start("tasks", partial(parts.tasks.run, stopping))


def start_subscriptions(parts: Parts) -> None:
    """Have the webhooks of subscriptions called."""
    parts.supervisor.start("subscriptions", Calling(parts.subscriptions, parts.tasks.webhooks).run)


def use_webhooks(parts: Parts, settings: Settings) -> None:
    """Have tasks call the webhooks of these settings."""
    folders = [Path(folder) for folder in (os.environ.get("CREDENTIALS_DIRECTORY"),) if folder]

    def usual_secret(name: str) -> Path:
        """Where the secret of a webhook is that the settings do not say."""
        places = [folder / f"webhook.{name}" for folder in (*folders, settings.data_dir)]
        return next((place for place in places if place.exists()), places[-1])

    hooks = {hook.name: Hook(hook.url, hook.secret_file or usual_secret(hook.name)) for hook in settings.webhooks}
    parts.tasks.webhooks.configure(hooks, Allowed.of(settings.webhook_allow))


def start_restoring(parts: Parts) -> None:
    """Have own spans restored that lost their effect."""
    restorer = Restorer(parts.store, parts.writer, parts.standings, parts.keys.public)
    parts.supervisor.start("restoring", restorer.run)


def start_federation(parts: Parts, settings: Settings) -> None:
    """Have this node linked with the other members of its tenants, and reached by them."""
    parts.discovery.whereabouts.advertise(settings.advertise)
    if settings.federation:
        parts.supervisor.start("sync", parts.links.run)
        start_listeners(parts, settings)
    else:
        parts.supervisor.switch_off("sync")
        parts.supervisor.switch_off("listeners")


def start_mirrors(parts: Parts, settings: Settings) -> None:
    """Have the files of every tenant follow its timeline, where there is a directory for them."""
    if settings.mirror_dir is None:
        return
    mirror = Mirror(parts.store, parts.heads, settings.mirror_dir)
    for tenant in set(parts.store.tenants.values()):
        parts.supervisor.start(f"mirror.{_name(tenant)}", partial(mirror.run, tenant))


def _name(tenant: TenantRef) -> str:
    return tenant.alias or b32encode(tenant.tenant_id)


async def follow_tenants(parts: Parts, configuration: Configuration) -> None:
    """Have indexes and mirrors follow tenants by the names that they have now."""
    await _index_again(parts, configuration.settings)
    await parts.supervisor.stop("mirror")
    start_mirrors(parts, configuration.settings)


async def _index_again(parts: Parts, settings: Settings) -> None:
    await parts.supervisor.stop("search")
    try:
        parts.searched[:] = await parts.indexer.choose(settings.search)
    finally:
        start_indexes(parts)


async def apply_settings(parts: Parts, configuration: Configuration, settings: Settings) -> None:
    """Make new settings take effect, or raise and change nothing."""
    if settings.search != configuration.settings.search:
        await _index_again(parts, settings)
    if settings.mirror_dir != configuration.settings.mirror_dir:
        await parts.supervisor.stop("mirror")
        start_mirrors(parts, settings)
    if any(getattr(settings, name) != getattr(configuration.settings, name) for name in LISTENING):
        await stop_listeners(parts)
        if not settings.federation:
            await parts.supervisor.stop("sync")
        start_federation(parts, settings)
    use_webhooks(parts, settings)
    log_as(settings)


def log_as(settings: Settings) -> None:
    configure_log(settings.log_level, settings.log_format, os.environ)
