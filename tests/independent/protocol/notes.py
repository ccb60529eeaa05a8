"""Signed notes, checkpoints, cosignatures and proofs of one span, as docs/protocol.md describes them."""

import re
from base64 import b64encode
from dataclasses import dataclass

from tests.independent.protocol.cbor import Refused, need
from tests.independent.protocol.fields import INT63, base32, sha256, signed_by, unbase32, unbase64
from tests.independent.protocol.tree import check_inclusion, leaf_hash

NOTE_BYTES_MAX = 131_072
LOG, WITNESS = b"\x01", b"\x04"
DECIMAL = re.compile("0|[1-9][0-9]*", re.ASCII)
DASH = "\u2014 "
MAGIC = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True)
class Key:
    """A verifier key: whose signature lines count, and how they are checked."""

    name: str
    kind: bytes
    public: bytes

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode(), b"\n", self.kind, self.public)[:4]

    @property
    def text(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64encode(self.kind + self.public).decode()}"


@dataclass(frozen=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes


def read_vkey(text: str, kind: bytes = LOG) -> Key:
    parts = text.split("+", 2)
    need(len(parts) == 3, "not three parts")
    name, key_id, typed = parts
    need(name and not re.search(r"[\s\x00-\x1f\x7f]", text), "no name, or a space or control character in it")
    key = Key(name, kind, unbase64(typed, 33)[1:])
    need(unbase64(typed)[:1] == kind and key.key_id.hex() == key_id, "another kind of key, or another key id")
    return key


def log_key(tenant: bytes, feed: bytes, public: bytes) -> Key:
    return Key(f"lognode.v1/{base32(tenant)}/{base32(feed)}", LOG, public)


def witness_key(tenant: bytes, node_key: bytes, public: bytes) -> Key:
    return Key(f"lognode.v1/{base32(tenant)}/witness/{base32(node_key)}", WITNESS, public)


def split_note(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """The signed text, and name and bytes of each signature line."""
    need(len(note) <= NOTE_BYTES_MAX, "a note that is too long")
    try:
        text = note.decode()
    except UnicodeDecodeError as error:
        raise Refused("text that is not UTF-8") from error
    need(not any((ord(c) < 32 and c != "\n") or ord(c) == 127 for c in text), "a control character")
    signed, divider, lines = text.rpartition("\n\n")
    need(divider and lines.endswith("\n"), "no empty line, or no line end at the end")
    found = []
    for line in lines[:-1].split("\n"):
        need(line.startswith(DASH), "no signature line")
        name, space, signature = line.removeprefix(DASH).partition(" ")
        need(name and space and "+" not in name, "a signature line without a name")
        data = unbase64(signature)
        need(len(data) > 4, "a signature without bytes")
        found.append((name, data))
    return signed + "\n", found


def check_note(note: bytes, key: Key, *, alone: bool = False) -> str:
    """The text, when every signature line under name and key id of the key is right, and there is one."""
    text, lines = split_note(note)
    need(not alone or len(lines) == 1, "a second signature line")
    mine = [data[4:] for name, data in lines if name == key.name and data[:4] == key.key_id]
    need(mine, "no signature by the key")
    for signature in mine:
        need(signed_by(key.public, text.encode(), signature), "a signature that does not hold")
    need(len(mine) == 1, "a second signature by the key")
    return text


def read_decimal(text: str) -> int:
    need(DECIMAL.fullmatch(text) and len(text) < 20 and int(text) <= INT63, "not a decimal in its one spelling")
    return int(text)


def read_checkpoint(text: str) -> Checkpoint:
    lines = text.split("\n")
    need(len(lines) == 4 and lines[0], "not three lines")
    return Checkpoint(lines[0], read_decimal(lines[1]), unbase64(lines[2], 32))


def check_checkpoint(note: bytes, key: Key, *, alone: bool = False) -> Checkpoint:
    """A checkpoint of the feed whose verifier key this is, signed by it."""
    found = read_checkpoint(check_note(note, key, alone=alone))
    need(found.origin == key.name, "another origin")
    return found


def cosigned(checkpoint: Checkpoint, time: int) -> bytes:
    """What a witness signs."""
    root = b64encode(checkpoint.root).decode()
    return f"cosignature/v1\ntime {time}\n{checkpoint.origin}\n{checkpoint.size}\n{root}\n".encode()


@dataclass(frozen=True)
class Entry:
    """The 65 bytes that a leaf hash is of."""

    feed: bytes
    seq: int
    hlc: int
    visibility: int
    header_hash: bytes
    raw: bytes

    @property
    def span_id(self) -> bytes:
        return self.raw[24:32] + leaf_hash(self.raw)[:16]


def read_entry(raw: bytes, *, visibility_most: int = 2) -> Entry:
    need(len(raw) == 65, "an entry of another length")
    entry = Entry(
        raw[:16], int.from_bytes(raw[16:24], "big"), int.from_bytes(raw[24:32], "big"), raw[32], raw[33:], raw
    )
    need(entry.hlc <= INT63 and entry.visibility <= visibility_most, "an HLC or a visibility beyond its bounds")
    return entry


@dataclass(frozen=True)
class SpanProof:
    entry: bytes
    index: int
    hashes: list[bytes]
    note: bytes


def read_proof(raw: bytes) -> SpanProof:
    """The parts of a tlog-proof."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Refused("text that is not UTF-8") from error
    above, divider, note = text.partition("\n\n")
    first, extra, index, *hashes = [*above.split("\n"), "", ""][: max(3, above.count("\n") + 1)]
    need(divider and first == MAGIC and extra.startswith("extra ") and index.startswith("index "), "not this form")
    number = read_decimal(index.removeprefix("index "))
    path = [unbase64(line, 32) for line in hashes]
    return SpanProof(unbase64(extra.removeprefix("extra "), 65), number, path, note.encode())


def check_proof(raw: bytes, key: Key) -> tuple[Entry, Checkpoint]:
    """What a tlog-proof proves under the verifier key of a feed."""
    proof = read_proof(raw)
    checkpoint = check_checkpoint(proof.note, key)
    entry = read_entry(proof.entry)
    feed = unbase32(checkpoint.origin.rpartition("/")[2], 16)
    need((entry.feed, entry.seq) == (feed, proof.index), "an entry of another place")
    check_inclusion(leaf_hash(entry.raw), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    return entry, checkpoint
