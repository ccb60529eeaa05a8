"""The format's small structures, as a second implementation reads them, agree with the files of tests/vectors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.independent.protocol import drafts, keys, node_files, records
from tests.independent.protocol.cbor import Refused, read_array, read_value
from tests.independent.protocol.fields import (
    base32,
    certificate_key,
    logline_text,
    read_logline,
    sha256,
    signed_by,
    unbase32,
)
from tests.independent.protocol.notes import (
    check_checkpoint,
    check_note,
    check_proof,
    log_key,
    read_vkey,
)
from tests.independent.protocol.tree import (
    check_consistency,
    check_inclusion,
    consistency_of,
    inclusion_of,
    leaf_hash,
    root_of,
    tile,
)

VECTORS: Final = Path(__file__).parent.parent / "vectors"
Vector = dict[str, Any]


def vectors(name: str) -> Vector:
    read: Vector = json.loads((VECTORS / f"{name}.json").read_text())
    return read


def refused(*lists: list[Vector]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "vector", [vector for each in lists for vector in each], ids=lambda vector: vector["name"]
    )


def test_ids_have_one_text() -> None:
    for vector in vectors("ids")["base32"]:
        data = bytes.fromhex(vector["hex"])
        assert (base32(data), unbase32(vector["text"], len(data))) == (vector["text"], data)
    for vector in vectors("ids")["loglines"]:
        data = bytes.fromhex(vector["hex"])
        assert (logline_text(data), read_logline(vector["text"])) == (vector["text"], data)


@refused(vectors("ids")["refused"])
def test_other_texts_are_no_ids(vector: Vector) -> None:
    with pytest.raises(Refused):
        unbase32(vector["text"], vector["size"]) if vector["size"] else read_logline(vector["text"])


def test_keys_and_certificates_follow_from_the_seed() -> None:
    for vector in vectors("keys")["nodes"]:
        seed, node_key = bytes.fromhex(vector["seed"]), bytes.fromhex(vector["node_key"])
        tls = keys.tls_seed(seed)
        assert keys.public_key(seed) == node_key
        assert logline_text(b"\x01" + node_key) == vector["logline"]
        assert (tls.hex(), keys.public_key(tls).hex()) == (vector["tls_seed"], vector["tls_key"])
        assert keys.certificate_of(tls).hex() == vector["tls_certificate"]
        assert certificate_key(bytes.fromhex(vector["tls_certificate"])) == keys.public_key(tls)
        witness, log = vector["witness"], vector["log"]
        assert keys.public_key(keys.witness_seed(seed, bytes.fromhex(witness["tenant"]))).hex() == witness["key"]
        assert keys.public_key(keys.log_seed(seed, bytes.fromhex(log["feed"]))).hex() == log["key"]
    recovery = keys.public_key(keys.derive(bytes(range(32)), b"lognode recovery v1"))
    assert recovery.hex() in (VECTORS.parent.parent / "docs/protocol.md").read_text()


def test_signatures_hold_where_the_page_says() -> None:
    signatures = vectors("keys")["signatures"]
    message = bytes.fromhex(signatures["message"])
    for is_right in (True, False):
        for vector in signatures["accepted" if is_right else "refused"]:
            key, signature = bytes.fromhex(vector["key"]), bytes.fromhex(vector["signature"])
            assert signed_by(key, message, signature) is is_right, vector


def test_values_have_one_meaning() -> None:
    for vector in vectors("values")["accepted"]:
        found = read_value(bytes.fromhex(vector["hex"]))
        assert json.dumps(found) == json.dumps(vector["json"]), vector["name"]


@refused(vectors("values")["refused"])
def test_other_values_are_refused(vector: Vector) -> None:
    with pytest.raises(Refused):
        read_value(bytes.fromhex(vector["hex"]))


def test_headers_and_bodies_hold_what_is_stated() -> None:
    for name, read in (("headers", records.read_header), ("bodies", records.read_body)):
        for vector in vectors("records")[name]["accepted"]:
            data = bytes.fromhex(vector["hex"])
            read(data)
            elements = read_array(data)
            assert [_shown(element) for element in elements] == vector["elements"]


def _shown(value: object) -> object:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return [_shown(item) for item in value] if isinstance(value, list) else value


@refused(vectors("records")["headers"]["refused"])
def test_other_headers_are_refused(vector: Vector) -> None:
    with pytest.raises(Refused):
        records.read_header(bytes.fromhex(vector["hex"]))


@refused(vectors("records")["bodies"]["refused"])
def test_other_bodies_are_refused(vector: Vector) -> None:
    with pytest.raises(Refused):
        records.read_body(bytes.fromhex(vector["hex"]))


def test_drafts_come_to_the_array_that_is_signed() -> None:
    held = vectors("drafts")
    for vector in held["json"]:
        array, key, annotations = drafts.read_json_draft(vector["line"].encode())
        assert (array.hex(), key, annotations.hex()) == (
            vector["array"],
            vector["idempotency_key"],
            vector["annotations"],
        )
    signed = {name: bytes.fromhex(text) for name, text in held["signed"].items() if name != "actor"}
    array, signature, _ = drafts.read_cbor_draft(signed["request"])
    assert (array, signature) == (signed["array"], signed["signature"])
    assert drafts.draft_message(signed["tenant"], array) == signed["message"]
    assert drafts.is_signed_by_actor(signed["tenant"], array, signed["signature"])
    for vector in held["idem"]:
        tenant, principal = bytes.fromhex(vector["tenant"]), bytes.fromhex(vector["principal"])
        assert records.idem_of(tenant, principal, vector["key"]).hex() == vector["idem"]


@refused(vectors("drafts")["refused"]["json"], vectors("drafts")["refused"]["cbor"])
def test_other_drafts_are_refused(vector: Vector) -> None:
    is_json = "line" in vector
    data = vector["line"].encode("utf-8", "surrogatepass") if is_json else bytes.fromhex(vector["hex"])
    read: Callable[[bytes], object] = drafts.read_json_draft if is_json else drafts.read_cbor_draft
    with pytest.raises(Refused):
        read(data)


def test_clocks_tick_and_states_hash_as_stated() -> None:
    held = vectors("clocks")
    for vector in held["ticks"]:
        assert records.next_hlc(vector["last"], vector["now_ms"]) == vector["next"]
    for vector in held["ahead"]:
        assert records.is_ahead(vector["hlc"], vector["now_ms"]) is vector["is_ahead"]
    for vector in held["states"]:
        feeds = [(bytes.fromhex(each["feed"]), each["size"], bytes.fromhex(each["root"])) for each in vector["feeds"]]
        assert records.state_hash(feeds).hex() == vector["state"]


LEAVES: Final = [leaf_hash(number.to_bytes(8, "big")) for number in range(66_000)]


def test_trees_have_the_roots_proofs_and_tiles_that_are_stated() -> None:
    held = vectors("tree")
    for vector in held["roots"]:
        assert root_of(LEAVES[: vector["size"]]).hex() == vector["root"]
    for vector in held["inclusion"]:
        index, leaves = vector["index"], LEAVES[: vector["size"]]
        proof = inclusion_of(index, leaves)
        assert [step.hex() for step in proof] == vector["proof"]
        check_inclusion(leaves[index], index, len(leaves), proof, root_of(leaves))
    for vector in held["consistency"]:
        first, leaves = vector["first"], LEAVES[: vector["second"]]
        proof = consistency_of(first, leaves)
        assert [step.hex() for step in proof] == vector["proof"]
        check_consistency(first, len(leaves), (root_of(leaves[:first]), root_of(leaves)), proof)
    for vector in held["tiles"]:
        hashes = tile(LEAVES[: vector["size"]], vector["level"], vector["tile"])
        assert [step.hex() for step in hashes] == vector["hashes"]


@refused(vectors("tree")["refused"])
def test_other_proofs_of_trees_are_refused(vector: Vector) -> None:
    proof = [bytes.fromhex(step) for step in vector["proof"]]
    if "leaf" in vector:
        leaf, root = bytes.fromhex(vector["leaf"]), bytes.fromhex(vector["root"])
        with pytest.raises(Refused):
            check_inclusion(leaf, vector["index"], vector["size"], proof, root)
    else:
        roots = bytes.fromhex(vector["first_root"]), bytes.fromhex(vector["second_root"])
        with pytest.raises(Refused):
            check_consistency(vector["first"], vector["second"], roots, proof)


def test_a_tenant_of_two_feeds_is_what_its_entries_come_to() -> None:
    held = vectors("feeds")
    tenant, heads = bytes.fromhex(held["tenant"]["id"]), []
    for feed in held["feeds"]:
        id_, leaves = bytes.fromhex(feed["id"]), []
        key = log_key(tenant, id_, bytes.fromhex(feed["log_key"]))
        assert (key.name, key.text, base32(id_)) == (feed["origin"], feed["vkey"], feed["text"])
        for entry in feed["entries"]:
            header = bytes.fromhex(entry["header"])
            raw = records.entry_of(id_, entry["seq"], entry["hlc"], entry["visibility"], sha256(header))
            leaves.append(leaf_hash(raw))
            assert (raw.hex(), leaves[-1].hex()) == (entry["entry"], entry["leaf"])
            assert base32(raw[24:32] + leaves[-1][:16]) == entry["id"]
            assert records.read_header(header).body_sha256 == sha256(bytes.fromhex(entry["body"]))
        assert [root_of(leaves[:size]).hex() for size in range(len(leaves) + 1)] == feed["roots"]
        for note in feed["checkpoints"]:
            tree = check_checkpoint(note["note"].encode(), key, alone=True)
            assert (tree.size, tree.root) == (note["size"], root_of(leaves[: tree.size]))
        for proof in feed["proofs"]:
            found, tree = check_proof(proof["proof"].encode(), key)
            assert (found.seq, tree.size) == (proof["seq"], proof["size"])
        heads.append((id_, len(leaves), root_of(leaves)))
    assert records.state_hash(heads).hex() == held["state"]


def test_the_example_of_signed_notes_is_accepted() -> None:
    for vector in vectors("notes")["accepted"]:
        check_note(vector["note"].encode(), read_vkey(vector["vkey"]))


@refused(vectors("notes")["vkeys"]["refused"])
def test_other_verifier_keys_are_refused(vector: Vector) -> None:
    with pytest.raises(Refused):
        read_vkey(vector["text"])


@refused(vectors("notes")["checkpoints"]["refused"], vectors("notes")["proofs"]["refused"])
def test_other_checkpoints_and_proofs_are_refused(vector: Vector) -> None:
    judge: Callable[..., object] = check_proof if vector["code"] == "proof.invalid" else check_checkpoint
    with pytest.raises(Refused):
        judge(bytes.fromhex(vector["hex"]), read_vkey(vector["vkey"]))


def test_key_files_hold_the_seed() -> None:
    for vector in vectors("keyfiles")["accepted"]:
        words = vector["passphrase"]
        assert node_files.read_key_file(vector["text"].encode(), words and words.encode()).hex() == vector["seed"]


@refused(vectors("keyfiles")["refused"])
def test_other_key_files_are_refused(vector: Vector) -> None:
    words = vector["passphrase"]
    with pytest.raises(Refused):
        node_files.read_key_file(vector["text"].encode(), words and words.encode())


def test_manifests_of_backups_are_as_they_were_sealed() -> None:
    for vector in vectors("backups")["accepted"]:
        said: Any = node_files.read_manifest(vector["text"].encode())
        assert sum(feed["size"] for tenant in said["tenants"] for feed in tenant["feeds"]) == vector["spans"]


@refused(vectors("backups")["refused"])
def test_other_manifests_are_refused(vector: Vector) -> None:
    with pytest.raises(Refused):
        node_files.read_manifest(vector["text"].encode())


def test_announcements_say_who_listens_where() -> None:
    held = vectors("announcements")
    for vector in held["accepted"]:
        found = node_files.read_announcement(bytes.fromhex(vector["txt"]))
        assert found == (vector["k"], vector["p"], vector["j"])
        assert found[0] == base32(bytes.fromhex(held["node_key"])[:10])


@refused(vectors("announcements")["refused"])
def test_other_announcements_are_none(vector: Vector) -> None:
    with pytest.raises(Refused):
        node_files.read_announcement(bytes.fromhex(vector["txt"]))
