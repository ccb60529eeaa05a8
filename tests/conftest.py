"""Fixtures that tests of several layers share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A running daemon on a new data directory, which must also stop cleanly."""
    node = Daemon(tmp_path / "node")
    node.start()
    yield node
    node.stop()
