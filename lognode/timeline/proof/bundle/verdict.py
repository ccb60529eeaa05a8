"""What a bundle shows: its feeds and who wrote them, what of them is there, and whether one trusts those who signed.

Plain values. Invariant: a bundle proves itself by keys that it brings along, so that it holds says nothing to whom
none of those keys is known.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, SpanId, TenantId, b32encode
from lognode.core.span import decode_header
from lognode.timeline.proof.bundle.items import Head
from lognode.timeline.proof.checkpoint import vkey
from lognode.timeline.record import FeedRef, Record, span_json


@dataclass(slots=True)
class BundledFeed:
    """A feed in a bundle. `count` of its entries [start, stop) are there.

    Of those, `stubs` show no more than time and hash, and `voids` are no spans.
    """

    feed: FeedId
    node_key: bytes
    log_key: bytes
    origin: str
    size: int  # of the checkpoint that all its paths lead to
    root: bytes
    path: list[bytes]  # of the entry that was read last
    count: int = 0
    stubs: int = 0
    voids: int = 0
    start: int = 0
    stop: int = 0

    @property
    def vkey(self) -> str:
        """The verifier key of its checkpoint."""
        return vkey(self.origin, self.log_key)

    @property
    def is_whole(self) -> bool:
        """Whether none of [start, stop) is left out; there is at least one."""
        return 0 < self.count == self.stop - self.start


class BundledSpan(NamedTuple):
    """A span whose place is proven; `header` and `body` are as signed, None where they are not there.

    `is_by_actor` says that the body holds a signature of the actor, and that it is right.
    """

    id: SpanId
    feed: BundledFeed
    seq: int
    hlc: int
    visibility: int
    header: bytes | None
    body: bytes | None
    is_by_actor: bool

    def json(self, tenant: TenantId) -> dict[str, Any] | None:
        """The span as `lognode export` writes it; None where nothing of it but its place can be read.

        `actor_signed` is what was found here, and not what the node of the feed once took.
        """
        feed = self.feed
        try:
            decode_header(self.header or b"")
        except CallerError:
            return None
        assert self.header is not None
        record = Record(0, 0, self.seq, self.hlc, self.visibility, self.header, self.body)
        # As of a feed of one's own: the signature was checked before.
        shown = span_json(record, FeedRef(0, 0, feed.feed, feed.node_key, feed.log_key, own=True), tenant)
        del shown["position"]  # which is a node's own
        if "actor_signed" in shown:
            shown["actor_signed"] = self.is_by_actor
        return {**shown, "tenant": b32encode(tenant)}


class Verdict(NamedTuple):
    """What a bundle shows that passed every check, to whoever trusts those who signed."""

    head: Head
    founder: bytes  # node key
    feeds: list[BundledFeed]
    absent: int  # spans whose body is not there
    signed: int  # spans that their actors signed
    missigned: int  # spans under a signature that is not their actor's
    first_hlc: int | None
    last_hlc: int | None
    items: int  # before the seal
    size: int  # bytes of the whole file
    digest: bytes  # SHA-256 of what the seal covers

    @property
    def spans(self) -> int:
        """How many spans are there, without mere stubs."""
        return sum(feed.count - feed.stubs - feed.voids for feed in self.feeds)

    @property
    def stubs(self) -> int:
        """How many private spans show nothing but their stub."""
        return sum(feed.stubs for feed in self.feeds)

    @property
    def voids(self) -> int:
        """How many entries are there that are no spans."""
        return sum(feed.voids for feed in self.feeds)

    def signers(self) -> list[BundledFeed]:
        """The feeds whose signatures this rests on: those that have spans here, and the sealing one."""
        return [feed for feed in self.feeds if feed.count or feed.feed == self.head.feed]

    def strangers(self, nodes: Collection[bytes], vkeys: Collection[str]) -> list[BundledFeed]:
        """The signers that neither a node key nor a verifier key of these speaks for."""
        return [feed for feed in self.signers() if feed.node_key not in nodes and feed.vkey not in vkeys]
