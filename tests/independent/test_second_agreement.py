"""Merges, cosignatures, policies, restored spans and joinings agree with the files of tests/vectors."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any, Final

import pytest
from mnemonic import Mnemonic

from tests.independent import bundle_checker
from tests.independent.protocol.cbor import Refused
from tests.independent.protocol.epochs import find, next_write
from tests.independent.protocol.fields import signed_by
from tests.independent.protocol.joining import check_request, join_words, read_answer, read_invitation
from tests.independent.protocol.news import merge_of
from tests.independent.protocol.notes import cosigned, read_checkpoint, witness_key
from tests.independent.protocol.restored import check_restored
from tests.independent.protocol.witnesses import read_merge, read_policy
from tests.independent.tlog_proof_checker import Rejected

VECTORS: Final = Path(__file__).parent.parent / "vectors"
Vector = dict[str, Any]


def vectors(name: str) -> Vector:
    read: Vector = json.loads((VECTORS / f"{name}.json").read_text())
    return read


def refused(vectors: list[Vector]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=lambda vector: vector["name"])


MERGES: Final = vectors("merges")
RESTORED: Final = vectors("restored")
INVITES: Final = vectors("invites")
EPOCHS: Final = vectors("epochs")
NEWS: Final = vectors("news")


def test_merges_name_and_cosign_what_is_stated() -> None:
    for vector in MERGES["merges"]:
        public = bytes.fromhex(vector["witness_key"])
        key = witness_key(bytes.fromhex(MERGES["tenant"]), bytes.fromhex(vector["node_key"]), public)
        assert key.text == vector["vkey"]
        for merged, item in zip(read_merge(bytes.fromhex(vector["data"])), vector["items"], strict=True):
            tree = read_checkpoint(item["checkpoint"])
            assert (merged.feed.hex(), merged.size, merged.time_s) == (item["feed"], item["size"], item["time"])
            assert (tree.size, tree.root) == (merged.size, merged.root)
            assert signed_by(public, cosigned(tree, merged.time_s), merged.signature)
            line = key.key_id + merged.time_s.to_bytes(8, "big") + merged.signature
            assert item["line"] == f"\u2014 {key.name} {b64encode(line).decode()}\n"


@refused(MERGES["refused"])
def test_other_data_of_merges_is_refused(vector: Vector) -> None:
    with pytest.raises(Refused):
        read_merge(bytes.fromhex(vector["hex"]))


def test_policies_are_met_by_those_who_cosigned() -> None:
    for vector in MERGES["policies"]:
        found, is_met = read_policy(vector["text"].encode()).judge(vector["note"].encode())
        assert (found, is_met) == (vector["cosigned"], vector["met"]), vector["name"]


@refused(MERGES["refused_policies"])
def test_other_policies_are_refused(vector: Vector) -> None:
    with pytest.raises(Refused):
        read_policy(vector["text"].encode())


def test_a_start_finds_what_is_stated_and_goes_on_where_it_may() -> None:
    for vector in EPOCHS["starts"]:
        found = find(vector["mark"], vector["now"], vector["counted"], vector["held"])
        assert found == vector["found"], vector["name"]
    for vector in EPOCHS["writes"]:
        said = next_write(vector["found"], vector["others"], vector["events"], ahead=vector["ahead"])
        assert said == vector["next"], vector["name"]
    assert len({vector["next"] for vector in EPOCHS["writes"]}) == 6


def test_merges_are_written_for_news_alone_and_name_what_is_stated() -> None:
    for vector in NEWS["cases"]:
        assert merge_of(NEWS["node"], vector) == vector["names"], vector["name"]
    assert sum(not vector["names"] for vector in NEWS["cases"]) == 6


def restore(vector: Vector) -> tuple[bytes, bytes]:
    header, body = bytes.fromhex(vector["header"]), bytes.fromhex(vector["body"])
    tenant, log = bytes.fromhex(RESTORED["tenant"]), bytes.fromhex(RESTORED["log_key"])
    return check_restored(tenant, log, vector["visibility"], header, body)


def test_copies_prove_the_spans_that_they_restore() -> None:
    for vector in RESTORED["copies"]:
        header, body = restore(vector)
        assert vector["original"] == {"header": header.hex(), "body": body.hex()}


@refused(RESTORED["refused"])
def test_other_copies_prove_nothing(vector: Vector) -> None:
    with pytest.raises(Refused):
        restore(vector)


def test_invites_say_what_is_stated() -> None:
    for vector in INVITES["invites"]:
        for text in (vector["text"], f"  {vector['text'][:40].upper()}\n{vector['text'][40:].upper()} "):
            said = read_invitation(text)
            assert [said.tenant.hex(), said.level, said.uses, said.expires_ms, said.approve, said.seed.hex()] == [
                vector[name] for name in ("tenant", "level", "uses", "expires_ms", "approve", "seed")
            ]
            assert [[node.hex(), tls.hex(), at] for node, tls, at in said.servers] == vector["servers"]


@refused(INVITES["refused"]["texts"])
def test_other_texts_are_no_invites(vector: Vector) -> None:
    with pytest.raises(Refused):
        read_invitation(vector["text"])


def test_joiner_and_server_show_the_same_words_and_read_each_other() -> None:
    words, request = INVITES["words"], INVITES["request"]
    numbers = join_words(*(bytes.fromhex(words[name]) for name in ("tenant", "joiner", "server")))
    assert " ".join(Mnemonic("english").wordlist[number] for number in numbers) == words["words"]
    tenant, said, at = check_request(bytes.fromhex(request["hex"]), bytes.fromhex(request["invite_key"]))
    assert (tenant.hex(), said[5], at) == (request["tenant"], request["level"], request["addresses"])
    assert [said[1], said[4]] == [bytes.fromhex(request[name]) for name in ("node_key", "server_key")]
    assert [read_answer(bytes.fromhex(one["hex"]))[0] for one in INVITES["answers"]] == [
        one["is"] for one in INVITES["answers"]
    ]


@refused(INVITES["refused"]["requests"])
def test_other_requests_are_refused(vector: Vector) -> None:
    with pytest.raises(Refused):
        check_request(bytes.fromhex(vector["hex"]), bytes.fromhex(INVITES["request"]["invite_key"]))


BUNDLES: Final = vectors("bundles")
NODE_KEY: Final = bytes.fromhex(vectors("keys")["nodes"][0]["node_key"])


def test_bundles_hold_what_is_stated() -> None:
    for vector in BUNDLES["accepted"]:
        accepted = bundle_checker.check(bytes.fromhex(vector["bundle"]), [NODE_KEY])
        assert (accepted.ids, accepted.stubs, accepted.query) == (vector["spans"], vector["stubs"], vector["query"])
        assert [(feed.feed_id.hex(), feed.size) for feed in accepted.feeds] == [
            (feed["id"], feed["size"]) for feed in vector["feeds"]
        ]


@refused(BUNDLES["refused"])
def test_other_bundles_are_refused(vector: Vector) -> None:
    with pytest.raises(Rejected):
        bundle_checker.check(bytes.fromhex(vector["bundle"]), [NODE_KEY])


def test_every_file_of_vectors_is_read_here() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_second_*.py"))
    missed = [path.stem for path in VECTORS.glob("*.json") if f'"{path.stem}"' not in tests]
    assert [name for name in missed if f"vectors/{name}.json" not in tests] == []
