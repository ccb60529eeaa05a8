"""Recovery keys and rotation, as commands on a node that does not run."""

import re
from pathlib import Path

import pytest

from lognode.core.ids import format_logline
from lognode.identity.keys import NodeKeys
from lognode.identity.recovery import recovery_key
from lognode.identity.store import load_key_file
from lognode.node import identity, real_world
from lognode.timeline.store.database import Store
from tests.cli.lognode_command import Lognode
from tests.daemon import Daemon


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "node"


@pytest.fixture
def lognode(tmp_path: Path, folder: Path) -> Lognode:
    lognode = Lognode(tmp_path, folder)
    lognode.text("init")
    return lognode


def code_of(lognode: Lognode, *arguments: str) -> tuple[int, str]:
    done = lognode.run(*arguments)
    found = re.search(rb"\[([a-z_.]+)\]", done.stderr)
    return done.returncode, found[1].decode() if found else done.stderr.decode()


def test_words_go_into_a_file_for_their_owner_alone(lognode: Lognode, tmp_path: Path) -> None:
    words, others = tmp_path / "words", tmp_path / "others"
    assert lognode.json("id", "recovery", "create", "--output", str(words))["declared"] == ["default"]
    assert words.stat().st_mode & 0o777 == 0o600
    assert len(words.read_text().split()) == 24
    assert code_of(lognode, "id", "recovery", "create", "--output", str(words))[0] == 2
    assert code_of(lognode, "id", "recovery", "create", "--output", str(others)) == (5, "recovery.declared")
    others.unlink()
    lognode.text("id", "recovery", "create", "--output", str(others), "--former", str(words))
    assert code_of(lognode, "id", "rotate", "--recovery", str(words)) == (4, "recovery.unknown")
    lognode.text("id", "rotate", "--recovery", str(others))


def test_words_are_shown_on_a_terminal_alone_and_asked_back(lognode: Lognode) -> None:
    assert code_of(lognode, "id", "recovery", "create")[0] == 2

    def answer(shown: str, *, right: bool) -> str | None:
        asked = re.search(r"type word (\d+):", shown)
        found = {int(number): word for number, word in re.findall(r"(\d+) ([a-z]+)", shown)}
        return None if asked is None else found[int(asked[1])] if right else "wrong"

    code, shown = lognode.on_terminal("id", "recovery", "create", answer=lambda shown: answer(shown, right=False))
    assert (code, "nothing was declared" in shown) == (2, True)
    code, shown = lognode.on_terminal("id", "recovery", "create", answer=lambda shown: answer(shown, right=True))
    assert code == 0, shown
    words = re.findall(r"\d+ ([a-z]+)", shown.partition("Write")[0])
    recovery_key(" ".join(words))
    assert "Declared in" in shown


def test_a_rotated_node_goes_on_with_all_that_it_recorded(lognode: Lognode, folder: Path) -> None:
    daemon = Daemon(folder)
    daemon.start()
    assert code_of(lognode, "id", "rotate") == (5, "data_dir.locked")
    create = ("id", "recovery", "create", "--output", str(folder.with_name("words")))
    assert code_of(lognode, *create) == (5, "data_dir.locked")
    first = lognode.json("append", "--kind", "note.made", "--title", "before")["id"]
    private = lognode.json("append", "--kind", "note.made", "--title", "mine", "--visibility", "private")["id"]
    old = lognode.text("id", "show")
    daemon.stop()

    done = lognode.json("id", "rotate")

    assert (done["former"], done["tenants"]) == (old, ["default"])
    assert lognode.text("id", "show") == done["node"] != old
    assert Path(done["former_file"]).stat().st_mode & 0o777 == 0o600
    daemon.start()
    try:
        last = lognode.json("append", "--kind", "note.made", "--title", "after")["id"]
        shown = {span: lognode.json("show", span) for span in (first, private, last)}
        assert [shown[span]["title"] for span in (first, private, last)] == ["before", "mine", "after"]
        assert (shown[first]["node"], shown[last]["node"]) == (old, done["node"])
        assert not any("void" in span for span in shown.values())
        assert lognode.json("status")["tenant"]["void"] == 0
        members = {member["node"]: member for member in lognode.json("member", "list")["members"]}
        assert (members[old]["removed"], members[done["node"]]["level"]) == (True, "root")
        lognode.text("verify")
    finally:
        daemon.stop()
    lognode.text("verify")
    again = lognode.json("id", "rotate")
    assert again["former"] == done["node"]


class Broken(Exception):
    pass


def test_a_rotation_that_was_broken_off_goes_on(
    lognode: Lognode, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = lognode.text("id", "show")

    def broken(*_paths: Path) -> None:
        raise Broken

    with monkeypatch.context() as patched:
        patched.setattr(identity, "replace_key_file", broken)
        with pytest.raises(Broken):
            identity.rotate_key(folder, real_world(), None)
    assert code_of(lognode, "up", "--listen", "127.0.0.1:0") == (5, "rotation.unfinished")
    done = lognode.json("id", "rotate")
    assert (done["former"], done["tenants"]) == (old, ["default"])
    lognode.text("verify")


def test_a_node_that_was_stopped_behind_the_change_of_its_key_starts(
    lognode: Lognode, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = identity.settle_feeds
    calls: list[bytes] = []

    async def broken(store: Store, own_key: bytes) -> None:
        calls.append(own_key)
        if len(calls) > 1:
            raise Broken
        await settle(store, own_key)

    with monkeypatch.context() as patched:
        patched.setattr(identity, "settle_feeds", broken)
        with pytest.raises(Broken):
            identity.rotate_key(folder, real_world(), None)
    lognode.text("init")
    keys = NodeKeys.from_seed(load_key_file(folder / "node.key", None))
    assert lognode.text("id", "show") == format_logline(keys.logline)
    lognode.text("verify")


def test_a_key_that_nobody_rotated_to_is_a_foreign_one(lognode: Lognode, folder: Path, tmp_path: Path) -> None:
    other = Lognode(tmp_path, tmp_path / "other")
    other.text("init")
    (tmp_path / "other" / "node.key").replace(folder / "node.key")
    assert code_of(lognode, "init") == (5, "key.foreign")


def test_a_node_that_there_is_not_has_no_identity_to_change(tmp_path: Path) -> None:
    lognode = Lognode(tmp_path, tmp_path / "none")
    assert code_of(lognode, "id", "rotate") == (1, "key.missing")
    assert not (tmp_path / "none").exists()
