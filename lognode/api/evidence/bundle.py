"""GET .../bundle: spans with their proofs as one signed file, for readers without a node."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from quart import Response, request
from quart_trio.wrappers import TrioResponse

from lognode.api.app import ApiApp, Caller, Docs, Parameter, current
from lognode.api.spans.filters import FILTERS, url_parameters
from lognode.core.access import Action
from lognode.core.errors import CallerError
from lognode.core.ids import parse_feed_id
from lognode.core.limits import BUNDLE_QUERY_BYTES_MAX, SIZE_MAX
from lognode.core.span import PRIVATE
from lognode.timeline.query import Query, parse_query
from lognode.timeline.record import FeedRef
from lognode.timeline.store.agreement.pasts import resolved
from lognode.timeline.store.read.bundles import BundleSource, BundleWish, FeedRange

BUNDLE_MEDIA: Final = "application/cbor-seq"  # RFC 8742
_FIXED: Final = frozenset({"after", "before", "limit", "order", "sort"})


def register(app: ApiApp) -> None:
    """Add the route of bundles."""
    app.register_route(
        "/v1/tenants/<tenant>/bundle",
        bundle_spans,
        action=Action.BUNDLE_CREATE,
        docs=Docs(
            query=[
                *FILTERS,
                Parameter("feed", "In place of filters: every entry of this feed"),
                Parameter("start", "With feed: from this entry on; 0 by default", int),
                Parameter("stop", "With feed: before this entry; by default all that are there now", int),
                Parameter("include", "private: with the content of private spans, which is left out otherwise"),
            ],
            answers={200: {BUNDLE_MEDIA: {"type": "string", "format": "binary"}}},
        ),
    )


async def bundle_spans() -> Response:
    """Bundle spans with their proofs into one signed file that anyone can verify without a node.

    The spans that match all filters, oldest first, as they are when it begins; with `feed` a range of one feed, none
    left out. An answer that breaks off is no bundle: its seal is missing.
    """
    caller = current()
    services = caller.services
    store = services.store
    wish = _wish(caller)
    if isinstance(wish.what, Query):
        wish = wish._replace(what=await store.read(resolved, caller.tenant, store.feeds, wish.what))
    source = BundleSource(caller.tenant, store.feeds, wish)
    begun = await store.read(source.begin, services.node_public, services.world.now_ms())
    first = await store.read(source.step)  # what is wrong with a filter is said before the answer begins
    return TrioResponse(_parts(caller, source, begun, first), content_type=BUNDLE_MEDIA)


async def _parts(caller: Caller, source: BundleSource, begun: bytes, part: bytes | None) -> AsyncIterator[bytes]:
    services = caller.services
    yield begun
    while part is not None:
        if part:
            yield part
        part = await services.store.read(source.step)
    writer = source.writer
    yield writer.end(services.writer.seals.bundle(caller.tenant.tenant_id, source.sealing, writer.total()))


def _wish(caller: Caller) -> BundleWish:
    """What the URL asks for. Raises CallerError "filter.invalid", "id.malformed" or "feed.unknown"."""
    params = dict(url_parameters())
    text = urlencode(list(request.args.items(multi=True)))
    if len(text) > BUNDLE_QUERY_BYTES_MAX:  # the bundle names it, and its readers take no more
        raise CallerError("filter.invalid", f"{len(text)} bytes of query, at most {BUNDLE_QUERY_BYTES_MAX}")
    feed, start, stop, include = (_taken(params, name) for name in ("feed", "start", "stop", "include"))
    if include not in {None, "private"}:
        raise CallerError("filter.invalid", f"{include!r:.80} is not 'private'", place="include")
    if include is not None and not caller.may(Action.PRIVATE_BUNDLE):
        raise CallerError("role.insufficient", "private spans leave the node by an owner alone", place="include")
    for name in _FIXED.intersection(params):
        raise CallerError("filter.invalid", "a bundle has all that match, oldest first", place=name)
    if feed is None:
        for name, value in (("start", start), ("stop", stop)):
            if value is not None:
                raise CallerError("filter.invalid", "it counts the entries of a feed; name it with 'feed'", place=name)
        return BundleWish(_query(params, has_private=include is not None), text, include is not None)
    for name in params:
        raise CallerError("filter.invalid", "with a feed, every entry of its range is taken", place=name)
    what = FeedRange(_feed(caller, feed), _entry("start", start) or 0, _entry("stop", stop))
    return BundleWish(what, text, include is not None)


def _taken(params: dict[str, Sequence[str]], name: str) -> str | None:
    """The one value of a parameter, which is taken out of `params`."""
    values = params.pop(name, ())
    if len(values) > 1:
        raise CallerError("filter.invalid", f"given {len(values)} times, it takes one value", place=name)
    return values[0] if values else None


def _query(params: Mapping[str, Sequence[str]], *, has_private: bool) -> Query:
    query = parse_query(params).query
    if query.visibility == PRIVATE and not has_private:
        raise CallerError("filter.invalid", "private spans are left out without include=private", place="visibility")
    return query


def _feed(caller: Caller, text: str) -> FeedRef:
    try:
        wanted = parse_feed_id(text)
    except CallerError as error:
        raise CallerError(error.code, error.detail, place="feed") from None
    for feed in caller.services.store.feeds.values():
        if feed.feed_id == wanted and feed.tenant == caller.tenant.number:
            return feed
    raise CallerError("feed.unknown", f"{text} is not held here", place="feed")


def _entry(name: str, text: str | None) -> int | None:
    """The number of an entry; that the feed has it is seen where its size is known."""
    if text is None:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else SIZE_MAX + 1
    if number > SIZE_MAX:
        raise CallerError("filter.invalid", f"{text!r:.80} is no number of an entry", place=name)
    return number
