"""Messages and summaries, as the second implementation reads them, agree with tests/vectors/messages.json."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.independent.protocol.cbor import Refused
from tests.independent.protocol.fields import sha256
from tests.independent.protocol.messages import addresses_digest, digest_of, fingerprint, line_of, read_message

VECTORS: Final = json.loads((Path(__file__).parent.parent / "vectors/messages.json").read_text())
Vector = dict[str, Any]


@pytest.mark.parametrize("what", ["requests", "answers"])
def test_messages_say_what_is_stated(what: str) -> None:
    for vector in VECTORS[what]:
        assert read_message(bytes.fromhex(vector["message"]), is_request=what == "requests") == vector["says"]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_other_messages_are_refused(vector: Vector) -> None:
    with pytest.raises(Refused):
        read_message(bytes.fromhex(vector["message"]), is_request=vector["is"] == "request")


def test_summaries_are_of_the_lines_that_are_stated() -> None:
    for vector in VECTORS["summaries"]:
        heads = {bytes.fromhex(head["feed"]): head for head in vector["heads"]}
        lines = {
            feed: line_of(feed, head["size"], bytes.fromhex(head["root"]), head["foretold"])
            for feed, head in heads.items()
        }
        assert sha256(*(line for _, line in sorted(lines.items()))).hex() == vector["summary"]
        assert fingerprint(lines, vector["below"]["prefix"]).hex() == vector["fingerprint"]
        for node in (vector["node"], vector["below"]):
            held = sorted(feed for feed in heads if feed.hex().startswith(node["prefix"]))
            if len(held) > 16:
                prints = [fingerprint(lines, node["prefix"] + digit).hex() for digit in "0123456789abcdef"]
                assert (node["is"], node["children"]) == ("Branch", prints)
            else:
                assert node["is"] == "Leaves"
                assert [bytes.fromhex(head["feed"]) for head in node["heads"]] == held
                for head in node["heads"]:
                    stated = heads[bytes.fromhex(head["feed"])]
                    assert head == {**stated, "foretold": digest_of(stated["foretold"]).hex()}
    for vector in VECTORS["addresses"]:
        assert addresses_digest(vector["addresses"]).hex() == vector["digest"]
