"""A node talks to the version before its own, which is kept as a frozen copy; where none is common it says so."""

from hashlib import sha256
from pathlib import Path

from hypothesis import given, settings

import tests.protocol.frozen_v1.memory as frozen
import tests.protocol.memory as current
from lognode.protocol.messages import VERSIONS
from lognode.protocol.wire import encode_request
from tests.protocol.frozen_v1.messages import VERSIONS as FROZEN_VERSIONS
from tests.protocol.memory import Feed, Node, feed_id
from tests.protocol.samples import REQUESTS
from tests.protocol.test_reconcile import worlds

FROZEN = Path(frozen.__file__).parent


def as_frozen(node: Node) -> frozen.Node:
    """The same node, with the frozen protocol."""
    return frozen.Node(**vars(node))


def test_the_frozen_copy_is_as_it_was_made() -> None:
    lines = [line.split() for line in (FROZEN / "SHA256SUMS").read_text("utf-8").splitlines()]
    assert {name: digest for digest, name in lines} == {
        path.name: sha256(path.read_bytes()).hexdigest() for path in sorted(FROZEN.glob("*.py"))
    }


def test_the_frozen_copy_is_one_of_the_versions_that_are_spoken() -> None:
    assert FROZEN_VERSIONS[-1] in VERSIONS
    assert len(VERSIONS) <= 2
    for path in FROZEN.glob("*.py"):
        assert "lognode.protocol" not in path.read_text("utf-8"), "it speaks for itself"


@settings(max_examples=50)
@given(worlds(feeds_max=25))
def test_the_frozen_version_dials_this_one(nodes: tuple[Node, Node]) -> None:
    dialer, answerer = as_frozen(nodes[0]), nodes[1]
    report = frozen.run(dialer, frozen.Wire(answerer.serve))
    assert (report.state, report.version) == ("equal", 1)
    assert dialer.clock == answerer.clock


@settings(max_examples=50)
@given(worlds(feeds_max=25))
def test_this_version_dials_the_frozen_one(nodes: tuple[Node, Node]) -> None:
    dialer, answerer = nodes[0], as_frozen(nodes[1])
    report = current.run(dialer, current.Wire(answerer.serve))
    assert (report.state, report.version) == ("equal", 1)
    assert dialer.clock == answerer.clock


def behind_and_ahead(versions: tuple[int, ...]) -> tuple[Node, Node]:
    truths = {feed_id(0): Feed(feed_id(0), (4, 8))}
    return Node(truths, {}, versions=versions), Node(truths, {feed_id(0): 8}, versions=versions)


def test_the_next_version_goes_on_in_this_one_with_a_node_that_has_no_other() -> None:
    for dialer, answerer in (behind_and_ahead((1, 2)), behind_and_ahead((1, 2))[::-1]):
        other = as_frozen(answerer)
        other.versions = FROZEN_VERSIONS
        report = current.run(dialer, current.Wire(other.serve))
        assert (report.state, report.version) == ("equal", 1)


def test_two_nodes_speak_the_newest_version_that_both_know() -> None:
    behind, ahead = behind_and_ahead((1, 2))
    report, _ = current.meet(behind, ahead)
    assert (report.state, report.version) == ("equal", 2)


def test_nodes_without_a_common_version_say_so() -> None:
    behind, ahead = behind_and_ahead((2, 3))
    ahead.versions = (1,)
    report, _ = current.meet(behind, ahead)
    assert (report.state, report.code) == ("refused", "version.unsupported")


def test_a_request_in_an_unknown_version_is_refused() -> None:
    _, node = behind_and_ahead((1,))
    body = encode_request(REQUESTS["pull"]._replace(version=3))  # type: ignore[call-arg]
    assert b"version.unsupported" in node.serve(body)
