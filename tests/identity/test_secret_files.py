"""Secret files on a real disk: modes, exclusive creation, and where passphrases are found."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lognode.core.errors import LognodeError, NodeFault
from lognode.identity.keyfile import seal_seed
from lognode.identity.keys import KeyPair
from lognode.identity.store import (
    create_key_file,
    find_passphrase,
    load_key_file,
    read_public,
    read_token,
    write_secret_file,
)

SEED = bytes(range(32))
OTHER = bytes(32)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "node.key"
    create_key_file(path, SEED, None, os.urandom)
    return path


@pytest.fixture(params=[0o022, 0o000])
def lax_umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def refused(call: Callable[..., object], *arguments: object) -> LognodeError:
    with pytest.raises(LognodeError) as caught:
        call(*arguments)
    return caught.value


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_file_is_there_whole_and_for_its_owner_alone(lax_umask: None, tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    create_key_file(path, SEED, None, os.urandom)
    assert mode_of(path) == 0o600
    assert load_key_file(path, None) == SEED
    assert read_public(path) == KeyPair(SEED).public
    assert list(tmp_path.iterdir()) == [path]


def test_a_sealed_key_file_opens_with_its_passphrase_alone(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    create_key_file(path, SEED, b"open sesame", os.urandom)
    assert load_key_file(path, b"open sesame") == SEED
    assert read_public(path) == KeyPair(SEED).public
    for passphrase in (b"sesame", None):
        error = refused(load_key_file, path, passphrase)
        assert (error.code, error.place) == ("key.passphrase", str(path))


def test_a_key_file_is_never_overwritten(key_file: Path) -> None:
    before = key_file.read_bytes()
    assert refused(create_key_file, key_file, OTHER, None, os.urandom).code == "key.exists"
    assert key_file.read_bytes() == before
    assert list(key_file.parent.iterdir()) == [key_file]


def test_a_link_that_leads_nowhere_is_not_followed_to_make_a_key(tmp_path: Path) -> None:
    (tmp_path / "node.key").symlink_to(tmp_path / "elsewhere")
    assert refused(create_key_file, tmp_path / "node.key", SEED, None, os.urandom).code == "key.exists"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o601])
def test_a_key_file_that_others_may_use_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    assert refused(load_key_file, key_file, None).code == "key.permissions"
    assert refused(read_public, key_file).code == "key.permissions"
    key_file.chmod(0o400)
    assert load_key_file(key_file, None) == SEED


@pytest.mark.parametrize(
    "content", [b"", b"not a key", seal_seed(SEED, None, bytes)[:-9], seal_seed(SEED, None, bytes) + b"}" * 5000]
)
def test_a_damaged_key_file_is_named(key_file: Path, content: bytes) -> None:
    key_file.write_bytes(content)
    for error in (refused(load_key_file, key_file, None), refused(read_public, key_file)):
        assert (error.code, error.place) == ("key.malformed", str(key_file))


def test_a_missing_key_file_is_told_from_an_unreadable_one(tmp_path: Path) -> None:
    assert refused(load_key_file, tmp_path / "node.key", None).code == "key.missing"
    assert refused(read_public, tmp_path / "node.key").code == "key.missing"
    assert refused(load_key_file, tmp_path, None).code == "file.unreadable"


def test_a_folder_that_takes_no_file_is_the_nodes_fault(tmp_path: Path) -> None:
    for error in (
        refused(create_key_file, tmp_path / "absent" / "node.key", SEED, None, os.urandom),
        refused(write_secret_file, tmp_path / "absent" / "admin.token", b"token"),
    ):
        assert isinstance(error, NodeFault)
        assert error.code == "data_dir.unwritable"
        assert "absent" in error.detail


def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert refused(create_key_file, tmp_path / "node.key", SEED, None, os.urandom).code == "disk.full"
    assert refused(write_secret_file, tmp_path / "admin.token", b"token").code == "disk.full"
    assert list(tmp_path.iterdir()) == []


def test_a_secret_file_replaces_the_one_before(lax_umask: None, tmp_path: Path) -> None:
    path = tmp_path / "admin.token"
    path.write_bytes(b"old, and readable by all")
    path.chmod(0o644)
    write_secret_file(path, b"new\n")
    assert mode_of(path) == 0o600
    assert read_token(path) == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "token.missing"),
        (b"\n", "token.missing"),
        (b"two words", "token.missing"),
        (b"a\nHost: b", "token.missing"),
        ("tökén".encode(), "token.missing"),
        (b"x" * 5000, "file.unreadable"),
    ],
)
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "token").write_bytes(content)
    assert refused(read_token, tmp_path / "token").code == code


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    error = refused(read_token, tmp_path / "token")
    assert error.code == "file.unreadable"
    assert str(tmp_path / "token") in error.detail


@pytest.mark.parametrize(
    ("content", "passphrase"),
    [
        (b"open sesame", b"open sesame"),
        (b"open sesame\n", b"open sesame"),
        (b"open sesame\r\n", b"open sesame"),
        (b" open sesame \n\n", b" open sesame \n"),
        (b"\xff\x00", b"\xff\x00"),
    ],
)
def test_a_passphrase_is_its_file_without_one_last_newline(tmp_path: Path, content: bytes, passphrase: bytes) -> None:
    (tmp_path / "pass").write_bytes(content)
    assert find_passphrase({"LOGNODE_KEY_PASSPHRASE_FILE": str(tmp_path / "pass")}) == passphrase
    (tmp_path / "key-passphrase").write_bytes(content)
    assert find_passphrase({"CREDENTIALS_DIRECTORY": str(tmp_path)}) == passphrase


def test_the_named_passphrase_file_goes_before_the_credential(tmp_path: Path) -> None:
    (tmp_path / "key-passphrase").write_bytes(b"of systemd")
    (tmp_path / "named").write_bytes(b"named")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "LOGNODE_KEY_PASSPHRASE_FILE": str(tmp_path / "named")}
    assert find_passphrase(environ) == b"named"


def test_no_passphrase_is_found_where_none_is_set(tmp_path: Path) -> None:
    assert find_passphrase({}) is None
    assert find_passphrase({"LOGNODE_KEY_PASSPHRASE_FILE": ""}) is None
    assert find_passphrase({"CREDENTIALS_DIRECTORY": str(tmp_path)}) is None


def test_a_passphrase_file_that_is_set_and_missing_or_empty_is_an_error(tmp_path: Path) -> None:
    environ = {"LOGNODE_KEY_PASSPHRASE_FILE": str(tmp_path / "pass")}
    assert refused(find_passphrase, environ).code == "file.unreadable"
    (tmp_path / "pass").write_bytes(b"\n")
    assert refused(find_passphrase, environ).code == "key.passphrase"
