"""GET .../peers: where the other members of a tenant are, how this node reaches them, and why it may not find them."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec
from quart import Response
from quart_trio.wrappers import TrioResponse

from lognode.api.app import ApiApp, Caller, Docs, current
from lognode.api.services import Services
from lognode.core.access import Action, Level
from lognode.core.clock import time_text
from lognode.core.errors import ERRORS
from lognode.core.ids import LogLineKind, format_logline, logline
from lognode.federation.addresses.announcement import Announcement
from lognode.federation.addresses.ledger import SOURCES, Entry
from lognode.federation.discovery.whereabouts import DOORS, Door

LevelName = Literal["blocked", "observer", "trusted", "root"]
LEVELS: Final[Mapping[Level, LevelName]] = {
    Level.BLOCKED: "blocked",
    Level.OBSERVER: "observer",
    Level.TRUSTED: "trusted",
    Level.ROOT: "root",
}
JSON_MEDIA: Final = "application/json"
_encode = msgspec.json.Encoder().encode


class ReasonJson(msgspec.Struct, frozen=True):
    """Why something does not work, and what to do instead."""

    code: str
    title: str
    detail: str
    hint: str


class ListenerJson(msgspec.Struct, frozen=True):
    """Where this node listens for others: `bound` where it is up, and the addresses that others are told."""

    name: Literal["peer", "join"]
    bound: str | None
    addresses: list[str]
    error: ReasonJson | None


class DiscoveryJson(msgspec.Struct, frozen=True):
    """What multicast discovery does now, and why it may find nobody."""

    on: bool
    announcing: bool
    browsing: bool
    findings: list[ReasonJson]


class AddressJson(msgspec.Struct, frozen=True):
    """An address, who told it, and how trying it went; `error` is the code of the last failure."""

    address: str
    sources: list[Literal["static", "invite", "member", "seen", "mdns"]]
    told_at: str
    reached_at: str | None
    failed_at: str | None
    error: str | None


class PeerJson(msgspec.Struct, frozen=True):
    """Another member. `link` is how it goes with it, as in .../sync; `announced` is where it says to be now."""

    node: str
    level: LevelName
    link: Literal["live", "syncing", "waiting", "unreachable", "refused", "failing"] | None
    error: ReasonJson | None
    addresses: list[AddressJson]
    announced: list[str]


class CandidateJson(msgspec.Struct, frozen=True):
    """Something on the network that says to be a node whose key begins so, and where; nothing proves it."""

    key_prefix: str
    addresses: list[str]
    join_addresses: list[str]


class PeersJson(msgspec.Struct, frozen=True):
    """The other members of a tenant, this node's own side, and what else was heard of on the network."""

    peers: list[PeerJson]
    listeners: list[ListenerJson]
    discovery: DiscoveryJson
    static: list[str]
    candidates: list[CandidateJson]


def register(app: ApiApp) -> None:
    """Add the route of peers."""
    app.register_route(
        "/v1/tenants/<tenant>/peers",
        show_peers,
        action=Action.PEERS_READ,
        docs=Docs(answers={200: {JSON_MEDIA: PeersJson}}),
    )


async def show_peers() -> Response:
    """Show where the other members are and how they are reached, and why discovery may find nobody."""
    caller = current()
    services = caller.services
    discovery = services.discovery
    state = discovery.state()
    answer = PeersJson(
        peers=_peers(caller),
        listeners=[_listener(services, door) for door in DOORS],
        discovery=DiscoveryJson(
            state.is_on,
            state.is_announcing,
            state.is_browsing,
            [ReasonJson(finding.code, finding.title, finding.detail, finding.hint) for finding in state.findings],
        ),
        static=list(discovery.directory.static),
        candidates=[_candidate(heard) for heard in discovery.directory.candidates()],
    )
    return TrioResponse(_encode(answer), content_type=JSON_MEDIA)


def _peers(caller: Caller) -> list[PeerJson]:
    """The other members, those of the highest level first."""
    services = caller.services
    directory = services.discovery.directory
    members = services.desk.ground.membership(caller.tenant).members.values()
    ties = {tie.node_key: tie for tie in services.links.status(caller.tenant)}
    others = [each for each in members if each.level > Level.BLOCKED and each.node_key != services.node_public]
    found = []
    for member in sorted(others, key=lambda member: (-member.level, member.node_key)):
        tie = ties.get(member.node_key)
        error = None if tie is None else tie.error
        found.append(
            PeerJson(
                node=format_logline(logline(LogLineKind.NODE, member.node_key)),
                level=LEVELS[member.level],
                link=None if tie is None else tie.state,
                error=None if error is None else _reason(error.code, error.detail),
                addresses=[_address(entry) for entry in directory.known(member.node_key)],
                announced=[
                    str(place) for each in directory.announced(member.node_key) for place in each.peer_addresses
                ],
            )
        )
    return found


def _address(entry: Entry) -> AddressJson:
    return AddressJson(
        address=str(entry.address),
        sources=[source for source in SOURCES if source in entry.sources],
        told_at=time_text(entry.told_ms),
        reached_at=time_text(entry.reached_ms) if entry.reached_ms else None,
        failed_at=time_text(entry.failed_ms) if entry.failed_ms else None,
        error=entry.error or None,
    )


def _candidate(heard: Announcement) -> CandidateJson:
    return CandidateJson(heard.prefix, list(map(str, heard.peer_addresses)), list(map(str, heard.join_addresses)))


def _listener(services: Services, door: Door) -> ListenerJson:
    whereabouts = services.discovery.whereabouts
    states = {state.name: state for state in services.supervisor.states()}
    state = states.get(f"{door}_listener")
    error = None
    if state is not None and state.state == "waiting" and state.error is not None:
        error = _reason(state.error, state.detail or "")
    return ListenerJson(door, whereabouts.listening(door), list(whereabouts.addresses(door)), error)


def _reason(code: str, detail: str) -> ReasonJson:
    spec = ERRORS[code]
    return ReasonJson(code, spec.title, detail, spec.hint)
