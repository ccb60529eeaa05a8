"""What a command was given for a node: the whole of it, its beginning, nothing, or something of several."""

import pytest

from lognode.cli.view.nodes import KEY_CELLS, SCHEME, choose, short_key
from lognode.core.errors import CallerError

NODES = [f"{SCHEME}{key:0<52}" for key in ("0a1b2c", "0a1b9z", "7q8w")]


@pytest.mark.parametrize("given", [NODES[2], NODES[2].removeprefix(SCHEME), "7", "7q8w", f"{SCHEME}7q", " 7q\n"])
def test_a_beginning_that_fits_one_node_is_that_node(given: str) -> None:
    assert choose(given, NODES, "member.unknown") == NODES[2]


@pytest.mark.parametrize("given", ["x", "", " ", SCHEME, "legal winner thank year", "7q8x"])
def test_what_fits_nothing_has_a_code_of_its_own(given: str) -> None:
    with pytest.raises(CallerError) as refused:
        choose(given, NODES, "member.unknown")
    assert refused.value.code == "member.unknown"


def test_a_beginning_that_fits_several_names_them_so_that_they_differ() -> None:
    with pytest.raises(CallerError) as refused:
        choose("0a1b", NODES, "member.unknown")
    assert refused.value.code == "usage.invalid"
    assert refused.value.detail == "0a1b2c000000 and 0a1b9z000000 begin with '0a1b'; write more of it"
    many = [f"0{number:051}" for number in range(9)]
    with pytest.raises(CallerError) as refused:
        choose("0", many, "member.unknown")
    assert refused.value.detail.count(",") == 3
    assert "and 5 more" in refused.value.detail


def test_the_short_form_of_a_node_is_the_beginning_of_its_key() -> None:
    assert short_key(NODES[0]) == "0a1b2c000000"
    assert len(short_key(NODES[1])) == KEY_CELLS
