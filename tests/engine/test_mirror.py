"""The NDJSON files beside a timeline: each span once and in order, whatever the files' end looked like at start."""

import errno
import json
import os
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from lognode.core.draft import Draft
from lognode.core.errors import NodeFault
from lognode.core.ids import b32encode
from lognode.engine.service.upkeep import mirror
from lognode.engine.service.upkeep.mirror import Mirror, Segments
from lognode.timeline.record import span_json
from tests.engine.nodes import Engine, all_records, run_engine

SEGMENT_BYTES: Final = 4000
HANG_S_MAX: Final = 30
BROKEN_S: Final = 2  # given to what will never be whole


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "MIRROR_SEGMENT_BYTES_MAX", SEGMENT_BYTES)
    monkeypatch.setattr(mirror, "MIRROR_SYNC_S", 0.01)


def folder_of(engine: Engine, path: Path) -> Path:
    return path / "mirror" / b32encode(engine.tenant.tenant_id)


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.ndjson"))


def mirrored(folder: Path) -> bytes:
    try:
        return b"".join([path.read_bytes() for path in segments(folder)])
    except FileNotFoundError:
        return b""  # a mirror that begins took one away in which nothing is sound: it is not whole yet


async def wanted(engine: Engine) -> bytes:
    """What the mirror of the whole timeline holds."""
    tenant = b32encode(engine.tenant.tenant_id)
    void = await engine.store.read(void_rows)
    spans = [
        {**span_json(record, engine.store.feeds[record.feed], engine.tenant.tenant_id), "tenant": tenant}
        for record in await engine.store.read(all_records)
        if record.position not in void
    ]
    return b"".join(json.dumps(span, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for span in spans)


async def append(engine: Engine, count: int) -> None:
    for start in range(0, count, 7):
        drafts = [Draft(kind="note.made", title=f"größer {n}", visibility=n % 3) for n in range(start, start + 7)]
        await engine.writer.append(engine.tenant, drafts)


@asynccontextmanager
async def mirroring(engine: Engine, path: Path, patience_s: float = HANG_S_MAX) -> AsyncIterator[None]:
    """A mirror runs inside; at the end it is given time to become whole, and stopped as by a node."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Mirror(engine.store, engine.heads, path / "mirror").run, engine.tenant)
        yield
        whole = await wanted(engine)
        with trio.move_on_after(patience_s):
            while mirrored(folder_of(engine, path)) != whole:  # noqa: ASYNC110 - files have no event
                await trio.sleep(0.005)
        nursery.cancel_scope.cancel()


async def test_a_mirror_holds_every_span_in_segments_for_its_owner_alone(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await append(engine, 50)
        async with mirroring(engine, tmp_path):
            await append(engine, 50)
        folder = folder_of(engine, tmp_path)
        files = segments(folder)

        assert mirrored(folder) == await wanted(engine)
        assert len(files) > 1
        for file in files:
            first = json.loads(file.read_bytes().partition(b"\n")[0])
            assert file.name == f"{first['position']:012d}.ndjson"
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


async def test_what_is_void_has_no_line_and_the_mirror_goes_on_behind_it(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await append(engine, 20)
        await engine.store.write(make_void, [1, 2, 9, 10, 20, 21, 22, 23])
        for _ in range(2):
            async with mirroring(engine, tmp_path):
                pass
        async with mirroring(engine, tmp_path):
            await append(engine, 7)
        folder = folder_of(engine, tmp_path)
        found = [json.loads(line)["position"] for line in mirrored(folder).splitlines()]
        assert found == [*range(3, 9), *range(11, 20), *range(24, 31)]
        assert segments(folder)[0].name == f"{3:012d}.ndjson"


def make_void(conn: sqlite3.Connection, rows: list[int]) -> None:
    conn.executemany("INSERT INTO voids VALUES (?, 'unauthorised')", [(row,) for row in rows])


def void_rows(conn: sqlite3.Connection) -> set[int]:
    return {row for (row,) in conn.execute("SELECT row FROM voids")}


async def test_a_segment_with_a_successor_never_changes_again(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        seen: dict[Path, tuple[bytes, int]] = {}
        for _ in range(4):
            async with mirroring(engine, tmp_path):
                await append(engine, 20)
            *old, _ = segments(folder_of(engine, tmp_path))
            now = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in old}
            assert {path: now[path] for path in seen} == seen
            seen = now
        assert len(seen) > 2


def torn(data: bytes) -> dict[str, bytes]:
    """Ends that a crash or a power cut may leave behind a segment, of which the last lines were not on disk yet."""
    *lines, last = data.splitlines(keepends=True)
    before = b"".join(lines)
    ends = {f"cut to {size} bytes of a line": before + last[:size] for size in range(0, len(last), 13)}
    return {
        **ends,
        "no line feed": before + last[:-1],
        "zeros": before + bytes(700),
        "zeros, then a line": before + bytes(len(last) - 1) + b"\n" + last,
        "a line within zeros": before + last[:40] + bytes(40) + last[80:],
        "the line before again": before + lines[-1],
        "another format": before + b"{}\n",
        "no text": before + b"\xff\xfe\n",
        "nothing": b"",
        "half of its first line": data[:40],
    }


def end_with(newest: Path, end: bytes) -> None:
    """Let a mirror end with this segment, which holds `end`."""
    for later in segments(newest.parent):
        if later > newest:
            later.unlink()
    newest.write_bytes(end)


async def resumed(engine: Engine, path: Path, newest: Path, end: bytes, patience_s: float = HANG_S_MAX) -> bool:
    """Whether a mirror whose newest segment holds `end` is whole after it went on."""
    end_with(newest, end)
    async with mirroring(engine, path, patience_s):
        pass
    return mirrored(newest.parent) == await wanted(engine)


async def test_a_mirror_goes_on_from_its_last_sound_line_whatever_follows(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        async with mirroring(engine, tmp_path):
            await append(engine, 40)
        newest = segments(folder_of(engine, tmp_path))[-1]
        whole = newest.read_bytes()
        assert whole.count(b"\n") > 2
        for name, end in torn(whole).items():
            assert await resumed(engine, tmp_path, newest, end), name


def keep_the_end(path: Path) -> tuple[Any, int]:
    """Goes on behind the last line that can be read, and cuts nothing."""
    last, _ = SOUND_PART(path)
    return last, path.stat().st_size


def one_too_far(path: Path) -> tuple[Any, int]:
    """Takes the line behind the last one for done as well."""
    last, size = SOUND_PART(path)
    return (last and last._replace(position=last.position + 1)), size


SOUND_PART: Final = mirror._sound_part


@pytest.mark.parametrize("wrong", [keep_the_end, one_too_far])
async def test_a_mirror_that_resumes_wrongly_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Path], tuple[Any, int]]
) -> None:
    async with run_engine(tmp_path) as engine:
        async with mirroring(engine, tmp_path):
            await append(engine, 40)
        monkeypatch.setattr(mirror, "_sound_part", wrong)
        newest = segments(folder_of(engine, tmp_path))[-1]
        end = torn(newest.read_bytes())["cut to 26 bytes of a line"]
        broken = False
        try:
            broken = not await resumed(engine, tmp_path, newest, end, patience_s=BROKEN_S)
        except* NodeFault:
            broken = True
        assert broken


async def code_of_run(engine: Engine, path: Path) -> str:
    """The code with which a mirror fails."""
    with trio.fail_after(HANG_S_MAX), pytest.raises(NodeFault) as caught:
        await Mirror(engine.store, engine.heads, path / "mirror").run(engine.tenant)
    return caught.value.code


async def test_the_mirror_of_another_history_is_not_written_to(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        async with mirroring(engine, tmp_path):
            await append(engine, 7)
        newest = segments(folder_of(engine, tmp_path))[-1]
        *lines, last = newest.read_bytes().splitlines(keepends=True)
        span = json.loads(last)
        other = json.dumps(span | {"id": b32encode(bytes(24))}).encode() + b"\n"
        ahead = json.dumps(span | {"position": span["position"] + 1}).encode() + b"\n"
        for end in (b"".join([*lines, other]), b"".join([*lines, last, ahead])):
            newest.write_bytes(end)
            assert await code_of_run(engine, tmp_path) == "mirror.foreign"
            assert newest.read_bytes() == end


async def test_a_directory_that_cannot_be_written_has_its_own_code(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        (tmp_path / "mirror").write_bytes(b"a file")
        assert await code_of_run(engine, tmp_path) == "mirror.unwritable"


async def test_one_daemon_writes_a_mirror(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine, mirroring(engine, tmp_path):
        while not segments(folder_of(engine, tmp_path)):  # noqa: ASYNC110 - files have no event
            await trio.sleep(0.005)
        assert await code_of_run(engine, tmp_path) == "mirror.unwritable"


async def test_a_full_disk_stops_the_mirror_and_it_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_engine(tmp_path) as engine:
        async with mirroring(engine, tmp_path):
            await append(engine, 20)
        write = os.write

        def write_half(handle: int, data: memoryview) -> int:
            if len(data) < 10:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(handle, data[: len(data) // 2])

        await append(engine, 20)
        with monkeypatch.context() as patch:
            patch.setattr(mirror.os, "write", write_half)  # type: ignore[attr-defined]
            assert await code_of_run(engine, tmp_path) == "disk.full"
        async with mirroring(engine, tmp_path):
            await append(engine, 20)
        assert mirrored(folder_of(engine, tmp_path)) == await wanted(engine)


async def test_nobody_waits_for_a_mirror_whose_disk_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, begun = threading.Event(), threading.Event()
    add = Segments.append

    def hang(self: Segments, first: int, lines: bytes) -> None:
        begun.set()
        gate.wait(HANG_S_MAX)
        add(self, first, lines)

    monkeypatch.setattr(Segments, "append", hang)
    async with run_engine(tmp_path) as engine, mirroring(engine, tmp_path):
        await trio.to_thread.run_sync(begun.wait)
        await append(engine, 700)
        assert mirrored(folder_of(engine, tmp_path)) == b""
        gate.set()
    assert len(segments(folder_of(engine, tmp_path))) > 1


@contextmanager
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, list[int]]]:
    """While inside, no segment can be begun until the gate is opened; the list grows with each try."""
    gate, tries = threading.Event(), list[int]()
    begin = Segments._begin

    def hang(self: Segments, first: int) -> None:
        tries.append(first)
        gate.wait(HANG_S_MAX)
        begin(self, first)

    with monkeypatch.context() as patch:
        patch.setattr(Segments, "_begin", hang)
        try:
            yield gate, tries
        finally:
            gate.set()


async def wait_until(condition: Callable[[], object]) -> None:
    with trio.fail_after(HANG_S_MAX):
        while not condition():  # noqa: ASYNC110 - threads have no event
            await trio.sleep(0.005)


async def test_a_mirror_whose_disk_hangs_can_be_stopped_and_touches_nothing_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "MIRROR_CLOSE_S_MAX", 0.05)
    async with run_engine(tmp_path) as engine:
        await append(engine, 7)
        keeper = Mirror(engine.store, engine.heads, tmp_path / "mirror")
        with hanging(monkeypatch) as (gate, tries):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keeper.run, engine.tenant)
                await wait_until(lambda: tries)
                nursery.cancel_scope.cancel()
            assert not gate.is_set()  # nobody waited for it
            segments_left = keeper._segments[engine.tenant.number]
            gate.set()
            await wait_until(lambda: segments_left.is_closed)
            for late in (segments_left.open, segments_left.sync):
                with pytest.raises(NodeFault, match="let go of"):
                    late()
        async with mirroring(engine, tmp_path):
            pass
        assert mirrored(folder_of(engine, tmp_path)) == await wanted(engine)


async def test_a_mirror_that_does_not_answer_fails_and_takes_no_thread_more_until_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "MIRROR_CLOSE_S_MAX", 0.05)
    async with run_engine(tmp_path) as engine:
        await append(engine, 7)
        keeper = Mirror(engine.store, engine.heads, tmp_path / "mirror")
        with monkeypatch.context() as patch, hanging(monkeypatch) as (gate, tries):
            patch.setattr(mirror, "MIRROR_SILENCE_S_MAX", 0.05)
            for said in ("has not answered for 0.05 seconds", "does not answer", "does not answer"):
                with pytest.raises(NodeFault, match=said) as caught:
                    await keeper.run(engine.tenant)
                assert caught.value.code == "mirror.unwritable"
            assert len(tries) == 1
            gate.set()
            await wait_until(lambda: keeper._segments[engine.tenant.number].is_closed)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.run, engine.tenant)
            whole = await wanted(engine)
            await wait_until(lambda: mirrored(folder_of(engine, tmp_path)) == whole)
            nursery.cancel_scope.cancel()


async def test_a_mirror_ends_before_what_is_damaged(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await append(engine, 7)
        await engine.store.write(lambda conn: conn.execute("DROP TRIGGER bodies_are_never_changed"))
        await engine.store.write(lambda conn: conn.execute("UPDATE bodies SET body = zeroblob(9) WHERE row = 5"))
        assert await code_of_run(engine, tmp_path) == "database.damaged"
