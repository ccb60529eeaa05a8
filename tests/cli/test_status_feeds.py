"""The table of feeds that `lognode status` prints: plain for a node alone, with nodes and counts among others."""

import pytest

from lognode.cli.commands.daemon import _effectless_rows, _print_feeds
from lognode.client.answers import Feed, Stats

OWN = Feed(
    feed="own", node="logline-id://node/aaaabbbbccccdddd", vkey="", size=3, root="", own=True, open=True, void=0,
    withheld=0,
)  # fmt: skip
FOREIGN = Feed(
    feed="theirs", node="logline-id://node/eeeeffffgggghhhh", vkey="", size=9, root="", own=False, open=False, void=2,
    withheld=4,
)  # fmt: skip


def test_a_node_that_is_alone_has_a_plain_table(capsys: pytest.CaptureFixture[str]) -> None:
    _print_feeds([OWN])
    title, row = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert title == ["FEED", "STATE", "ENTRIES"]
    assert row == ["own", "open", "3"]


def test_among_others_each_feed_names_its_node_and_what_of_it_has_no_effect(capsys: pytest.CaptureFixture[str]) -> None:
    _print_feeds([OWN, FOREIGN])
    title, own, theirs = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert title == ["FEED", "STATE", "ENTRIES", "NODE", "VOID", "WITHHELD"]
    assert own == ["own", "open", "3", "aaaabbbbcccc", "0", "0"]
    assert theirs == ["theirs", "of", "another", "node", "9", "eeeeffffgggg", "2", "4"]


def test_what_has_no_effect_has_rows_of_its_own_where_there_is_any() -> None:
    stats = Stats(
        spans=1, void=0, withheld=0, first_at=None, last_at=None, kinds={}, feeds=[OWN], state=""
    )  # fmt: skip
    assert _effectless_rows(stats) == {}
    assert list(_effectless_rows({**stats, "void": 2, "withheld": 4})) == ["Void", "Withheld"]
    assert _effectless_rows({**stats, "void": 1})["Void"].startswith("1 entry without effect;")
