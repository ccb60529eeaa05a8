"""From nothing to the same timeline on two machines in six commands, no file edited; about a minute."""

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.daemon import LOGNODE
from tests.network.namespaces import ROOT, Machine

PATIENCE_S: Final = 60  # how long a hanging test holds up the others; no test measures time by it
NOWHERE: Final = "10.66.0.1:7481"  # a network that neither machine has


class Shell:
    """A machine's user, who has installed lognode and nothing else."""

    def __init__(self, machine: Machine, home: Path) -> None:
        self.machine = machine
        self.home = home
        home.mkdir()
        self.environ = {"HOME": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT)}
        self.commands = 0

    @contextmanager
    def up(self, *flags: str) -> Iterator[None]:
        """`lognode up` in the background, once it printed its name and URL."""
        self.commands += 1
        log = (self.home / "log").open("w")
        command = self.machine.prefix(*LOGNODE, "up", *flags)
        with log, subprocess.Popen(command, env=self.environ, stdout=subprocess.PIPE, stderr=log, text=True) as daemon:
            assert daemon.stdout is not None
            try:
                assert any(line.startswith("URL") for line in daemon.stdout), (self.home / "log").read_text()
                yield
            finally:
                daemon.terminate()
                daemon.communicate(timeout=PATIENCE_S)
        assert daemon.returncode == 0
        assert "Traceback" not in (self.home / "log").read_text()

    def run(self, *arguments: str) -> str:
        """What a command prints."""
        self.commands += 1
        return self.ask(*arguments)

    def ask(self, *arguments: str) -> str:
        """The same, of a command that the test alone needs."""
        command = self.machine.prefix(*LOGNODE, *arguments)
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}\n{(self.home / 'log').read_text()}"
        return done.stdout

    def peers(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ask("peers", "--json"))
        return answer

    def wait_log(self, kind: str) -> list[dict[str, Any]]:
        """The spans of a kind, as soon as there are any; `lognode log` looked at again and again is one command."""
        self.commands += 1
        deadline = time.monotonic() + PATIENCE_S
        while not (lines := self.ask("log", "--kind", kind, "--json").splitlines()):
            assert time.monotonic() < deadline, self.ask("sync", "status", "--json")
            time.sleep(0.1)
        return [json.loads(line) for line in lines]


@pytest.fixture
def shells(machines: tuple[Machine, Machine], tmp_path: Path) -> tuple[Shell, Shell]:
    one, other = machines
    return Shell(one, tmp_path / "a"), Shell(other, tmp_path / "b")


def six_commands(alice: Shell, bob: Shell, flags: Sequence[str], other_flags: Sequence[str]) -> dict[str, Any]:
    """Alice's span on Bob's machine; what `lognode peers` says there."""
    with alice.up(*flags), bob.up(*other_flags):
        invite = alice.run("invite", "create").splitlines()[-1]
        bob.run("join", invite)
        alice.run("append", "--kind", "note.made", "--title", "Hello")
        (span,) = bob.wait_log("note.made")
        assert span["title"] == "Hello"
        assert alice.commands + bob.commands == 6

        bob.ask("append", "--kind", "note.back", "--title", "and back")
        assert alice.wait_log("note.back")
        wait_equal(alice, bob)
        return bob.peers()


def wait_equal(*shells: Shell) -> None:
    """Return once all hold the same; each writes a merge a second after what it took in."""
    deadline = time.monotonic() + PATIENCE_S
    while len({json.loads(shell.ask("status", "--json"))["tenant"]["state"] for shell in shells}) > 1:
        assert time.monotonic() < deadline, [shell.ask("sync", "status", "--json") for shell in shells]
        time.sleep(0.1)


def test_a_span_goes_from_nothing_to_another_machine_in_six_commands(shells: tuple[Shell, Shell]) -> None:
    alice, bob = shells
    (peer,) = six_commands(alice, bob, [], [])["peers"]

    assert peer["link"] == "live"
    assert peer["level"] == "root"


def test_a_node_that_only_multicast_finds_is_joined_and_synced(shells: tuple[Shell, Shell]) -> None:
    alice, bob = shells
    (peer,) = six_commands(alice, bob, ["--advertise", NOWHERE], [])["peers"]

    # The invite and Alice herself name another address; the one that answered was only ever announced.
    assert [row["sources"] for row in peer["addresses"] if row["reached_at"]] == [["mdns"]]
    assert NOWHERE in {row["address"] for row in peer["addresses"] if not row["reached_at"]}


def test_one_that_can_only_dial_joins_without_multicast_and_both_directions_work(shells: tuple[Shell, Shell]) -> None:
    alice, bob = shells
    bob.machine.ip("link", "set", "veth1", "multicast", "off")
    loopback = ["--peer-listen", "127.0.0.1:7481", "--join-listen", "127.0.0.1:7482"]
    answer = six_commands(alice, bob, [], loopback)

    assert [peer["link"] for peer in answer["peers"]] == ["live"]
    assert [finding["code"] for finding in answer["discovery"]["findings"]] == ["discovery.no_multicast"]
    assert answer["discovery"]["findings"][0]["hint"]
