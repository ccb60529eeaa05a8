"""What a node holds, as short as another needs it to find what differs.

Owns lines, fingerprints and the walk down their prefixes. Must not know what else is said. Invariant: equal summaries
stand for equal sizes, roots and control spans of every feed.
Source: docs/protocol.md, Summaries.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import NamedTuple

from lognode.core.clock import Clock
from lognode.core.ids import FEED_ID_BYTES, FeedId
from lognode.core.limits import EXPAND_HEADS_MAX
from lognode.protocol.messages import DIGEST_BYTES, FINGERPRINT_BYTES, PREFIXES, Branch, FeedHead, Leaves, Node


class View(NamedTuple):
    """What a node holds of a tenant: its clock, and the seqs of the control spans beyond it, rising.

    `bounds`: how much of a feed nodes have in common, where its author has more to give. Neither goes beyond. `ended`:
    those of its own feeds that such a bound ends.
    """

    clock: Clock
    foretold: Mapping[FeedId, Sequence[int]]
    bounds: Mapping[FeedId, int] = MappingProxyType({})
    ended: Sequence[FeedId] = ()


class Summary:
    """The lines of a view, by feed."""

    def __init__(self, view: View) -> None:
        clock, foretold = view.clock, view.foretold
        feeds = sorted(clock.keys() | foretold.keys())
        heads = [FeedHead(feed, *clock.get(feed, (0, b"")), seqs_digest(foretold.get(feed, ()))) for feed in feeds]
        self._heads = [head for head in heads if head.size or head.foretold]
        self._feeds = [head.feed for head in self._heads]
        self._lines = [_line(head) for head in self._heads]
        self._by_feed = {head.feed: head for head in self._heads}
        self.value = sha256(b"".join(self._lines)).digest()

    def head(self, feed: FeedId) -> FeedHead:
        """How much of a feed is held, also of one without a line."""
        return self._by_feed.get(feed) or nothing_of(feed)

    def below(self, prefix: str) -> Sequence[FeedHead]:
        """The heads of the feeds whose ids begin with `prefix`."""
        return self._heads[self._span(prefix)]

    def fingerprint(self, prefix: str) -> bytes:
        """That of the feeds whose ids begin with `prefix`; b"" without any."""
        lines = self._lines[self._span(prefix)]
        return sha256(b"".join(lines)).digest()[:FINGERPRINT_BYTES] if lines else b""

    def node(self, prefix: str) -> Node:
        """The feeds whose ids begin with `prefix`, or where they are many, their fingerprints."""
        heads = self.below(prefix)
        if len(heads) <= EXPAND_HEADS_MAX:
            return Leaves(prefix, tuple(heads))
        return Branch(prefix, tuple([self.fingerprint(prefix + digit) for digit in PREFIXES]))

    def _span(self, prefix: str) -> slice:
        digits = 2 * FEED_ID_BYTES
        first, last = bytes.fromhex(prefix.ljust(digits, "0")), bytes.fromhex(prefix.ljust(digits, "f"))
        return slice(bisect_left(self._feeds, first), bisect_right(self._feeds, last))


def nothing_of(feed: FeedId) -> FeedHead:
    """The head of a feed of which nothing is held."""
    return FeedHead(feed, 0, b"", b"")


def seqs_digest(seqs: Sequence[int]) -> bytes:
    """The digest of the control spans at these places; b"" without any."""
    return sha256(b"".join([seq.to_bytes(8, "big") for seq in seqs])).digest()[:DIGEST_BYTES] if seqs else b""


def addresses_digest(addresses: Iterable[str]) -> bytes:
    """The digest of a node's addresses; b"" without any."""
    text = "\n".join(addresses)
    return sha256(text.encode()).digest()[:DIGEST_BYTES] if text else b""


def _line(head: FeedHead) -> bytes:
    return b"".join((head.feed, head.size.to_bytes(8, "big"), head.root, head.foretold))
