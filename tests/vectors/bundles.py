"""Bundles of the history of feeds.json, and what of them every implementation must refuse."""

from collections.abc import Callable
from typing import Any, Final

from lognode.core.ids import b32encode
from lognode.core.span import PRIVATE
from lognode.timeline.proof.bundle.items import FeedItem, Head, Item, SpanItem, StubItem, TenantItem
from lognode.timeline.proof.bundle.reader import BundleReader
from lognode.timeline.proof.bundle.seal import sign_seal
from lognode.timeline.proof.bundle.writer import BundleWriter
from lognode.timeline.proof.tree import inclusion_proof
from tests.timeline.bundle_forgeries import FORGERIES, feeds_one_after_the_other
from tests.timeline.bundles import items_of, with_whole_paths
from tests.vectors.history import KEYS, NOW_MS, Entry, Feed, History, NodesOf, build_history

# It counts on a second feed that is the earlier one.
NOT_HERE: Final = frozenset({feeds_one_after_the_other})


def make_bundles() -> dict[str, Any]:
    """The content of bundles.json."""
    history = build_history()
    everything = _bundle(history, "", lambda _feed, _entry: True)
    whole = _bundle(history, "include=private", lambda _feed, _entry: True, has_private=True)
    some = _bundle(history, "kind=order.%2A", lambda _feed, entry: b"order." in entry.header)
    first = f"feed={b32encode(history.feeds[0].feed_id)}&start=3&stop=6"
    part = _bundle(history, first, lambda feed, entry: feed is history.feeds[0] and 3 <= entry.seq < 6)
    return {
        "about": "Bundles of the tenant in feeds.json, sealed by its node. Bytes are hex. `items` are the fields of "
        "each item behind its name; entries of a feed are [start, stop), null where none is there.",
        "accepted": [_described(raw) for raw in (everything, whole, some, part)],
        "refused": [*_changed(part), *_forged(whole)],
    }


def _bundle(history: History, query: str, is_in: Callable[[Feed, Entry], bool], *, has_private: bool = False) -> bytes:
    tenant, first, sealing = history.tenant.tenant_id, history.feeds[0], history.feeds[-1]
    writer = BundleWriter()
    numbers: dict[bytes, int] = {}

    def path(feed: Feed, seq: int) -> tuple[int, bytes]:
        size, _ = feed.notes[-1]
        return writer.share(numbers[feed.feed_id], inclusion_proof(seq, size, NodesOf(feed.leaves(size))))

    def introduced(feed: Feed) -> bytes:
        if feed.feed_id in numbers:
            return b""
        numbers[feed.feed_id] = len(numbers)
        opened = feed.entries[0]
        return writer.add(
            FeedItem(feed.feed_id, feed.notes[-1][1], opened.hlc, opened.header, opened.body, path(feed, 0)[1])
        )

    def item(feed: Feed, entry: Entry) -> Item:
        number, shared = numbers[feed.feed_id], path(feed, entry.seq)
        if entry.visibility == PRIVATE and not has_private:
            return StubItem(number, entry.seq, entry.hlc, feed.entry(entry.seq)[-32:], *shared)
        return SpanItem(number, entry.seq, entry.hlc, entry.visibility, entry.header, entry.body, *shared)

    parts = [writer.add(Head(tenant, KEYS.public, sealing.feed_id, NOW_MS + 5_000, query, int(has_private)))]
    parts.append(introduced(first))
    created = first.entries[1]
    parts.append(writer.add(TenantItem(created.hlc, created.header, created.body, *path(first, 1))))
    parts.append(introduced(sealing))
    wanted = [(feed, entry) for feed in history.feeds for entry in feed.entries if is_in(feed, entry)]
    for feed, entry in sorted(wanted, key=lambda one: (one[1].hlc, one[1].leaf)):
        parts += [introduced(feed), writer.add(item(feed, entry))]
    log_key = KEYS.log_key(sealing.feed_id)
    return b"".join([*parts, writer.end(sign_seal(log_key, tenant, sealing.feed_id, *writer.total()))])


def _described(raw: bytes) -> dict[str, Any]:
    reader = BundleReader([raw])
    spans = [b32encode(span.id) for span in reader.spans()]
    verdict = reader.verdict
    return {
        "query": verdict.head.query,
        "bundle": raw.hex(),
        "items": [[type(item).__name__, *map(_shown, item)] for item in items_of(raw)],
        "spans": spans,
        "stubs": verdict.stubs,
        "feeds": [
            {
                "id": feed.feed.hex(),
                "size": feed.size,
                "entries": [feed.start, feed.stop] if feed.count else None,
                "complete": feed.is_whole,
            }
            for feed in verdict.feeds
        ],
    }


def _shown(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


def _changed(raw: bytes) -> list[dict[str, str]]:
    """Cut, or with more behind it."""
    changes = {
        "nothing": b"",
        "cut before the seal": raw[: raw.rindex(b"\x82\x05") - 3],
        "cut in the last line": raw[:-1],
        "a byte behind the seal": raw + b"\x00",
        "an empty item behind the seal": raw + b"\x40",
        "the bundle twice": raw + raw,
    }
    return [{"name": name, "bundle": changed.hex(), "code": "bundle.invalid"} for name, changed in changes.items()]


def _forged(raw: bytes) -> list[dict[str, str]]:
    items = with_whole_paths(items_of(raw))
    return [
        {"name": forgery.__name__.replace("_", " "), "bundle": forgery(items).hex(), "code": "bundle.invalid"}
        for forgery in FORGERIES
        if forgery not in NOT_HERE
    ]
