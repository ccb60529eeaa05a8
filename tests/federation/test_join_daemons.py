"""Joining among real daemons, by the commands that people use."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lognode.client import CallerError, Filter
from tests.federation.daemons import WAIT_S_MAX, Node, wait_for


def test_a_node_joins_reads_writes_is_restarted_and_removed(start: Callable[..., Node], tmp_path: Path) -> None:
    first, second = start("first"), start("second", "--mirror-dir", str(tmp_path / "mirror"), "--search", "default")
    first.append("from the first")
    text = first.command.text("invite", "create")
    joined = second.command.json("join", "-", stdin=text.encode())

    assert (joined["state"], joined["name"], joined["level"]) == ("member", "default", "trusted")
    words = {member["words"] for member in first.client.members()}
    assert joined["words"] in words
    wait_for(lambda: "from the first" in second.titles())
    wait_for(lambda: "from the first" in "".join(path.read_text() for path in (tmp_path / "mirror").rglob("*.ndjson")))
    wait_for(lambda: [span["title"] for span in second.client.spans(Filter(text="from"))] == ["from the first"])
    second.append("from the second")
    wait_for(lambda: "from the second" in first.titles())
    assert first.members() == second.members()
    for node in (first, second):
        node.daemon.restart()
    again = second.client.join(text)
    assert (again["state"], again["server"]) == ("member", None)
    first.append("after the restart")
    wait_for(lambda: "after the restart" in second.titles())

    key = next(member["node"] for member in second.client.members() if member["self"])
    assert first.client.remove_member(key, reason="test")["effective"]
    first.append("not for the second")
    second.append("too late")  # it is not told: it is told nothing any more
    time.sleep(1)
    assert "not for the second" not in second.titles()
    assert "too late" not in first.titles()
    for node in (first, second):
        assert text[40:80] not in node.daemon.log


def test_a_person_approves_by_the_words_that_the_joiner_shows(start: Callable[..., Node]) -> None:
    first, second = start("first"), start("second")
    text = first.command.text("invite", "create", "--approve", "--level", "observer")
    waiting = second.command.start("join", "-")
    assert waiting.stdin is not None
    waiting.stdin.write(text.encode())
    waiting.stdin.close()
    waiting.stdin = None
    wait_for(first.client.pending_members)
    (pending,) = first.client.pending_members()
    first.command.text("member", "approve", pending["words"])
    out, err = waiting.communicate(timeout=WAIT_S_MAX)

    assert waiting.returncode == 0, err.decode()
    assert pending["words"] in out.decode()
    assert "it is the default tenant" in out.decode()
    with pytest.raises(CallerError) as refused:
        second.append("I only observe")
    assert refused.value.code == "member.observer"
