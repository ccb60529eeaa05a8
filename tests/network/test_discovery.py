"""Nodes find each other by multicast, on machines of their own; about 35 seconds."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from lognode.core.limits import CANDIDATE_DIAL_S, CANDIDATES_MAX
from tests.network.namespaces import Machine, join

PROGRAM: Final = "tests/network/finder.py"
PATIENCE_S: Final = 60  # how long a hanging test holds up the others; no test measures time by it


class Finder:
    """The running program, of which one waits until it says something."""

    def __init__(self, machine: Machine, *arguments: str) -> None:
        self._process = machine.start(PROGRAM, *arguments)

    def wait(self, said: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first state of which `said` holds."""
        deadline = time.monotonic() + PATIENCE_S
        state: dict[str, Any] = {}
        assert self._process.stdout is not None
        for line in self._process.stdout:
            state = json.loads(line)
            if said(state):
                return state
            assert time.monotonic() < deadline, state
        raise AssertionError(f"the program ended after {state}")

    def close(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0


@contextmanager
def finder(machine: Machine, *arguments: str) -> Iterator[Finder]:
    program = Finder(machine, *arguments)
    try:
        yield program
    finally:
        program.close()


def hosts(state: dict[str, Any]) -> set[str]:
    return {host for announced in state["announced"] for host in announced["hosts"]}


def test_a_node_finds_another_by_both_versions_and_all_interfaces_and_hears_it_go(
    machines: tuple[Machine, Machine],
) -> None:
    one, other = machines
    join(one, other, 2)
    with finder(other, "2", "1") as looking:
        with finder(one, "1", "", "7481") as announcing:
            announcing.wait(lambda state: state["is_announcing"])
            state = looking.wait(lambda state: hosts(state) >= {"10.77.1.1", "10.77.2.1", "fd77:1::1", "fd77:2::1"})
            assert [(heard["peer_port"], heard["join_port"]) for heard in state["announced"]] == [(7481, 7482)]
            assert not any(host.startswith(("127.", "::1", "fe80:")) for host in hosts(state))
        looking.wait(lambda state: not state["announced"])


def test_a_node_that_moves_is_found_at_its_new_address(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    with finder(one, "1", "", "7481"), finder(other, "2", "1") as looking:
        looking.wait(lambda state: "10.77.1.1" in hosts(state))
        one.ip("address", "add", "10.77.1.9/24", "dev", "veth1")
        looking.wait(lambda state: "10.77.1.9" in hosts(state))


def test_nodes_that_look_for_nobody_say_nothing_and_hear_nothing(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    with finder(one, "1", "", "7481") as announcing, finder(other, "2") as silent:
        announcing.wait(lambda state: state["is_announcing"])
        state = silent.wait(lambda _: True)
        assert not state["is_announcing"]
        assert not state["is_browsing"]
        with finder(other, "3", "1") as looking:
            heard = looking.wait(hosts)
        assert silent.wait(lambda now: now["seconds"] > state["seconds"] + heard["seconds"])["candidates"] == 0


def test_a_machine_with_multicast_off_says_so_and_finds_once_it_is_on(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    other.ip("link", "set", "veth1", "multicast", "off")
    with finder(one, "1", "", "7481"), finder(other, "2", "1") as looking:
        assert looking.wait(lambda state: state["findings"])["findings"] == ["discovery.no_multicast"]
        other.ip("link", "set", "veth1", "multicast", "on")
        assert looking.wait(hosts)["findings"] == []


def test_a_machine_that_loses_its_network_says_so_and_forgets_who_was_there(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    with finder(one, "1", "", "7481"), finder(other, "2", "1", "7481") as looking:
        looking.wait(hosts)
        other.ip("link", "set", "veth1", "down")
        gone = looking.wait(lambda state: state["findings"] == ["discovery.no_interface"] and not state["candidates"])
        assert not gone["is_browsing"]
        other.ip("link", "set", "veth1", "up")
        looking.wait(hosts)


def test_ten_thousand_spoofed_announcements_are_bounded_and_trusted_in_nothing(
    machines: tuple[Machine, Machine],
) -> None:
    one, other = machines
    with finder(one, "1", "", "7481"), finder(other, "2", "1") as looking:
        before = looking.wait(hosts)
        flood = one.start("tests/network/flood.py", "10.77.1.1", "1", "10000")
        full = looking.wait(lambda state: state["candidates"] == CANDIDATES_MAX)
        flood.communicate()
        assert flood.returncode == 0
        after = looking.wait(lambda state: state["seconds"] > full["seconds"] + 2 and state["tries"] >= 2)

    assert after["most"] == CANDIDATES_MAX
    assert after["known"] == 0  # nothing of it is believed
    assert after["tries"] <= after["seconds"] / CANDIDATE_DIAL_S + 1
    assert "10.77.1.1" in hosts(after)  # who was there before stays
    assert after["rss_kib"] - before["rss_kib"] < 64 * 1024
