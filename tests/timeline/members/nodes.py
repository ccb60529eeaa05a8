"""Nodes that write control spans and know of each other's what they are told; no store, no network."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from itertools import chain, count
from typing import Final, Self

from lognode.core.access import Level
from lognode.core.clock import COUNTER_BITS
from lognode.core.ids import FeedId, SpanId, TenantId
from lognode.identity.keys import KeyPair, NodeKeys
from lognode.timeline.control.forks import feed_fork_data
from lognode.timeline.control.founding import feed_id, feed_open_data, tenant_create_data, tenant_id
from lognode.timeline.control.identities import (
    identity_recovery_data,
    identity_revoke_data,
    identity_rotate_data,
)
from lognode.timeline.control.invites import invite_create_data, invite_id, invite_revoke_data
from lognode.timeline.control.members import (
    feed_adopt_data,
    join_statement,
    member_admit_data,
    member_level_data,
    member_remove_data,
    sign_join,
)
from lognode.timeline.control.policies import tenant_policy_data
from lognode.timeline.members import Control, Membership, membership
from lognode.timeline.members.history import _PARSERS as PARSERS
from tests.agreement.forgeries import forked

NOW_MS: Final = 1_800_000_000_000
ROOT_HASH: Final = bytes(32)
Cuts = Sequence[tuple[FeedId, int]]


@cache
def keys_of(name: str) -> NodeKeys:
    return NodeKeys.from_seed(sha256(name.encode()).digest())


@cache
def pair_of(name: str) -> KeyPair:
    return KeyPair(sha256(name.encode()).digest())


@dataclass
class World:
    """One tenant: its founder, its nodes by name, and every span that anybody wrote."""

    nodes: dict[str, "Node"] = field(default_factory=dict)
    spans: dict[SpanId, Control] = field(default_factory=dict)
    ticks: "count[int]" = field(default_factory=lambda: count(NOW_MS << COUNTER_BITS, 1 << COUNTER_BITS))

    @property
    def tenant(self) -> TenantId:
        return tenant_id(keys_of("founder").public, bytes(16))

    @property
    def founder(self) -> "Node":
        if "founder" not in self.nodes:
            node = Node(self, "founder")
            node.open()
            node.write("tenant.create", lambda after: tenant_create_data(node.keys, self.tenant, bytes(16), after))
        return self.nodes["founder"]

    def node(self, name: str) -> "Node":
        return self.nodes.get(name) or Node(self, name)

    def result(self) -> Membership:
        return membership(self.tenant, list(self.spans.values()))

    def void(self, span: Control) -> str | None:
        return self.result().voids.get(span.id)

    def level(self, name: str) -> Level:
        return self.result().level(keys_of(name).public)

    def roots(self) -> set[str]:
        result = self.result()
        return {name for name in self.nodes if result.level(keys_of(name).public) == Level.ROOT}


class Node:
    """A node: its keys, the feed that it writes, what it knows."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.keys = keys_of(name)
        self.known: dict[SpanId, Control] = {}
        self.feed = FeedId(bytes(16))
        self.size = 0
        self.wrote: set[SpanId] = set()
        self._feeds = count()
        world.nodes[name] = self

    def learn(self, *others: "Node | Control") -> Self:
        """What others know, or a span with all that it follows from."""
        for other in others:
            self.known.update(other.known if isinstance(other, Node) else past_of(self.world.spans, other))
        return self

    def newest(self) -> list[SpanId]:
        """What no other one names, and the newest of each feed that the own feed did not name so far."""
        links = {id_: PARSERS[span.kind](span.data).after for id_, span in self.known.items()}
        seen = {
            self.known[link].feed: self.known[link].seq
            for id_, span in sorted(self.known.items(), key=lambda item: item[1].seq)
            if span.feed == self.feed and self.size
            for link in links[id_]
            if link in self.known
        }
        newest: dict[FeedId, Control] = {}
        for span in self.known.values():
            newest[span.feed] = max(span, newest.get(span.feed, span), key=lambda one: one.seq)
        news = {span.id for span in newest.values() if span.feed != self.feed and span.seq > seen.get(span.feed, -1)}
        return sorted(news | self.known.keys() - set(chain.from_iterable(links.values())))

    def open(self) -> Control:
        """A new feed, which the next spans go into."""
        nonce = sha256(self.keys.public + bytes([next(self._feeds)])).digest()[:16]
        self.feed, self.size = feed_id(self.world.tenant, self.keys.public, nonce), 0
        tenant, feed = self.world.tenant, self.feed
        return self.write(
            "feed.open", lambda after: feed_open_data(self.keys, tenant, feed, nonce, after, None, "first")
        )

    def write(self, kind: str, build: Callable[[list[SpanId]], bytes], hlc: int | None = None) -> Control:
        """A control span at the end of the feed."""
        if not self.size and kind != "feed.open":
            self.open()
        data = build(self.newest())
        hlc = next(self.world.ticks) if hlc is None else hlc
        place = self.feed + self.size.to_bytes(8, "big")
        id_ = SpanId(hlc.to_bytes(8, "big") + sha256(place + kind.encode() + data).digest()[:16])
        span = Control(id_, self.feed, self.size, hlc, self.keys.public, kind, data)
        self.size += 1
        self.known[id_] = self.world.spans[id_] = span
        self.wrote.add(id_)
        return span

    def talk(self, entries: int = 1) -> None:
        """Other spans, of which membership knows nothing but that they take places."""
        self.size += entries

    def admit(
        self, name: str, level: Level = Level.ROOT, invite: str | None = None, server: str | None = None
    ) -> Control:
        """A node of this name becomes a member, learns all that we know, and will open a new feed."""
        node, tenant = self.world.node(name), self.world.tenant
        named = invite_id(tenant, pair_of(invite).public) if invite else None
        server_key = keys_of(server).public if server else self.keys.public
        statement = join_statement(node.keys, tenant, named, server_key, level, sha256(name.encode()).digest()[:16])
        signed = sign_join(node.keys, tenant, statement, pair_of(invite) if invite else None)
        span = self.write("member.admit", lambda after: member_admit_data(after, statement, signed))
        node.learn(self)
        node.size = 0
        return span

    def set_policy(self, kind: str, policy: str) -> Control:
        return self.write("tenant.policy", lambda after: tenant_policy_data(after, kind, policy))

    def copy(self, name: str) -> "Node":
        """Another node that knows what this one knows, and writes its feed with its keys."""
        twin = Node(self.world, name)
        twin.keys, twin.feed, twin.size, twin.known = self.keys, self.feed, self.size, dict(self.known)
        return twin

    def opening(self, feed: FeedId | None = None) -> bytes:
        """The data of the `feed.open` of a feed, of the one that it writes now."""
        named = self.feed if feed is None else feed
        return next(span.data for span in self.world.spans.values() if span.feed == named and span.seq == 0)

    def accuse(self, other: "Node", seq: int, feed: FeedId | None = None) -> Control:
        """Proof that a feed of another has two histories from `seq` on."""
        named = other.feed if feed is None else feed
        log_key, opening = other.keys.log_key(named), self.opening(named)
        proof = forked(log_key, self.world.tenant, opening, named, seq, (seq + 1, seq + 3))
        return self.write("feed.fork", lambda after: feed_fork_data(after, proof))

    def set_level(self, name: str, level: Level, cuts: Cuts | None = None) -> Control:
        key, named = keys_of(name).public, self.cuts_of(name, cuts)
        return self.write("member.level", lambda after: member_level_data(after, key, level, named))

    def remove(self, name: str, cuts: Cuts | None = None) -> Control:
        key, named = keys_of(name).public, self.cuts_of(name, cuts)
        return self.write("member.remove", lambda after: member_remove_data(after, key, named, "test"))

    def cuts_of(self, name: str, cuts: Cuts | None) -> list[tuple[FeedId, int, bytes]]:
        """The given cuts, or the feeds of a node as far as we know its control spans."""
        if cuts is None:
            sizes: dict[FeedId, int] = {}
            for span in self.known.values():
                if span.author == keys_of(name).public:
                    sizes[span.feed] = max(sizes.get(span.feed, 0), span.seq + 1)
            cuts = list(sizes.items())
        return [(feed, size, ROOT_HASH) for feed, size in cuts]

    def adopt(self, feed: FeedId, size: int) -> Control:
        return self.write("feed.adopt", lambda after: feed_adopt_data(after, feed, size, ROOT_HASH))

    def invite(self, name: str, uses: int = 1, level: Level = Level.ROOT, expires_ms: int = 2 * NOW_MS) -> Control:
        key = pair_of(name).public
        return self.write(
            "invite.create", lambda after: invite_create_data(after, key, level, uses, expires_ms, approve=False)
        )

    def revoke_invite(self, name: str) -> Control:
        revoked = invite_id(self.world.tenant, pair_of(name).public)
        return self.write("invite.revoke", lambda after: invite_revoke_data(after, revoked))

    def rotate(
        self, name: str, recovery: str | None = None, old: str | None = None, cuts: Cuts | None = None
    ) -> Control:
        """The node called `old`, or this one, goes on as `name`."""
        old_keys = keys_of(old) if old else self.keys
        sign = pair_of(recovery).sign if recovery else old_keys.sign_binding
        tenant, carrier, new = self.world.tenant, self.keys.public, self.world.node(name)
        named = [(feed, size, ROOT_HASH) for feed, size in cuts or []]
        span = self.write(
            "identity.rotate",
            lambda after: identity_rotate_data(old_keys.public, sign, new.keys, tenant, carrier, after, named),
        )
        new.learn(self)
        return span

    def declare(self, recovery: str, former: str | None = None) -> Control:
        key, pair = pair_of(recovery).public, pair_of(former) if former else None
        return self.write(
            "identity.recovery", lambda after: identity_recovery_data(self.keys, key, pair, self.world.tenant, after)
        )

    def revoke(self, name: str, recovery: str, cuts: Cuts | None = None) -> Control:
        key, pair, named = keys_of(name).public, pair_of(recovery), self.cuts_of(name, cuts)
        tenant, carrier = self.world.tenant, self.keys.public
        return self.write(
            "identity.revoke", lambda after: identity_revoke_data(key, pair, tenant, carrier, after, named)
        )


def past_of(spans: dict[SpanId, Control], span: Control) -> dict[SpanId, Control]:
    """A span and all that it follows from."""
    found, waiting = {}, [span]
    while waiting:
        one = waiting.pop()
        if one.id in found:
            continue
        found[one.id] = one
        waiting += (spans[link] for link in PARSERS[one.kind](one.data).after)
        waiting += (held for held in spans.values() if held.feed == one.feed and held.seq < one.seq)
    return found


def joined(world: World, *names: str, by: str = "founder", level: Level = Level.ROOT) -> list[Node]:
    """Nodes that one admits, all of which know all."""
    host = world.founder if by == "founder" else world.nodes[by]
    for name in names:
        host.admit(name, level)
    nodes = [world.nodes[name] for name in names]
    for node in nodes:
        node.learn(host)
        node.open()
    everyone = list(world.nodes.values())
    meet(everyone)
    return nodes


def meet(nodes: Iterable[Node]) -> None:
    """All know what any of them knows."""
    held = list(nodes)
    for node in held:
        node.learn(*held)
