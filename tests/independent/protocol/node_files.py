"""Key files, manifests of backups, and announcements. From docs/protocol.md, Key file, Backup and Announcements."""

import json
import re

from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from tests.independent.protocol.cbor import Refused, need
from tests.independent.protocol.drafts import strict_json
from tests.independent.protocol.fields import ALPHABET, as_int, as_text, sha256, unbase32
from tests.independent.protocol.keys import public_key

MIB = 1_048_576
MANIFEST = "lognode_backup version schema node at files tenants seal".split()
ORDERS = [["bytes", "sha256"], ["tenant", "alias", "feeds"], ["feed", "size", "root"]]
PORT = re.compile(rb"[1-9][0-9]{0,4}")


def as_object(value: object, needed: set[str], allowed: set[str] | None = None) -> dict[str, object]:
    """An object with these members and, of others, only those that are allowed."""
    need(isinstance(value, dict) and needed <= value.keys() <= needed | (allowed or set()), "other members")
    assert isinstance(value, dict)
    return value


def read_key_file(text: bytes, passphrase: bytes | None) -> bytes:
    """The seed."""
    need(len(text) <= 4_096, "longer than a key file")
    parts = as_object(strict_json(text), {"lognode_key", "public"}, {"seed", "sealed_seed"})
    as_int(parts["lognode_key"], 1, 1)
    need(len(parts) == 3, "none or both of seed and sealed_seed")
    seed = _unsealed(parts["sealed_seed"], passphrase) if "sealed_seed" in parts else _bytes(parts["seed"], 32)
    need(public_key(seed) == _bytes(parts["public"], 32), "the public key of another seed")
    return seed


def _unsealed(value: object, passphrase: bytes | None) -> bytes:
    parts = as_object(value, {"salt", "opslimit", "memlimit", "box"})
    salt, box = _bytes(parts["salt"], 16), _bytes(parts["box"], 72)
    passes, memory = as_int(parts["opslimit"], 2, 16), as_int(parts["memlimit"], 64 * MIB, 256 * MIB)
    need(passphrase, "sealed, and no passphrase")
    try:
        return SecretBox(argon2id.kdf(32, passphrase or b"", salt, passes, memory)).decrypt(box)
    except CryptoError as error:
        raise Refused("another passphrase, or a box that was changed") from error


def _bytes(value: object, size: int) -> bytes:
    return unbase32(as_text(value), size)


def read_manifest(text: bytes) -> dict[str, object]:
    """What backup.json says."""
    parts = as_object(strict_json(text), set(MANIFEST))
    files = as_object(parts["files"], {"lognode.db", "node.key"}, {"lognode.toml"})
    described = [as_object(each, {"bytes", "sha256"}) for each in files.values()]
    assert isinstance(parts["tenants"], list)
    for tenant in parts["tenants"]:
        described.append(as_object(tenant, {"tenant", "alias", "feeds"}))
        described += [as_object(feed, {"feed", "size", "root"}) for feed in tenant["feeds"]]
    need(list(parts) == MANIFEST and all(list(each) in ORDERS for each in described), "another order")
    need(parts["lognode_backup"] == 1 and _written(parts) == text, "another version or another text")
    need(parts["seal"] == sha256(_written({**parts, "seal": ""})).hex(), "a seal of another text")
    return parts


def _written(parts: object) -> bytes:
    return json.dumps(parts, indent=2, ensure_ascii=False).encode() + b"\n"


def read_announcement(txt: bytes) -> tuple[str, int, int | None]:
    """Beginning of the node key, and the ports of peer and join listener."""
    said: dict[bytes, bytes] = {}
    while txt:
        string, txt = txt[1 : 1 + txt[0]], txt[1 + txt[0] :]
        name, _, value = string.partition(b"=")
        said.setdefault(name, value)
    version, key = said.get(b"v", b""), said.get(b"k", b"").decode("ascii", "replace")
    need(version.isdigit() and int(version) >= 1, "no version")
    need(len(key) == 16 and set(key) <= set(ALPHABET), "no key")
    peer, join = _port(said.get(b"p", b"")), _port(said.get(b"j", b""))
    need(peer, "no port")
    return key, peer or 0, join


def _port(text: bytes) -> int | None:
    return int(text) if PORT.fullmatch(text) and int(text) < 65_536 else None
