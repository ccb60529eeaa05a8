"""The directory: candidates in bounds and at a pace, what is tried when, and that it outlives the node."""

from pathlib import Path
from typing import Any

import pytest
import trio

from lognode.core.limits import CANDIDATES_MAX
from lognode.core.world import World
from lognode.federation.addresses.announcement import Announcement, key_prefix, read_record, text_record
from lognode.federation.addresses.candidates import Pace
from lognode.federation.discovery.directory import Directory
from lognode.timeline.store.database import open_store

ALICE, BOB = bytes([1] * 32), bytes([2] * 32)
NO_STORE: Any = None  # where nothing is kept


class Clock:
    """A clock for both times, which the test moves."""

    s = 1000.0

    def world(self) -> World:
        return World(lambda: int(self.s * 1000), lambda: self.s, bytes)


def announcement(node_key: bytes, host: str, join_port: int | None = None) -> Announcement:
    return Announcement(key_prefix(node_key), (host,), 7481, join_port)


def test_an_announcement_says_nothing_but_where_a_node_is() -> None:
    mine = announcement(ALICE, "192.0.2.1", 7482)
    text = {name.encode(): value.encode() for name, value in text_record(mine).items()}

    assert set(text) == {b"v", b"k", b"p", b"j"}
    assert read_record(text, mine.hosts) == mine
    assert read_record(text | {b"later": b"x", b"v": b"2"}, mine.hosts) == mine
    assert read_record({name: value for name, value in text.items() if name != b"j"}, mine.hosts) == mine._replace(
        join_port=None
    )


def test_an_announcement_that_makes_no_sense_is_nobody() -> None:
    mine = announcement(ALICE, "192.0.2.1")
    text: dict[bytes, bytes | None] = {name.encode(): value.encode() for name, value in text_record(mine).items()}

    for name in text:
        for value in (None, b"", b"\xff", b"0", b"x" * 300, *([] if name == b"v" else [b"70000"])):
            assert read_record({**text, name: value}, mine.hosts) is None
    assert read_record(text, ()) is None
    assert read_record(text, ("127.0.0.1", "::1", "fe80::1%2", "0.0.0.0", "224.0.0.1")) is None
    assert read_record(text, ("127.0.0.1", "169.254.1.2")) == mine._replace(hosts=("169.254.1.2",))
    assert read_record({}, mine.hosts) is None


def test_a_flood_of_announcements_is_bounded_and_hides_nobody_who_is_looked_for() -> None:
    directory = Directory(NO_STORE, Clock().world())
    with directory.wanting(ALICE):
        directory.hear("alice", announcement(ALICE, "192.0.2.1"))
        for number in range(10_000):
            directory.hear(f"spoof-{number}", announcement(number.to_bytes(32), f"10.0.{number >> 8 & 255}.1"))
        assert len(directory.candidates()) == CANDIDATES_MAX
        assert [heard.hosts for heard in directory.announced(ALICE)] == [("192.0.2.1",)]
        assert directory.known(ALICE) == []  # a candidate is not what is known
    assert directory.candidates() == []


def tries_of_a_flood() -> list[str]:
    """What is given out in ten seconds, while 10,000 announce themselves under a key that is looked for."""
    clock = Clock()
    directory = Directory(NO_STORE, clock.world())
    tried = []
    with directory.wanting(ALICE, BOB):
        for number in range(10_000):
            directory.hear(f"spoof-{number}", announcement(ALICE, f"10.0.0.{number % 200 + 1}"))
        for _ in range(1000):
            tried += [*directory.reach(ALICE), *directory.reach(BOB)]
            clock.s += 0.01
    return tried


def test_a_flood_of_announcements_under_a_name_that_is_looked_for_is_tried_once_a_second() -> None:
    tried = tries_of_a_flood()

    assert len(tried) == 10
    assert len(set(tried)) == 10  # in turn


def test_without_the_pace_the_same_flood_is_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "take", lambda _pace, _now_s: True)

    assert len(tries_of_a_flood()) == 1000


