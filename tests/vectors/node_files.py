"""Files of a node: key files, manifests of backups; and what a node announces."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any, Final

import msgspec
from zeroconf import ServiceInfo

from lognode.core.errors import LognodeError
from lognode.core.ids import LogLineKind, TenantId, b32encode, format_logline, logline
from lognode.federation.addresses.announcement import SERVICE_TYPE, Announcement, key_prefix, read_record, text_record
from lognode.identity.keyfile import open_seed, seal_seed
from lognode.identity.keys import KeyPair
from lognode.timeline.store.backup.manifest import (
    FeedEntry,
    FileEntry,
    Manifest,
    TenantEntry,
    decode_manifest,
    encode_manifest,
    sealed,
)

SEED: Final = bytes(range(32))
PASSPHRASE: Final = "correct horse battery st\u00e4ple"
HOSTS: Final = ("192.0.2.7", "2001:db8::7")
SCHEMA_MAX: Final = 7


def make_keyfiles() -> dict[str, Any]:
    plain = seal_seed(SEED, None, _drawn)
    closed = seal_seed(SEED, PASSPHRASE.encode(), _drawn)
    accepted: list[tuple[str, bytes, str | None]] = [("in clear", plain, None), ("sealed", closed, PASSPHRASE)]
    refused: list[tuple[str, bytes, str | None]] = [
        (name, _changed(plain, change), None) for name, change in _KEY_CHANGES.items()
    ]
    refused += [(name, _changed(closed, change), PASSPHRASE) for name, change in _SEALED_CHANGES.items()]
    refused += [("another passphrase", closed, "correct horse"), ("no passphrase", closed, None)]
    refused.append(("longer than 4 KiB", plain + b" " * 4096, None))
    refused.append(("a name twice", plain.replace(b'{\n  "', b'{\n  "lognode_key": 1,\n  "', 1), None))
    return {
        "about": "Key files: `text`, and where it is sealed the `passphrase`; the seed that they hold.",
        "accepted": [
            {"name": name, "text": text.decode(), "passphrase": words, "seed": _open(text, words).hex()}
            for name, text, words in accepted
        ],
        "refused": [
            {"name": name, "code": _code(partial(_open, text, words)), "text": text.decode(), "passphrase": words}
            for name, text, words in refused
        ],
    }


def _open(text: bytes, passphrase: str | None) -> bytes:
    return open_seed(text, passphrase.encode() if passphrase else None)


def _drawn(size: int) -> bytes:
    return sha256(b"%d" % size).digest()[:size]


def _code(read: Callable[[], object]) -> str:
    try:
        read()
    except LognodeError as error:
        return error.code
    raise AssertionError("it is not refused")


def _changed(text: bytes, change: Mapping[str, Any]) -> bytes:
    """The JSON with other members; one whose value is absent is left out, `sealed_seed` changed within."""
    parts = json.loads(text)
    for name, value in change.items():
        inside = {**parts[name], **value} if name in parts and isinstance(value, dict) else value
        parts[name] = inside
    return json.dumps({name: value for name, value in parts.items() if value is not ...}).encode()


_OTHER_KEY: Final = b32encode(KeyPair(bytes(32)).public)
_KEY_CHANGES: Final[Mapping[str, Mapping[str, Any]]] = {
    "another version": {"lognode_key": 2},
    "a member that nobody knows": {"note": "mine"},
    "no seed": {"seed": ...},
    "no public key": {"public": ...},
    "the public key of another seed": {"public": _OTHER_KEY},
    "a seed of 31 bytes": {"seed": b32encode(bytes(31))},
    "a seed in upper case": {"seed": b32encode(SEED).upper()},
}
_SEALED_CHANGES: Final[Mapping[str, Mapping[str, Any]]] = {
    "both seeds": {"seed": b32encode(SEED)},
    "one pass": {"sealed_seed": {"opslimit": 1}},
    "17 passes": {"sealed_seed": {"opslimit": 17}},
    "less than 64 MiB": {"sealed_seed": {"memlimit": 64 * 1024 * 1024 - 1}},
    "more than 256 MiB": {"sealed_seed": {"memlimit": 256 * 1024 * 1024 + 1}},
    "a salt of 15 bytes": {"sealed_seed": {"salt": b32encode(bytes(15))}},
    "a box that was changed": {"sealed_seed": {"box": b32encode(bytes(72))}},
}


def make_backups() -> dict[str, Any]:
    text = encode_manifest(sealed(_manifest()))
    bare = encode_manifest(sealed(Manifest(1, "0.1.0", 1, _NODE, "2026-01-01T00:00:00.000Z", _files(), [])))
    refused = {
        "a seal of another text": text.replace(b'"schema": 7', b'"schema": 6'),
        "no line end": text.removesuffix(b"\n"),
        "another indent": text.replace(b"\n  ", b"\n "),
        "members in another order": _moved(text),
        "a member that nobody knows": text.replace(b'  "version"', b'  "by": "me",\n  "version"'),
        "a member twice": text.replace(b'  "version"', b'  "version": "0.1.0",\n  "version"'),
        "no key file": _resealed({name: _files()[name] for name in ("lognode.db",)}),
        "another file": _resealed({**_files(), "notes.txt": FileEntry(0, sha256().hexdigest())}),
        "a later version": text.replace(b'"lognode_backup": 1', b'"lognode_backup": 2'),
    }
    return {
        "about": "Manifests of backups, backup.json: the text, and what its seal is made of is in it.",
        "accepted": [
            {"text": each.decode(), "spans": decode_manifest(each, SCHEMA_MAX).spans} for each in (text, bare)
        ],
        "refused": [
            {"name": name, "code": _code(partial(decode_manifest, each, SCHEMA_MAX)), "text": each.decode()}
            for name, each in refused.items()
        ],
    }


_NODE: Final = format_logline(logline(LogLineKind.NODE, KeyPair(SEED).public))


def _files() -> dict[str, FileEntry]:
    return {name: FileEntry(len(name), sha256(name.encode()).hexdigest()) for name in ("lognode.db", "node.key")}


def _manifest() -> Manifest:
    feeds = [FeedEntry(b32encode(bytes([n]) * 16), n, sha256(b"%d" % n).hexdigest()) for n in (3, 1)]
    tenants = [
        TenantEntry(b32encode(TenantId(bytes(20))), 'k\u00fcche "\\\x01\u2028', feeds),
        TenantEntry(b32encode(TenantId(bytes([1]) * 20)), None, []),
    ]
    files = {**_files(), "lognode.toml": FileEntry(0, sha256().hexdigest())}
    return Manifest(1, "0.1.0", SCHEMA_MAX, _NODE, "2026-01-01T00:00:00.000Z", files, tenants)


def _resealed(files: dict[str, FileEntry]) -> bytes:
    return encode_manifest(sealed(msgspec.structs.replace(_manifest(), files=files)))


def _moved(text: bytes) -> bytes:
    """The same with the seal in front, sealed anew."""
    parts = json.loads(text)
    moved = {"seal": "", **{name: value for name, value in parts.items() if name != "seal"}}
    moved["seal"] = sha256(_json(moved)).hexdigest()
    return _json(moved)


def _json(parts: object) -> bytes:
    return json.dumps(parts, indent=2, ensure_ascii=False).encode() + b"\n"


def make_announcements() -> dict[str, Any]:
    prefix = key_prefix(KeyPair(SEED).public)
    said = [_text(text_record(Announcement(prefix, HOSTS, 7481, join))) for join in (None, 7482)]
    good = {"v": "1", "k": prefix, "p": "7481", "j": "7482"}
    said += [
        _text({**good, "v": "2", "later": "yes"}),
        _text({**good, "j": "0"}),
        _strings(b"v=1", b"k=" + prefix.encode(), b"p=7481", b"p=1", b"later"),
    ]
    refused = {
        "no version": {"k": prefix, "p": "7481"},
        "version 0": {**good, "v": "0"},
        "a version that is no number": {**good, "v": "one"},
        "no key": {"v": "1", "p": "7481"},
        "a key of 15 characters": {**good, "k": prefix[1:]},
        "a key in upper case": {**good, "k": prefix.upper()},
        "no port": {"v": "1", "k": prefix},
        "port 0": {**good, "p": "0"},
        "port 65536": {**good, "p": "65536"},
        "a port with a zero in front": {**good, "p": "07481"},
    }
    return {
        "about": "TXT records of announcements, their strings with lengths: beginning of the node key, ports of peer "
        "and join listener; records that announce nothing. `node_key` is whom those of version 1 are of.",
        "node_key": KeyPair(SEED).public.hex(),
        "accepted": [{"txt": text.hex(), **_described(text)} for text in said],
        "refused": [
            {"name": name, "txt": _text(strings).hex()} for name, strings in refused.items() if _is_none(strings)
        ],
    }


def _text(strings: Mapping[str, str]) -> bytes:
    text: bytes = ServiceInfo(SERVICE_TYPE, f"lognode-x.{SERVICE_TYPE}", properties=dict(strings)).text
    return text


def _strings(*strings: bytes) -> bytes:
    return b"".join(bytes([len(string)]) + string for string in strings)


def _read(text: bytes) -> Announcement | None:
    return read_record(ServiceInfo(SERVICE_TYPE, f"lognode-x.{SERVICE_TYPE}", properties=text).properties, HOSTS)


def _is_none(strings: Mapping[str, str]) -> bool:
    found = _read(_text(strings))
    assert found is None, found
    return True


def _described(text: bytes) -> dict[str, Any]:
    found = _read(text)
    assert found is not None
    return {"k": found.prefix, "p": found.peer_port, "j": found.join_port}
