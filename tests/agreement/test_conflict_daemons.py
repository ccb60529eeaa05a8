"""Two real daemons that contradict each other while they are apart, and come to one answer when they meet."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lognode.client import Draft
from lognode.core.errors import LognodeError
from tests.federation.daemons import Node, wait_for


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    with ExitStack() as stack:
        nodes = []
        for name in ("one", "two"):
            node = Node(tmp_path, name)
            stack.callback(node.stop)
            nodes.append(node)
        one, two = nodes
        two.client.join(one.client.create_invite(level="root")["invite"])
        wait_for(lambda: len(two.members()) == 2)
        yield one, two


def say(node: Node, kind: str, value: object) -> str:
    return str(node.client.append(Draft(kind=kind, subject="tap", data=value))["id"])


def shown(node: Node) -> dict[str, Any] | None:
    """What a node says of the subject, as far as all nodes must say the same."""
    try:
        found = node.client.subject("tap")
    except LognodeError:
        return None
    return {"holds": found["holds"], "conflict": found["conflict"]}


def test_a_conflict_is_the_same_on_both_and_ends_on_both_when_one_decides(pair: tuple[Node, Node]) -> None:
    one, two = pair
    one.client.change_policy("tap.set", "manual")
    wait_for(lambda: two.client.policies()["policies"] == {"tap.set": "manual"})
    wait_for(lambda: one.state() == two.state())
    two.daemon.stop()
    ours = say(one, "tap.set", "one")
    one.daemon.stop()
    two.daemon.start()
    theirs = say(two, "tap.set", "two")
    assert shown(two) is not None
    one.daemon.start()

    def both_see(spans: set[str]) -> bool:
        found = shown(one), shown(two)
        conflict = found[0]["conflict"] if found[0] else None
        heads = {head["span"] for head in conflict["heads"]} if conflict else set()
        return found[0] == found[1] and heads == spans

    wait_for(lambda: both_see({ours, theirs}))
    found = shown(one)
    assert found is not None
    assert (found["holds"], found["conflict"]["open"]) == (None, True)
    assert [each["subject"] for each in two.client.conflicts(open_only=True)] == ["tap"]

    answer = two.client.resolve("tap", ours)
    assert answer["subject"]["conflict"] is None
    wait_for(lambda: both_see(set()) and (shown(one) or {})["holds"] is not None)
    for node in pair:
        holds = node.client.subject("tap")["holds"]
        assert holds is not None
        assert (holds["span"], holds["value"], holds["resolution"]) == (ours, "one", answer["receipt"]["id"])
        assert list(node.client.conflicts()) == []
    wait_for(lambda: all(node.client.subject("tap")["settled"] for node in pair))
    assert {table["changed"] for table in one.client.rebuild_state()["tables"].values()} == {0}
