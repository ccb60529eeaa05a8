"""Calls between nodes over real sockets: who is let in, what comes back, and what it is called when nothing does."""

import pytest
import trio

from lognode.core.errors import PeerError
from lognode.federation.transport.contact import Contact
from lognode.federation.transport.dialer import Dialer
from lognode.federation.transport.redeemer import redeem
from lognode.identity.certificate import certificate_key
from tests.federation.peers import Echo, Peer


@pytest.fixture
def alice() -> Peer:
    return Peer(1)


@pytest.fixture
def bob() -> Peer:
    return Peer(2)


@pytest.fixture
def eve() -> Peer:
    return Peer(3)


async def test_a_member_is_answered_and_known_by_its_node_key(alice: Peer, bob: Peer) -> None:
    alice.knows(bob)
    async with alice.serving(Echo()), bob.dialer() as dialer:
        assert await dialer.ask(alice.contact, b"hello") == bob.keys.public + b"hello"


async def test_a_node_with_a_new_key_is_known_by_its_former_one_until_its_peer_has_heard(
    alice: Peer, bob: Peer, eve: Peer
) -> None:
    alice.knows(eve)
    async with alice.serving(Echo()), Dialer(bob.identity, former=eve.identity) as dialer:
        assert await dialer.ask(alice.contact, b"hello") == eve.keys.public + b"hello"
        alice.knows(bob)
        assert await dialer.ask(alice.contact, b"hello") == bob.keys.public + b"hello"
        alice.knows()
        with pytest.raises(PeerError) as refused:
            await dialer.ask(alice.contact, b"hello")
        assert refused.value.code in {"peer.refused", "peer.unreachable"}


async def test_large_messages_come_whole(alice: Peer, bob: Peer) -> None:
    alice.knows(bob)
    body = bytes(range(256)) * 40_000
    async with alice.serving(Echo()), bob.dialer() as dialer:
        assert await dialer.ask(alice.contact, body) == bob.keys.public + body
    assert (alice.received, alice.sent) == (bob.sent, bob.received) == (len(body), 32 + len(body))


async def test_a_stream_brings_messages_as_they_come_to_be(alice: Peer, bob: Peer) -> None:
    alice.knows(bob)
    echo = Echo()
    async with alice.serving(echo), bob.dialer() as dialer, dialer.follow(alice.contact, b"news") as frames:
        await echo.put.send(b"one")
        assert await anext(frames) == b"one"
        await echo.put.send(b"two" * 100_000)
        assert await anext(frames) == b"two" * 100_000
        await echo.put.aclose()
        assert [message async for message in frames] == []
    assert echo.asked == [(bob.keys.public, b"news")]


async def test_a_stream_ends_when_its_peer_leaves(alice: Peer, bob: Peer) -> None:
    alice.knows(bob)
    echo = Echo()
    async with alice.serving(echo), bob.dialer() as dialer:
        async with dialer.follow(alice.contact, b"news") as frames:
            await echo.put.send(b"one")
            assert await anext(frames) == b"one"
        await echo.ended.wait()


async def test_a_stranger_is_refused(alice: Peer, bob: Peer, eve: Peer) -> None:
    alice.knows(bob)
    async with alice.serving(Echo()), eve.dialer() as dialer:
        with pytest.raises(PeerError) as refused:
            await dialer.ask(alice.contact, b"hello")
    assert refused.value.code == "peer.refused"
    assert alice.refusals == ["handshake"]


async def test_another_node_at_the_address_is_told_nothing(alice: Peer, bob: Peer, eve: Peer) -> None:
    echo = Echo()
    eve.knows(bob)
    async with eve.serving(echo), bob.dialer() as dialer:
        with pytest.raises(PeerError) as refused:
            await dialer.ask(Contact(alice.keys.public, alice.identity.certificate, (eve.address,)), b"hello")
    assert refused.value.code == "peer.untrusted"
    assert not echo.asked


async def test_an_address_without_a_node_is_unreachable(alice: Peer, bob: Peer) -> None:
    async with bob.dialer() as dialer:
        with pytest.raises(PeerError) as refused:
            await dialer.ask(alice.contact, b"hello")
    assert refused.value.code == "peer.unreachable"


async def test_it_is_told_which_address_a_node_answered_at(alice: Peer, bob: Peer, eve: Peer) -> None:
    tried: list[tuple[bytes, str, str | None]] = []
    nowhere = alice.address
    for peer in (alice, eve):
        peer.knows(bob)
    async with (
        alice.serving(Echo()),
        eve.serving(Echo()),
        Dialer(bob.identity, on_tried=lambda *told: tried.append(told)) as dialer,
    ):
        contact = alice.contact._replace(addresses=(nowhere, eve.address, alice.address))
        await dialer.ask(contact, b"hello")
        await dialer.ask(contact, b"hello")

    codes = [(address, code) for _, address, code in tried]
    first = [(nowhere, "peer.unreachable"), (eve.address, "peer.untrusted"), (alice.address, None)]
    assert codes == [*first, (alice.address, None)]
    assert {node_key for node_key, *_ in tried} == {alice.keys.public}


async def test_a_joiner_talks_to_a_node_by_the_key_in_its_invite(alice: Peer, eve: Peer) -> None:
    async def answer(body: bytes) -> bytes:
        return body.upper()

    key, other = (certificate_key(peer.identity.certificate) for peer in (alice, eve))
    async with alice.joinable(answer) as address:
        assert await redeem([alice.address, address], {key, other}, b"let me in") == b"LET ME IN"
        with pytest.raises(PeerError) as refused:
            await redeem([address], {other}, b"let me in")
    assert refused.value.code == "peer.untrusted"
    assert alice.received == len(b"let me in")


async def test_the_first_byte_after_a_removal_never_comes(alice: Peer, bob: Peer) -> None:
    alice.knows(bob)
    echo = Echo()
    async with alice.serving(echo), bob.dialer() as dialer:
        async with dialer.follow(alice.contact, b"news") as frames:
            await echo.put.send(b"one")
            assert await anext(frames) == b"one"
            alice.knows()
            echo.put.send_nowait(b"two")
            with pytest.raises(PeerError) as ended:
                await anext(frames)
            assert ended.value.code == "peer.unreachable"
            await echo.ended.wait()
        with trio.fail_after(30), pytest.raises(PeerError):
            await dialer.ask(alice.contact, b"hello")
    assert echo.asked == [(bob.keys.public, b"news")]
