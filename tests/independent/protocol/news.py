"""Whether a node writes a merge, and what that names, by what it holds at its start. From docs/protocol.md, Merges."""

from typing import Any

LATER_MS = 600_000
HLC_COUNTER_BITS = 16


def merge_of(node: str, case: dict[str, Any]) -> list[list[Any]]:
    """Feeds and sizes that a merge would name; nothing where none is written."""
    if not case["may_write"]:
        return []
    feeds = {feed["feed"]: feed for feed in case["feeds"]}
    named = _named(feeds, case["open"])
    found = []
    for feed in feeds.values():
        done = named.get(feed["feed"], 0)
        is_news = any(not entry["merge"] for entry in feed["entries"][done:])
        if feed["node"] == node or not is_news or not feed["let_in"]:
            continue
        sound = [size for size in feed["checkpoints"] if size > done and _is_sound(feed, size, case["now_ms"])]
        if sound:
            found.append([feed["feed"], max(sound)])
    return sorted(found)


def _named(feeds: dict[str, Any], at: str | None) -> dict[str, int]:
    """What merges in the open feed name, and in those before it, as far as each is gone on from."""
    named: dict[str, int] = {}
    stop = None
    while at is not None:
        feed = feeds[at]
        ends = [end for end in (stop, feed["counts"]) if end is not None]
        for entry in feed["entries"][: min(ends, default=None)]:
            for other, size in entry.get("names", ()):
                named[other] = max(size, named.get(other, 0))
        at, stop = feed["parent"] or (None, None)
    return named


def _is_sound(feed: dict[str, Any], size: int, now_ms: int) -> bool:
    """Whether all of a tree counts, and none of it is too far ahead."""
    if feed["counts"] is not None and size > feed["counts"]:
        return False
    return all((entry["hlc"] >> HLC_COUNTER_BITS) - now_ms <= LATER_MS for entry in feed["entries"][:size])
