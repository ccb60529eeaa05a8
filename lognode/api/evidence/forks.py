""".../forks: feeds with two histories, the proofs of it, and the entries of each history."""

import sqlite3
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType
from quart import Response, request
from quart_trio.wrappers import TrioResponse

from lognode.api.app import ApiApp, Caller, Docs, Parameter, current
from lognode.api.federation.requests import JSON_MEDIA, json_answer, node_name, refuse_parameters
from lognode.api.spans.reads import TEXT_MEDIA, parse_number
from lognode.core.access import Action
from lognode.core.clock import hlc_ms, time_text
from lognode.core.codec import decode_value
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, b32encode, parse_feed_id
from lognode.core.limits import PAGE_SPANS_MAX, SIZE_MAX
from lognode.core.span import VISIBILITIES, Entry, decode_body, decode_header, is_control, leaf_hashes, span_id
from lognode.timeline.members import Membership
from lognode.timeline.proof.fork import ForkProof, check_fork, format_fork
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.controls import read_evidence, read_fork_proofs
from lognode.timeline.store.read.proofs import checkpoint_of, latest_note
from lognode.timeline.store.read.ranges import find_feed, read_bounds, read_branch, read_entries, read_tips

FORKS: Final = "/v1/tenants/<tenant>/forks"
HELD: Final = "held"


class BranchJson(msgspec.Struct, frozen=True):
    """One history of a feed: entries from `start` to before `stop` are kept here; `tip` names it.

    The one called "held" is the one that this node took in first.
    """

    tip: str
    start: int
    stop: int


class ForkJson(msgspec.Struct, frozen=True):
    """A feed with two histories: nothing counts from entry `seq` on, of which `spans` are the two that the proof shows.

    `own`: this node wrote it. `found_here`: this node found it itself. `told`: a span that counts says so to all.
    """

    feed: str
    node: str
    own: bool
    seq: int
    spans: list[str]
    found_here: bool
    told: bool
    branches: list[BranchJson]


class ForksJson(msgspec.Struct, frozen=True):
    """The feeds of a tenant that are known to have two histories."""

    forks: list[ForkJson]


class EntryJson(msgspec.Struct, frozen=True):
    """An entry of a history. What is malformed or withheld in it is left out."""

    id: str
    seq: int
    at: str
    visibility: str | None
    kind: str | UnsetType = UNSET
    title: str | UnsetType | None = UNSET
    subject: str | UnsetType | None = UNSET
    data: Any = UNSET


class EntriesJson(msgspec.Struct, frozen=True):
    """Entries of one history, in order; `next` is where to go on, null at the end."""

    feed: str
    tip: str
    entries: list[EntryJson]
    next: int | None


START: Final = Parameter("start", "The first entry to give", int)


def register(app: ApiApp) -> None:
    """Add the routes about forks."""
    for rule, handler, media, shape, query in (
        (FORKS, list_forks, JSON_MEDIA, ForksJson, ()),
        (f"{FORKS}/<feed>", show_fork, JSON_MEDIA, ForkJson, ()),
        (f"{FORKS}/<feed>/proof", prove_fork, TEXT_MEDIA, {"type": "string"}, ()),
        (f"{FORKS}/<feed>/branches/<tip>", list_branch, JSON_MEDIA, EntriesJson, (START,)),
    ):
        docs = Docs(query=query, answers={200: {media: shape}})
        app.register_route(rule, handler, action=Action.PROOF_READ, docs=docs)


async def list_forks() -> Response:
    """List the feeds of the tenant that are known to have two histories."""
    refuse_parameters()
    return json_answer(ForksJson(await _read_all(current())))


async def show_fork(feed: str) -> Response:
    """Show one feed with two histories."""
    refuse_parameters()
    wanted = b32encode(parse_feed_id(feed))
    for fork in await _read_all(current()):
        if fork.feed == wanted:
            return json_answer(fork)
    raise CallerError("fork.unknown", wanted)


async def prove_fork(feed: str) -> Response:
    """Prove that a feed has two histories: a file that 'lognode check-fork' checks offline."""
    refuse_parameters()
    caller, wanted = current(), parse_feed_id(feed)
    store = caller.services.store
    proofs = await store.read(read_fork_proofs, caller.tenant, store.feeds)
    if wanted not in proofs:
        raise CallerError("fork.unknown", b32encode(wanted))
    return TrioResponse(format_fork(proofs[wanted]), content_type=TEXT_MEDIA)


