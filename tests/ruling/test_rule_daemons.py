"""Two real daemons: what a root member publishes judges what the other writes, which publishes nothing itself."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from lognode.client import Draft
from lognode.core.errors import CallerError
from tests.federation.daemons import Node, wait_for

TEXT = b"""rules: logins
do:
  - id: mark-failures
    on: draft
    kinds: [login.failed]
    then: [{add_tag: security}]
"""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    with ExitStack() as stack:
        one, two = (Node(tmp_path, name) for name in ("one", "two"))
        for node in (one, two):
            stack.callback(node.stop)
        two.client.join(one.client.create_invite()["invite"])
        wait_for(lambda: len(two.members()) == 2)
        yield one, two


def test_rules_come_to_members_and_are_in_force_there_until_a_root_disables_them(pair: tuple[Node, Node]) -> None:
    one, two = pair
    version = one.client.publish_rules(TEXT)["version"]
    wait_for(lambda: [each["version"] for each in two.client.rule_sets() if each["in_force"]] == [version])
    assert two.client.rule_set("logins")["text"].encode() == TEXT
    for change in (partial(two.client.publish_rules, TEXT + b"\n"), partial(two.client.disable_rules, "logins")):
        with pytest.raises(CallerError) as caught:
            change()
        assert caught.value.code == "member.not_root"
    span = two.client.append(Draft(kind="login.failed"))["id"]
    assert two.client.span(span)["annotations"]["rules"]["tags"] == ["security"]
    two.daemon.stop()
    two.daemon.start()
    again = two.client.append(Draft(kind="login.failed"))["id"]
    assert two.client.span(again)["annotations"]["rules"]["tags"] == ["security"]
    assert two.client.rule_set("logins")["in_force"]
    one.client.disable_rules("logins")
    wait_for(lambda: not any(each["in_force"] for each in two.client.rule_sets()))
    last = two.client.append(Draft(kind="login.failed"))["id"]
    assert "rules" not in (two.client.span(last)["annotations"] or {})
