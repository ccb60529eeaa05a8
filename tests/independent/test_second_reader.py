"""A second implementation, written from docs/protocol.md alone, agrees with every file of tests/vectors."""

import ast
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pytest

from tests.independent.protocol.cbor import Refused
from tests.independent.protocol.control import READERS, Place, read_control
from tests.independent.protocol.forks import check_fork, check_fork_file, read_fork_data
from tests.independent.protocol.membership.membership import membership

HERE: Final = Path(__file__).parent
VECTORS: Final = HERE.parent / "vectors"

Vector = dict[str, Any]


def vectors(name: str) -> Vector:
    read: Vector = json.loads((VECTORS / f"{name}.json").read_text())
    return read


def test_no_reader_imports_anything_of_lognode_nor_a_decoder_of_cbor() -> None:
    readers = [path for path in HERE.rglob("*.py") if not path.name.startswith("test_")]
    assert len(readers) > 10
    for path in readers:
        for node in ast.walk(ast.parse(path.read_text())):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in named:
                assert name.partition(".")[0] not in ("lognode", "cbor2"), path
                assert not name.startswith("tests.") or name.startswith("tests.independent."), path


@pytest.mark.parametrize("vector", vectors("memberships")["tenants"], ids=lambda vector: vector["name"])
def test_control_spans_come_to_the_same_members_cuts_and_voids(vector: Vector) -> None:
    found = asdict(membership(bytes.fromhex(vector["tenant"]), vector["controls"]))
    assert found == {name: vector[name] for name in found}


CONTROLS: Final = vectors("controls")
REFUSED_CONTROLS: Final = [*vectors("records")["control"]["refused"], *CONTROLS["refused"]]


def place_of(vector: Vector) -> Place:
    named = {"tenant": CONTROLS["tenant"], "feed": "", "author": "", **vector}
    return Place(*(bytes.fromhex(named[name] or "") for name in ("tenant", "feed", "author")))


@pytest.mark.parametrize("vector", CONTROLS["accepted"], ids=lambda vector: vector["kind"])
def test_control_data_of_every_kind_is_read_and_bound(vector: Vector) -> None:
    assert {accepted["kind"] for accepted in CONTROLS["accepted"]} == READERS.keys()
    assert read_control(vector["kind"], bytes.fromhex(vector["hex"]), place_of(vector)).is_bound


@pytest.mark.parametrize("vector", REFUSED_CONTROLS, ids=lambda vector: vector["name"])
def test_control_data_that_is_refused_is_refused_for_the_same_reason(vector: Vector) -> None:
    place = place_of(vector)
    if vector["code"] == "body.malformed":
        with pytest.raises(Refused):
            read_control(vector["kind"], bytes.fromhex(vector["hex"]), place)
    else:
        assert not read_control(vector["kind"], bytes.fromhex(vector["hex"]), place).is_bound


@pytest.mark.parametrize("vector", vectors("forks")["forks"], ids=lambda vector: vector["name"])
def test_fork_proofs_show_the_same_as_file_and_as_data(vector: Vector) -> None:
    _, openings, seq, sides = read_fork_data(bytes.fromhex(vector["data"]))
    fork = check_fork_file(vector["file"].encode())
    assert check_fork(openings, seq, sides) == fork
    assert [fork.tenant.hex(), fork.feed.hex(), fork.node_key.hex(), fork.seq] == [
        vector[name] for name in ("tenant", "feed", "node_key", "seq")
    ]
    assert [id_.hex() for id_, _ in fork.sides] == vector["spans"]
    assert [tree.size for _, tree in fork.sides] == vector["sizes"]
    assert [tree.root.hex() for _, tree in fork.sides] == vector["roots"]


@pytest.mark.parametrize("vector", vectors("forks")["refused"], ids=lambda vector: vector["name"])
def test_fork_proofs_that_prove_nothing_are_refused(vector: Vector) -> None:
    with pytest.raises(Refused):
        check_fork_file(vector["file"].encode())
