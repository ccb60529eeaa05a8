"""`lognode peers`: what it shows of a node that is alone, and of one whose port is taken."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.lognode_command import Lognode
from tests.daemon import Daemon

PATIENCE_S: Final = 60  # how long a hanging daemon holds up the tests


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


def test_a_node_that_is_alone_says_that_it_listens_to_nobody_and_one_whose_port_is_taken_says_so(
    tmp_path: Path, taken: int
) -> None:
    daemon = Daemon(
        tmp_path / "node", "--no-discovery", "--peer-listen", f"127.0.0.1:{taken}", "--join-listen", "127.0.0.1:0",
        "--peers", "node.example:7481",
    )  # fmt: skip
    daemon.start()
    lognode = Lognode(tmp_path, daemon.data_dir)

    assert "Joining    no, until an invite is open\n" in lognode.text("peers")
    alone = lognode.json("peers")
    assert [(each["bound"], each["error"]) for each in alone["listeners"]] == [(None, None), (None, None)]
    assert (alone["peers"], alone["candidates"], alone["static"]) == ([], [], ["node.example:7481"])
    assert [finding["code"] for finding in alone["discovery"]["findings"]] == ["discovery.off"]

    assert "port_not_free" in daemon.log
    assert f"127.0.0.1:{taken}" in daemon.log
    told = lognode.run("invite", "create").stderr.decode()
    assert "Members cannot reach this node: Address already in use: " in told
    assert f"127.0.0.1:{taken}" in told
    assert "[listen.taken]\nhint: " in told
    peer, join = wait_listeners(lognode)
    assert (peer["bound"], peer["addresses"], peer["error"]["code"]) == (None, [], "listen.taken")
    assert join["addresses"] == [join["bound"]]
    shown = lognode.text("peers")
    assert f"Listening  no: 127.0.0.1:{taken} is in use by another program [listen.taken]\n" in shown
    assert "The peer listener: " in shown
    assert f"{taken}" in shown
    assert "[listen.taken]\nhint: " in shown
    assert "[discovery.off]\nhint: " in shown
    daemon.stop()
    assert "node_stopping" in daemon.log


def wait_listeners(lognode: Lognode) -> list[dict[str, Any]]:
    """The listeners, once each is up or says why not."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        listeners: list[dict[str, Any]] = lognode.json("peers")["listeners"]
        if all(each["bound"] or each["error"] for each in listeners):
            return listeners
        assert time.monotonic() < deadline, listeners
        time.sleep(0.1)
