"""What the vectors say of merges, cosignatures and policies holds for lognode and for plain formulas."""

import json
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import cbor2
from nacl.signing import VerifyKey

from lognode.core.ids import b32encode
from lognode.timeline.agreement.merges import parse_merge
from lognode.timeline.proof.checkpoint import parse_note
from lognode.timeline.proof.policy import parse_policy

VECTORS: Final[dict[str, Any]] = json.loads((Path(__file__).parent.parent / "vectors" / "merges.json").read_bytes())


def test_merges_name_and_cosign_what_is_stated() -> None:
    for vector in VECTORS["merges"]:
        items = vector["items"]
        plain = [
            [bytes.fromhex(i["feed"]), i["size"], bytes.fromhex(i["root"]), i["time"], bytes.fromhex(i["signature"])]
            for i in items
        ]
        assert [list(item) for item in parse_merge(bytes.fromhex(vector["data"]))] == plain
        assert cbor2.dumps(plain).hex() == vector["data"]
        key = bytes.fromhex(vector["witness_key"])
        name, short, encoded = vector["vkey"].split("+", 2)
        assert name.endswith("/witness/" + b32encode(bytes.fromhex(vector["node_key"])))
        assert b64decode(encoded) == b"\x04" + key
        assert sha256(name.encode() + b"\n\x04" + key).hexdigest()[:8] == short
        for item in items:
            signed = f"cosignature/v1\ntime {item['time']}\n{item['checkpoint']}".encode()
            VerifyKey(key).verify(signed, bytes.fromhex(item["signature"]))
            raw = bytes.fromhex(short) + item["time"].to_bytes(8, "big") + bytes.fromhex(item["signature"])
            assert item["line"] == f"— {name} {b64encode(raw).decode()}\n"
            lines = item["checkpoint"].splitlines()
            assert lines[1:] == [str(item["size"]), b64encode(bytes.fromhex(item["root"])).decode()]


def test_policies_are_met_by_those_who_cosigned_as_stated() -> None:
    met = []
    for vector in VECTORS["policies"]:
        policy = parse_policy(vector["text"].encode())
        found, is_met = policy.judge(parse_note(vector["note"].encode()))
        assert {name: held.time_s for name, held in found.items()} == vector["cosigned"]
        assert is_met is vector["met"]
        met.append(is_met)
    assert met.count(True) == 5
    assert met.count(False) == 4