def test_a_node_that_answered_is_not_looked_for_elsewhere_until_it_fails() -> None:
    clock = Clock()
    directory = Directory(NO_STORE, clock.world())
    directory.note(ALICE, ["192.0.2.1:7481", "127.0.0.1:7481"], "member")
    with directory.wanting(ALICE):
        directory.hear("alice", announcement(ALICE, "192.0.2.9"))
        assert directory.reach(ALICE) == ("192.0.2.9:7481", "192.0.2.1:7481")
        directory.reached(ALICE, "192.0.2.1:7481")
        clock.s += 5
        assert directory.reach(ALICE) == ("192.0.2.1:7481",)
        directory.failed(ALICE, "192.0.2.1:7481", "peer.unreachable")
        assert directory.reach(ALICE) == ("192.0.2.9:7481", "192.0.2.1:7481")
        directory.reached(ALICE, "192.0.2.9:7481")
        assert directory.reach(ALICE)[0] == "192.0.2.9:7481"
        assert directory.known(ALICE)[0].sources == {"mdns"}


def test_a_static_address_is_tried_for_every_node_until_one_is_found_there() -> None:
    clock = Clock()
    directory = Directory(NO_STORE, clock.world(), ["192.0.2.1:7481"])

    assert directory.reach(ALICE) == ("192.0.2.1:7481",)
    assert directory.reach(BOB) == ()  # one a second
    clock.s += 1
    assert directory.reach(BOB) == ("192.0.2.1:7481",)
    directory.reached(BOB, "192.0.2.1:7481")
    clock.s += 1
    assert directory.reach(ALICE) == ()
    assert directory.reach(BOB) == ("192.0.2.1:7481",)


def test_what_is_told_of_loopback_counts_only_among_nodes_of_one_machine() -> None:
    directory = Directory(NO_STORE, Clock().world())
    directory.note(ALICE, ["127.0.0.1:7481"], "member")
    assert directory.reach(ALICE) == ()
    directory.note(ALICE, ["127.0.0.1:7481"], "invite")  # a person wrote it
    assert directory.reach(ALICE) == ("127.0.0.1:7481",)


async def test_who_joins_gets_each_announced_door_once_and_in_its_turn(autojump_clock: trio.testing.MockClock) -> None:
    directory = Directory(NO_STORE, World(lambda: 1, trio.current_time, bytes))
    tried: set[str] = set()
    found: list[tuple[tuple[bytes, str], float]] = []
    with directory.wanting(ALICE):
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                while len(found) < 2:
                    found.append((await directory.wait_join([BOB, ALICE], tried), trio.current_time()))

            nursery.start_soon(ask)
            await trio.sleep(5)
            directory.hear("closed", announcement(ALICE, "192.0.2.1"))
            directory.hear("stranger", announcement(bytes(32), "192.0.2.2", 7482))
            await trio.sleep(5)
            directory.hear("a", announcement(ALICE, "192.0.2.3", 7482))
            directory.hear("b", announcement(ALICE, "192.0.2.4", 7482))

    assert [(node, at_s) for (node, _), at_s in found] == [(ALICE, 10), (ALICE, 11)]
    assert tried == {"192.0.2.3:7482", "192.0.2.4:7482"}


async def test_what_is_known_outlives_the_node(tmp_path: Path) -> None:
    clock = Clock()
    async with open_store(tmp_path / "lognode.db") as store:
        directory = Directory(store, clock.world())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(directory.run)
            directory.note(ALICE, ["192.0.2.1:7481", "192.0.2.2:7481"], "invite")
            directory.note(BOB, ["192.0.2.3:7481"], "member")
            directory.reached(ALICE, "192.0.2.2:7481")
            directory.failed(ALICE, "192.0.2.1:7481", "peer.unreachable")
            directory.forget(BOB)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    async with open_store(tmp_path / "lognode.db") as store:
        again = Directory(store, clock.world())
        await again.load()

    assert again.known(ALICE) == directory.known(ALICE)
    assert [entry.error for entry in again.known(ALICE)] == ["", "peer.unreachable"]
    assert again.known(BOB) == []
    assert again.reach(ALICE) == ("192.0.2.2:7481", "192.0.2.1:7481")
