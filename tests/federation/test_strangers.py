"""Who is no member gets nothing, however it comes: every way past the doors that is known, tried."""

import datetime as dt
import os
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Final

import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from lognode.core.errors import PeerError
from lognode.core.ids import b32encode
from lognode.core.limits import STRANGER_CONNECTIONS_EACH_MAX
from lognode.federation.transport.doors import handshake
from lognode.federation.transport.doors.handshake import source_of
from lognode.federation.transport.redeemer import redeem
from lognode.federation.transport.tls import (
    TlsIdentity,
    join_client_context,
    join_server_context,
    peer_client_context,
    peer_server_context,
)
from lognode.identity.certificate import certificate_key
from tests.federation.peers import Echo, Peer, connected

REQUEST: Final = b"POST /v1/peer HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"


class Forger:
    """A member that makes certificates which it should not."""

    def __init__(self, number: int) -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)

    @property
    def name(self) -> str:
        return b32encode(self.key.public_key().public_bytes_raw())

    def certify(self, key: Ed25519PrivateKey, name: str, *, is_ca: bool) -> TlsIdentity:
        """A certificate for a key and a name, signed by this one's key."""
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]))
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(dt.datetime(1970, 1, 1, tzinfo=dt.UTC))
            .not_valid_after(dt.datetime(9999, 12, 31, tzinfo=dt.UTC))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .sign(self.key, None)
        )
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return TlsIdentity(certificate.public_bytes(Encoding.DER), text)


async def refused_with(alice: Peer, context: ssl.SSLContext) -> str:
    """What the server's door says to a connection with this context; fails if a request is answered."""
    try:
        async with connected(alice.address, context) as stream:
            await stream.send_all(REQUEST)
            assert not await stream.receive_some(), "it was answered"
    except trio.BrokenResourceError as error:
        return str(error.__cause__ or error)
    return "closed"


@pytest.fixture
def alice() -> Peer:
    return Peer(1)


@pytest.fixture
def bob() -> Peer:
    return Peer(2)


def anonymous() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def context_of(identity: TlsIdentity) -> ssl.SSLContext:
    context = anonymous()
    identity.load_into(context)
    return context


def of_nobody() -> ssl.SSLContext:
    return anonymous()


def of_an_unknown_node() -> ssl.SSLContext:
    return context_of(Peer(9).identity)


def of_a_member_that_vouches_for_itself_under_another_name() -> ssl.SSLContext:
    bob = Forger(2)
    return context_of(bob.certify(bob.key, Forger(3).name, is_ca=False))


def of_a_member_that_made_itself_an_authority() -> ssl.SSLContext:
    """The certificate is trusted by nobody, though its key belongs to a member."""
    bob = Forger(2)
    return context_of(bob.certify(bob.key, bob.name, is_ca=True))


def of_a_key_that_a_member_vouches_for() -> ssl.SSLContext:
    return context_of(Forger(2).certify(Forger(8).key, Forger(3).name, is_ca=False))


@pytest.mark.parametrize(
    "context",
    [
        of_nobody,
        of_an_unknown_node,
        of_a_member_that_vouches_for_itself_under_another_name,
        of_a_member_that_made_itself_an_authority,
        of_a_key_that_a_member_vouches_for,
    ],
)
async def test_a_connection_is_refused(alice: Peer, bob: Peer, context: Callable[[], ssl.SSLContext]) -> None:
    echo = Echo()
    alice.knows(bob, Peer(3))
    async with alice.serving(echo):
        await refused_with(alice, context())
        assert alice.refusals == ["handshake"]
        async with bob.dialer() as dialer:
            assert await dialer.ask(alice.contact, b"hello") == bob.keys.public + b"hello"
    assert [peer for peer, _ in echo.asked] == [bob.keys.public]


@pytest.mark.parametrize(("left_out", "refusal"), [(0, "handshake"), (ssl.VERIFY_X509_STRICT, "unknown")])
async def test_a_certificate_that_is_an_authority_lets_in_nobody_but_itself_where_it_was_taken_up(
    alice: Peer, monkeypatch: pytest.MonkeyPatch, left_out: int, refusal: str
) -> None:
    """Should one get into a tenant after all: OpenSSL may trust what it signed, the comparison does not."""
    mallory = Forger(7)
    authority = mallory.certify(mallory.key, mallory.name, is_ca=True)
    minted = mallory.certify(Forger(8).key, Forger(3).name, is_ca=False)
    alice.roster.update({authority.certificate: bytes(32)}, is_joinable=False)
    context = alice.door._current_context()
    context.verify_flags &= ~left_out
    monkeypatch.setattr(alice.door, "_current_context", lambda: context)
    echo = Echo()
    async with alice.serving(echo):
        await refused_with(alice, context_of(minted))
    assert alice.refusals == [refusal]
    assert not echo.asked


