"""The listeners of real daemons: down while a node is alone, up with an invite, moved by a reload."""

import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lognode.identity.certificate import certificate_key
from tests.daemon import Daemon

WAIT_S_MAX = 60
INVITES = "/v1/tenants/default/invites"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at, as of now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def wait_for(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not what():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def is_open(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def shown_at(port: int) -> bytes:
    """The TLS key that a listener shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as sock, context.wrap_socket(sock) as stream:
        assert stream.version() == "TLSv1.3"
        certificate = stream.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate_key(certificate)


def parts(http: httpx.Client) -> dict[str, dict[str, Any]]:
    return {part["name"]: part for part in http.get("/v1/node").json()["subsystems"]}


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., None]:
    """Writes the settings of the daemon, which reads them when it starts and at SIGHUP."""

    def write(peer: int, join: int, **more: str) -> None:
        lines = {"peer_listen": f'"127.0.0.1:{peer}"', "join_listen": f'"127.0.0.1:{join}"', "discovery": "false"}
        text = "".join(f"{name} = {value}\n" for name, value in (lines | more).items())
        (tmp_path / "lognode.toml").write_text(text)

    return write


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "node", "--config", str(tmp_path / "lognode.toml"))
    yield daemon
    daemon.stop()


def test_listeners_come_with_an_invite_move_with_the_settings_and_go(
    node: Daemon, settings: Callable[..., None]
) -> None:
    peer, join, other = free_ports(3)
    settings(peer, join)
    node.start()
    with node.client() as http:
        assert not is_open(peer)
        assert not is_open(join)
        assert not parts(http).keys() & {"peer_listener", "join_listener"}

        with socket.create_server(("127.0.0.1", peer)):
            made = http.post(INVITES, json={}).json()
            wait_for(lambda: parts(http).get("peer_listener", {}).get("error") == "listen.taken")
            wait_for(lambda: is_open(join))
        wait_for(lambda: is_open(peer))
        refused = 'lognode_peer_refusals_total{listener="peer",reason="handshake"}'
        wait_for(lambda: refused in http.get("/metrics").text)
        assert shown_at(peer) == shown_at(join)

        settings(other, join, advertise='["node.example:7481"]')
        os.kill(node.pid, signal.SIGHUP)
        wait_for(lambda: is_open(other) and is_open(join) and not is_open(peer))
        assert http.post(INVITES, json={}).json()["servers"][0]["addresses"] == [f"node.example:{join}"]

        settings(other, join, federation="false")
        os.kill(node.pid, signal.SIGHUP)
        wait_for(lambda: not is_open(other) and not is_open(join))
        assert parts(http)["listeners"]["state"] == parts(http)["sync"]["state"] == "off"

        settings(other, join)
        os.kill(node.pid, signal.SIGHUP)
        wait_for(lambda: is_open(other) and is_open(join))
        for one in http.get(INVITES).json()["invites"]:
            assert http.delete(f"{INVITES}/{one['id']}").status_code == 200
        wait_for(lambda: not is_open(other) and not is_open(join))
        assert made["id"] in {one["id"] for one in http.get(INVITES).json()["invites"]}


def test_a_node_ends_while_strangers_hold_connections(node: Daemon, settings: Callable[..., None]) -> None:
    peer, join = free_ports(2)
    settings(peer, join)
    node.start()
    with node.client() as http:
        http.post(INVITES, json={})
        wait_for(lambda: is_open(join) and is_open(peer))
    with socket.create_connection(("127.0.0.1", peer)), socket.create_connection(("127.0.0.1", join)):
        node.stop()
