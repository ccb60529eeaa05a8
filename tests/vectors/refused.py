"""What every implementation must refuse, each with the code by which lognode does.

A vector breaks one rule and keeps all others: where bytes are signed, the signature is right, unless it is the
rule. Invariant: none of these bytes has a second reading under which it would be accepted.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from cbor2 import CBORTag, dumps

from lognode.core.ids import b32encode, format_logline
from lognode.identity.certificate import tls_certificate
from lognode.identity.keys import KeyPair
from lognode.timeline.proof.tree import consistency_proof, inclusion_proof
from tests.vectors.history import ACTOR, KEYS, Feed, NodesOf, build_history, chance, root_at

Vectors = list[dict[str, Any]]

HISTORY: Final = build_history()
TENANT: Final = HISTORY.tenant.tenant_id
TLS: Final = KeyPair(KEYS.tls_seed())
IS_NO_CA: Final = bytes.fromhex("a310300e300c0603551d130101ff04023000")
IS_CA: Final = bytes.fromhex("a3133011300f0603551d130101ff040530030101ff")
STRANGER: Final = KeyPair(chance("stranger", 32))
KIND: Final = "order.paid"


def ids() -> Vectors:
    key = b32encode(bytes(32))
    texts: list[tuple[str, str, int | None]] = [
        ("one character too few", "0" * 25, 16),
        ("one character too many", "0" * 27, 16),
        ("upper case", "A" + "0" * 25, 16),
        ("the letter i", "i" + "0" * 25, 16),
        ("the letter l", "l" + "0" * 25, 16),
        ("the letter o", "o" + "0" * 25, 16),
        ("the letter u", "u" + "0" * 25, 16),
        ("a hyphen", "-" + "0" * 25, 16),
        ("a digit of another script", "\u0660" + "0" * 25, 16),
        ("pad bits that are not zero", "0" * 25 + "1", 16),
        ("a line end", "0" * 25 + "\n", 16),
        ("no scheme", f"node/{key}", None),
        ("an upper-case scheme", f"LOGLINE-ID://node/{key}", None),
        ("an unknown kind", f"logline-id://robot/{key}", None),
        ("an upper-case kind", f"logline-id://Node/{key}", None),
        ("no kind", f"logline-id:///{key}", None),
        ("no key", "logline-id://node/", None),
        ("a path behind the key", f"logline-id://node/{key}/", None),
        ("a key with pad bits", f"logline-id://node/{key[:-1]}1", None),
    ]
    return [{"name": name, "text": text, "size": size, "code": "id.malformed"} for name, text, size in texts]


def values() -> Vectors:
    malformed = {
        "one key twice": "a2616101616102",
        "one key twice, in two encodings": "a261610178016102",
        "a key that is a number": "a10101",
        "a byte string": "4101",
        "a tag": "c11a514b67b0",
        "a tag that hides in an integer": "c24105",
        "a tag that leaves no trace": "81d9d9f701",
        "an array of indefinite length": "9f01ff",
        "a map of indefinite length": "bf616101ff",
        "text of indefinite length": "7f6161ff",
        "undefined": "f7",
        "a simple value": "f0",
        "bytes behind the value": "0101",
        "text that is not UTF-8": "61ff",
        "a surrogate in text": "63eda080",
        "an end in the middle": "8301",
        "a length that no file has": "9bffffffffffffffff",
    }
    numbers = {
        "not a number": "f97e00",
        "infinity": "f97c00",
        "minus infinity": "fbfff0000000000000",
        "2^63": "1b8000000000000000",
        "-2^63 - 1": "3b8000000000000000",
    }
    return [
        *_hexes(malformed, "cbor.malformed"),
        *_hexes(numbers, "json.number"),
        *_hexes({"seventeen levels": "81" * 17 + "00"}, "json.too_deep"),
    ]


def _hexes(texts: Mapping[str, str], code: str) -> Vectors:
    return [{"name": name, "hex": text, "code": code} for name, text in texts.items()]


def _each(items: Mapping[str, bytes], code: str) -> Vectors:
    return _hexes({name: data.hex() for name, data in items.items()}, code)


def _with(array: Sequence[object], index: int, value: object) -> bytes:
    return dumps([*array[:index], value, *array[index + 1 :]])


def headers() -> Vectors:
    good: list[object] = [1, KIND, ACTOR, 0, bytes(24), bytes(32), 40]
    raw = dumps(good)
    return _each(
        {
            "version 0": _with(good, 0, 0),
            "version 2": _with(good, 0, 2),
            "a version that is true": _with(good, 0, True),  # noqa: FBT003 - a CBOR value
            "a version in two bytes": raw[:1] + b"\x18\x01" + raw[2:],
            "a version under a tag": raw[:1] + b"\xc2\x41\x01" + raw[2:],
            "a kind in upper case": _with(good, 1, "Order.paid"),
            "an empty kind": _with(good, 1, ""),
            "a kind that ends in a dot": _with(good, 1, "order."),
            "a kind with an empty word": _with(good, 1, "order..paid"),
            "a kind with a line end": _with(good, 1, "order.paid\n"),
            "a kind of 65 bytes": _with(good, 1, "a" * 65),
            "a kind in bytes": _with(good, 1, b"order.paid"),
            "an actor of an unknown kind": _with(good, 2, b"\x06" + ACTOR[1:]),
            "an actor of kind 0": _with(good, 2, b"\x00" + ACTOR[1:]),
            "an actor without its kind": _with(good, 2, ACTOR[1:]),
            "an actor as text": _with(good, 2, format_logline(ACTOR)),
            "status 2": _with(good, 3, 2),
            "a status that is null": _with(good, 3, None),
            "a cause of 23 bytes": _with(good, 4, bytes(23)),
            "a cause as text": _with(good, 4, b32encode(bytes(24))),
            "a body hash of 31 bytes": _with(good, 5, bytes(31)),
            "a body that is longer than 1 MiB": _with(good, 6, 2**20 + 1),
            "a negative length": _with(good, 6, -1),
            "six elements": dumps(good[:6]),
            "eight elements": dumps([*good, None]),
            "a map": dumps(dict(enumerate(good))),
            "an array of indefinite length": b"\x9f" + raw[1:] + b"\xff",
            "a byte behind the array": raw + b"\x00",
            "an end in the middle": raw[:-1],
            "no bytes": b"",
            "more than 1 KiB": _with(good, 1, "a" * 1024),
        },
        "header.malformed",
    )


def bodies() -> Vectors:
    good: list[object] = [bytes(16), "t", b"\x01", ["a", "b"], "s", None, None, None, [bytes(24)], b"", b"", None, None]
    raw = dumps(good)
    return _each(
        {
            "a nonce of 15 bytes": _with(good, 0, bytes(15)),
            "a nonce that is null": _with(good, 0, None),
            "a title in bytes": _with(good, 1, b"t"),
            "data that is null": _with(good, 2, None),
            "data that is no byte string": _with(good, 2, 1),
            "tags that are not sorted": _with(good, 3, ["b", "a"]),
            "a tag twice": _with(good, 3, ["a", "a"]),
            "a tag that is no text": _with(good, 3, [1]),
            "tags that are null": _with(good, 3, None),
            "tags sorted by UTF-16": _with(good, 3, ["\U00010000", "\uffff"]),
            "a subject that is a number": _with(good, 4, 1),
            "a contract in bytes": _with(good, 5, b"c"),
            "a workflow that is false": _with(good, 6, False),  # noqa: FBT003 - a CBOR value
            "a flow that is an array": _with(good, 7, []),
            "a related id of 23 bytes": _with(good, 8, [bytes(23)]),
            "related that is null": _with(good, 8, None),
            "metadata that is a map": _with(good, 9, {}),
            "annotations that are null": _with(good, 10, None),
            "a signature of 63 bytes": _with(good, 11, bytes(63)),
            "an idempotency key of 15 bytes": _with(good, 12, bytes(15)),
            "twelve elements": dumps(good[:12]),
            "fourteen elements": dumps([*good, None]),
            "an element under a tag": _with(good, 1, CBORTag(100, "t")),
            "a nonce in a longer head": raw[:1] + b"\x58\x10" + raw[2:],
            "text in pieces": raw.replace(b"\x61t", b"\x7f\x61t\xff"),
            "a byte behind the array": raw + b"\x00",
            "an end in the middle": raw[:-1],
        },
        "body.malformed",
    )


def _signed(message: bytes, bound: list[object]) -> bytes:
    return dumps([*bound, KEYS.sign_binding(message + dumps(bound))])


def control() -> Vectors:
    """Data of feed.open and tenant.create; all but those that say otherwise are signed as they stand."""
    feed = HISTORY.feeds[0]
    return [*_feed_opens(feed), *_tenant_creates()]


def _feed_opens(feed: Feed) -> Vectors:
    message = b"lognode feed open v1" + TENANT + feed.feed_id
    good: list[object] = [[], KEYS.public, feed.nonce, feed.log_key, None, None, None, "founding"]
    after = [bytes(24), b"\x01" * 24]

    def changed(index: int, value: object) -> bytes:
        return _signed(message, [*good[:index], value, *good[index + 1 :]])

    malformed = {
        "after that is null": changed(0, None),
        "after that is not sorted": changed(0, after[::-1]),
        "after that names a span twice": changed(0, after[:1] * 2),
        "after with a short id": changed(0, [bytes(23)]),
        "a node key of 31 bytes": changed(1, KEYS.public[1:]),
        "a nonce of 15 bytes": changed(2, feed.nonce[1:]),
        "a log key that is null": changed(3, None),
        "a parent without its size": _signed(message, [*good[:4], bytes(16), None, bytes(32), "first"]),
        "a parent of size 0": _signed(message, [*good[:4], bytes(16), 0, bytes(32), "first"]),
        "a parent of size 2^63": _signed(message, [*good[:4], bytes(16), 2**63, bytes(32), "first"]),
        "a size without a parent": changed(5, 1),
        "a reason that is null": changed(7, None),
        "a reason that is no word": changed(7, "Because I can"),
        "no signature": dumps([*good, None]),
        "eight elements": dumps(good),
        "a longer encoding": b"\x98\x09" + _signed(message, good)[1:],
    }
    wrong = {
        "a signature by another key": dumps([*good, STRANGER.sign(message + dumps(good))]),
        "a signature of another feed": _signed(message[:-1] + b"\x00", good),
        "a signature of another tenant": _signed(b"lognode feed open v1" + bytes(20) + feed.feed_id, good),
        "a signature for another purpose": _signed(b"lognode founder v1" + TENANT + feed.feed_id, good),
        "a nonce that gives another feed": changed(2, bytes(16)),
        "a node key that gives another feed": changed(1, STRANGER.public),
        "a log key that was put in later": _signed(message, good).replace(feed.log_key, STRANGER.public),
        "itself as parent": _signed(message, [*good[:4], feed.feed_id, 1, bytes(32), "first"]),
    }
    place = {"kind": "feed.open", "tenant": TENANT.hex(), "feed": feed.feed_id.hex()}
    found = [*_each(malformed, "body.malformed"), *_each(wrong, "binding.invalid")]
    return [{**vector, **place} for vector in found]


def _tenant_creates() -> Vectors:
    message = b"lognode founder v1" + TENANT
    certificate = tls_certificate(KEYS.tls_seed())
    witness = KEYS.witness_key(TENANT).public
    good: list[object] = [[], 1, HISTORY.tenant_nonce, KEYS.public, certificate, witness]

    def changed(index: int, value: object) -> bytes:
        return _signed(message, [*good[:index], value, *good[index + 1 :]])

    malformed = {
        "after that is null": changed(0, None),
        "a version as text": changed(1, "1"),
        "a version that is true": changed(1, True),  # noqa: FBT003 - a CBOR value
        "a certificate that is null": changed(4, None),
        "a witness key of 33 bytes": changed(5, witness + b"\x00"),
        "a signature of 63 bytes": dumps([*good, bytes(63)]),
    }
    wrong = {
        "format version 2": changed(1, 2),
        "a nonce that gives another tenant": changed(2, bytes(16)),
        "a signature by another key": dumps([*good, STRANGER.sign(message + dumps(good))]),
        "a certificate with another serial": changed(4, _reissued(b"\x02\x01\x01", b"\x02\x01\x02")),
        "a certificate with another date": changed(4, _reissued(b"700101000000Z", b"700102000000Z")),
        "a certificate that may sign others": changed(4, _reissued(IS_NO_CA, IS_CA)),
        "a certificate of another name": changed(4, _reissued(b32encode(TLS.public).encode(), b"0" * 52)),
        "a certificate with a damaged signature": changed(4, certificate[:-1] + bytes([certificate[-1] ^ 1])),
        "a byte behind the certificate": changed(4, certificate + b"\x00"),
    }
    place = {"kind": "tenant.create", "tenant": TENANT.hex(), "feed": HISTORY.feeds[0].feed_id.hex()}
    found = [*_each(malformed, "body.malformed"), *_each(wrong, "binding.invalid")]
    return [{**vector, **place} for vector in found]


def _reissued(part: bytes, by: bytes) -> bytes:
    """The node's TLS certificate with a part replaced, signed again by its key."""
    whole = tls_certificate(KEYS.tls_seed())
    tbs = whole[4:-74]  # behind the head, and before algorithm and signature
    content = tbs[3:].replace(part, by, 1 if len(part) < 52 else 2)
    assert content != tbs[3:]
    tbs = _der(b"\x30", content)
    return _der(b"\x30", tbs + whole[-74:-64] + TLS.sign(tbs))


