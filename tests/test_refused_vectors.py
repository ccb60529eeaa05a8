"""What the vectors refuse is refused by lognode, with the code that they name, and by the independent readers."""

import json
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import cbor2
import pytest

from lognode.core.codec import decode_value
from lognode.core.draft import idem_key, parse_cbor_draft, parse_json_draft
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, TenantId, b32decode, parse_logline
from lognode.core.span import decode_body, decode_header
from lognode.timeline.agreement.merges import parse_merge
from lognode.timeline.control.founding import check_feed_open, check_tenant_create, parse_feed_open, parse_tenant_create
from lognode.timeline.proof.bundle.reader import verify_bundle
from lognode.timeline.proof.checkpoint import parse_vkey, verify_checkpoint
from lognode.timeline.proof.fork import check_fork, parse_fork
from lognode.timeline.proof.policy import parse_policy
from lognode.timeline.proof.tlogproof import check_proof
from lognode.timeline.proof.tree import verify_consistency, verify_inclusion
from tests.independent import bundle_checker
from tests.independent import span_reader as reader
from tests.independent import tlog_proof_checker as checker
from tests.vectors.history import KEYS

FOLDER: Final = Path(__file__).parent / "vectors"
Vector = dict[str, Any]
Judge = Callable[[Vector], object]

# What the independent readers leave unjudged: they know one span or one proof at a time, no certificates, and
# of `reason` and `parent` only the types. Everything else they must refuse as well.
LEFT_TO_LOGNODE: Final = {
    "feed.open": {
        "after that is not sorted",
        "after that names a span twice",
        "a parent of size 0",
        "a parent of size 2^63",
        "a reason that is null",
        "a reason that is no word",
        "itself as parent",
    },
    "tenant.create": {
        "format version 2",
        "a certificate with another serial",
        "a certificate with another date",
        "a certificate that may sign others",
        "a certificate of another name",
        "a certificate with a damaged signature",
        "a byte behind the certificate",
    },
    "proofs": {"a time beyond 2^63", "visibility 3"},
}


NODE_KEY: Final = KEYS.public


def data_of(vector: Vector) -> bytes:
    return bytes.fromhex(vector["hex"])


def judge_id(vector: Vector) -> object:
    return b32decode(vector["text"], vector["size"]) if vector["size"] else parse_logline(vector["text"])


def judge_feed_open(vector: Vector) -> object:
    tenant, feed = TenantId(bytes.fromhex(vector["tenant"])), FeedId(bytes.fromhex(vector["feed"]))
    check_feed_open(tenant, feed, opened := parse_feed_open(data_of(vector)))
    return opened


def judge_tenant_create(vector: Vector) -> object:
    check_tenant_create(TenantId(bytes.fromhex(vector["tenant"])), created := parse_tenant_create(data_of(vector)))
    return created


def judge_cbor_draft(vector: Vector) -> object:
    draft, key = parse_cbor_draft(data_of(vector))
    return draft, idem_key(TenantId(bytes(20)), b"", key or "")


def span_with(vector: Vector, seq: int) -> reader.Span:
    """A control span around a vector's data."""
    body = cbor2.dumps([bytes(16), None, data_of(vector), [], None, None, None, None, [], b"", b"", None, None])
    header = cbor2.dumps([1, vector["kind"], None, 0, None, sha256(body).digest(), len(body)])
    return reader.read_span(reader.Stub(bytes.fromhex(vector["feed"]), seq, 1, reader.PUBLIC), header, body)


def read_feed_open(vector: Vector) -> object:
    return reader.check_feed_open(span_with(vector, 0), tenant=bytes.fromhex(vector["tenant"]))


def read_tenant_create(vector: Vector) -> object:
    return reader.check_tenant_create(span_with(vector, 1), tenant=bytes.fromhex(vector["tenant"]))


def judge_bundle(vector: Vector) -> object:
    return verify_bundle([bytes.fromhex(vector["bundle"])])


