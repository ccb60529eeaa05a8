"""Single writes that fail, or with which the daemon is killed; scripts/kill9 --failing-calls tries many more."""

from pathlib import Path
from typing import Final

import pytest

from tests.faults.one_failure import one_failure

# A full disk at work, a kill while the database is made, a failed sync at work, no room for the file with the URL.
SEEDS: Final = (0, 14, 23, 48)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_write_that_goes_wrong_costs_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    assert not one_failure(tmp_path, seed).endswith("nowhere")
