"""What a bundle shows, in words and as JSON.

Invariant: nothing that a bundle says can look like a line of what lognode says about it.
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from lognode.core.clock import hlc_ms, time_text
from lognode.core.ids import LogLineKind, b32encode, format_logline, logline

if TYPE_CHECKING:
    from lognode.timeline.proof.bundle.verdict import BundledFeed, Verdict


def verdict_rows(verdict: "Verdict") -> dict[str, object]:
    """Names and values, for two columns; one row a feed comes last."""
    head = verdict.head
    spans = f"{verdict.spans:,}"
    if verdict.first_hlc is not None and verdict.last_hlc is not None:
        spans += f", from {time_text(hlc_ms(verdict.first_hlc))} to {time_text(hlc_ms(verdict.last_hlc))}"
    rows: dict[str, object] = {
        "Tenant": b32encode(head.tenant),
        "Sealed by": node_text(head.node_key),
        "At": time_text(head.made_ms),
        "Asked for": _query_text(head.query),
        "Spans": spans,
        "Private": "included" if head.has_private else "left out",
    }
    if verdict.stubs:
        besides = f"{verdict.stubs:,} besides, of which only time and hash are shown"
        rows["Private"] = f"included, and {besides}" if head.has_private else besides
    if verdict.voids:
        rows["Void"] = f"{verdict.voids:,} entries besides, which are no spans"
    if verdict.absent:
        rows["Bodies"] = f"{verdict.absent:,} are not there"
    if verdict.signed or verdict.missigned:
        rows["Actors"] = f"{verdict.signed:,} spans are signed by their actors"
    if verdict.missigned:
        rows["Actors"] = f"{rows['Actors']}, {verdict.missigned:,} NOT by the actor that they name"
    return rows


def feed_line(feed: "BundledFeed") -> str:
    """Which entries of a feed are there, and who signed them."""
    which = f"entries {feed.start:,} to {feed.stop - 1:,} of {feed.size:,}"
    said = f"all {which}" if feed.is_whole else f"{feed.count:,} of the {which}"
    return f"feed {b32encode(feed.feed)}, {said}, signed by {node_text(feed.node_key)}"


def verdict_json(verdict: "Verdict") -> dict[str, Any]:
    """All of it, for programs."""
    head = verdict.head
    ends = [None if hlc is None else time_text(hlc_ms(hlc)) for hlc in (verdict.first_hlc, verdict.last_hlc)]
    return {
        "tenant": b32encode(head.tenant),
        "founder": node_text(verdict.founder),
        "sealed_by": node_text(head.node_key),
        "sealed_at": time_text(head.made_ms),
        "query": head.query,
        "include_private": bool(head.has_private),
        "spans": verdict.spans,
        "stubs": verdict.stubs,
        "voids": verdict.voids,
        "bodies_absent": verdict.absent,
        "actors_signed": verdict.signed,
        "actors_missigned": verdict.missigned,
        "first_at": ends[0],
        "last_at": ends[1],
        "feeds": [_feed_json(feed) for feed in verdict.feeds],
        "bytes": verdict.size,
        "sha256": verdict.digest.hex(),
    }


def _feed_json(feed: "BundledFeed") -> dict[str, Any]:
    return {
        "feed": b32encode(feed.feed),
        "node": node_text(feed.node_key),
        "vkey": feed.vkey,
        "size": feed.size,
        "root": feed.root.hex(),
        "start": feed.start,
        "stop": feed.stop,
        "entries": feed.count,
        "complete": feed.is_whole,
    }


def node_text(key: bytes) -> str:
    """The LogLine ID of a node key."""
    return format_logline(logline(LogLineKind.NODE, key))


def _query_text(query: str) -> str:
    """A query string as people read it, on one line whatever it holds."""
    shown = " ".join(unquote_plus(part) for part in query.split("&"))
    return shown.replace("\n", "\u240a") or "everything"
