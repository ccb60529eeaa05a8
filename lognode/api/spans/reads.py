"""GET .../spans and what hangs below it: pages, single spans, proofs, walks, checkpoints, statistics.

A read runs whole in a reader's thread, from the query to the encoded answer, in one snapshot.
"""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from quart import Response, request
from quart_trio.wrappers import TrioResponse

from lognode.api.app import ApiApp, Docs, Media, Parameter, current
from lognode.api.evidence.policy import voices_of
from lognode.api.spans.filters import FILTERS, url_parameters
from lognode.api.spans.wire import GrowthJson, OneSpanJson, PageJson, ProofJson, StatsJson, WalkJson
from lognode.core.access import Action
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId, b32encode, parse_feed_id, parse_span_id
from lognode.core.limits import SIZE_MAX, WALK_SPANS_MAX
from lognode.core.span import decode_body
from lognode.timeline.agreement.restoring import check_restored, read_restored
from lognode.timeline.query import PageRequest, encode_cursor, lineage_of, parse_query
from lognode.timeline.record import FeedRef, Record, TenantRef, body_of, entry_of, feed_of, header_of, id_of, span_json
from lognode.timeline.store.agreement.pasts import resolved
from lognode.timeline.store.agreement.subjects import Registers
from lognode.timeline.store.read.lookup import (
    Walk,
    causes,
    effects,
    find_copy,
    find_place,
    find_span,
    find_span_or_copy,
)
from lognode.timeline.store.read.pages import select_page
from lognode.timeline.store.read.proofs import Voices, cosigned_note, growth_proof, latest_note, span_proof
from lognode.timeline.store.read.statistics import statistics
from lognode.timeline.store.read.voids import void_reason

JSON_MEDIA: Final = "application/json"
TEXT_MEDIA: Final = "text/plain; charset=utf-8"
PAGE: Final = (
    Parameter("order", "timeline (by span id, the default) or arrival"),
    Parameter("sort", "desc (newest first, the default) or asc"),
    Parameter("before", "A cursor: the spans nearest below it"),
    Parameter("after", "A cursor: the spans nearest above it"),
    Parameter(
        "limit", "How many spans at most: 1 to 1000, 100 by default; a page of large spans ends earlier, on 4 MiB", int
    ),
)
Feeds = Mapping[int, FeedRef]

_encode = msgspec.json.Encoder().encode


def register(app: ApiApp) -> None:
    """Add the routes that read."""
    tenant = "/v1/tenants/<tenant>"
    span = f"{tenant}/spans/<span_id>"
    text: Media = {TEXT_MEDIA: {"type": "string"}}
    for rule, handler, action, query, media in (
        (f"{tenant}/spans", list_spans, Action.SPAN_READ, (*FILTERS, *PAGE), {JSON_MEDIA: PageJson}),
        (span, show_span, Action.SPAN_READ, (), {JSON_MEDIA: OneSpanJson}),
        (f"{span}/proof", prove_span, Action.PROOF_READ, (VOID,), {**text, JSON_MEDIA: ProofJson}),
        (f"{span}/causes", list_causes, Action.SPAN_READ, (WALK,), {JSON_MEDIA: WalkJson}),
        (f"{span}/effects", list_effects, Action.SPAN_READ, (WALK,), {JSON_MEDIA: WalkJson}),
        (f"{tenant}/stats", show_stats, Action.STATS_READ, (), {JSON_MEDIA: StatsJson}),
    ):
        docs = Docs(query=query, answers={200: media})
        app.register_route(rule, handler, action=action, docs=docs)
    docs = Docs(query=(FEED, SINCE, COSIGNED), answers={200: {**text, JSON_MEDIA: GrowthJson}})
    app.register_route(f"{tenant}/checkpoints/latest", show_checkpoint, action=Action.PROOF_READ, docs=docs)


WALK: Final = Parameter("limit", f"How many spans at most: 1 to {WALK_SPANS_MAX}, which is the default", int)
SINCE: Final = Parameter("since", "The size of an earlier checkpoint of the feed, to be proven its beginning", int)
VOID: Final = Parameter("void", "true for a JSON object with the proof, and why its span is void", bool)
COSIGNED: Final = Parameter("cosigned", "true for the checkpoint that most other nodes have cosigned", bool)
FEED: Final = Parameter("feed", "A feed's id; by default the one that this node writes now")


async def list_spans() -> Response:
    """List spans that match all filters, a page at a time.

    `older` and `newer` are cursors for `before` and `after`; `newer` stays good for spans that come later. How many
    spans a page has says nothing of whether more follow: `more` does. Of what a node knew, one page looks at so many
    spans; it may have none, and `more` after it.
    """
    caller = current()
    services, tenant = caller.services, caller.tenant
    store = services.store
    page = await store.read(_page, tenant, store.feeds, parse_query(url_parameters()), services.node_public)
    return TrioResponse(page, content_type=JSON_MEDIA)