def _der(tag: bytes, content: bytes) -> bytes:
    """A DER value of 128 to 65,535 bytes."""
    size = len(content)
    return tag + (b"\x81" + bytes([size]) if size < 256 else b"\x82" + size.to_bytes(2, "big")) + content


def drafts(request: list[Any]) -> Mapping[str, Vectors]:
    """JSON lines, and CBOR requests made from a good one."""
    lines = {
        "no object": ("[]", "draft.invalid"),
        "no kind": ('{"title":"t"}', "draft.invalid"),
        "an unknown field": ('{"kind":"a","colour":1}', "draft.invalid"),
        "a key twice": ('{"kind":"a","kind":"b"}', "json.duplicate_key"),
        "a key twice, one escaped": ('{"kind":"a","data":{"a":1,"\\u0061":2}}', "json.duplicate_key"),
        "a kind in upper case": ('{"kind":"Order"}', "kind.invalid"),
        "an empty tag": ('{"kind":"a","tags":[""]}', "draft.invalid"),
        "65 tags": (json.dumps({"kind": "a", "tags": [str(n) for n in range(65)]}), "draft.invalid"),
        "65 related spans": (json.dumps({"kind": "a", "related": [b32encode(bytes(24))] * 65}), "draft.invalid"),
        "a title of 4,097 bytes": (json.dumps({"kind": "a", "title": "x" * 4097}), "draft.invalid"),
        "an unknown visibility": ('{"kind":"a","visibility":"secret"}', "draft.invalid"),
        "an unknown status": ('{"kind":"a","status":"reverted"}', "draft.invalid"),
        "a cause that is no id": ('{"kind":"a","caused_by":"x"}', "id.malformed"),
        "an origin that is only an id": (json.dumps({"kind": "a", "origin": b32encode(bytes(24))}), "draft.invalid"),
        "an origin without its tenant": (
            json.dumps({"kind": "a", "origin": {"id": b32encode(bytes(24))}}),
            "draft.invalid",
        ),
        "not a number": ('{"kind":"a","data":NaN}', "json.number"),
        "2^63": ('{"kind":"a","data":9223372036854775808}', "json.number"),
        "seventeen levels": ('{"kind":"a","data":' + "[" * 17 + "]" * 17 + "}", "json.too_deep"),
        "a lone surrogate": ('{"kind":"a","data":"\\ud800"}', "json.malformed"),
        "text behind the object": ('{"kind":"a"}x', "json.malformed"),
        "no text": ("", "json.malformed"),
    }
    not_canonical = {
        "fifteen elements": dumps(request[:15]),
        "a longer encoding": b"\x98\x10" + dumps(request)[1:],
        "a byte behind the array": dumps(request) + b"\x00",
        "one key of the data twice": _with(request, 4, bytes.fromhex("a2616101616102")),
    }
    invalid = {
        "a status that does not exist": _with(request, 1, 2),
        "an empty title": _with(request, 3, ""),
        "data that is null": _with(request, 4, None),
        "tags that are not sorted": _with(request, 5, ["legal", "contract"]),
        "a visibility that does not exist": _with(request, 12, 3),
        "a signature of 63 bytes": _with(request, 14, bytes(63)),
        "a signature without an actor": _with(request, 0, None),
        "an empty idempotency key": _with(request, 15, ""),
    }
    return {
        "json": [{"name": name, "line": line, "code": code} for name, (line, code) in lines.items()],
        "cbor": [*_each(not_canonical, "cbor.malformed"), *_each(invalid, "draft.invalid")],
    }


