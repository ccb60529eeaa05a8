"""What the tests of the client share: its two forms."""

import pytest

from tests.client.forms import FORMS, Connect


@pytest.fixture(scope="module", params=FORMS)
def connect(request: pytest.FixtureRequest) -> Connect:
    """`connect_async`, or `connect` in its dress."""
    return FORMS[request.param]
