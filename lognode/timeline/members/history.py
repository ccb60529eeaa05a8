"""Control spans in an order that respects what each knew, with their pasts as bit sets.

Owns reading, ordering and pasts. Must not know what anybody may do. Invariant: order and pasts are functions of the
set of spans; no data, however made, raises or loops.
Source: docs/protocol.md, Membership.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import Any, Final, NamedTuple

from lognode.core.access import Level
from lognode.core.codec import decode_any_array
from lognode.core.errors import CallerError
from lognode.core.ids import KEY_BYTES, FeedId, SpanId, TenantId
from lognode.timeline.control import forks, founding, identities, invites, members, policies
from lognode.timeline.proof.fork import ForkProof

_RAISING: Final = frozenset({"member.admit", "member.level"})
_OWN: Final = frozenset({"member.level", "member.remove"})  # that a node may do to itself
_NEED_ROOT: Final = _RAISING | _OWN | {"feed.adopt", "invite.create", "invite.revoke", "tenant.policy"}
FOUNDING_BIT: Final = 1  # the founding act stands first, and in every past: the tenant's id follows from its key


class Control(NamedTuple):
    """A control span; `author` is the node key of its feed, whose `feed.open` was checked when the feed was taken."""

    id: SpanId
    feed: FeedId
    seq: int
    hlc: int
    author: bytes
    kind: str
    data: bytes


class Act(NamedTuple):
    """A control span that may change the membership. Bit `number` stands for it in pasts; it is -1 for idle ones."""

    number: int
    control: Control
    data: Any  # the NamedTuple of its kind; None where `fault` says why there is none
    fault: str | None
    past: int


class Opening(NamedTuple):
    """What the author of a feed knew when it opened it."""

    author: bytes
    past: int


class Counted(NamedTuple):
    """The control spans from which membership follows; why the others do not count; forks, and those not yet told.

    `forks` has the first entry that differs of each feed that is proven to have two histories, by whatever span.
    `untold` names those of which no span that counts says as much.
    """

    spans: Mapping[SpanId, Control]  # in the order of their times
    dropped: Mapping[SpanId, tuple[Control, str]]
    forks: Mapping[FeedId, int]
    untold: frozenset[FeedId]
    authors: frozenset[bytes]  # keys that somebody among them let in, whether or not that counts


class History(NamedTuple):
    """The acts in their order, the founding first; the feeds; `openings`, which are no acts; `faults` of what is none.

    `links` has for each span those that it names, or follows in its feed. Acts that are `idle` count in no case. They
    are kept apart, since a past takes a bit for each other act, and anybody may write any number of them.
    """

    tenant: TenantId
    acts: Sequence[Act]
    idle: Sequence[Act]
    feeds: Mapping[FeedId, Opening]
    openings: Sequence[Control]
    faults: Mapping[SpanId, str]
    counted: Counted
    links: Mapping[SpanId, Sequence[SpanId]]

    @property
    def everything(self) -> int:
        """The past that holds all acts."""
        return (1 << len(self.acts)) - 1


_PARSERS: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "feed.open": founding.parse_feed_open,
    "feed.adopt": members.parse_feed_adopt,
    "feed.fork": forks.parse_feed_fork,
    "tenant.create": founding.parse_tenant_create,
    "tenant.policy": policies.parse_tenant_policy,
    "member.admit": members.parse_member_admit,
    "member.level": members.parse_member_level,
    "member.remove": members.parse_member_remove,
    "invite.create": invites.parse_invite_create,
    "invite.revoke": invites.parse_invite_revoke,
    "identity.rotate": identities.parse_identity_rotate,
    "identity.recovery": identities.parse_identity_recovery,
    "identity.revoke": identities.parse_identity_revoke,
}


def read_history(tenant: TenantId, controls: Collection[Control], evidence: Mapping[FeedId, int]) -> History:
    """The history that these spans make, whatever their order; there are no acts before the founding is known."""
    counted = count(tenant, controls, evidence)
    spans = counted.spans
    read = {span.id: _read(tenant, span.author, span.kind, span.data) for span in spans.values()}
    founder = _founder(tenant, spans.values())
    order, links = _order(spans, {id_: data.after if data else [] for id_, (data, _) in read.items()})
    pasts: dict[SpanId, int] = {}
    bits: dict[SpanId, int] = {founder.id: FOUNDING_BIT} if founder else {}
    acts, idle = [Act(0, founder, read[founder.id][0], None, 0)] if founder else [], []
    roots = _roots(founder.author, spans.values(), read) if founder else frozenset[bytes]()
    feeds: dict[FeedId, Opening] = {}
    faults: dict[SpanId, str] = {}
    for span in order:
        data, fault = read[span.id]
        past = FOUNDING_BIT if founder else 0
        for link in links[span.id]:
            past |= pasts[link] | bits.get(link, 0)
        pasts[span.id] = past
        if span.seq == 0:
            feeds.setdefault(span.feed, Opening(span.author, past))
        if span.kind == "feed.open":
            fault = fault or (None if span.seq == 0 else "feed.opened")
        elif span.kind == "feed.fork":
            pass  # what it proves was found before anything else
        elif founder and span.id != founder.id and (fault or _is_idle(span, data, roots)):
            idle.append(Act(-1, span, data, fault, past))
            continue
        elif founder and span.id != founder.id:
            bits[span.id] = 1 << len(acts)
            acts.append(Act(len(acts), span, data, fault, past))
            continue
        if fault or not founder:
            faults[span.id] = fault or "tenant.unknown"
    for span in order:
        feeds.setdefault(span.feed, Opening(span.author, FOUNDING_BIT if founder else 0))
    openings = [span for span in order if span.kind in {"feed.open", "feed.fork"}]
    return History(tenant, acts, idle, feeds, openings, faults, counted, links)


def count(tenant: TenantId, controls: Collection[Control], evidence: Mapping[FeedId, int]) -> Counted:
    """Which of these spans count: those of whom one of them let in, before the place where their feed forks.

    The others are as if nobody knew them, but for the proofs of forks in them: a proof needs nobody's word. `evidence`
    says where feeds fork by proofs that stand in no span yet.
    """
    spans = {control.id: control for control in sorted(controls, key=_rank)}
    founder = _founder(tenant, spans.values())
    proofs = [(span, found) for span in spans.values() if (found := _proof(tenant, span)) is not None]
    first = dict(evidence)
    for _, found in proofs:
        first[found.feed] = min(found.seq, first.get(found.feed, found.seq))
    forks = dict(first)
    if founder and founder.feed in forks:  # a tenant whose founder forked there is one still
        forks[founder.feed] = max(founder.seq + 1, forks[founder.feed])
    dropped = {
        id_: (span, "feed.forked") for id_, span in spans.items() if span.seq >= forks.get(span.feed, span.seq + 1)
    }
    authors = frozenset[bytes]()
    if founder:
        authors = _let_in(founder.author, [span for id_, span in spans.items() if id_ not in dropped])
        strangers = (span for span in spans.values() if span.author not in authors and span.id not in dropped)
        dropped.update((span.id, (span, "member.unknown")) for span in strangers)
    kept = {id_: span for id_, span in spans.items() if id_ not in dropped}
    told = {found.feed for span, found in proofs if span.id in kept and found.seq == first[found.feed]}
    return Counted(kept, dropped, forks, frozenset(first.keys() - told), authors)


def _founder(tenant: TenantId, spans: Iterable[Control]) -> Control | None:
    found = (span for span in spans if _founds(span, _read(tenant, span.author, span.kind, span.data)))
    return next(found, None)


def _proof(tenant: TenantId, span: Control) -> ForkProof | None:
    """The proof of a fork that a span carries; None for other spans, and for what proves nothing."""
    if span.kind != "feed.fork":
        return None
    data, fault = _read(tenant, span.author, span.kind, span.data)
    return None if fault else data.proof


# Where the data of a control span names the key that it lets in.
_LETS_IN: Final[Mapping[str, int]] = {"member.admit": 1, "identity.rotate": 2}


def _let_in(founder: bytes, spans: Iterable[Control]) -> frozenset[bytes]:
    """Keys whose feeds are taken in: the founder's, and those that a feed of these names as let in.

    Who counts as a member is another question: an admission may turn out void, and nodes that had taken the feed before
    would hold for ever what others refuse.
    """
    named: dict[bytes, list[bytes]] = defaultdict(list)
    for control in spans:
        place = _LETS_IN.get(control.kind)
        if place is not None and (key := _element(control, place)) is not None:
            named[control.author].append(key)
    found = {founder}
    waiting = [founder]
    while waiting:
        new = set(named.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return frozenset(found)


@lru_cache(maxsize=65_536)
def _element(control: Control, place: int) -> bytes | None:
    try:
        parts = decode_any_array(control.data)
    except CallerError:
        return None
    key = parts[place] if len(parts) > place and _is_plain(parts) else None
    return key if isinstance(key, bytes) and len(key) == KEY_BYTES else None


def _is_plain(value: object) -> bool:
    """Whether a value holds nothing but arrays, integers, text, byte strings and null: what any strict reader takes."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or (isinstance(value, int | str | bytes) and not isinstance(value, bool))


