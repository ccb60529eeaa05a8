"""Three daemons in a line: the ends know nothing of where the other is, and hold the same through the middle."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import pytest

from lognode.client import connect
from tests.cli.lognode_command import Lognode
from tests.daemon import Daemon

SETTLED_S: Final = 60  # how long a hanging sync holds up the tests; no test measures time by it


class Node:
    """A daemon that peers find at its port, and the commands that talk to it."""

    def __init__(self, folder: Path, name: str, peer_port: int = 0) -> None:
        listen = ("--peer-listen", f"127.0.0.1:{peer_port}", "--join-listen", "127.0.0.1:0", "--no-discovery")
        self.daemon = Daemon(folder / name, *listen)
        self.lognode = Lognode(folder, folder / name)
        self.client = connect(data_dir=folder / name)

    def stop(self) -> None:
        self.client.close()
        self.daemon.stop()

    def start(self) -> None:
        self.daemon.start()

    def invite(self) -> str:
        return str(self.lognode.text("invite", "create", "--level", "root").splitlines()[-1])

    def join(self, invite: str) -> None:
        self.lognode.text("join", "-", stdin=invite.encode())

    def append(self, kind: str) -> None:
        self.lognode.text("append", "--kind", kind)

    def tenant(self) -> dict[str, Any]:
        return dict(self.client.stats())


def free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_equal(*nodes: Node) -> dict[str, Any]:
    """What a node says of the tenant, once all nodes say the same."""
    deadline = time.monotonic() + SETTLED_S
    while True:
        tenants = [node.tenant() for node in nodes]
        if len({tenant["state"] for tenant in tenants}) == 1:
            return tenants[0]
        assert time.monotonic() < deadline, [node.lognode.json("sync", "status") for node in nodes]
        time.sleep(0.05)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[tuple[Node, Node, Node]]:
    """Three nodes of one tenant, of which the ends were never there at once."""
    one, two, three = Node(tmp_path, "one"), Node(tmp_path, "two", free_port()), Node(tmp_path, "three")
    with ExitStack() as stack:
        for node in (one, two, three):
            stack.callback(node.stop)
        one.start()
        two.start()
        one.append("before.anybody.joined")
        two.join(one.invite())
        wait_equal(one, two)
        one.daemon.stop()
        three.start()
        three.join(two.invite())
        wait_equal(two, three)
        one.start()  # at another port than what the third was told
        yield one, two, three


def test_a_line_of_nodes_holds_the_same_though_its_middle_was_away(line: tuple[Node, Node, Node]) -> None:
    one, two, three = line
    one.append("from.one")
    three.append("from.three")
    wait_equal(one, two, three)
    peers = {peer["node"]: peer for peer in one.lognode.json("sync", "status")["peers"]}
    assert peers[three.lognode.text("id", "show")]["state"] != "live"

    middle = two.lognode.text("id", "show")
    two.daemon.stop()
    one.append("while.away")
    alone = one.lognode.run("sync", middle)
    shown = one.lognode.text("sync", "status")
    assert alone.returncode == 75
    assert "peer.unreachable" in shown
    assert "hint: Check that it runs" in shown
    three.append("while.away")
    two.start()
    tenant = wait_equal(one, two, three)

    assert tenant["kinds"]["while.away"] == 2
    assert tenant["kinds"]["before.anybody.joined"] == tenant["kinds"]["from.one"] == 1
    done = two.lognode.run("sync")
    assert (done.returncode, done.stdout.decode().count("live")) == (0, 2), done.stdout.decode()
    unknown = two.lognode.run("sync", "status", "nobody", "--json")
    assert (unknown.returncode, json.loads(unknown.stderr)["code"]) == (1, "peer.unknown")
