"""What nodes say to each other: requests and answers as values.

One request has one answer, whatever came before, so that each may be lost, doubled or sent again. `Follow` has
many answers. Knows nothing of bytes (`protocol.wire`) nor of what is held. Invariant: once decoded, every value is
bounded.
Source: docs/protocol.md, Between nodes.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from lognode.core.ids import FeedId, TenantId
from lognode.core.span import Foretold, Range

# The versions of the messages below that this node speaks: its own and, later, the one before.
VERSIONS: Final = (1,)
INSTANCE_BYTES: Final = 16
SUMMARY_BYTES: Final = 32
FINGERPRINT_BYTES: Final = 16
DIGEST_BYTES: Final = 8
PREFIXES: Final = "0123456789abcdef"


class FeedHead(NamedTuple):
    """How much of a feed a node holds: size and root (b"" at size 0), and a digest of the control spans beyond."""

    feed: FeedId
    size: int
    root: bytes
    foretold: bytes  # b"" without any


class Branch(NamedTuple):
    """Many feeds whose ids begin with `prefix`, in hexadecimal: a fingerprint for each next digit, b"" for none."""

    prefix: str
    children: tuple[bytes, ...]


class Leaves(NamedTuple):
    """The few feeds whose ids begin with `prefix`, by id."""

    prefix: str
    heads: tuple[FeedHead, ...]


Node = Branch | Leaves


class ControlsWant(NamedTuple):
    """Control spans of a feed from entry `start` on. `known` is the digest of those from there on that are held."""

    feed: FeedId
    start: int
    known: bytes


class RangeWant(NamedTuple):
    """Ranges of a feed from entry `start` on."""

    feed: FeedId
    start: int


class Hello(NamedTuple):
    """The first request: who speaks which versions, and what it holds. Laid out alike in all versions."""

    tenant: TenantId
    versions: tuple[int, ...]
    instance: bytes  # random, of the process: two of one node at once are two copies of it
    summary: bytes
    addresses: tuple[str, ...]  # host:port, where the asking node listens
    known: bytes  # digest of the addresses of the answering node as the asking one knows them, b"" for none


class Welcome(NamedTuple):
    """The answer to Hello: the version to go on in. Laid out alike in all versions."""

    version: int
    instance: bytes
    summary: bytes
    addresses: tuple[str, ...] | None  # None: as known
    root: Node | None  # None where the summaries are equal


class Expand(NamedTuple):
    """What is held of the feeds below some prefixes."""

    version: int
    tenant: TenantId
    prefixes: tuple[str, ...]


class Expanded(NamedTuple):
    """The answer to Expand: a node for each prefix, in its order."""

    nodes: tuple[Node, ...]


class ControlsWanted(NamedTuple):
    """Control spans, feed by feed."""

    version: int
    tenant: TenantId
    wants: tuple[ControlsWant, ...]


class Controls(NamedTuple):
    """The answer to ControlsWanted, in its order, by seq within a feed. `more`: it was cut behind the last one."""

    foretold: Sequence[Foretold]
    more: bool


class Pull(NamedTuple):
    """Ranges of feeds, as many as fit an answer."""

    version: int
    tenant: TenantId
    wants: tuple[RangeWant, ...]


class Ranges(NamedTuple):
    """The answer to Pull, in its order: of each feed one range behind the other, or none."""

    ranges: Sequence[Range]


class Push(NamedTuple):
    """Ranges and control spans that the other node lacks."""

    version: int
    tenant: TenantId
    ranges: Sequence[Range]
    foretold: Sequence[Foretold]


class Pushed(NamedTuple):
    """The answer to Push: for each range the size of its feed now, or the error code it was refused with."""

    outcomes: tuple[int | str, ...]


class Follow(NamedTuple):
    """A wish for what comes: it is answered by Ranges, Controls and Pulse as they arise, until somebody hangs up."""

    version: int
    tenant: TenantId
    instance: bytes


class Pulse(NamedTuple):
    """The summary of what the other node holds: a frame of Follow when there is nothing else to say."""

    summary: bytes


class Refused(NamedTuple):
    """An answer to any request: an error code. Laid out alike in all versions."""

    code: str


Request = Hello | Expand | ControlsWanted | Pull | Push | Follow
Answer = Welcome | Expanded | Controls | Ranges | Pushed | Pulse | Refused
