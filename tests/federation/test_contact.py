"""Addresses come from other nodes: whatever they are, a call ends in an answer or an error of the peer."""

import socket
from functools import partial

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.errors import PeerError
from lognode.federation.transport.contact import Contact, url_at
from tests.federation.peers import Peer

HOSTS = st.one_of(
    st.from_regex(r"[A-Za-z0-9._-]{1,253}", fullmatch=True),
    st.from_regex(r"\[[0-9A-Fa-f:.]{0,50}(%[a-z0-9]{1,15})?\]", fullmatch=True),
    st.text(max_size=60),
    st.sampled_from(["a..b", "-", ".", "[::]", "1.2.3", "x" * 253, "0x7f.1", "xn--a", "[fe80::1%nosuch0]"]),
)


@settings(max_examples=100, deadline=None)
@given(HOSTS, st.integers(-1, 70_000))
def test_whatever_another_node_calls_an_address_is_refused_or_tried(host: str, port: int) -> None:
    async def no_name(*_: object, **__: object) -> None:
        raise OSError("nobody is asked")

    async def call() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trio, "open_tcp_stream", no_name)
            async with Peer(2).dialer() as caller:
                contact = Contact(bytes(32), Peer(1).identity.certificate, (f"{host}:{port}",))
                with pytest.raises(PeerError) as refused:
                    await caller.ask(contact, b"hello")
                assert refused.value.code == "peer.unreachable"

    trio.run(call)


async def test_a_name_that_no_name_server_can_be_asked_for_is_unreachable() -> None:
    async with Peer(2).dialer() as caller:
        with pytest.raises(PeerError) as refused:
            await caller.ask(Peer(1).contact._replace(addresses=("a..b:7481",)), b"hello")
    assert refused.value.code == "peer.unreachable"


@pytest.mark.parametrize("host", ["node.example", "192.0.2.1", "[2001:db8::1]", "[fe80::1%eth0]"])
def test_an_address_becomes_a_url(host: str) -> None:
    assert url_at(f"{host}:7481", "/v1/peer") == f"https://{host}:7481/v1/peer"


async def test_who_hangs_up_before_it_has_shown_a_certificate_is_unreachable_and_not_another_node() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()  # what is closed with bytes unread is reset
        await stream.aclose()

    async with trio.open_nursery() as nursery, Peer(2).dialer() as caller:
        (listener,) = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        with pytest.raises(PeerError) as refused:
            await caller.ask(Peer(1).contact._replace(addresses=(f"127.0.0.1:{port}",)), b"hello")
        nursery.cancel_scope.cancel()
    assert refused.value.code == "peer.unreachable"


async def test_where_nobody_listens_the_system_says_so() -> None:
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        async with Peer(2).dialer() as caller:
            with pytest.raises(PeerError) as refused:
                await caller.ask(Peer(1).contact._replace(addresses=(where,)), b"hello")
    assert (refused.value.code, refused.value.detail) == ("peer.unreachable", f"{where}: Connection refused")
