"""A daemon killed again and again while its rules react; and wrong ones, which the same test finds."""

from pathlib import Path
from typing import Final

import pytest

from tests.faults.processes import HinderedDaemon
from tests.faults.reactions import reactions_after_kills

SPANS: Final = 600  # scripts/kill9 --reactions 10000 takes more
KILLS: Final = 3
SEED: Final = 6501


def test_a_killed_daemon_loses_no_effect_of_a_reaction_and_doubles_none(tmp_path: Path) -> None:
    with HinderedDaemon(tmp_path / "node") as daemon:
        found = reactions_after_kills(daemon, SEED, SPANS, KILLS)
    assert found.is_once(SPANS), found


@pytest.mark.parametrize("patch", ["reacting"], ids=["writes effects before it notes how far it looked"])
def test_a_daemon_is_found_out_that(tmp_path: Path, patch: str) -> None:
    with HinderedDaemon(tmp_path / "node", patch=patch) as daemon:
        found = reactions_after_kills(daemon, SEED, SPANS // 2, 2)
    assert max(found.answers.values()) > 1
