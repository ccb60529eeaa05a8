"""A member that got a new key, as processes: the others hear of it from the member itself."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.lognode_command import Lognode
from tests.daemon import Daemon

HEARD_S_MAX = 60  # how long a node that never hears holds up the tests; no test measures time by it
PORTS = ("--peer-listen", "127.0.0.1:0", "--join-listen", "127.0.0.1:0", "--no-discovery")


class Node:
    """A daemon on a directory, and commands for it."""

    def __init__(self, home: Path, name: str) -> None:
        self.daemon = Daemon(home / name, *PORTS)
        self.command = Lognode(home, home / name)

    def titles(self) -> list[str]:
        return [span["title"] for span in self.command.lines("log", "--json", "--kind", "note.made")]

    def append(self, title: str) -> None:
        self.command.text("append", "--kind", "note.made", "--title", title)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    founder, joiner = Node(tmp_path, "founder"), Node(tmp_path, "joiner")
    try:
        founder.daemon.start()
        joiner.daemon.start()
        invite = founder.command.json("invite", "create", "--level", "root")["invite"]
        joiner.command.text("join", "-", stdin=invite.encode())
        yield founder, joiner
    finally:
        founder.daemon.stop()
        joiner.daemon.stop()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HEARD_S_MAX
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_member_with_a_new_key_reaches_those_who_know_the_old_one(nodes: tuple[Node, Node]) -> None:
    founder, joiner = nodes
    joiner.append("before")
    wait_until(lambda: founder.titles() == ["before"])
    joiner.daemon.stop()
    done = joiner.command.json("id", "rotate")
    founder.append("meanwhile")
    joiner.daemon.start()
    joiner.append("after")

    wait_until(lambda: founder.titles() == joiner.titles() == ["before", "meanwhile", "after"])

    members = {member["node"]: member for member in founder.command.json("member", "list")["members"]}
    assert members[done["former"]]["removed"]
    assert members[done["node"]]["level"] == "root"
    wait_until(lambda: [tie["state"] for tie in joiner.command.json("sync", "status")["peers"]] == ["live"])
    founder.command.text("verify")
    joiner.command.text("verify")


def test_a_stolen_founder_is_removed_by_its_words_from_another_member(nodes: tuple[Node, Node], tmp_path: Path) -> None:
    founder, joiner = nodes
    words = tmp_path / "words"
    founder.daemon.stop()
    founder.command.text("id", "recovery", "create", "--output", str(words))
    founder.command.text("id", "rotate")  # a thief's: the words hold against that too
    founder.daemon.start()
    founder.append("stolen")
    wait_until(lambda: joiner.titles() == ["stolen"])
    joiner.daemon.stop()
    assert joiner.command.run("id", "revoke", "--recovery", __file__).returncode == 1  # these are no words
    revoked = joiner.command.json("id", "revoke", "--recovery", str(words))["revoked"]
    founder.append("late")
    joiner.daemon.start()

    members = {member["node"]: member for member in joiner.command.json("member", "list")["members"]}
    assert [members[each["node"]]["removed"] for each in revoked] == [True]
    joiner.append("free")
    assert joiner.titles() == ["stolen", "free"]
    assert joiner.command.run("id", "revoke", "--recovery", str(words)).returncode == 5
