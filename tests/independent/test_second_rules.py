"""Rule spans say and come to the same by the second implementation."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.independent.protocol.cbor import Refused
from tests.independent.protocol.membership.membership import settle
from tests.independent.protocol.rules import Placed, fault_of, in_force, last_words, read_data, read_span

VECTORS: Final = json.loads((Path(__file__).parent.parent / "vectors/rules.json").read_text())


def test_spans_say_what_is_stated() -> None:
    for vector in VECTORS["said"]:
        said = read_span(vector["kind"], vector["status"], vector["visibility"], bytes.fromhex(vector["data"]))
        version = said.version.hex() if said and said.version else None
        assert (None if said is None else [said.name, version]) == vector["says"]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_malformed_data_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        read_data(vector["kind"], bytes.fromhex(vector["hex"]))


@pytest.mark.parametrize("vector", VECTORS["tenants"], ids=lambda vector: vector["name"])
def test_the_same_counts_and_is_in_force(vector: dict[str, Any]) -> None:
    settled = settle(bytes.fromhex(vector["tenant"]), vector["controls"])
    counting = []
    for stated in vector["publications"]:
        id_, author, feed, data = (bytes.fromhex(stated[name]) for name in ("id", "node_key", "feed", "data"))
        placed = Placed(id_, author, feed, stated["seq"], read_data(stated["kind"], data))
        fault = fault_of(settled, placed)
        assert fault == stated["fault"]
        counting += [placed] if fault is None else []
    assert {one.said.name for one in counting}
    for stated in vector["pasts"]:
        words = last_words(counting, {bytes.fromhex(feed): size for feed, size in stated["past"]})
        assert sorted([name, one.id.hex()] for name, one in words.items()) == stated["words"]
        assert [[name, version.hex()] for name, version in in_force(words).items()] == stated["in_force"]