async def show_span(span_id: str) -> Response:
    """Show one span, with the entry bytes that its feed's tree hashes.

    Where the span is not here and a copy of it is, the copy is shown: its `id` is another, and its `annotations` name
    the origin. So it is where the span lost its effect and its node restored it: `restored_from` says then whether what
    was signed first could be built again from the copy, and proven. A span without effect, which no page shows, says
    why it is `void`.
    """
    caller, wanted = current(), parse_span_id(span_id)
    store = caller.services.store
    return TrioResponse(await store.read(_span, caller.tenant, store.feeds, wanted), content_type=JSON_MEDIA)


async def prove_span(span_id: str) -> Response:
    """Prove one span: a C2SP tlog-proof with its entry in `extra`.

    The checkpoint is the one with most cosignatures of other nodes, the newest of several; where nobody has cosigned
    yet, the newest. A copy is proven under its own id only.

    A proof holds whether or not its span has an effect. Where it has none, the header Lognode-Void says why; with
    `void=true` a JSON object does, which holds the proof.
    """
    caller, wanted = current(), parse_span_id(span_id)
    store, form = caller.services.store, request.args.get("void", "false")
    if form not in {"true", "false"}:
        raise CallerError("filter.invalid", "it is true or false", place="void")
    proof, reason = await store.read(_proof, caller.tenant, store.feeds, wanted, voices_of(caller))
    if form == "true":
        return TrioResponse(_encode(ProofJson(proof.decode(), reason)), content_type=JSON_MEDIA)
    return TrioResponse(proof, content_type=TEXT_MEDIA, headers={"Lognode-Void": reason} if reason else {})


async def list_causes(span_id: str) -> Response:
    """List what led to a span: its cause, the cause of that, and so on.

    A cause without effect says why it is `void`.
    """
    return await _walk(causes, span_id)


async def list_effects(span_id: str) -> Response:
    """List what followed from a span, nearest first."""
    return await _walk(effects, span_id)


async def show_checkpoint() -> Response:
    """Show the newest signed checkpoint of a feed: a C2SP signed note.

    With `cosigned=true` it is the one with most cosignatures of other nodes, where there is any.

    With `since`, the size of an earlier checkpoint, a JSON object with the note and the proof that the tree of
    that size is the beginning of this one.
    """
    caller = current()
    store, tenant = caller.services.store, caller.tenant
    feed = _feed(store.feeds, tenant, request.args.get("feed"))
    since = parse_number(request.args.get("since"), "since", SIZE_MAX)
    wanted = request.args.get("cosigned", "false")
    if wanted not in {"true", "false"} or (since is not None and wanted == "true"):
        raise CallerError("filter.invalid", "it is true or false, and true only without since", place="cosigned")
    if since is None:
        voices = voices_of(caller) if wanted == "true" else None
        return TrioResponse(await store.read(_checkpoint, feed, voices), content_type=TEXT_MEDIA)
    note, hashes = await store.read(growth_proof, feed, since)
    growth = GrowthJson(note.decode(), since, [node.hex() for node in hashes])
    return TrioResponse(_encode(growth), content_type=JSON_MEDIA)


async def show_stats() -> Response:
    """Show what the timeline amounts to: spans, kinds, feeds of all nodes with size and root, state hash."""
    caller = current()
    store = caller.services.store
    stats = await store.read(statistics, caller.tenant, store.feeds)
    return TrioResponse(_encode(stats), content_type=JSON_MEDIA)


async def _walk(walk: Callable[[sqlite3.Connection, TenantRef, Feeds, SpanId, int], Walk], span_id: str) -> Response:
    caller, wanted = current(), parse_span_id(span_id)
    limit = parse_number(request.args.get("limit"), "limit", WALK_SPANS_MAX) or WALK_SPANS_MAX
    store = caller.services.store
    return TrioResponse(
        await store.read(_steps, caller.tenant, store.feeds, walk, wanted, limit), content_type=JSON_MEDIA
    )


def parse_number(text: str | None, name: str, most: int) -> int | None:
    """A number from 1 to `most`. Raises CallerError("filter.invalid")."""
    if text is None:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    if not 1 <= number <= most:
        raise CallerError("filter.invalid", f"{text!r:.80} is no number from 1 to {most}", place=name)
    return number


