"""Fixtures that tests of several layers share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.daemon import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A running daemon on a new data directory, which must also stop cleanly."""
    node = Daemon(tmp_path / "node")
    node.start()
    yield node
    node.stop()


@pytest.fixture(autouse=True)
def _log_of_its_own() -> Iterator[None]:
    """Whoever runs a command in the test's process sends its log to a stream that ends with the test."""
    yield
    structlog.reset_defaults()
