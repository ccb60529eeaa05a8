"""Real daemons for whoever asks for them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.federation.daemons import Node


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Starts a node of a name, with flags; all must stop cleanly at the end."""
    started: list[Node] = []

    def start_node(name: str, *flags: str, patch: str | None = None) -> Node:
        started.append(Node(tmp_path, name, *flags, patch=patch))
        return started[-1]

    yield start_node
    for node in started:
        node.stop()
