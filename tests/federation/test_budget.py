"""What peers and tenants may ask for, by the numbers; frames, however they were cut."""

import pytest
import trio
import trio.testing

from lognode.core.errors import PeerError
from lognode.core.limits import MESSAGE_BYTES_MAX, PEER_BURST_S, PEER_CALL_BYTES_SMALL, PEERS_HELD_BYTES_MAX
from lognode.federation.transport.doors.budget import Budgets, Memory, Rate
from lognode.federation.transport.frames import LENGTH_BYTES, FrameReader, frame


def test_frames_are_the_same_however_they_were_cut() -> None:
    messages = [b"one", b"", b"x" * 1000, b"two"]
    sent = b"".join(frame(message) if message else bytes(LENGTH_BYTES) for message in messages)
    for size in (1, 2, 3, 7, len(sent)):
        reader = FrameReader()
        cut = [message for start in range(0, len(sent), size) for message in reader.feed(sent[start : start + size])]
        assert cut == messages
        assert reader.is_between


def test_a_rate_lets_a_burst_pass_and_then_so_much_a_second() -> None:
    rate = Rate(10, burst_s=2)

    assert [rate.spend(1, 0.0) for _ in range(20)] == pytest.approx([0.0] * 20)
    assert rate.spend(5, 0.0) == pytest.approx(0.5)
    assert rate.debt_s(0.5) == pytest.approx(0.0)
    assert rate.spend(10, 100.0) == 0.0


async def test_who_asks_too_much_is_slowed_down_then_refused_and_nobody_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    budgets = Budgets(calls_s=10, bytes_s=1000)
    for _ in range(10 * PEER_BURST_S + 10):
        await budgets.wait_turn(b"greedy")
    slowed_s = trio.current_time()
    assert slowed_s == pytest.approx(0.9)

    budgets.spend_bytes_nowait(b"greedy", 1_000_000)
    with pytest.raises(PeerError) as refused:
        await budgets.wait_turn(b"greedy")
    assert refused.value.code == "peer.busy"
    await budgets.wait_turn(b"modest")
    assert trio.current_time() == slowed_s


async def test_what_is_kept_of_those_who_came_once_is_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    budgets = Budgets()
    for number in range(1000):
        await budgets.wait_turn(b"%d" % number)
        await trio.sleep(1)
    assert len(budgets._rates) <= 64


async def test_memory_is_waited_for_and_given_back(autojump_clock: trio.testing.MockClock) -> None:
    memory = Memory(each_max=100, all_max=150)
    with memory.holding(b"a", 80), memory.holding(b"b", 60) as held:
        with pytest.raises(PeerError) as refused:
            await memory.wait_room(b"a", 30)
        assert refused.value.code == "peer.busy"
        memory.add(b"b", held, 1000)
        await memory.wait_room(b"c", PEER_CALL_BYTES_SMALL)  # small: it fits always
    await memory.wait_room(b"a", 1_000_000)  # alone: it fits always
    assert not memory._held


async def test_large_calls_of_many_wait_for_each_other(autojump_clock: trio.testing.MockClock) -> None:
    """Else as many peers as may connect could have a message of any size under way each."""
    memory, size, most = Memory(), MESSAGE_BYTES_MAX, 0

    async def call(key: bytes) -> None:
        nonlocal most
        await memory.wait_room(key, size)
        with memory.holding(key, size):
            most = max(most, sum(memory._held.values()))
            await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(call, b"%d" % number)
    assert most == PEERS_HELD_BYTES_MAX


async def test_who_is_long_to_read_waits_for_its_next_turn_and_nobody_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    budgets = Budgets(work_s=0.25)
    for _ in range(10):
        await budgets.wait_turn(b"wordy")
        budgets.spend_work_nowait(b"wordy", 0.5)
        await budgets.wait_turn(b"terse")
    assert trio.current_time() == pytest.approx(9 * 0.5 / 0.25 - PEER_BURST_S)
