"""Three real daemons and one rule set: what each of them, and what all of them together, do about each span."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

from lognode.client import Draft, Filter
from tests.federation.daemons import Node, wait_equal, wait_for

RULES: Final = b"""rules: answers
do:
  - id: known
    on: draft
    kinds: [probe]
    then: [{add_tag: known}]
  - id: once
    on: commit
    kinds: [question]
    then: [{emit: {kind: answer.once, data: {n: "{data.n}"}}}]
  - id: everywhere
    on: commit
    run: each
    kinds: [question]
    then: [{emit: {kind: answer.everywhere, data: {n: "{data.n}"}}}]
"""
QUESTIONS: Final = 30  # to each node, twice


def knows_rules(node: Node) -> bool:
    """Whether the node judges by the rules, which it does once it has named the span that published them."""
    node.client.append(Draft(kind="probe"))
    return bool(list(node.client.spans(Filter(tags=("known",)), limit=1)))


def ask(node: Node, number: int) -> None:
    node.client.append_batch(
        [Draft(kind="question", data={"n": f"{number} of {node.key}, {place}"}) for place in range(QUESTIONS)]
    )


def said(node: Node, kind: str) -> Counter[tuple[str, str]]:
    """How often each question set off a span of this kind in each feed."""
    asked = {span["id"]: span["data"]["n"] for span in node.client.spans(Filter(kinds=("question",)))}
    found = [(str(span["caused_by"]), span["feed"]) for span in node.client.spans(Filter(kinds=(kind,)))]
    return Counter((asked[cause], feed) for cause, feed in found if cause in asked)


def are_there(node: Node, count: int) -> bool:
    return node.kinds().get("answer.everywhere", 0) >= count


def test_a_reaction_happens_once_in_the_federation_or_once_on_each_node(start: Callable[..., Node]) -> None:
    nodes = [start(name) for name in ("one", "two", "three")]
    one, two, three = nodes
    for node in (two, three):
        node.client.join(one.client.create_invite(level="root")["invite"])
    wait_for(lambda: all(len(node.members()) == 3 for node in nodes))
    one.client.publish_rules(RULES)
    for node in nodes:
        wait_for(partial(knows_rules, node))

    for number, killed in enumerate((two, three)):
        for node in nodes:
            ask(node, number)
        killed.daemon.kill()
        killed.daemon.start()
    wait_equal(*nodes)
    asked = {span["data"]["n"]: span["feed"] for span in one.client.spans(Filter(kinds=("question",)))}
    everywhere = Counter((question, key) for question in asked for key in set(asked.values()))
    once = Counter(asked.items())
    assert len(asked) == 2 * 3 * QUESTIONS
    for node in nodes:
        wait_for(partial(are_there, node, everywhere.total()))
    wait_equal(*nodes)
    for node in nodes:
        assert said(node, "answer.once") == once
        assert said(node, "answer.everywhere") == everywhere
        assert said(node, "rule.fired") == everywhere
