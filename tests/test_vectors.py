"""What the vectors accept holds for lognode, for readers that share no code with it, and for plain formulas."""

import hmac
import json
from collections.abc import Iterator
from dataclasses import astuple
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import cbor2
import pytest
from nacl.signing import SigningKey, VerifyKey

from lognode.core.clock import Clock, is_ahead, state_hash, tick
from lognode.core.codec import decode_value
from lognode.core.draft import (
    annotations_of,
    idem_key,
    parse_cbor_draft,
    parse_json_draft,
    read_origin,
    signed_array,
    signing_message,
)
from lognode.core.ids import (
    FeedId,
    LogLine,
    SpanId,
    TenantId,
    b32decode,
    b32encode,
    format_logline,
    parse_feed_id,
    parse_logline,
    parse_tenant_id,
)
from lognode.core.span import decode_body, decode_header, encode_body, encode_header, entry_bytes, leaf_hash, span_id
from lognode.identity.certificate import certificate_key, tls_certificate
from lognode.identity.keys import NodeKeys, verify_signature
from lognode.timeline.control.forks import parse_feed_fork
from lognode.timeline.control.founding import check_feed_open, check_tenant_create, parse_feed_open, parse_tenant_create
from lognode.timeline.members import Control, membership
from lognode.timeline.proof.bundle.reader import BundleReader
from lognode.timeline.proof.checkpoint import parse_vkey, verify_checkpoint, verify_note
from lognode.timeline.proof.fork import check_fork, format_fork, parse_fork
from lognode.timeline.proof.tlogproof import check_proof
from lognode.timeline.proof.tree import EMPTY, grow, root_of, verify_consistency, verify_inclusion
from tests.agreement.worlds import folded, ids, model
from tests.independent import bundle_checker
from tests.independent import span_reader as reader
from tests.independent import tlog_proof_checker as checker
from tests.timeline.bundles import items_of
from tests.vectors.make_vectors import FILES, render
from tests.vectors.memberships import describe_result
from tests.vectors.states import read_world

FOLDER: Final = Path(__file__).parent / "vectors"
# The reader wants the shortest heads in values as well, which their authors owe nobody.
REFUSED_BY_READER: Final = {"an integer in more bytes than it needs", "text in a longer head than it needs"}

Vector = dict[str, Any]


def load(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_bytes())


def unhex(vector: Vector, *names: str) -> Iterator[bytes]:
    return (bytes.fromhex(vector[name]) for name in names)


KEYS, IDS, VALUES, RECORDS = load("keys"), load("ids"), load("values"), load("records")
FEEDS, DRAFTS, NOTES, TREE, CLOCKS = load("feeds"), load("drafts"), load("notes"), load("tree"), load("clocks")
TENANT: Final = TenantId(bytes.fromhex(FEEDS["tenant"]["id"]))
ENTRIES: Final = [(feed, entry) for feed in FEEDS["feeds"] for entry in feed["entries"]]


@pytest.mark.parametrize("name", FILES)
def test_the_script_writes_the_files_as_they_are(name: str) -> None:
    assert render(name) == (FOLDER / name).read_bytes()


def test_there_are_no_other_files() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == set(FILES)


# Keys and ids.


