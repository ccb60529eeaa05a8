"""The model of a disk holds what it says, and a trace is read for what it says."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.disk import SECTOR_BYTES, Certain, Create, Disk, Event, Rename, Sent, Sync, Truncate, Write
from tests.faults.trace import parse_trace

FOLDER, ONE, TWO = "node", "node/one", "node/two"
MADE: Final[Sequence[Any]] = (Create(FOLDER, is_folder=True), Sync("."), Create(ONE), Create(TWO), Sync(FOLDER))
SYNCED: Final[Sequence[Any]] = (Sync("."), Sync(FOLDER), Sync(ONE), Sync(TWO))
SECTORS_MAX: Final = 8

paths = st.sampled_from([ONE, TWO])
writes = st.builds(
    lambda path, at, byte, size: Write(path, at, bytes([byte]) * size),
    paths,
    st.none() | st.integers(0, 4 * SECTOR_BYTES),
    st.integers(1, 255),
    st.integers(1, 3 * SECTOR_BYTES),
)
truncates = st.builds(Truncate, paths, st.integers(0, 6 * SECTOR_BYTES))
operations = st.lists(writes | truncates | st.builds(Sync, paths), max_size=12)
sector_writes = st.lists(
    st.builds(
        lambda at, byte, count: Write(ONE, at * SECTOR_BYTES, bytes([byte]) * (count * SECTOR_BYTES)),
        st.integers(0, SECTORS_MAX - 3),
        st.integers(1, 255),
        st.integers(1, 3),
    ),
    max_size=8,
)
seeds = st.integers(0, 2**32)


def disk_after(*done: Any) -> Disk:
    """A disk after operations, each of which ended before the next began."""
    return Disk([Event(at, at, operation) for at, operation in enumerate(done)])


@given(operations, seeds)
def test_what_was_synced_is_found_whole(done: Sequence[Any], seed: int) -> None:
    disk = disk_after(*MADE, *done, *SYNCED)

    assert disk.found(Random(seed)) == disk.seen()


@given(operations)
def test_with_luck_everything_is_found(done: Sequence[Any]) -> None:
    disk = disk_after(*MADE, *done)

    assert disk.found(Certain(is_kind=True)) == disk.seen()


@given(operations, operations)
def test_without_luck_what_was_synced_is_found_and_no_more(done: Sequence[Any], more: Sequence[Any]) -> None:
    unsynced = [operation for operation in more if not isinstance(operation, Sync)]
    disk = disk_after(*MADE, *done, *SYNCED, *unsynced)

    assert disk.found(Certain(is_kind=False)) == disk_after(*MADE, *done).seen()


@given(sector_writes, sector_writes, seeds)
def test_a_sector_is_found_as_it_was_at_some_time_since_its_sync(
    kept: Sequence[Write], lost: Sequence[Write], seed: int
) -> None:
    before = disk_after(*MADE, *kept).seen()[ONE]
    found = disk_after(*MADE, *kept, Sync(ONE), *lost).found(Random(seed))[ONE]

    assert found is not None
    assert before is not None
    assert len(found) >= len(before)
    versions = [disk_after(*MADE, *kept, *lost[:count]).seen()[ONE] or b"" for count in range(len(lost) + 1)]
    for start in range(0, len(found), SECTOR_BYTES):
        was = {version[start : start + SECTOR_BYTES] for version in versions}
        # A file that grew without its content holds zeros.
        assert found[start : start + SECTOR_BYTES] in was | ({bytes(SECTOR_BYTES)} if start >= len(before) else set())


def test_writes_are_torn_lost_and_reordered() -> None:
    """Each of these was found for some seed, else the model would be too kind."""
    disk = disk_after(*MADE, Write(ONE, 0, b"a" * 1024), Sync(ONE), Write(ONE, 0, b"b" * 1024), Write(ONE, 1024, b"c"))
    found = {content for seed in range(300) if (content := disk.found(Random(seed))[ONE]) is not None}

    old, new = b"a" * 512, b"b" * 512
    assert {old + old, old + new, new + old, new + new} <= {content[:1024] for content in found}
    assert {b"", b"\0", b"c"} == {content[1024:] for content in found}
    assert old + old + b"c" in found


@pytest.mark.parametrize("is_truncated", [True, False])
def test_a_truncation_may_be_lost(*, is_truncated: bool) -> None:
    disk = disk_after(*MADE, Write(ONE, 0, b"abc"), Sync(ONE), Truncate(ONE, 1))

    assert disk.found(Certain(is_kind=is_truncated))[ONE] == (b"a" if is_truncated else b"abc")


@given(seeds)
def test_a_name_that_moves_is_one_of_two(seed: int) -> None:
    new, old = f"{FOLDER}/new", f"{FOLDER}/old"
    moved = disk_after(
        *MADE, Create(new), Write(new, None, b"x"), Sync(new), Sync(FOLDER), Rename({old: new, new: None})
    )

    assert {name: moved.found(Random(seed)).get(name) for name in (old, new)} in (
        {old: b"x", new: None},
        {old: None, new: b"x"},
    )


def test_a_file_is_lost_with_its_name_or_with_that_of_its_directory() -> None:
    no_luck = Certain(is_kind=False)
    nameless = disk_after(Create(FOLDER, is_folder=True), Sync("."), Create(ONE), Write(ONE, 0, b"x"), Sync(ONE))
    homeless = disk_after(Create(FOLDER, is_folder=True), Create(ONE), Write(ONE, 0, b"x"), Sync(ONE), Sync(FOLDER))

    assert nameless.found(no_luck) == {FOLDER: None}
    assert homeless.found(no_luck) == {}


def test_a_sync_keeps_what_ended_before_it_began_and_only_once_it_has_ended() -> None:
    crossed = [
        Event(5, 5, Write(ONE, 0, b"a")),
        Event(6, 9, Write(TWO, 0, b"b")),
        Event(7, 8, Sync(ONE)),
        Event(7, 10, Sync(TWO)),
    ]
    made = [Event(at, at, operation) for at, operation in enumerate(MADE)]

    def found(cut: float) -> list[bytes | None]:
        image = Disk([*made, *crossed], cut).found(Certain(is_kind=False))
        return [image[ONE], image[TWO]]

    assert found(8) == [b"", b""]
    assert found(9) == [b"a", b""]
    assert found(20) == [b"a", b""]


def hexed(text: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text)


def at(path: str, number: int = 9) -> str:
    return f"{number}<{hexed(path.encode())}>"


def quoted(text: str) -> str:
    return f'"{hexed(text.encode())}"'


def test_a_trace_is_read_as_what_was_done_to_the_node_s_files() -> None:
    lines = [
        f"7  mkdir({quoted('/d/node')}, 0700) = 0",
        f"7  openat(AT_FDCWD<{hexed(b'/d')}>, {quoted('/d/node/x')}, O_RDWR|O_CREAT, 0600) = {at('/d/node/x')}",
        f"7  openat(AT_FDCWD<{hexed(b'/d')}>, {quoted('/d/node/x')}, O_RDONLY) = {at('/d/node/x')}",
        f"7  pwrite64({at('/d/node/x')}, {quoted('/abc')}, 4, 512 <unfinished ...>",
        f"8  write({at('/d/node/x')}, {quoted('de')}, 2) = 1",
        "7  --- SIGCHLD {si_signo=SIGCHLD} ---",
        "7  <... pwrite64 resumed>)          = 4",
        f"7  fsync({at('/d')}) = 0",
        f"7  fdatasync({at('/d/node/x')}) = -1 EIO (Input/output error)",
        f"7  pwrite64({at('/d/node/x-shm')}, {quoted('z')}, 1, 0) = 1",
        f"7  write({at('/d/log')}, {quoted('/d/node/x')}, 9) = 9",
        f"7  link({quoted('/d/node/x')}, {quoted('/d/node/y')}) = 0",
        f"7  sendto({at('socket:[1]')}, {quoted('HTTP')}, 4, 0, NULL, 0) = 4",
        f'7  sendto({at("socket:[1]")}, "\\x00", 1, 0, NULL, 0) = 1',
        "7  +++ exited with 0 +++",
    ]

    assert parse_trace(lines, Path("/d/node")) == [
        Event(0, 0, Create("node", is_folder=True)),
        Event(1, 1, Create("node/x")),
        Event(3, 6, Write("node/x", 512, b"/abc")),
        Event(4, 4, Write("node/x", None, b"d")),
        Event(7, 7, Sync(".")),
        Event(11, 11, Rename({"node/y": "node/x"})),
        Event(12, 12, Sent(b"HTTP")),
    ]


@pytest.mark.parametrize("call", ["fallocate", "writev", "copy_file_range"])
def test_a_call_that_is_not_understood_is_no_part_of_a_record(call: str) -> None:
    with pytest.raises(AssertionError, match=call):
        parse_trace([f"7  {call}({at('/d/node/x')}, 0, 4096) = 0"], Path("/d/node"))