async def test_a_removal_between_the_context_and_the_handshake_counts(
    alice: Peer, bob: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.knows(bob)
    stale = peer_server_context(alice.identity, [bob.identity.certificate])
    monkeypatch.setattr(alice.door, "_current_context", lambda: stale)
    alice.knows()
    async with alice.serving(Echo()):
        await refused_with(alice, peer_client_context(bob.identity, alice.identity.certificate))
    assert alice.refusals == ["unknown"]


@pytest.mark.parametrize("trusted", [0, 1, 20])
def test_every_context_of_the_peer_door_asks_for_a_certificate(alice: Peer, trusted: int) -> None:
    context = peer_server_context(alice.identity, [Peer(number + 2).identity.certificate for number in range(trusted)])

    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.minimum_version == context.maximum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert context.num_tickets == 0


async def test_a_context_that_is_swapped_in_later_does_not_weaken_the_one_of_the_handshake(
    alice: Peer, bob: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL keeps the first context's verify_mode when a callback puts in another: the first must be strict."""
    strict = peer_server_context(alice.identity, [bob.identity.certificate])
    lax = join_server_context(alice.identity)

    def swap(connection: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
        connection.context = lax

    strict.sni_callback = swap
    monkeypatch.setattr(alice.door, "_current_context", lambda: strict)
    alice.knows(bob)
    async with alice.serving(Echo()):
        await refused_with(alice, anonymous())
    assert alice.refusals == ["handshake"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_1_3_alone_is_spoken(alice: Peer, bob: Peer, version: ssl.TLSVersion) -> None:
    context = context_of(bob.identity)
    context.minimum_version = context.maximum_version = version
    alice.knows(bob)
    async with alice.serving(Echo()):
        if version == ssl.TLSVersion.TLSv1_2:
            assert "protocol version" in (await refused_with(alice, context)).lower()
        else:
            async with connected(alice.address, context) as stream:
                await stream.send_all(REQUEST)
                assert b"200" in await stream.receive_some()


async def test_a_member_is_told_why_it_is_not_let_in(alice: Peer, bob: Peer) -> None:
    alice.knows(Peer(3))
    async with alice.serving(Echo()), bob.dialer() as dialer:
        with pytest.raises(PeerError) as refused:
            await dialer.ask(alice.contact, b"x" * 1_000_000)
    assert refused.value.code == "peer.refused"
    assert "it does not know this node" in refused.value.detail


async def test_who_asks_is_not_told_whom_the_node_trusts(alice: Peer, bob: Peer) -> None:
    alice.knows(bob, Peer(3))
    async with alice.serving(Echo()):
        command = ["openssl", "s_client", "-connect", alice.address, "-tls1_3", "-msg"]
        shown = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, stdin=b"")
    assert b"CertificateRequest" in shown.stdout
    assert b"No client certificate CA names sent" in shown.stdout
    assert b32encode(bob.identity.certificate[:20]).encode() not in shown.stdout


async def test_silence_and_garbage_before_the_handshake_cost_little(
    alice: Peer, bob: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "HANDSHAKE_S_MAX", 1)
    alice.knows(bob)
    async with alice.serving(Echo()), AsyncExitStack() as stack:
        host, port = alice.address.split(":")
        silent = [await stack.enter_async_context(await trio.open_tcp_stream(host, int(port))) for _ in range(3)]
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(70_000), b"\x00" * 100_000):
            stream = await stack.enter_async_context(await trio.open_tcp_stream(host, int(port)))
            with suppress(trio.BrokenResourceError):
                await stream.send_all(garbage)
                await stream.send_eof()
        async with bob.dialer() as dialer:
            assert await dialer.ask(alice.contact, b"hello") == bob.keys.public + b"hello"
        for stream in silent:
            with suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b""
    assert alice.refusals == ["handshake"] * 6


async def test_an_address_has_few_places_before_it_shows_who_it_is(alice: Peer, bob: Peer) -> None:
    alice.knows(bob)
    async with alice.serving(Echo()):
        host, port = alice.address.split(":")
        async with AsyncExitStack() as stack:
            streams = [
                await stack.enter_async_context(await trio.open_tcp_stream(host, int(port)))
                for _ in range(STRANGER_CONNECTIONS_EACH_MAX + 1)
            ]
            assert await streams[-1].receive_some() == b""
            assert alice.refusals == ["crowded"]
        async with bob.dialer() as dialer:  # their places are free again
            while True:
                with suppress(PeerError):
                    await dialer.ask(alice.contact, b"hello")
                    break


async def test_silent_strangers_from_everywhere_keep_no_member_out(
    alice: Peer, bob: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "STRANGER_CONNECTIONS_EACH_MAX", 1000)
    monkeypatch.setattr(handshake, "STRANGER_CONNECTIONS_MAX", 10)
    alice.knows(bob)
    async with alice.serving(Echo()), AsyncExitStack() as stack:
        host, port = alice.address.split(":")
        silent = [await stack.enter_async_context(await trio.open_tcp_stream(host, int(port))) for _ in range(10)]
        await trio.testing.wait_all_tasks_blocked()
        async with bob.dialer() as dialer:
            assert await dialer.ask(alice.contact, b"hello") == bob.keys.public + b"hello"
        assert alice.refusals == ["crowded"]
        assert await silent[0].receive_some() == b""  # the one that was silent longest


async def test_silent_strangers_from_everywhere_keep_no_joiner_out(
    alice: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "STRANGER_CONNECTIONS_EACH_MAX", 1000)
    monkeypatch.setattr(handshake, "STRANGER_CONNECTIONS_MAX", 10)

    async def answer(body: bytes) -> bytes:
        return body

    async with alice.joinable(answer) as address, AsyncExitStack() as stack:
        for _ in range(10):
            await stack.enter_async_context(connected(address, join_client_context()))
        assert await redeem([address], [certificate_key(alice.identity.certificate)], b"hello") == b"hello"
    assert alice.refusals == []


async def test_nodes_that_have_all_connections_keep_no_other_member_out(
    alice: Peer, bob: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "PEER_CONNECTIONS_MAX", 4)
    alice.knows(bob, Peer(3), Peer(4), Peer(5), Peer(6))
    context = peer_client_context(bob.identity, alice.identity.certificate)
    async with alice.serving(Echo()), AsyncExitStack() as stack:
        greedy = [await stack.enter_async_context(connected(alice.address, context)) for _ in range(4)]
        await trio.testing.wait_all_tasks_blocked()
        for number in (3, 4, 5):
            dialer = await stack.enter_async_context(Peer(number).dialer())
            assert await dialer.ask(alice.contact, b"hello")
        for stream in greedy[:3]:
            with suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b""
        async with Peer(6).dialer() as dialer:  # now each has one
            with pytest.raises(PeerError):
                await dialer.ask(alice.contact, b"hello")
        await greedy[3].send_all(REQUEST)
        assert b"200" in await greedy[3].receive_some()


async def test_a_connection_that_is_given_up_is_an_idle_one(
    alice: Peer, bob: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "PEER_CONNECTIONS_MAX", 2)
    alice.knows(bob, Peer(3))
    echo = Echo()
    context = peer_client_context(bob.identity, alice.identity.certificate)
    async with (
        alice.serving(echo),
        bob.dialer() as dialer,
        dialer.follow(alice.contact, b"news") as frames,
        connected(alice.address, context) as idle,
        Peer(3).dialer() as other,
    ):
        await trio.testing.wait_all_tasks_blocked()
        assert await other.ask(alice.contact, b"hello")
        with trio.fail_after(20), suppress(trio.BrokenResourceError):
            assert await idle.receive_some() == b""
        await echo.put.send(b"news")
        assert await anext(frames) == b"news"


def test_connections_are_counted_by_network() -> None:
    assert source_of("192.0.2.1") == source_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:2") == "2001:db8::/64"
    assert source_of("fe80::1%eth0") == "fe80::/64"


def test_the_private_key_is_on_no_disk_and_in_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    identity = Peer(1).identity
    opened: list[str] = []
    load = ssl.SSLContext.load_cert_chain

    def look(context: ssl.SSLContext, path: str) -> None:
        opened.append(path)
        load(context, path)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look)
    peer_server_context(identity, [])

    (path,) = opened
    assert path.startswith("/proc/self/fd/")
    assert not os.path.lexists(path)
    assert "PRIVATE" not in repr(identity)