def _rank(control: Control) -> tuple[int, SpanId]:
    return control.hlc, control.id


def _founds(span: Control, read: tuple[Any, str | None]) -> bool:
    """Whether this span makes the tenant. Its founder alone can write such spans; the first of them counts."""
    data, fault = read
    return span.kind == "tenant.create" and fault is None and span.seq == 1 and data.node_key == span.author


def _roots(
    founder: bytes, spans: Iterable[Control], read: Mapping[SpanId, tuple[Any, str | None]]
) -> Collection[bytes]:
    """All keys that could be a root's, whichever acts count."""
    made: dict[bytes, list[bytes]] = defaultdict(list)
    for span in spans:
        data, fault = read[span.id]
        if fault:
            continue
        if span.kind in _RAISING and data.level == Level.ROOT:
            made[span.author].append(data.node_key)
        elif span.kind == "identity.rotate":
            made[data.old_key].append(data.new_key)
    found, waiting = {founder}, [founder]
    while waiting:
        new = set(made.pop(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return found


def _is_idle(span: Control, data: Any, roots: Collection[bytes]) -> bool:
    """Whether an act needs a root for its author that this key never is, or is a second founding."""
    if span.kind == "tenant.create":
        return True
    if span.kind not in _NEED_ROOT or span.author in roots:
        return False
    return span.kind not in _OWN or data.node_key != span.author


@lru_cache(maxsize=65_536)
def _read(tenant: TenantId, author: bytes, kind: str, data: bytes) -> tuple[Any, str | None]:
    """The parts of a control span's data, or the code that says what is wrong with it.

    What is in the data alone is checked once for all: a signature costs more than everything else here together.
    """
    if kind not in _PARSERS:
        return None, "control.unknown"
    try:
        parsed = _PARSERS[kind](data)
    except CallerError as error:
        return None, error.code
    try:
        if kind == "tenant.create":
            founding.check_tenant_create(tenant, parsed)
        elif kind == "feed.fork":
            forks.check_feed_fork(tenant, parsed)
        elif kind == "member.admit":
            members.check_member_admit(tenant, parsed)
        elif kind == "identity.rotate":
            identities.check_identity_rotate(tenant, author, parsed)
        elif kind == "identity.recovery":
            identities.check_identity_recovery(tenant, parsed, None)
    except CallerError as error:
        return parsed, error.code
    return parsed, None


def _order(
    spans: Mapping[SpanId, Control], after: Mapping[SpanId, Iterable[SpanId]]
) -> tuple[list[Control], dict[SpanId, list[SpanId]]]:
    """The spans, each behind those that it links to, the smaller id first; and these links.

    A span links to what it names in `after` and to the control span before it in its feed. Spans of honest nodes make
    no circle. Where others do, links to spans that are not older are left out among those that the circle holds up.
    """
    links: dict[SpanId, list[SpanId]] = {id_: [link for link in after[id_] if link in spans] for id_ in spans}
    feeds: dict[FeedId, list[Control]] = defaultdict(list)
    for span in spans.values():
        feeds[span.feed].append(span)
    for held in feeds.values():
        held.sort(key=lambda span: (span.seq, *_rank(span)))
        for before, span in pairwise(held):
            links[span.id].append(before.id)
    order = _sort(spans, links)
    if len(order) < len(spans):
        done = {span.id for span in order}
        for span in spans.values():
            if span.id not in done:
                links[span.id] = [link for link in links[span.id] if link in done or spans[link].hlc < span.hlc]
        order = _sort(spans, links)
    return order, links


def _sort(spans: Mapping[SpanId, Control], links: Mapping[SpanId, Sequence[SpanId]]) -> list[Control]:
    followers: dict[SpanId, list[SpanId]] = defaultdict(list)
    missing = {}
    for id_, targets in links.items():
        missing[id_] = len(targets)
        for target in targets:
            followers[target].append(id_)
    ready = [_rank(spans[id_]) for id_, count in missing.items() if count == 0]
    heapify(ready)
    order = []
    while ready:
        _, id_ = heappop(ready)
        order.append(spans[id_])
        for follower in followers[id_]:
            missing[follower] -= 1
            if missing[follower] == 0:
                heappush(ready, _rank(spans[follower]))
    return order
