"""What the commands about state do with a running node."""

import json
from collections.abc import Iterator

import pytest

from tests.cli.lognode_command import Lognode
from tests.daemon import Daemon


@pytest.fixture(scope="module")
def lognode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lognode]:
    daemon = Daemon(tmp_path_factory.mktemp("cli") / "node")
    daemon.start()
    yield Lognode(daemon.data_dir.parent, daemon.data_dir)
    daemon.stop()


def say(lognode: Lognode, subject: str, value: object) -> str:
    data = json.dumps(value)
    return lognode.text("append", "--kind", "tap.set", "--subject", subject, "--data", data).strip()


def test_a_subject_is_shown_and_what_is_taken_back_gives_way(lognode: Lognode) -> None:
    say(lognode, "tap 1", {"open": True})
    wrong = say(lognode, "tap 1", {"open": False})
    found = lognode.json("subject", "tap 1")
    assert (found["holds"]["span"], found["holds"]["value"], found["settled"]) == (wrong, {"open": False}, True)

    revert = lognode.json("revert", wrong, "--reason", "wrong tap")
    assert lognode.json("show", wrong)["reverted_by"] == [revert["id"]]
    shown = lognode.text("subject", "tap 1")
    assert '{"open":true}' in shown
    assert "settled" in shown
    again = lognode.run("revert", wrong)
    assert (again.returncode, b"revert.done" in again.stderr) == (5, True)
    assert lognode.run("subject", "tap 2").returncode == 1


def test_subjects_are_listed_and_nothing_is_in_conflict_on_one_node(lognode: Lognode) -> None:
    for name in ("list b", "list a"):
        say(lognode, name, name)
    listed = lognode.json("subject", "--prefix", "list ")
    assert [each["subject"] for each in listed["subjects"]] == ["list a", "list b"]
    assert "list a" in lognode.text("subject", "--prefix", "list ", "--limit", "1")
    assert lognode.json("conflict", "list") == {"conflicts": []}
    assert lognode.text("conflict", "list", "--open").strip() == "No conflict waits for a decision."
    span = lognode.json("subject", "list a")["holds"]["span"]
    assert b"conflict.none" in lognode.run("conflict", "resolve", "list a", span).stderr


def test_a_policy_is_set_and_shown(lognode: Lognode) -> None:
    assert "latest" in lognode.text("conflict", "policy")
    assert lognode.json("conflict", "policy", "price.set", "manual")["policies"] == {"price.set": "manual"}
    assert lognode.json("conflict", "policy")["policies"] == {"price.set": "manual"}
    assert lognode.json("conflict", "policy", "other.kind")["policies"] == {"other.kind": "latest"}
    assert b"kind.reserved" in lognode.run("conflict", "policy", "span.revert", "manual").stderr


def test_making_state_again_changes_nothing(lognode: Lognode) -> None:
    say(lognode, "tap 3", 1)
    assert lognode.text("state", "rebuild").endswith("Nothing changed.")
    tables = lognode.json("state", "rebuild")["tables"]
    assert {each["changed"] for each in tables.values()} == {0}
