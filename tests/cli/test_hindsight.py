"""What the commands that look at decisions say of a running node's."""

import time
from collections.abc import Iterator

import pytest

from lognode.client import CallerError, Client, Draft, Filter, connect
from tests.cli.lognode_command import Lognode
from tests.daemon import Daemon

RULES = """
rules: spending
do:
  - id: large
    on: draft
    kinds: [payment]
    if: {greater_than: {data.amount: 100}}
    then: [{add_tag: large}]
  - id: sum
    on: draft
    kinds: [payment]
    windows: {spent: {over: 1h, by: subject, sum: data.amount}}
    if: {greater_than: {windows.spent: 250}}
    then: [{reject: "{subject} spent {windows.spent}"}]
  - id: tell
    on: commit
    kinds: [payment]
    if: {contains_tag: large}
    then: [{emit: {kind: alarm, title: "{subject} pays much"}}]
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    running = Daemon(tmp_path_factory.mktemp("cli") / "node")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def lognode(daemon: Daemon) -> Lognode:
    return Lognode(daemon.data_dir.parent, daemon.data_dir)


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with connect(data_dir=daemon.data_dir) as connected:
        yield connected


def pay(client: Client, who: str, amount: int) -> str:
    return client.append(Draft(kind="payment", subject=who, data={"amount": amount}))["id"]


def test_decisions_are_tried_told_and_rechecked(lognode: Lognode, client: Client) -> None:
    early = [pay(client, "ann", amount) for amount in (20, 120, 120, 120)]
    (lognode.home / "spending.yaml").write_text(RULES)
    trial = lognode.json("rule", "test", "spending.yaml")
    assert trial["verdicts"] == {"allow": 2, "reject": 2}
    assert {one["rule"]: one["fired"] for one in trial["rules"]} == {"large": 3, "sum": 2, "tell": 1}
    assert trial["rules"][1]["examples"] == early[2:]
    assert (trial["emits"], trial["against"]) == ({"alarm": 1}, None)
    assert "2 allow, 2 reject" in lognode.text("rule", "test", "spending.yaml", "--kind", "payment", "--since", "1h")
    (lognode.home / "wrong.yaml").write_text(RULES.replace("greater_than", "greater"))
    wrong = lognode.run("rule", "test", "wrong.yaml")
    assert (wrong.returncode, b"wrong.yaml:7:" in wrong.stderr) == (1, True)

    lognode.text("rule", "publish", "spending.yaml")
    assert "had not been published" in lognode.text("why-not", "spending/large", early[0])
    small, large = pay(client, "bob", 20), pay(client, "bob", 120)
    with pytest.raises(CallerError, match="ann spent 381"):
        pay(client, "ann", 1)

    assert "for data.amount is 20" in lognode.text("why-not", "spending/large", small)
    assert "for windows.spent is 140" in lognode.text("why-not", "spending/sum", large)
    account = client.why_not(large, "spending", "large")
    assert (account["outcome"], account["grounds"][0]["values"]) == ("fired", {"data.amount": 120})
    assert "for data.amount is 120" in lognode.text("why", large)
    assert "no rule fired" in lognode.text("why", small)
    assert lognode.run("why-not", "large", small).returncode == 2

    while not list(client.spans(Filter(kinds=("alarm",)))):
        time.sleep(0.05)
    for span in (*early, small, large):
        again = client.decision(span, recheck=True)["recheck"]
        assert again is not None
        assert (again["answer"], again["altered"], again["lacks"]) == ("same", [], [])
    assert "what had to be" in lognode.text("rule", "recheck", large)
    (lognode.home / "spending.yaml").write_text(RULES.replace("100", "10"))
    changed = lognode.json("rule", "test", "spending.yaml")
    changes = {one["change"]: one["count"] for one in changed["changes"]}
    assert changes["large: fires now"] == 2
    assert changed["against"] == trial["version"]
