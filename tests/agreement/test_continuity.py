"""What a start makes of the mark that the last one left."""

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.timeline.agreement.continuity import Continuity, Mark, is_sealed, judge, look_back, seal_mark
from lognode.timeline.store.agreement.continuity import Watermark

HERE = Mark("boot", "machine", 1, 2, 3)
CHANGES: dict[str, tuple[Mark, Continuity]] = {
    "nothing": (HERE, "plain"),
    "a restart of the machine": (HERE._replace(boot="next"), "restarted"),
    "the same with devices numbered anew": (HERE._replace(boot="next", device=9), "restarted"),
    "another machine": (HERE._replace(machine="other"), "moved"),
    "another machine, and so another boot": (HERE._replace(machine="other", boot="next"), "moved"),
    "another file of the database": (HERE._replace(database=9), "moved"),
    "the same inode of another file system": (HERE._replace(device=9), "moved"),
    "a key file that was copied over": (HERE._replace(key=9), "moved"),
    "a copy on a machine that restarted": (HERE._replace(boot="next", database=9), "moved"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_since_the_last_start_says_what_became_of_the_node(change: str) -> None:
    now, continuity = CHANGES[change]
    assert judge(seal_mark(HERE), now) == continuity


def test_a_database_without_a_mark_may_be_of_any_time() -> None:
    assert judge(None, HERE) == "restarted"


@pytest.mark.parametrize(
    ("found", "counted", "held", "continuity"),
    [
        ("plain", 5, 5, "plain"),
        ("plain", 4, 5, "plain"),  # killed between the commit and the count
        ("plain", 6, 5, "moved"),
        ("restarted", 6, 5, "moved"),
        ("plain", None, 5, "restarted"),
        ("moved", None, 5, "moved"),
        ("moved", 5, 5, "moved"),
    ],
)
def test_a_database_that_holds_less_than_was_counted_was_set_back(
    found: Continuity, counted: int | None, held: int, continuity: Continuity
) -> None:
    assert look_back(found, counted, held) == continuity


def test_the_count_stands_beside_the_database_and_nothing_else_is_one(tmp_path: Path) -> None:
    path = tmp_path / "continuity"
    with closing(Watermark(path)) as fresh:
        assert fresh.read() is None
        fresh.write(2**40)
    with closing(Watermark(path)) as again:
        assert again.read() == 2**40
        again.write(7)
        assert again.read() == 7
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(bytes(9))
    with closing(Watermark(path)) as damaged:
        assert damaged.read() is None


@given(at=st.integers(0, 7), change=st.integers(1, 255), data=st.data())
def test_a_damaged_mark_is_noticed_and_never_plain(at: int, change: int, data: st.DataObject) -> None:
    raw = bytearray(seal_mark(HERE))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= change
    assert not is_sealed(bytes(raw))
    assert judge(bytes(raw), HERE) == "moved"
    assert judge(bytes(raw[:at]), HERE) == "moved"