def _feed(feeds: Feeds, tenant: TenantRef, text: str | None) -> FeedRef:
    wanted = parse_feed_id(text) if text is not None else None
    found = [
        feed
        for feed in feeds.values()
        if feed.tenant == tenant.number and (feed.own if wanted is None else feed.feed_id == wanted)
    ]
    if not found:
        raise CallerError("feed.unknown", f"{text or 'an open feed'} is not held here")
    return max(found)  # the newest of our own is the one that is written


def _page(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feeds: Feeds,
    wanted: PageRequest,
    node_public: bytes,
) -> bytes:
    lineage = lineage_of(node_public, tenant, feeds)
    before = find_place(conn, lineage, wanted.before, is_before=True) if wanted.before is not None else None
    after = find_place(conn, lineage, wanted.after) if wanted.after is not None else None
    query = resolved(conn, tenant, feeds, wanted.query)
    page = select_page(conn, tenant, feeds, query, before=before, after=after)
    lineage = lineage_of(node_public, tenant, feeds)
    older = encode_cursor(page.older, lineage) if page.older else None
    newer = encode_cursor(page.newer, lineage)
    spans = [_raw(span_json(record, feed_of(record, feeds), tenant.tenant_id)) for record in page.records]
    return _encode({"spans": spans, "older": older, "newer": newer, "more": page.is_cut})


def _raw(span: dict[str, Any]) -> msgspec.Raw:
    """A span as text, since its decoded values may take many times the memory."""
    return msgspec.Raw(_encode(span))


def _span(conn: sqlite3.Connection, tenant: TenantRef, feeds: Feeds, span_id: SpanId) -> bytes:
    record = find_span_or_copy(conn, tenant, feeds, span_id)
    if record is None:
        raise CallerError("span.unknown", b32encode(span_id))
    entry = entry_of(record, feed_of(record, feeds).feed_id)
    shown = {**_named_span(conn, tenant, feeds, record), "entry": entry.hex()}
    restored = _restored_from(tenant, feeds, record)
    if restored is not None:
        shown["restored_from"] = restored
    reverts = Registers(conn, tenant, feeds, {}).reverters(record)
    if reverts:
        shown["reverted_by"] = [b32encode(revert) for revert in reverts]
    return _encode(shown)


def _restored_from(tenant: TenantRef, feeds: Feeds, record: Record) -> dict[str, Any] | None:
    """The span that a copy restores, and whether that could be proven; None for all other spans."""
    header = header_of(record)
    raw = body_of(record, header)
    try:
        body = decode_body(raw or b"")
    except CallerError:
        return None
    restored = read_restored(body.annotations)
    if restored is None:
        return None
    keys = [feed.log_key for feed in feeds.values() if (feed.tenant, feed.feed_id) == (tenant.number, restored.feed)]
    fault = None if keys else "its feed is not held here"
    try:
        for key in keys:
            check_restored(tenant.tenant_id, restored, header, body, record.visibility, key)
    except CallerError as error:
        fault = error.detail
    shown = {"id": b32encode(restored.id), "feed": b32encode(restored.feed), "seq": restored.seq}
    return {**shown, "proven": fault is None, "fault": fault}


def _named_span(conn: sqlite3.Connection, tenant: TenantRef, feeds: Feeds, record: Record) -> dict[str, Any]:
    """A span that somebody names: unlike those of pages it may be void, and says so."""
    shown = span_json(record, feed_of(record, feeds), tenant.tenant_id)
    reason = void_reason(conn, tenant, record)
    return shown if reason is None else {**shown, "void": reason}


def _checkpoint(conn: sqlite3.Connection, feed: FeedRef, voices: Voices | None) -> bytes:
    cosigned = cosigned_note(conn, feed, voices) if voices else None
    return cosigned or latest_note(conn, feed)


def _proof(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Feeds, span_id: SpanId, voices: Voices
) -> tuple[bytes, str | None]:
    """The proof of a span, and why that is void."""
    record = find_span(conn, tenant, feeds, span_id)
    if record is None:
        copy = find_copy(conn, tenant, span_id)
        copied = f"; its copy here is {b32encode(id_of(copy, feed_of(copy, feeds).feed_id))}" if copy else ""
        raise CallerError("span.unknown", b32encode(span_id) + copied)
    return span_proof(conn, feeds, record, voices), void_reason(conn, tenant, record)


def _steps(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feeds: Feeds,
    walk: Callable[[sqlite3.Connection, TenantRef, Feeds, SpanId, int], Walk],
    span_id: SpanId,
    limit: int,
) -> bytes:
    found = walk(conn, tenant, feeds, span_id, limit)
    spans = [_raw({"depth": depth, **_named_span(conn, tenant, feeds, record)}) for depth, record in found.steps]
    missing = [b32encode(missing_id) for missing_id in found.missing]
    return _encode({"spans": spans, "missing": missing, "truncated": found.truncated})
