"""Joining: whom a node asks, in which order, and what it makes of the answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
import trio.testing

from lognode.core.access import Level
from lognode.core.errors import CallerError, NodeFault, PeerError
from lognode.core.ids import TenantId, b32encode
from lognode.federation.invites.invitation import Invitation, Server, format_invitation
from lognode.federation.invites.messages import Peer, decode_request
from lognode.federation.invites.service.ground import Ground
from lognode.federation.invites.service.joining import Joins
from lognode.federation.invites.store import save_introductions
from lognode.federation.invites.words import words_of
from lognode.identity.certificate import certificate_key, tls_certificate
from lognode.identity.keys import NodeKeys
from lognode.timeline.control.members import member_remove_data
from lognode.timeline.members import Membership, membership
from lognode.timeline.record import TenantRef
from tests.federation.roots import Root, founder, invite
from tests.timeline.members.nodes import keys_of

HERE = "192.0.2.1:7482"


class Joiner:
    """A node that joins; where roots answer is in `network`, and `syncs` says whether spans come afterwards."""

    def __init__(self, *, syncs: bool = True) -> None:
        self.keys = keys_of("joiner")
        self.tenants: dict[str, TenantRef] = {}
        self.network: dict[str, Root] = {}
        self.announced: list[tuple[bytes, str]] = []
        self.tried: list[str] = []
        self.written: list[str] = []
        self.is_refused = False
        self.peers: tuple[Peer, ...] = ()
        self.is_wanting = False
        self._syncs = syncs
        self._members: Membership = membership(TenantId(bytes(20)), ())
        self._changed = trio.Event()
        world = founder().admissions._ground.world
        ground: Any = Ground(self, self, self, world, self.keys)  # type: ignore[arg-type]
        self.joins = Joins(
            ground, ask=self.ask, addresses=self, own_addresses=lambda: ("192.0.2.9:7481",), adopted=self.adopted,
            is_refused=lambda _tenant: self.is_refused,
        )  # fmt: skip

    # The store, the writer and the standings.

    def of(self, _tenant: int) -> Membership:
        return self._members

    async def wait_change(self, _tenant: int, seen: int) -> int:
        if seen != -1:
            await self._changed.wait()
        return 0

    async def adopt_tenant(self, tenant_id: TenantId, alias: str) -> TenantRef:
        tenant = TenantRef(1, tenant_id, alias)
        return self.tenants.setdefault(b32encode(tenant_id), tenant)

    async def write(self, fn: Any, *args: Any) -> None:
        if fn is save_introductions:
            self.written.append("forgotten" if args[-1] == () else "introduced")

    # The network.

    async def ask(self, address: str, tls_key: bytes, body: bytes) -> bytes:
        self.tried.append(address)
        root = self.network.get(address)
        if root is None:
            raise PeerError("peer.unreachable", address)
        if certificate_key(tls_certificate(root.node.keys.tls_seed())) != tls_key:
            raise PeerError("peer.untrusted", address)
        assert decode_request(body).addresses == ("192.0.2.9:7481",)
        return await root.admissions.answer(body)

    async def save(self) -> None:
        self.written.append("addresses")

    async def wait_join(self, node_keys: list[bytes], tried: set[str]) -> tuple[bytes, str]:
        for node_key, address in self.announced:
            if node_key in node_keys and address not in tried:
                tried.add(address)
                return node_key, address
        await trio.sleep_forever()
        raise AssertionError

    @contextmanager
    def wanting(self, *_node_keys: bytes) -> Iterator[None]:
        self.is_wanting = True
        yield
        self.is_wanting = False

    def adopted(self, _tenant: TenantRef, peers: tuple[Peer, ...]) -> None:
        self.peers = peers
        if self._syncs:
            self._members = next(iter(self.network.values())).of(0)
            self._changed.set()


def server(keys: NodeKeys, *addresses: str) -> Server:
    return Server(keys.public, certificate_key(tls_certificate(keys.tls_seed())), addresses)


def text_of(made: Invitation, *servers: Server) -> str:
    return format_invitation(made._replace(servers=servers))


async def test_a_node_joins_and_shows_the_words_that_the_root_shows() -> None:
    root, joiner = founder(), Joiner()
    joiner.network[HERE] = root
    joined = await joiner.joins.join(text_of(invite(root), server(root.node.keys, HERE)))

    member = root.of(0).members[joiner.keys.public]
    assert member.admitted_by == joined.server_key == root.node.keys.public
    assert (joined.state, joined.level, joined.tenant) == ("member", Level.TRUSTED, root.tenant.tenant_id)
    assert joined.words == words_of(root.tenant.tenant_id, member.node_key, member.admitted_by)
    assert [peer.node_key for peer in joiner.peers] == [root.node.keys.public]


async def test_joining_again_asks_nobody_and_says_the_same() -> None:
    root, joiner = founder(), Joiner()
    joiner.network[HERE] = root
    text = text_of(invite(root), server(root.node.keys, HERE))
    first = await joiner.joins.join(text)
    again = await joiner.joins.join(text)

    assert (again.state, again.level, again.tenant) == (first.state, first.level, first.tenant)
    assert joiner.tried == [HERE]


async def test_where_members_are_is_written_before_who_told_it_is_forgotten() -> None:
    root, joiner = founder(), Joiner()
    joiner.network[HERE] = root
    await joiner.joins.join(text_of(invite(root), server(root.node.keys, HERE)))

    assert joiner.written == ["introduced", "addresses", "forgotten"]


async def test_a_node_that_others_refuse_asks_a_root_why_though_it_believes_itself_a_member() -> None:
    root, joiner = founder(), Joiner()
    joiner.network[HERE] = root
    text = text_of(invite(root), server(root.node.keys, HERE))
    await joiner.joins.join(text)
    key = joiner.keys.public
    root.node.write("member.remove", lambda after: member_remove_data(after, key, [], ""))
    assert (await joiner.joins.join(text)).state == "member"
    joiner.is_refused = True
    with pytest.raises(CallerError) as refused:
        await joiner.joins.join(text)

    assert refused.value.code == "member.removed"


async def test_a_node_that_died_before_it_adopted_the_tenant_joins_again() -> None:
    root, joiner, reborn = founder(), Joiner(), Joiner()
    joiner.network[HERE] = reborn.network[HERE] = root
    text = text_of(invite(root), server(root.node.keys, HERE))
    await joiner.joins.join(text)

    assert (await reborn.joins.join(text)).state == "member"
    assert len(root.of(0).members) == 2


async def test_addresses_are_tried_in_turn_until_a_root_answers(autojump_clock: trio.testing.MockClock) -> None:
    first = founder()
    first.node.admit("second")
    second, joiner = Root(first.node.world.nodes["second"]), Joiner()
    made = invite(first)
    second.node.learn(first.node)
    joiner.network["198.51.100.2:7482"] = second
    text = text_of(made, server(first.node.keys, HERE, "[::1]:7482"), server(second.node.keys, "198.51.100.2:7482"))

    assert (await joiner.joins.join(text)).server_key == second.node.keys.public
    assert joiner.tried == [HERE, "[::1]:7482", "198.51.100.2:7482"]


async def test_a_root_without_an_address_is_found_by_its_announcement(autojump_clock: trio.testing.MockClock) -> None:
    root, joiner = founder(), Joiner()
    joiner.network[HERE] = root
    joiner.announced = [(bytes(32), "192.0.2.66:7482"), (root.node.keys.public, HERE)]
    joined = await joiner.joins.join(text_of(invite(root), server(root.node.keys)))

    assert joined.state == "member"
    assert joiner.tried == [HERE]
    assert not joiner.is_wanting


async def test_who_shows_another_key_is_not_asked(autojump_clock: trio.testing.MockClock) -> None:
    root, joiner = founder(), Joiner()
    joiner.network[HERE] = root
    with pytest.raises(NodeFault) as failed:
        await joiner.joins.join(text_of(invite(root), server(keys_of("another"), HERE)))

    assert failed.value.code == "invite.unanswered"
    assert HERE in failed.value.detail
    assert len(root.of(0).members) == 1


async def test_a_root_that_does_not_know_the_invite_yet_is_not_the_last_word(
    autojump_clock: trio.testing.MockClock,
) -> None:
    first = founder()
    first.node.admit("second")
    second, joiner = Root(first.node.world.nodes["second"]), Joiner()
    made = invite(first)  # which the second has not heard of
    joiner.network = {HERE: first, "198.51.100.2:7482": second}
    text = text_of(made, server(second.node.keys, "198.51.100.2:7482"), server(first.node.keys, HERE))

    assert (await joiner.joins.join(text)).server_key == first.node.keys.public


@pytest.mark.parametrize(("uses", "code"), [(0, "invite.refused"), (1, "invite.used_up")])
async def test_a_refusal_is_told_with_its_code(uses: int, code: str, autojump_clock: trio.testing.MockClock) -> None:
    root, joiner = founder(), Joiner()
    joiner.network[HERE] = root
    made = invite(root)
    if uses:
        root.node.admit("winner", Level.TRUSTED, "invite")
    text = text_of(made if uses else made._replace(seed=bytes(32)), server(root.node.keys, HERE))
    with pytest.raises(CallerError) as refused:
        await joiner.joins.join(text)

    assert refused.value.code == code
    assert joiner.tenants == {}


async def test_a_node_waits_for_approval_and_joins_when_it_asks_again() -> None:
    root, joiner = founder(), Joiner()
    joiner.network[HERE] = root
    text = text_of(invite(root, approve=True), server(root.node.keys, HERE))
    pending = await joiner.joins.join(text)
    assert (pending.state, pending.retry_s) == ("pending", 3)
    assert joiner.tenants == {}
    await root.admissions.approve(root.tenant, joiner.keys.public)

    joined = await joiner.joins.join(text)
    assert (joined.state, joined.words) == ("member", pending.words)


async def test_a_joined_node_whose_spans_do_not_come_says_so(autojump_clock: trio.testing.MockClock) -> None:
    root, joiner = founder(), Joiner(syncs=False)
    joiner.network[HERE] = root

    assert (await joiner.joins.join(text_of(invite(root), server(root.node.keys, HERE)))).state == "syncing"


async def test_nothing_that_joining_logs_or_raises_holds_the_invite(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    root, joiner = founder(), Joiner()
    made = invite(root)
    text = text_of(made, server(root.node.keys, HERE))
    with pytest.raises(NodeFault) as failed:
        await joiner.joins.join(text)
    shown = f"{failed.value.problem()} {caplog.text} {capsys.readouterr()}"

    assert HERE in shown
    assert text[40:80] not in shown
    assert made.seed.hex() not in shown
    assert repr(made.seed) not in shown
