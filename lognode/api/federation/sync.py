"""GET and POST .../sync: how far other nodes hold the same, and having both compared now."""

from typing import Final, Literal

import msgspec
from quart import Response, request
from quart_trio.wrappers import TrioResponse

from lognode.api.app import ApiApp, Caller, Docs, Parameter, current
from lognode.api.federation.findings import FindingJson, peer_findings, tenant_findings
from lognode.core.access import Action
from lognode.core.clock import time_text
from lognode.core.errors import CallerError
from lognode.core.ids import LogLineKind, b32encode, format_logline, logline
from lognode.core.limits import WANTS_SHOWN_MAX
from lognode.federation.sync.service.state.tie import TieStatus

JSON_MEDIA: Final = "application/json"
NAMED_MAX: Final = 4  # keys that an error names
_PEER: Final = Parameter("peer", "Only this peer: its LogLine ID, its key, or the beginning of its key")
_encode = msgspec.json.Encoder().encode


class WantJson(msgspec.Struct, frozen=True):
    """Entries [start, stop) of a feed that the peer claims and this node lacks; `code` says why they were refused."""

    feed: str
    start: int
    stop: int
    code: str | None


class FailureJson(msgspec.Struct, frozen=True):
    """What went wrong last, and a way out."""

    code: str
    title: str
    detail: str
    hint: str


class PeerSyncJson(msgspec.Struct, frozen=True):
    """How it goes with one peer. `lag_s` counts since both last held the same, `rounds` comparisons that ended.

    `wants` shows the first of what this node lacks, `lag_spans` counts all of it. `error` is what went wrong last,
    `findings` all that it sent and was refused since the node started; both hold the same ends what mends itself.
    """

    node: str
    state: Literal["live", "syncing", "waiting", "unreachable", "refused", "failing"]
    direction: Literal["out", "in"] | None
    lag_spans: int
    lag_s: float | None
    sent_spans: int
    received_spans: int
    rounds: int
    equal_at: str | None
    contact_at: str | None
    retry_s: float | None
    error: FailureJson | None
    wants: list[WantJson]
    findings: list[FindingJson]


class SyncJson(msgspec.Struct, frozen=True):
    """The peers of a tenant, and what is wrong with what is held of it or with this node's place among them."""

    peers: list[PeerSyncJson]
    findings: list[FindingJson]


def register(app: ApiApp) -> None:
    """Add the routes of sync."""
    rule = "/v1/tenants/<tenant>/sync"
    docs = Docs(query=(_PEER,), answers={200: {JSON_MEDIA: SyncJson}})
    app.register_route(rule, show_sync, action=Action.SYNC_READ, docs=docs)
    docs = Docs(query=(_PEER,), answers={202: {JSON_MEDIA: SyncJson}})
    app.register_route(rule, start_sync, methods=("POST",), action=Action.SYNC_START, docs=docs)


async def show_sync() -> Response:
    """Show how far each other node of the tenant holds the same."""
    caller = current()
    links = caller.services.links
    found = _chosen(links.status(caller.tenant), request.args.get("peer"))
    return TrioResponse(_encode(await _sync_json(caller, found)), content_type=JSON_MEDIA)


async def start_sync() -> Response:
    """Have this node and others compared now, without waiting for what comes of it.

    A comparison ends when `rounds` of the peer rises.
    """
    caller = current()
    links = caller.services.links
    found = _chosen(links.status(caller.tenant), request.args.get("peer"))
    for status in found:
        links.ask(caller.tenant, status.node_key)
    return TrioResponse(_encode(await _sync_json(caller, found)), 202, content_type=JSON_MEDIA)


def _chosen(ties: list[TieStatus], peer: str | None) -> list[TieStatus]:
    """The ties that are asked for. Raises CallerError("peer.unknown")."""
    if peer is None:
        return ties
    prefix = format_logline(logline(LogLineKind.NODE, bytes(32))).rpartition("/")[0] + "/"
    wanted = peer.removeprefix(prefix)
    found = [tie for tie in ties if wanted and b32encode(tie.node_key).startswith(wanted)]
    if not found:
        raise CallerError("peer.unknown", f"{wanted!r:.80}")
    if len(found) > 1:
        keys = ", ".join(b32encode(tie.node_key)[: len(wanted) + 4] for tie in found[:NAMED_MAX])
        raise CallerError("peer.unknown", f"{len(found)} keys begin with {wanted!r:.80}, such as {keys}")
    return found


async def _sync_json(caller: Caller, ties: list[TieStatus]) -> SyncJson:
    author = ties[0].node_key if "peer" in request.args else None
    return SyncJson([_peer_json(tie) for tie in ties], await tenant_findings(caller, author))


def _peer_json(tie: TieStatus) -> PeerSyncJson:
    error = tie.error
    return PeerSyncJson(
        node=format_logline(logline(LogLineKind.NODE, tie.node_key)),
        state=tie.state,
        direction=tie.direction,
        lag_spans=tie.lag_spans,
        lag_s=tie.lag_s,
        sent_spans=tie.sent_spans,
        received_spans=tie.received_spans,
        rounds=tie.rounds,
        equal_at=None if tie.equal_ms is None else time_text(tie.equal_ms),
        contact_at=None if tie.contact_ms is None else time_text(tie.contact_ms),
        retry_s=None if tie.retry_s is None else round(tie.retry_s, 3),
        error=None if error is None else FailureJson(error.code, error.spec.title, error.detail, error.spec.hint),
        wants=[
            WantJson(b32encode(want.feed), want.start, want.stop, want.code) for want in tie.wants[:WANTS_SHOWN_MAX]
        ],
        findings=peer_findings(tie.findings),
    )
