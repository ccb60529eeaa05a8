"""Restoring a backup: into an empty place alone, only what was verified, whole or not at all."""

import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio

from lognode.core.errors import LognodeError
from lognode.identity.keys import NodeKeys
from lognode.identity.store import sync_directory
from lognode.timeline.query import Lineage, arrival_cursor, encode_cursor, lineage_of
from lognode.timeline.store.audit import audit_file
from lognode.timeline.store.backup import restoration
from lognode.timeline.store.backup.manifest import Manifest
from lognode.timeline.store.backup.restoration import restore_backup
from lognode.timeline.store.database import lock_directory, open_store
from lognode.timeline.store.opening import migrate
from lognode.timeline.store.read.lookup import find_place
from lognode.timeline.store.write import newest_position
from tests.engine.nodes import SEED, drafts, run_engine
from tests.timeline.backups import back_up, ignore, write_node

LATER: Final = "CREATE TABLE later (one INTEGER PRIMARY KEY) STRICT;"


def restore(backup: Path, data_dir: Path) -> Manifest:
    return trio.run(restore_backup, backup, data_dir, ignore)


def refusal(backup: Path, data_dir: Path) -> str:
    """The code with which a restore is refused, which also leaves all as it was."""
    around = sorted(backup.parent.glob("**/*"))
    with pytest.raises(LognodeError) as caught:
        restore(backup, data_dir)
    assert sorted(backup.parent.glob("**/*")) == around
    return caught.value.code


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup; tests that change it do so in a copy."""
    node = write_node(tmp_path_factory.mktemp("node"), b"secret")
    (node / "lognode.toml").write_text("log_level = 'debug'\n")
    backup = tmp_path_factory.mktemp("backups") / "backup"
    back_up(node, backup)
    return backup


@pytest.fixture
def backup(sample: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample, tmp_path / "backup"))


@pytest.mark.parametrize("where", ["nowhere yet", "empty"])
def test_a_restored_directory_holds_the_files_of_the_backup_for_its_owner_alone(
    backup: Path, tmp_path: Path, where: str
) -> None:
    node = tmp_path / "a" / "node"
    if where == "empty":
        node.mkdir(parents=True)
    restore(backup, node)

    assert sorted(path.name for path in node.iterdir()) == ["lognode.db", "lognode.lock", "lognode.toml", "node.key"]
    for name in ("lognode.db", "lognode.toml", "node.key"):
        assert (node / name).read_bytes() == (backup / name).read_bytes()
        assert stat.S_IMODE((node / name).stat().st_mode) == 0o600
    assert where == "empty" or stat.S_IMODE(node.stat().st_mode) == 0o700
    assert audit_file(node / "lognode.db", node_public=NodeKeys.from_seed(SEED).public) == []


def test_a_settings_file_that_is_there_stays(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node/lognode.toml").write_text("mine")
    restore(backup, tmp_path / "node")
    assert (tmp_path / "node/lognode.toml").read_text() == "mine"


NAMES: Final = ("lognode.db", "lognode.db-wal", "lognode.db-shm", "lognode.db-journal", "node.key", "admin.token")


@pytest.mark.parametrize("name", NAMES)
def test_a_directory_of_a_node_is_refused(backup: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / name).write_text("mine")
    assert refusal(backup, tmp_path / "node") == "data_dir.taken"
    assert (tmp_path / "node" / name).read_text() == "mine"


@pytest.mark.parametrize("name", NAMES)
def test_a_link_to_what_is_not_there_is_refused_too(backup: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / name).symlink_to("elsewhere")
    assert refusal(backup, tmp_path / "node") == "data_dir.taken"


@pytest.mark.parametrize("last", [1, 2])
def test_a_restore_that_was_killed_between_two_files_is_ended_by_another(
    backup: Path, tmp_path: Path, last: int
) -> None:
    node = tmp_path / "node"
    node.mkdir()
    for name in ("lognode.toml", "lognode.db")[:last]:
        shutil.copy(backup / name, node)
    restore(backup, node)
    for name in ("lognode.db", "lognode.toml", "node.key"):
        assert (node / name).read_bytes() == (backup / name).read_bytes()


def test_a_database_of_another_backup_without_key_is_not_taken_for_a_restore_that_was_killed(
    backup: Path, tmp_path: Path
) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node/lognode.db").write_bytes((backup / "lognode.db").read_bytes() + b"\0")
    assert refusal(backup, tmp_path / "node") == "data_dir.taken"


async def test_a_directory_that_a_daemon_holds_is_refused(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    async with lock_directory(tmp_path / "node"):
        with pytest.raises(LognodeError) as caught:
            await restore_backup(backup, tmp_path / "node", ignore)
    assert caught.value.code == "data_dir.locked"
    assert [path.name for path in (tmp_path / "node").iterdir()] == ["lognode.lock"]


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[object]]) -> None:
    """Have another process `act` where the next restore has all but the lock."""

    @asynccontextmanager
    async def act_and_lock(folder: Path) -> AsyncIterator[Path]:
        monkeypatch.setattr(restoration, "lock_directory", lock_directory)
        await act()
        async with lock_directory(folder) as lock:
            yield lock

    monkeypatch.setattr(restoration, "lock_directory", act_and_lock)


async def test_a_restore_that_comes_too_late_leaves_the_node_that_another_made(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = tmp_path / "a" / "node"
    meanwhile(monkeypatch, partial(restore_backup, backup, node, ignore))
    with pytest.raises(LognodeError) as caught:
        await restore_backup(backup, node, ignore)
    assert caught.value.code == "data_dir.taken"
    assert sorted(path.name for path in node.iterdir()) == ["lognode.db", "lognode.lock", "lognode.toml", "node.key"]


async def test_a_restore_beside_a_first_start_leaves_what_that_has_made(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = tmp_path / "node"
    async with AsyncExitStack() as starting:
        meanwhile(monkeypatch, lambda: starting.enter_async_context(lock_directory(node)))
        with pytest.raises(LognodeError) as caught:
            await restore_backup(backup, node, ignore)
        assert caught.value.code == "data_dir.locked"
        assert [path.name for path in node.iterdir()] == ["lognode.lock"]


async def test_a_restore_that_fails_leaves_what_others_put_beside_its_files(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_and_fail(*_: object) -> None:
        (tmp_path / "node" / "notes").write_text("mine")
        raise KeyboardInterrupt

    monkeypatch.setattr(restoration, "_copy", put_and_fail)
    with pytest.raises(KeyboardInterrupt):
        await restore_backup(backup, tmp_path / "node", ignore)
    assert sorted(path.name for path in (tmp_path / "node").iterdir()) == ["lognode.lock", "notes"]


@pytest.mark.parametrize("name", ["backup.json", "lognode.db", "lognode.toml", "node.key"])
@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_a_backup_with_a_flipped_bit_is_refused_with_nothing_written(
    backup: Path, tmp_path: Path, name: str, where: float
) -> None:
    flipped = bytearray((backup / name).read_bytes())
    flipped[int(where * (len(flipped) - 1))] ^= 1
    (backup / name).write_bytes(flipped)
    assert refusal(backup, tmp_path / "node") == "backup.damaged"


@pytest.mark.parametrize("name", ["backup.json", "lognode.db", "lognode.toml", "node.key"])
def test_a_backup_with_a_missing_file_is_refused_with_nothing_written(backup: Path, tmp_path: Path, name: str) -> None:
    (backup / name).unlink()
    assert refusal(backup, tmp_path / "node") == ("file.unreadable" if name == "backup.json" else "backup.damaged")


def test_a_file_that_changes_once_it_was_verified_is_refused(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = restoration._copy

    def change_and_copy(source: Path, handle: int, *rest: object) -> None:
        if source.name == "node.key":
            source.write_text("another")
        copy(source, handle, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(restoration, "_copy", change_and_copy)
    assert refusal(backup, tmp_path / "a" / "node") == "backup.damaged"


@pytest.mark.parametrize("where", ["nowhere yet", "empty"])
@pytest.mark.parametrize("at", ["_copy", "sync_directory"])
def test_an_interrupted_restore_leaves_nothing(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, where: str
) -> None:
    whole: Callable[..., None] = getattr(restoration, at)
    if where == "empty":
        (tmp_path / "node").mkdir()

    def stop(*args: object) -> None:
        whole(*args)
        if args[0] in {backup / "lognode.db", tmp_path / "node"}:
            raise KeyboardInterrupt

    monkeypatch.setattr(restoration, at, stop)
    with pytest.raises(KeyboardInterrupt):
        restore(backup, tmp_path / "node")
    assert [path.name for path in tmp_path.glob("node/*")] == (["lognode.lock"] if where == "empty" else [])


def test_whenever_a_restore_ends_there_is_no_key_without_its_database(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable: list[list[str]] = []

    def note(folder: Path) -> None:
        sync_directory(folder)
        durable.append(sorted(path.name for path in folder.glob("[!.]*") if path.name != "lognode.lock"))

    monkeypatch.setattr(restoration, "sync_directory", note)
    (tmp_path / "node").mkdir()
    restore(backup, tmp_path / "node")

    # A node would be started with a key alone, and begin a new history under an old name.
    assert durable == [["lognode.toml"], ["lognode.db", "lognode.toml"], ["lognode.db", "lognode.toml", "node.key"]]


async def test_the_first_write_of_a_restored_node_opens_a_new_epoch_in_each_tenant(
    backup: Path, tmp_path: Path
) -> None:
    node = tmp_path / "node"
    await restore_backup(backup, node, ignore)
    async with run_engine(node, tenants=("default", "second")) as engine:
        before = len(engine.store.feeds)
        for alias in ("default", "second"):
            (receipt,) = await engine.writer.append(engine.store.tenants[alias], drafts(1))
            assert receipt.seq == 1
        assert len(engine.store.feeds) == before + 2
    assert audit_file(node / "lognode.db", node_public=NodeKeys.from_seed(SEED).public) == []


async def test_a_cursor_is_good_up_to_the_end_of_the_backup_and_for_ever_refused_beyond(
    backup: Path, tmp_path: Path
) -> None:
    await restore_backup(backup, tmp_path / "node", ignore)
    async with run_engine(tmp_path / "node", tenants=("default", "second")) as engine:
        original = lineage_of(engine.keys.public, engine.tenant, engine.store.feeds)
        end = await engine.store.read(newest_position, engine.tenant.number)
        await engine.writer.append(engine.tenant, drafts(9))
        now = lineage_of(engine.keys.public, engine.tenant, engine.store.feeds)

        async def refusal_of(position: int, given_by: Lineage, *, is_before: bool = False) -> str | None:
            text = encode_cursor(arrival_cursor(position), given_by)
            try:
                await engine.store.read(partial(find_place, is_before=is_before), now, text)
            except LognodeError as error:
                return error.code
            return None

        invalid = "cursor.invalid"
        assert [await refusal_of(end + step, original) for step in (-1, 0, 1, 5)] == [None, None, invalid, invalid]
        # Spans before a place have all been there up to that place.
        assert [await refusal_of(end + step, original, is_before=True) for step in (0, 1, 2)] == [None, None, invalid]
        assert [await refusal_of(end + step, now) for step in (0, 1, 5)] == [None, None, None]


def with_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lognode that knows one migration more."""
    monkeypatch.setattr(migrate, "migrations", partial(list, [*migrate.migrations(), LATER]))


async def test_a_backup_of_an_older_schema_is_restored_and_migrated_at_the_next_start(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_later(monkeypatch)
    await restore_backup(backup, tmp_path / "node", ignore)
    async with open_store(tmp_path / "node/lognode.db") as store:
        assert await store.read(migrate.check_version) == len(migrate.migrations())
    with closing(sqlite3.connect(tmp_path / "node/lognode.db")) as conn:
        assert conn.execute("SELECT count(*) FROM later").fetchone() == (0,)


def test_a_backup_of_a_newer_schema_is_refused_with_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").mkdir()
    node = write_node(tmp_path / "old")
    with monkeypatch.context() as newer:
        with_later(newer)
        back_up(node, tmp_path / "backup")
    assert refusal(tmp_path / "backup", tmp_path / "node") == "database.newer"
