"""Messages between nodes as vectors: good ones with what they say, summaries, and what must be refused."""

from hashlib import sha256
from typing import Any

from lognode.core.clock import Clock
from lognode.core.ids import FeedId
from lognode.core.span import Entry, Foretold, Range
from lognode.protocol.summary import Summary, View, addresses_digest
from lognode.protocol.wire import decode_request, encode_answer, encode_request
from tests.protocol.samples import ANSWERS, REQUESTS
from tests.protocol.test_wire import REFUSED


def make_messages() -> dict[str, Any]:
    return {
        "about": "Messages between nodes of version 1, each with what it says; summaries; messages that are refused.",
        "requests": [
            {"name": name, "message": encode_request(request).hex(), "says": _shown(request)}
            for name, request in REQUESTS.items()
        ],
        "answers": [
            {"name": name, "message": encode_answer(answer, 1).hex(), "says": _shown(answer)}
            for name, answer in ANSWERS.items()
        ],
        "addresses": [{"addresses": list(texts), "digest": addresses_digest(texts).hex()} for texts in _ADDRESSES],
        "summaries": [_summary(feeds) for feeds in (0, 1, 16, 40)],
        "refused": [
            {
                "name": name,
                "is": "request" if decode is decode_request else "answer",
                "message": data.hex(),
                "code": "message.malformed",
            }
            for name, (decode, data) in REFUSED.items()
            if len(data) <= _SHOWN_BYTES_MAX
        ],
    }


_SHOWN_BYTES_MAX = 4096  # others say the same with a longer body
_ADDRESSES = ((), ("192.0.2.1:7481",), ("192.0.2.1:7481", "[2001:db8::1]:7481"))


def _shown(value: Any) -> Any:
    """A value by the names of its parts."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        kind = {Range: None, Foretold: None, Entry: None}.get(type(value), type(value).__name__)
        parts = {name: _shown(part) for name, part in value._asdict().items()}
        return parts if kind is None else {"is": kind, **parts}
    if isinstance(value, list | tuple):
        return [_shown(part) for part in value]
    return value


def _summary(feeds: int) -> dict[str, Any]:
    """A view of some feeds, its summary, the node of the empty prefix and of one below."""
    ids = [FeedId(sha256(b"feed %d" % number).digest()[:16]) for number in range(feeds)]
    heads = {feed: (number % 5, sha256(feed).digest()) for number, feed in enumerate(ids)}
    ahead = {feed: [number + 5, number + 9] for number, feed in enumerate(ids) if number % 5 == 0}
    summary = Summary(View(Clock(heads), ahead))
    below = summary.below("")
    prefix = below[0].feed.hex()[0] if below else "0"
    return {
        "heads": [{**_shown(head), "foretold": ahead.get(head.feed, [])} for head in below],
        "summary": summary.value.hex(),
        "node": _shown(summary.node("")),
        "below": _shown(summary.node(prefix)),
        "fingerprint": summary.fingerprint(prefix).hex(),
    }
