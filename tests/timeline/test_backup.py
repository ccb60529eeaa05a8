"""Making and verifying a backup: one snapshot, whole or nothing, and every flipped byte is found."""

import random
import shutil
import sqlite3
import stat
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.errors import CallerError, LognodeError, NodeFault
from lognode.timeline.state import RESTORED
from lognode.timeline.store.backup import creation, manifest
from lognode.timeline.store.backup.manifest import Manifest, decode_manifest, encode_manifest, sealed
from lognode.timeline.store.backup.verification import read_manifest, verify_backup
from lognode.timeline.store.opening.migrate import apply_migrations, connect_writer, migrations
from lognode.timeline.store.write import find_ending, load_feeds
from tests.engine.nodes import SEED
from tests.faults.failing_disk import may_mount, small_disk
from tests.timeline.backups import back_up, ignore, write_key, write_node

NAMES: Final = ("backup.json", "lognode.db", "node.key")
FLIPS: Final = 40  # of a file


def places(folder: Path) -> list[tuple[str, str]]:
    """What is found in a backup."""
    return [(found.code, found.place) for found in verify_backup(folder, read_manifest(folder), ignore)]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a node that does not run."""
    return write_node(tmp_path_factory.mktemp("node"))


@pytest.fixture
def backup(node: Path, tmp_path: Path) -> Path:
    back_up(node, tmp_path / "backup")
    return tmp_path / "backup"


def test_a_backup_holds_database_key_and_manifest_for_its_owner_alone(node: Path, tmp_path: Path) -> None:
    made = back_up(node, tmp_path / "backup")

    assert sorted(path.name for path in tmp_path.glob("**/*")) == ["backup", *NAMES]
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) & 0o177 for path in (tmp_path / "backup").iterdir()} == {0}
    assert (tmp_path / "backup/node.key").read_bytes() == (node / "node.key").read_bytes()
    assert made == read_manifest(tmp_path / "backup")
    assert (made.schema, made.at, made.spans) == (len(migrations()), "2026-02-02T02:40:00.000Z", 345)
    assert [(tenant.alias, len(tenant.feeds)) for tenant in made.tenants] == [("default", 2), ("second", 1)]
    assert places(tmp_path / "backup") == []


def test_settings_in_the_data_directory_and_a_sealed_key_are_taken_along_as_they_are(
    node: Path, tmp_path: Path
) -> None:
    shutil.copytree(node, tmp_path / "node")
    write_key(tmp_path / "node", SEED, b"secret")
    (tmp_path / "node/lognode.toml").write_text("log_level = 'debug'\n")
    (tmp_path / "node/admin.token").write_text("token")

    back_up(tmp_path / "node", tmp_path / "backup")

    assert sorted(path.name for path in (tmp_path / "backup").iterdir()) == sorted([*NAMES, "lognode.toml"])
    for name in ("lognode.toml", "node.key"):
        assert (tmp_path / "backup" / name).read_bytes() == (tmp_path / "node" / name).read_bytes()
    assert places(tmp_path / "backup") == []


def test_nothing_may_follow_in_the_open_feeds_of_a_copy_and_the_original_goes_on(node: Path, tmp_path: Path) -> None:
    shutil.copytree(node, tmp_path / "node")
    with closing(sqlite3.connect(tmp_path / "node/lognode.db", isolation_level=None)) as conn:
        conn.execute("DELETE FROM endings")
    back_up(tmp_path / "node", tmp_path / "backup")

    endings = {}
    for name in ("node", "backup"):
        with closing(sqlite3.connect(tmp_path / name / "lognode.db")) as conn:
            endings[name] = [find_ending(conn, feed) for feed in load_feeds(conn)]
    assert endings == {"node": [None] * 3, "backup": [None, RESTORED, RESTORED]}


def test_a_copy_in_whose_feeds_a_node_would_go_on_is_no_backup(backup: Path) -> None:
    with closing(sqlite3.connect(backup / "lognode.db", isolation_level=None)) as conn:
        conn.execute("DELETE FROM endings WHERE feed_id = (SELECT feed_id FROM feeds WHERE feed = 2)")
    rewrite(backup, {"lognode.db": creation.describe_file(backup / "lognode.db")})

    assert places(backup) == [("backup.wrong", "lognode.db")]


def rewrite(backup: Path, files: dict[str, manifest.FileEntry]) -> None:
    """Let the manifest say this of files, under a seal that fits."""
    old = read_manifest(backup)
    text = encode_manifest(sealed(msgspec.structs.replace(old, files={**old.files, **files})))
    (backup / "backup.json").write_bytes(text)


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    """A database whose copy takes some steps, in WAL mode as a node has it."""
    path = tmp_path / "busy.db"
    with closing(connect_writer(path)) as conn:
        conn.execute("BEGIN")
        conn.executemany("INSERT INTO search_tenants VALUES (?, ?)", [(number, 0) for number in range(20_000)])
        conn.execute("COMMIT")
    return path


def copy_under_commits(path: Path, copy: Path, copying: Callable[..., None], steps_max: int) -> tuple[int, int]:
    """Copy while another connection commits at every step; the rows that were there at first, and in the copy.

    Gives up after so many steps.
    """
    steps = 0

    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        (before,) = writer.execute("SELECT count(*) FROM search_tenants").fetchone()

        def commit(_done: int, _total: int) -> None:
            nonlocal steps
            steps += 1
            writer.execute("DELETE FROM search_tenants WHERE tenant IN (SELECT min(tenant) FROM search_tenants)")
            writer.execute("INSERT INTO search_tenants SELECT max(tenant) + 1, 7 FROM search_tenants")
            writer.execute("INSERT INTO search_tenants SELECT max(tenant) + 1, 7 FROM search_tenants")
            if steps > steps_max:
                raise TimeoutError

        copying(path, copy, commit)
    with closing(sqlite3.connect(copy)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (changed,) = conn.execute("SELECT count(*) FROM search_tenants WHERE position = 7").fetchone()
        assert not changed, "the copy holds what came after it began"
        (after,) = conn.execute("SELECT count(*) FROM search_tenants").fetchone()
    return before, after


def test_a_copy_is_one_snapshot_and_ends_though_another_commits_at_every_step(
    busy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creation, "STEP_PAGES", 4)
    pages = busy.stat().st_size // 4096 or 100

    before, after = copy_under_commits(busy, tmp_path / "copy.db", creation.copy_database, pages)

    assert before == after == 20_000


def test_a_copy_without_a_read_transaction_of_its_own_never_ends(busy: Path, tmp_path: Path) -> None:
    def copy_anyhow(path: Path, copy: Path, progress: Callable[[int, int], None]) -> None:
        with closing(sqlite3.connect(path)) as reader, closing(sqlite3.connect(copy)) as conn:
            reader.backup(conn, pages=4, progress=lambda _, left, total: progress(total - left, total))

    with pytest.raises(TimeoutError):
        copy_under_commits(busy, tmp_path / "copy.db", copy_anyhow, 1000)


def test_the_copy_of_an_older_schema_has_the_newest(node: Path, tmp_path: Path) -> None:
    old = tmp_path / "node"
    old.mkdir()
    shutil.copy(node / "node.key", old)
    with closing(sqlite3.connect(old / "lognode.db", isolation_level=None)) as conn:
        apply_migrations(conn, 2)

    assert back_up(old, tmp_path / "backup").schema == len(migrations())
    assert places(tmp_path / "backup") == []


@pytest.mark.parametrize("is_there", ["a file", "a directory with a file", "another backup"])
def test_what_is_there_is_never_overwritten(node: Path, tmp_path: Path, is_there: str) -> None:
    folder = tmp_path / "backup"
    if is_there == "a file":
        folder.write_text("mine")
    elif is_there == "another backup":
        back_up(node, folder)
    else:
        folder.mkdir()
        (folder / "mine").touch()
    before = sorted(tmp_path.glob("**/*"))

    with pytest.raises(CallerError) as caught:
        back_up(node, folder)

    assert caught.value.code == "backup.exists"
    assert sorted(tmp_path.glob("**/*")) == before


@pytest.mark.parametrize("first", ["another backup", "a file"])
def test_what_comes_first_under_the_same_name_is_never_overwritten(node: Path, tmp_path: Path, first: str) -> None:
    folder = tmp_path / "backup"

    def come(done: int, total: int) -> None:
        if done == total:
            back_up(node, folder) if first == "another backup" else folder.write_text("mine")

    with pytest.raises(CallerError) as caught:
        back_up(node, folder, come)

    assert caught.value.code == "backup.exists"
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]
    assert folder.read_text() == "mine" if first == "a file" else places(folder) == []


if may_mount():

    def test_a_mount_point_is_refused_before_anything_is_copied(node: Path, tmp_path: Path) -> None:
        def never(_done: int, _total: int) -> None:
            raise AssertionError

        with small_disk(tmp_path / "disk") as disk:
            with pytest.raises(CallerError, match="name a new directory in it") as caught:
                back_up(node, disk.folder, never)
            assert caught.value.code == "backup.exists"
            back_up(node, disk.folder / "backup")
            assert places(disk.folder / "backup") == []


def test_an_empty_directory_also_behind_a_link_becomes_the_backup(node: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")

    back_up(node, tmp_path / "link")

    assert places(tmp_path / "link") == places(tmp_path / "empty") == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ZeroDivisionError])
def test_a_backup_that_is_interrupted_leaves_nothing(node: Path, tmp_path: Path, error: type[BaseException]) -> None:
    def stop(_done: int, _total: int) -> None:
        assert list(tmp_path.glob(".backup.*/lognode.db"))
        raise error

    with pytest.raises((error, LognodeError)):
        back_up(node, tmp_path / "backup", stop)
    assert list(tmp_path.iterdir()) == []


REFUSED: Final[Mapping[str, tuple[str, Callable[[Path], object]]]] = {
    "there is no node": ("file.unreadable", lambda node: (node / "lognode.db").unlink()),
    "there is no key": ("key.missing", lambda node: (node / "node.key").unlink()),
    "others may read the key": ("key.permissions", lambda node: (node / "node.key").chmod(0o644)),
    "the key is another node's": ("key.foreign", lambda node: write_key(node, bytes(32))),
    "the database is none": ("database.damaged", lambda node: (node / "lognode.db").write_text("no database" * 999)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_nothing_is_made_where(node: Path, tmp_path: Path, what: str) -> None:
    code, spoil = REFUSED[what]
    shutil.copytree(node, tmp_path / "node")
    spoil(tmp_path / "node")

    with pytest.raises(LognodeError) as caught:
        back_up(tmp_path / "node", tmp_path / "backup")

    assert caught.value.code == code
    assert [path.name for path in tmp_path.iterdir()] == ["node"]


def test_a_directory_that_is_not_mounted_is_not_made(node: Path, tmp_path: Path) -> None:
    with pytest.raises(CallerError) as caught:
        back_up(node, tmp_path / "disk" / "backup")
    assert caught.value.code == "file.unreadable"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_in_any_file_is_found(backup: Path, name: str) -> None:
    rng = random.Random(name)
    whole = (backup / name).read_bytes()
    for _ in range(FLIPS):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        (backup / name).write_bytes(flipped)
        try:
            found = places(backup)
        except LognodeError as error:
            found = [(error.code, name)]
        assert found, f"seed {name!r}"
        assert found[0] in {("backup.wrong", name), ("backup.damaged", name), ("database.newer", name)}
    (backup / name).write_bytes(whole)
    assert places(backup) == []


@pytest.mark.parametrize("name", ["lognode.db", "node.key"])
def test_a_missing_or_shortened_file_is_found(backup: Path, name: str) -> None:
    whole = (backup / name).read_bytes()
    (backup / name).write_bytes(whole[:-1])
    assert ("backup.wrong", name) in places(backup)
    (backup / name).unlink()
    assert ("backup.wrong", name) in places(backup)


def test_a_directory_without_manifest_is_no_backup(node: Path) -> None:
    with pytest.raises(CallerError) as caught:
        read_manifest(node)
    assert caught.value.code == "file.unreadable"


def test_a_key_that_does_not_belong_to_the_database_is_found(backup: Path) -> None:
    write_key(backup, bytes(32))
    rewrite(backup, {"node.key": creation.describe_file(backup / "node.key")})
    assert ("backup.wrong", "node.key") in places(backup)


def test_damage_that_the_original_had_is_found_as_by_an_audit(node: Path, tmp_path: Path) -> None:
    shutil.copytree(node, tmp_path / "node")
    with closing(sqlite3.connect(tmp_path / "node/lognode.db", isolation_level=None)) as conn:
        conn.execute("UPDATE aliases SET seal = zeroblob(16) WHERE alias = 'second'")
    back_up(tmp_path / "node", tmp_path / "backup")
    assert places(tmp_path / "backup") == [("alias.wrong", "aliases alias second")]


names = st.text(min_size=1, max_size=8)
entries = st.builds(manifest.FileEntry, st.integers(0, 2**53), st.text("0123456789abcdef", min_size=64, max_size=64))
heads = st.builds(manifest.FeedEntry, names, st.integers(0, 2**53), names)
tenants = st.builds(manifest.TenantEntry, names, st.none() | names, st.lists(heads, max_size=3))


@given(
    st.builds(
        Manifest,
        st.just(manifest.FORMAT),
        names,
        st.integers(1, 3),
        names,
        names,
        st.fixed_dictionaries({"lognode.db": entries, "node.key": entries}, optional={"lognode.toml": entries}),
        st.lists(tenants, max_size=3),
    ),
    st.data(),
)
def test_a_manifest_reads_as_it_was_written_and_no_changed_bit_passes(made: Manifest, data: st.DataObject) -> None:
    made = sealed(made)
    text = bytearray(encode_manifest(made))
    assert decode_manifest(bytes(text), 3) == made
    text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((CallerError, NodeFault)):
        decode_manifest(bytes(text), 3)


@pytest.mark.parametrize("changes", [{"lognode_backup": 2}, {"schema": 99}])
def test_a_newer_backup_is_refused_as_such(backup: Path, changes: dict[str, int]) -> None:
    newer = sealed(msgspec.structs.replace(read_manifest(backup), **changes))
    (backup / "backup.json").write_bytes(encode_manifest(newer))
    with pytest.raises(NodeFault) as caught:
        read_manifest(backup)
    assert caught.value.code == "database.newer"