def tree_proofs(leaves: Sequence[bytes]) -> Vectors:
    """Proofs over the first leaves that do not hold."""
    nodes, root = NodesOf(leaves), root_at(leaves)
    path = inclusion_proof(5, 8, nodes)
    steps = consistency_proof(3, 8, nodes)
    five = {"leaf": leaves[5].hex(), "index": 5, "size": 8, "root": root.hex()}
    grown = {"first": 3, "second": 8, "first_root": root_at(leaves[:3]).hex(), "second_root": root.hex()}
    return [
        {"name": "another index", **five, "index": 4, "proof": _shown(path)},
        {"name": "an index beyond the tree", **five, "index": 8, "proof": _shown(path)},
        {"name": "another size", **five, "size": 9, "proof": _shown(path)},
        {"name": "another leaf", **five, "leaf": leaves[4].hex(), "proof": _shown(path)},
        {"name": "a hash too few", **five, "proof": _shown(path[:-1])},
        {"name": "a hash too many", **five, "proof": _shown([*path, bytes(32)])},
        {"name": "hashes in another order", **five, "proof": _shown(path[::-1])},
        {"name": "a consistency proof of another size", **grown, "first": 4, "proof": _shown(steps)},
        {"name": "a consistency proof that lacks a hash", **grown, "proof": _shown(steps[1:])},
        {"name": "a consistency proof with a hash too many", **grown, "proof": _shown([*steps, bytes(32)])},
        {"name": "a larger tree before a smaller", **grown, "first": 8, "second": 3, "proof": _shown(steps)},
        {"name": "equal sizes and other roots", **grown, "first": 8, "proof": []},
    ]


def _shown(hashes: Iterable[bytes]) -> list[str]:
    return [node.hex() for node in hashes]
