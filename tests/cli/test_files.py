"""Files that commands write: what is replaced, and what never is."""

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from lognode.cli.files import replacing
from lognode.core.errors import CallerError, NodeFault


def write(path: Path, content: bytes = b"new") -> None:
    with replacing(path) as sink:
        sink.write(content)


def broken() -> Iterator[bytes]:
    yield b"half"
    raise KeyError


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    there, absent = tmp_path / "link", tmp_path / "dangling"
    there.symlink_to("disk/old")
    absent.symlink_to("disk/none")
    (tmp_path / "disk" / "old").write_bytes(b"old")

    write(there)
    write(absent)

    assert there.is_symlink()
    assert absent.is_symlink()
    assert {file.name: file.read_bytes() for file in (tmp_path / "disk").iterdir()} == {"old": b"new", "none": b"new"}
    assert {file.name for file in tmp_path.iterdir()} == {"disk", "link", "dangling"}


def test_a_writing_that_fails_leaves_what_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "link").symlink_to("old")

    with pytest.raises(KeyError), replacing(tmp_path / "link") as sink:
        sink.writelines(broken())

    assert (tmp_path / "old").read_bytes() == b"old"
    assert {file.name for file in tmp_path.iterdir()} == {"old", "link"}


@pytest.mark.parametrize("name", ["pipe", "link"])
def test_a_pipe_is_written_into_and_stays(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    writing = Thread(target=write, args=(tmp_path / name,), daemon=True)
    writing.start()

    assert (tmp_path / "pipe").read_bytes() == b"new"
    writing.join()
    assert (tmp_path / "pipe").is_fifo()
    assert {file.name for file in tmp_path.iterdir()} == {"pipe", "link"}


def test_a_device_is_written_into_and_stays() -> None:
    write(Path("/dev/null"))

    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("name", ["", "folder", "link"])
def test_a_directory_is_no_file_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")

    with pytest.raises(CallerError, match="is a directory") as caught:
        write(Path(name))

    assert caught.value.code == "usage.invalid"
    assert {file.name for file in tmp_path.rglob("*")} == {"folder", "link"}


def test_where_nothing_can_be_written_the_error_names_the_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")

    for path, place in (("none/x", "none"), ("file/x", "file"), ("loop", "loop")):
        with pytest.raises(NodeFault, match=str(tmp_path / place)) as caught:
            write(tmp_path / path)
        assert caught.value.code == "system.failed"
    assert (tmp_path / "loop").is_symlink()
