"""Real daemons that know each other by addresses that stay theirs, and what people ask of them."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socket import socket
from typing import Any, Final

from lognode.client import Client, Draft, connect
from tests.cli.lognode_command import Lognode
from tests.daemon import Daemon
from tests.faults.processes import HinderedDaemon

WAIT_S_MAX: Final = 60  # how long a hanging node holds up the tests; no test measures time by it


def free_ports() -> tuple[int, int]:
    """Two ports side by side, as a node's two listeners have them by default, which stay its own over its restarts."""
    while True:
        with socket() as one, socket() as other, suppress(OSError, OverflowError):
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            other.bind(("127.0.0.1", port + 1))
            return port, port + 1


class View:
    """What a node says of itself and of others."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @property
    def key(self) -> str:
        """The node's LogLine ID."""
        return str(self.client.node()["node"])

    def titles(self) -> set[str | None]:
        return {span["title"] for span in self.client.spans()}

    def append(self, title: str) -> None:
        self.client.append(Draft(kind="note.made", title=title))

    def kinds(self) -> dict[str, int]:
        """How many spans of each kind have effect here."""
        return dict(self.client.stats()["kinds"])

    def members(self) -> list[tuple[str, str, bool]]:
        return sorted((member["node"], member["level"], member["removed"]) for member in self.client.members())

    def state(self) -> str:
        """By which two nodes tell whether they hold the same."""
        return str(self.client.stats()["state"])

    def findings(self) -> set[tuple[str, int, str | None]]:
        """What `sync status` names: codes, how often, and by whom."""
        return {(found["code"], found["count"], found["node"]) for found in self.client.sync_status()["findings"]}

    def codes(self) -> set[str]:
        return {code for code, _, _ in self.findings()}

    def link(self, other: "View") -> str | None:
        """How this node is linked with another."""
        key = other.key
        return next((peer["state"] for peer in self.client.sync_status()["peers"] if peer["node"] == key), None)


class Node(View):
    """A daemon, the command that talks to it, and a client."""

    def __init__(self, folder: Path, name: str, *flags: str, patch: str | None = None) -> None:
        """With a `patch` of launcher.py the daemon is wrong in one way."""
        peer, join = free_ports()
        listen = ("--peer-listen", f"127.0.0.1:{peer}", "--join-listen", f"127.0.0.1:{join}", "--no-discovery")
        self.daemon: Daemon = HinderedDaemon(folder / name, *listen, *flags, patch=patch)
        self.command = Lognode(folder, folder / name)
        super().__init__(connect(data_dir=folder / name))
        self.daemon.start()

    def stop(self) -> None:
        """End the daemon for good."""
        self.client.close()
        self.daemon.stop()

    def metric(self, name: str) -> float:
        with self.daemon.client() as http:
            lines = http.get("/metrics").raise_for_status().text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def wait_for(what: Callable[[], Any]) -> None:
    """Return once it is so; a node that just starts or was cut off may not answer."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not what():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def wait_equal(*nodes: View) -> None:
    """Return once all hold the same; fail with what each says of the others."""
    deadline = time.monotonic() + WAIT_S_MAX
    while len({node.state() for node in nodes}) > 1:
        assert time.monotonic() < deadline, [node.client.sync_status() for node in nodes]
        time.sleep(0.05)
