"""Two machines on one cable."""

from collections.abc import Iterator

import pytest

from tests.network.namespaces import Machine, join, make_machines, why_not


@pytest.fixture(scope="session")
def _namespaces() -> None:
    """Skips where the system permits no namespaces."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def machines(_namespaces: None) -> Iterator[tuple[Machine, Machine]]:
    """Two machines, 10.77.1.1 and 10.77.1.2."""
    with make_machines("a", "b") as (one, other):
        join(one, other)
        yield one, other