async def list_branch(feed: str, tip: str) -> Response:
    """List the entries of one history of a forked feed, from where the histories part on.

    `tip` is that of a branch, as GET .../forks tells it: "held" for the history that this node took in first.
    """
    caller, wanted = current(), parse_feed_id(feed)
    start = parse_number(request.args.get("start"), "start", SIZE_MAX)
    answer = await caller.services.store.read(_branch, caller.tenant, wanted, tip, start or 0)
    return json_answer(answer)


async def _read_all(caller: Caller) -> list[ForkJson]:
    services = caller.services
    members = services.desk.ground.membership(caller.tenant)
    found: list[ForkJson] = await services.store.read(
        _forks, caller.tenant, services.store.feeds, members, services.node_public
    )
    return found


def _forks(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feeds: Mapping[int, FeedRef],
    members: Membership,
    own_key: bytes,
) -> list[ForkJson]:
    proofs, found = read_fork_proofs(conn, tenant, feeds), read_evidence(conn, tenant)
    return [
        _shown(
            conn, tenant, proof, own_key, is_found=feed in found, is_told=feed in members.forks.keys() - members.untold
        )
        for feed, proof in sorted(proofs.items())
    ]


def _shown(
    conn: sqlite3.Connection, tenant: TenantRef, proof: ForkProof, own_key: bytes, *, is_found: bool, is_told: bool
) -> ForkJson:
    fork = check_fork(proof)
    feed = find_feed(conn, tenant, fork.feed)
    branches = []
    if feed is not None:
        size = checkpoint_of(latest_note(conn, feed)).size
        branches = [BranchJson(HELD, min(fork.seq, size), size)]
        branches += [BranchJson(tip.hex(), start, stop) for tip, (start, stop) in read_tips(conn, feed).items()]
    return ForkJson(
        b32encode(fork.feed),
        node_name(fork.node_key),
        fork.node_key == own_key,
        fork.seq,
        [b32encode(span) for span in fork.spans],
        is_found,
        is_told,
        branches,
    )


def _branch(conn: sqlite3.Connection, tenant: TenantRef, feed_id: FeedId, tip: str, start: int) -> EntriesJson:
    feed = find_feed(conn, tenant, feed_id)
    if feed is None:
        raise CallerError("fork.unknown", b32encode(feed_id))
    if tip == HELD:
        places = [proof.seq for found, proof in read_evidence(conn, tenant).items() if found == feed_id]
        places += [bound for found, bound in read_bounds(conn, tenant).items() if found == feed_id]
        if not places:
            raise CallerError("fork.unknown", b32encode(feed_id))
        size = checkpoint_of(latest_note(conn, feed)).size
        first = max(start, min(places))
        stop = min(size, first + PAGE_SPANS_MAX)
        entries = list(enumerate(read_entries(conn, feed, first, stop), first)) if first < stop else []
        return _page(feed, tip, entries, None if stop >= size else stop)
    try:
        raw = bytes.fromhex(tip)
    except ValueError:
        raw = b""
    if raw not in read_tips(conn, feed):
        raise CallerError("fork.unknown", f"no history {tip:.80}")
    found = ((seq, entry) for seq, entry, _ in read_branch(conn, feed, raw) if seq >= start)
    entries = list(islice(found, PAGE_SPANS_MAX))
    more = next(found, None)
    return _page(feed, tip, entries, more[0] if more else None)


def _page(feed: FeedRef, tip: str, entries: list[tuple[int, Entry]], more: int | None) -> EntriesJson:
    return EntriesJson(b32encode(feed.feed_id), tip, [_entry(feed, seq, entry) for seq, entry in entries], more)


def _entry(feed: FeedRef, seq: int, entry: Entry) -> EntryJson:
    (leaf,) = leaf_hashes(feed.feed_id, seq, [entry])
    visibility = VISIBILITIES[entry.visibility] if entry.visibility < len(VISIBILITIES) else None
    shown = EntryJson(b32encode(span_id(entry.hlc, leaf)), seq, time_text(hlc_ms(entry.hlc)), visibility)
    try:
        kind = decode_header(entry.header).kind
        body = decode_body(entry.body or b"")
        data = decode_value(body.data) if body.data and not is_control(kind) else None
    except CallerError:
        return shown
    return msgspec.structs.replace(shown, kind=kind, title=body.title, subject=body.subject, data=data)