# What is judged -> by lognode, and by an independent reader where there is one.
JUDGES: Final[Mapping[str, tuple[Judge, Judge | None]]] = {
    "ids": (judge_id, None),
    "values": (lambda v: decode_value(data_of(v)), lambda v: reader.read_json_types(data_of(v))),
    "headers": (lambda v: decode_header(data_of(v)), lambda v: reader.read_header(data_of(v))),
    "bodies": (lambda v: decode_body(data_of(v)), lambda v: reader.read_body(data_of(v))),
    "feed.open": (judge_feed_open, read_feed_open),
    "tenant.create": (judge_tenant_create, read_tenant_create),
    "json drafts": (lambda v: parse_json_draft(v["line"].encode()), None),
    "cbor drafts": (judge_cbor_draft, None),
    "vkeys": (lambda v: parse_vkey(v["text"]), lambda v: checker.parse_vkey(v["text"])),
    "checkpoints": (lambda v: verify_checkpoint(data_of(v), v["vkey"]), None),
    "bundles": (judge_bundle, lambda v: bundle_checker.check(bytes.fromhex(v["bundle"]), [NODE_KEY])),
    "forks": (lambda v: check_fork(parse_fork(v["file"].encode())), None),
    "merges": (lambda v: parse_merge(data_of(v)), None),
    "policies": (lambda v: parse_policy(v["text"].encode()), None),
    "proofs": (lambda v: check_proof(data_of(v), v["vkey"]), lambda v: checker.check(data_of(v), v["vkey"])),
}


def load(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_bytes())


def refused() -> Iterator[tuple[str, Vector]]:
    """What is judged, and a vector of it."""
    records, drafts, notes = load("records"), load("drafts")["refused"], load("notes")
    groups: dict[str, list[Vector]] = {
        "ids": load("ids")["refused"],
        "values": load("values")["refused"],
        "forks": load("forks")["refused"],
        "merges": load("merges")["refused"],
        "policies": load("merges")["refused_policies"],
        "bundles": load("bundles")["refused"],
        "headers": records["headers"]["refused"],
        "bodies": records["bodies"]["refused"],
        "json drafts": drafts["json"],
        "cbor drafts": drafts["cbor"],
        **{name: notes[name]["refused"] for name in ("vkeys", "checkpoints", "proofs")},
    }
    for kind in ("feed.open", "tenant.create"):
        groups[kind] = [vector for vector in records["control"]["refused"] if vector["kind"] == kind]
    for group, vectors in groups.items():
        yield from ((group, vector) for vector in vectors)


REFUSED: Final = [pytest.param(group, vector, id=f"{group}: {vector['name']}") for group, vector in refused()]


@pytest.mark.parametrize(("group", "vector"), REFUSED)
def test_it_is_refused(group: str, vector: Vector) -> None:
    judge, read = JUDGES[group]
    with pytest.raises(CallerError) as caught:
        judge(vector)
    assert caught.value.code == vector["code"]
    if read is None:
        return
    if vector["name"] in LEFT_TO_LOGNODE.get(group, ()):
        read(vector)
    else:
        with pytest.raises((reader.Unreadable, checker.Rejected)):
            read(vector)


@pytest.mark.parametrize("vector", load("tree")["refused"], ids=lambda vector: vector["name"])
def test_a_tree_proof_does_not_hold(vector: Vector) -> None:
    proof = [bytes.fromhex(step) for step in vector["proof"]]
    hashes = {
        name: bytes.fromhex(vector[name]) for name in ("leaf", "root", "first_root", "second_root") if name in vector
    }
    if "leaf" in vector:
        index, size = vector["index"], vector["size"]
        assert not verify_inclusion(hashes["leaf"], index, size, proof, hashes["root"])
        with pytest.raises(checker.Rejected):
            checker.check_inclusion(hashes["leaf"], index=index, size=size, path=proof, root=hashes["root"])
    else:
        roots = hashes["first_root"], hashes["second_root"]
        assert not verify_consistency(vector["first"], vector["second"], *roots, proof)


def test_no_byte_of_a_proof_can_change() -> None:
    feed = load("feeds")["feeds"][0]
    proof = feed["proofs"][5]["proof"].encode()
    for at in range(len(proof)):
        changed = proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :]
        with pytest.raises(CallerError):
            check_proof(changed, feed["vkey"])
        with pytest.raises(checker.Rejected):
            checker.check(changed, feed["vkey"])


def test_every_judge_has_vectors() -> None:
    assert {group for group, _ in refused()} == set(JUDGES)
    names = [f"{group}: {vector['name']}" for group, vector in refused()]
    assert len(set(names)) == len(names)
    assert len(names) > 200