def hkdf(seed: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, no salt, 32 bytes."""
    prk = hmac.digest(bytes(32), seed, "sha256")
    return hmac.digest(prk, info + b"\x01", "sha256")


@pytest.mark.parametrize("node", KEYS["nodes"])
def test_keys_follow_from_the_seed(node: Vector) -> None:
    seed, public, tls_seed, tls_key, certificate = unhex(
        node, "seed", "node_key", "tls_seed", "tls_key", "tls_certificate"
    )
    (tenant, witness), (feed, log) = unhex(node["witness"], "tenant", "key"), unhex(node["log"], "feed", "key")
    keys = NodeKeys.from_seed(seed)

    assert keys.public == public == bytes(SigningKey(seed).verify_key)
    assert format_logline(keys.logline) == node["logline"] == "logline-id://node/" + reader.base32(public)
    assert keys.tls_seed() == tls_seed == hkdf(seed, b"lognode tls v1")
    assert bytes(SigningKey(tls_seed).verify_key) == tls_key == certificate_key(certificate)
    assert tls_certificate(tls_seed) == certificate
    assert keys.witness_key(TenantId(tenant)).public == witness
    assert bytes(SigningKey(hkdf(seed, b"lognode witness v1" + tenant)).verify_key) == witness
    assert keys.log_key(FeedId(feed)).public == log
    assert bytes(SigningKey(hkdf(seed, b"lognode log v1" + feed)).verify_key) == log


def test_signatures_are_judged_as_by_libsodium() -> None:
    judged = KEYS["signatures"]
    message = bytes.fromhex(judged["message"])
    for verdict in ("accepted", "refused"):
        for vector in judged[verdict]:
            key, signature = unhex(vector, "key", "signature")
            assert verify_signature(key, message, signature) == (verdict == "accepted"), vector


def test_ids_have_one_text() -> None:
    for vector in IDS["base32"]:
        (data,) = unhex(vector, "hex")
        assert b32encode(data) == vector["text"] == reader.base32(data)
        assert b32decode(vector["text"], len(data)) == data
    for vector in IDS["loglines"]:
        (data,) = unhex(vector, "hex")
        assert format_logline(LogLine(data)) == vector["text"]
        assert parse_logline(vector["text"]) == data


# Values and records.


@pytest.mark.parametrize("vector", VALUES["accepted"], ids=lambda vector: vector["name"])
def test_a_value_reads_as_json(vector: Vector) -> None:
    (data,) = unhex(vector, "hex")
    assert decode_value(data) == vector["json"]
    if vector["name"] in REFUSED_BY_READER:
        with pytest.raises(reader.Unreadable, match="longer than needed"):
            reader.read_json_types(data)
    else:
        assert reader.read_json_types(data) == vector["json"]


def plain(value: object) -> object:
    """A decoded record as records.json shows it."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def test_headers_and_bodies_read_as_their_elements() -> None:
    for vector in RECORDS["headers"]["accepted"]:
        (data,) = unhex(vector, "hex")
        assert plain(decode_header(data)) == plain(astuple(reader.read_header(data))) == vector["elements"]
        assert encode_header(decode_header(data)) == data == cbor2.dumps(cbor2.loads(data))
    for vector in RECORDS["bodies"]["accepted"]:
        (data,) = unhex(vector, "hex")
        assert plain(decode_body(data)) == plain(astuple(reader.read_body(data))) == vector["elements"]
        assert encode_body(decode_body(data)) == data


@pytest.mark.parametrize(("feed", "entry"), ENTRIES)
def test_a_span_proves_its_id(feed: Vector, entry: Vector) -> None:
    feed_id, header, body = *unhex(feed, "id"), *unhex(entry, "header", "body")
    seq, hlc, visibility = entry["seq"], entry["hlc"], entry["visibility"]
    made = entry_bytes(FeedId(feed_id), seq, hlc, visibility, header)
    read = reader.read_span(reader.Stub(feed_id, seq, hlc, visibility), header, body)

    assert made.hex() == read.entry.hex() == entry["entry"]
    assert leaf_hash(made).hex() == read.leaf_hash.hex() == entry["leaf"]
    assert b32encode(span_id(hlc, leaf_hash(made))) == read.span_id == entry["id"]
    assert decode_header(header).body_sha256 == sha256(body).digest()


def spans_of(feed: Vector) -> Iterator[reader.Span]:
    (feed_id,) = unhex(feed, "id")
    for entry in feed["entries"]:
        stub = reader.Stub(feed_id, entry["seq"], entry["hlc"], entry["visibility"])
        yield reader.read_span(stub, *unhex(entry, "header", "body"))


def test_feeds_and_the_tenant_open_as_their_founder_signed() -> None:
    node_key = NodeKeys.from_seed(bytes.fromhex(FEEDS["node_seed"])).public
    parent = None
    for feed in FEEDS["feeds"]:
        opening, *_ = spans = list(spans_of(feed))
        opened = parse_feed_open(opening.body.data)
        check_feed_open(TENANT, FeedId(opening.stub.feed_id), opened)
        read = reader.check_feed_open(opening, tenant=TENANT)
        assert (
            (read.node_key, read.log_key.hex())
            == (opened.node_key, opened.log_key.hex())
            == (node_key, feed["log_key"])
        )
        assert read.parent == parent == (None if opened.parent_feed is None else opened[4:7])
        parent = (opening.stub.feed_id, len(spans), bytes.fromhex(feed["roots"][-1]))
    first, second = list(spans_of(FEEDS["feeds"][0]))[:2]
    created = parse_tenant_create(second.body.data)
    check_tenant_create(TENANT, created)
    assert reader.check_tenant_create(second, tenant=TENANT).tls_certificate == created.certificate
    assert [b32encode(span) for span in created.after] == [first.span_id]
    assert parse_tenant_id(FEEDS["tenant"]["text"]) == TENANT


# Trees, checkpoints and proofs.


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, over leaf hashes."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


def test_trees_are_those_of_rfc_6962() -> None:
    size_max = max(vector["size"] for vector in TREE["roots"])
    leaves = [sha256(b"\x00" + number.to_bytes(8, "big")).digest() for number in range(size_max)]
    roots = {vector["size"]: bytes.fromhex(vector["root"]) for vector in TREE["roots"]}
    for size, root in roots.items():
        assert root == naive_root(leaves[:size]) == root_of(grow(EMPTY, leaves[:size]).border)
    for vector in TREE["inclusion"]:
        index, size, proof = vector["index"], vector["size"], [bytes.fromhex(step) for step in vector["proof"]]
        assert verify_inclusion(leaves[index], index, size, proof, naive_root(leaves[:size]))
        checker.check_inclusion(leaves[index], index=index, size=size, path=proof, root=naive_root(leaves[:size]))
    for vector in TREE["consistency"]:
        first, second, proof = vector["first"], vector["second"], [bytes.fromhex(step) for step in vector["proof"]]
        assert verify_consistency(first, second, naive_root(leaves[:first]), naive_root(leaves[:second]), proof)
    for vector in TREE["tiles"]:
        width = 256 ** vector["level"]
        start = vector["tile"] * 256 * width
        whole = range(start, vector["size"] - width + 1, width)
        assert vector["hashes"] == [naive_root(leaves[at : at + width]).hex() for at in whole]


@pytest.mark.parametrize("feed", FEEDS["feeds"])
def test_a_feed_is_signed_and_proven(feed: Vector) -> None:
    leaves = [*(bytes.fromhex(entry["leaf"]) for entry in feed["entries"])]
    assert feed["roots"] == [naive_root(leaves[:size]).hex() for size in range(len(leaves) + 1)]
    assert feed["origin"] == f"lognode.v1/{FEEDS['tenant']['text']}/{feed['text']}"
    assert parse_feed_id(feed["text"]).hex() == feed["id"]
    key = checker.parse_vkey(feed["vkey"])
    assert parse_vkey(feed["vkey"]) == (feed["origin"], key.public) == (key.name, bytes.fromhex(feed["log_key"]))
    for vector in feed["checkpoints"]:
        note = vector["note"].encode()
        assert verify_checkpoint(note, feed["vkey"])[1:3] == (vector["size"], naive_root(leaves[: vector["size"]]))
        text, _, line = note.rpartition(b"\n\n")
        checker.check_signatures([line.rstrip(b"\n")], text + b"\n", key)
    for vector in feed["proofs"]:
        proof, seq = vector["proof"].encode(), vector["seq"]
        proven, accepted = check_proof(proof, feed["vkey"]), checker.check(proof, feed["vkey"])
        assert proven.entry.hex() == accepted.entry.hex() == feed["entries"][seq]["entry"]
        assert (proven.index, proven.size, proven.root) == (accepted.index, accepted.size, accepted.root)
        assert b32encode(proven.span_id) == feed["entries"][seq]["id"]
    for vector in feed["consistency"]:
        first, second, proof = vector["first"], vector["second"], [bytes.fromhex(step) for step in vector["proof"]]
        assert verify_consistency(first, second, naive_root(leaves[:first]), naive_root(leaves[:second]), proof)


@pytest.mark.parametrize("vector", load("bundles")["accepted"], ids=lambda vector: vector["query"] or "everything")
def test_a_bundle_shows_what_is_said_of_it(vector: Vector) -> None:
    raw = bytes.fromhex(vector["bundle"])
    bundle = BundleReader([raw])
    assert [b32encode(span.id) for span in bundle.spans()] == vector["spans"]
    assert (bundle.verdict.stubs, bundle.verdict.head.query) == (vector["stubs"], vector["query"])
    for item, (kind, *fields) in zip(items_of(raw), vector["items"], strict=True):
        assert type(item).__name__ == kind
        assert [field.hex() if isinstance(field, bytes) else field for field in item] == fields
    accepted = bundle_checker.check(raw, [bytes.fromhex(KEYS["nodes"][0]["node_key"])])
    assert (accepted.ids, accepted.stubs) == (vector["spans"], vector["stubs"])
    assert [list(run) if run else None for run in accepted.complete_runs()] == [
        feed["entries"] if feed["complete"] else None for feed in vector["feeds"]
    ]


def test_a_note_of_others_is_read() -> None:
    for vector in NOTES["accepted"]:
        assert verify_note(vector["note"].encode(), vector["vkey"]).signatures


# Drafts and clocks.


def test_a_json_draft_becomes_the_array_that_an_actor_would_sign() -> None:
    for vector in DRAFTS["json"]:
        draft, key = parse_json_draft(vector["line"].encode())
        assert (signed_array(draft).hex(), key) == (vector["array"], vector["idempotency_key"])
        said = bytes.fromhex(vector["annotations"])
        assert annotations_of(draft.origin) == said
        origin = json.loads(vector["line"]).get("origin")
        assert reader.read_json_types(said) == (None if origin is None else {"origin": origin})
        assert read_origin(said) == draft.origin


def test_a_signed_draft_holds_for_its_tenant_alone() -> None:
    signed = DRAFTS["signed"]
    tenant, array, message, signature, request = unhex(signed, "tenant", "array", "message", "signature", "request")
    draft, key = parse_cbor_draft(request)
    public = VerifyKey(parse_logline(signed["actor"])[1:])

    assert bytes(SigningKey(bytes.fromhex(signed["actor_seed"])).verify_key) == bytes(public)
    assert message == b"lognode draft v1" + tenant + array == signing_message(TenantId(tenant), draft)
    assert public.verify(message, signature)
    assert (signed_array(draft), draft.actor_signature) == (array, signature)
    assert cbor2.loads(request) == [*cbor2.loads(array), signature, key]
    assert not verify_signature(bytes(public), signing_message(TenantId(bytes(20)), draft), signature)


def test_a_signed_span_is_its_draft() -> None:
    signed = DRAFTS["signed"]
    span = next(span for feed in FEEDS["feeds"] for span in spans_of(feed) if span.body.actor_signature)
    body, header = span.body, span.header
    array = [
        header.actor, header.status, header.kind, body.title, body.data, list(body.tags), body.subject,
        body.contract_id, body.workflow_id, body.flow_id, list(body.related), body.metadata, span.stub.visibility,
        header.caused_by,
    ]  # fmt: skip
    assert body.actor_signature is not None
    assert cbor2.dumps(array).hex() == signed["array"]
    assert body.actor_signature.hex() == signed["signature"]


def test_an_idempotency_key_is_a_hash_of_tenant_principal_and_key() -> None:
    for vector in DRAFTS["idem"]:
        tenant, principal, idem = unhex(vector, "tenant", "principal", "idem")
        assert idem_key(TenantId(tenant), principal, vector["key"]) == idem
        assert sha256(tenant + principal + vector["key"].encode()).digest()[:16] == idem


def test_clocks_tick_and_compare() -> None:
    for vector in CLOCKS["ticks"]:
        last, now = vector["last"], vector["now_ms"]
        assert tick(last, now) == vector["next"] == max(now << 16, last + 1)
    for vector in CLOCKS["ahead"]:
        assert (
            is_ahead(vector["hlc"], vector["now_ms"])
            == vector["is_ahead"]
            == (vector["hlc"] >> 16 > vector["now_ms"] + 600_000)
        )
    for vector in CLOCKS["states"]:
        heads = {FeedId(bytes.fromhex(h["feed"])): (h["size"], bytes.fromhex(h["root"])) for h in vector["feeds"]}
        joined = b"".join(feed + size.to_bytes(8, "big") + root for feed, (size, root) in sorted(heads.items()))
        assert state_hash(Clock(heads)).hex() == sha256(joined).hexdigest() == vector["state"]
    heads = {FeedId(*unhex(f, "id")): (len(f["entries"]), bytes.fromhex(f["roots"][-1])) for f in FEEDS["feeds"]}
    assert state_hash(Clock(heads)).hex() == FEEDS["state"]


def test_fork_proofs_show_what_is_stated() -> None:
    for vector in load("forks")["forks"]:
        proof = parse_fork(vector["file"].encode())
        fork = check_fork(proof)
        assert [fork.tenant, fork.feed, fork.node_key] == [*unhex(vector, "tenant", "feed", "node_key")]
        assert (fork.seq, list(fork.sizes)) == (vector["seq"], vector["sizes"])
        assert [span.hex() for span in fork.spans] == vector["spans"]
        assert [root.hex() for root in fork.roots] == vector["roots"]
        assert parse_feed_fork(bytes.fromhex(vector["data"])).proof == proof
        assert format_fork(proof) == vector["file"].encode()


def test_control_spans_come_to_the_membership_that_is_stated() -> None:
    for vector in load("memberships")["tenants"]:
        spans = [
            Control(
                SpanId(bytes.fromhex(each["id"])), FeedId(bytes.fromhex(each["feed"])), each["seq"], each["hlc"],
                bytes.fromhex(each["author"]), each["kind"], bytes.fromhex(each["data"]),
            )
            for each in vector["controls"]
        ]  # fmt: skip
        result = describe_result(membership(TenantId(bytes.fromhex(vector["tenant"])), spans))
        assert result == {name: vector[name] for name in result}


def test_spans_about_a_subject_come_to_the_state_that_is_stated() -> None:
    for vector in load("states")["subjects"]:
        world = read_world(vector)
        stated = {SpanId(bytes.fromhex(head)) for head in vector["heads"]}
        holds = SpanId(bytes.fromhex(vector["holds"])) if vector["holds"] else None
        assert ids(folded(world, world.spans)) == model(world) == (stated, holds), vector["name"]
