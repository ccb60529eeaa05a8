"""Checkpoints, verifier keys and proofs that every implementation must refuse.

As in `refused`, a vector breaks one rule: texts that were changed are signed again as they stand, unless the
signature is what is wrong.
"""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from lognode.core.span import entry_bytes, leaf_hash
from lognode.timeline.proof.checkpoint import origin, sign_checkpoint, vkey
from lognode.timeline.proof.tlogproof import format_proof
from lognode.timeline.proof.tree import inclusion_proof
from tests.vectors.history import KEYS, Feed, NodesOf, root_at
from tests.vectors.refused import STRANGER, TENANT, Vectors

C2SP_EXAMPLE: Final = {
    "name": "the example of C2SP signed-note",
    "vkey": "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    "note": "This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Z"
    "tg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n",
}
DASH: Final = "\u2014".encode()


def vkeys() -> Vectors:
    name, public = "example.com/log", STRANGER.public
    good = vkey(name, public)
    _, key_id, material = good.split("+", 2)
    texts = {
        "no parts": name,
        "two parts": f"{name}+{key_id}",
        "no name": vkey("", public),
        "a space in the name": vkey("example.com/my log", public),
        "a line end": good + "\n",
        "another key id": f"{name}+00000000+{material}",
        "a key id in upper case": f"{name}+{key_id.upper()}+{material}",
        "a key id of seven digits": f"{name}+{key_id[1:]}+{material}",
        "another kind of key": _vkey_of(name, b"\x02" + public),
        "a key of 31 bytes": _vkey_of(name, b"\x01" + public[1:]),
        "a key without its kind": _vkey_of(name, public),
        "base64 with padding that it does not need": good + "====",
        "base64 of the other alphabet": f"{name}+{key_id}+{material.translate({43: 45, 47: 95})}",
    }
    assert good not in texts.values()
    return [{"name": name, "text": text, "code": "vkey.malformed"} for name, text in texts.items()]


def _vkey_of(name: str, typed: bytes) -> str:
    """What `vkey` gives for a key with its kind, whatever these are."""
    return f"{name}+{sha256(name.encode() + bytes([10]) + typed).digest()[:4].hex()}+{b64encode(typed).decode()}"


def _with_pad_bits(text: str) -> str:
    """Base64 of the same bytes in another spelling: the last character before the padding has a spare bit set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    body, padding = text.rstrip("="), text[len(text.rstrip("=")) :]
    assert padding, "without padding there are no spare bits"
    return body[:-1] + alphabet[alphabet.index(body[-1]) | 1] + padding


class Signer:
    """Signs any text with a feed's log key, as a node whose program is wrong might."""

    def __init__(self, feed: Feed) -> None:
        self.name = origin(TENANT, feed.feed_id)
        self.key = KEYS.log_key(feed.feed_id)
        self.vkey = vkey(self.name, self.key.public)
        self.key_id = bytes.fromhex(self.vkey.split("+")[1])

    def line(self, text: bytes) -> bytes:
        return self.line_of(self.key_id + self.key.sign(text))

    def line_of(self, signature: bytes) -> bytes:
        return DASH + b" " + self.name.encode() + b" " + b64encode(signature) + b"\n"

    def note(self, text: bytes) -> bytes:
        return text + b"\n" + self.line(text)


def checkpoints(feed: Feed) -> Vectors:
    signer = Signer(feed)
    name, size = signer.name.encode(), f"\n{len(feed.entries)}\n".encode()
    root = root_at(feed.leaves(len(feed.entries)))
    root64 = b64encode(root)
    text = name + size + root64 + b"\n"
    good = signer.note(text)
    signature = signer.key.sign(text)
    forged = signer.key_id + STRANGER.sign(text)
    stranger = sign_checkpoint(STRANGER, TENANT, feed.feed_id, len(feed.entries), root)
    padded = _with_pad_bits(root64.decode()).encode()
    notes = {
        **{f"a size written {number!r}": signer.note(text.replace(size, f"\n{number}\n".encode())) for number in SIZES},
        "a root with pad bits": signer.note(text.replace(root64, padded)),
        "a root of 31 bytes": signer.note(text.replace(root64, b64encode(root[1:]))),
        "a root in hex": signer.note(text.replace(root64, root.hex().encode())),
        "an extension line": signer.note(text + b"more\n"),
        "no root": signer.note(name + size),
        "another origin": signer.note(text.replace(b"lognode.v1/", b"lognode.v2/")),
        "an origin in upper case": signer.note(text.upper().replace(root64.upper(), root64)),
        "line ends of two characters": signer.note(text.replace(b"\n", b"\r\n")),
        "a tab": signer.note(name + b"\t" + size + root64 + b"\n"),
        "text that is not UTF-8": signer.note(name + b"\xff" + size + root64 + b"\n"),
        "no empty line": text + signer.line(text),
        "no signature": text + b"\n",
        "no line end behind the signature": good[:-1],
        "an empty line behind the signature": good + b"\n",
        "a hyphen in place of the dash": good.replace(DASH, b"-"),
        "two spaces behind the dash": good.replace(DASH, DASH + b" "),
        "a signature by another key": stranger,
        "a signature by another key under this key's id": text + b"\n" + signer.line_of(forged),
        "another key id": text + b"\n" + signer.line_of(bytes(4) + signature),
        "a signature of 63 bytes": text + b"\n" + signer.line_of(signer.key_id + signature[:-1]),
        "a signature of another text": text + b"\n" + signer.line(text + b"\n"),
        "a second signature by the key that is wrong": good + signer.line_of(signer.key_id + bytes(64)),
        "a signature in base64 without its padding": good.rstrip(b"=\n") + b"\n",
        "no bytes": b"",
    }  # fmt: skip
    return _against(signer.vkey, notes, "checkpoint.invalid")


SIZES: Final = ("", "08", "+8", "-8", "8 ", "0x8", "8.0", "9223372036854775808", "\u0668")


def proofs(feed: Feed) -> Vectors:
    signer = Signer(feed)
    seq, size, note = 5, *feed.notes[-1]
    path = inclusion_proof(seq, size, NodesOf(feed.leaves(size)))
    entry = feed.entry(seq)
    good = format_proof(entry, seq, path, note)
    extra = b64encode(entry)
    span = feed.entries[seq]
    elsewhere = entry_bytes(feed.feed_id, seq + 1, span.hlc, span.visibility, span.header)
    found = {
        "another first line": good.replace(b"@v1", b"@v2"),
        "no extra line": good.replace(b"extra " + extra + b"\n", b""),
        "an entry of 64 bytes": format_proof(entry[:-1], seq, path, note),
        "an entry in hex": good.replace(extra, entry.hex().encode()),
        "an entry with pad bits": good.replace(extra, _with_pad_bits(extra.decode()).encode()),
        "an entry of another place": format_proof(elsewhere, seq, path, note),
        "an entry of another feed": format_proof(bytes(16) + entry[16:], seq, path, note),
        "an entry with another header hash": format_proof(entry[:-32] + bytes(32), seq, path, note),
        "an entry with another visibility": format_proof(entry[:32] + b"\x02" + entry[33:], seq, path, note),
        "another index": good.replace(b"index 5\n", b"index 4\n"),
        "an index with a leading zero": good.replace(b"index 5\n", b"index 05\n"),
        "an index beyond the tree": good.replace(b"index 5\n", b"index 8\n"),
        "no index": good.replace(b"index 5\n", b""),
        "a hash too few": format_proof(entry, seq, path[:-1], note),
        "a hash too many": format_proof(entry, seq, [*path, bytes(32)], note),
        "hashes in another order": format_proof(entry, seq, path[::-1], note),
        "a hash of 31 bytes": format_proof(entry, seq, [path[0][1:], *path[1:]], note),
        "the checkpoint of an earlier tree": format_proof(entry, seq, path, feed.notes[-2][1]),
        "a checkpoint by another key": format_proof(entry, seq, path, _stranger_note(feed)),
        "no checkpoint": good.partition(b"\n\n")[0] + b"\n\n",
        "an empty line among the hashes": good.replace(b"index 5\n", b"index 5\n\n"),
        "line ends of two characters": good.replace(b"\n", b"\r\n"),
        "a space behind the index": good.replace(b"index 5\n", b"index 5 \n"),
        "a byte behind all": good + b"\n",
        "an end in the middle": good[:-1],
        "a time beyond 2^63": _alone(signer, feed, b"\x80" + bytes(7) + b"\x01"),
        "visibility 3": _alone(signer, feed, bytes(8) + b"\x03"),
    }
    return _against(signer.vkey, found, "proof.invalid")


def _stranger_note(feed: Feed) -> bytes:
    size = len(feed.entries)
    return sign_checkpoint(STRANGER, TENANT, feed.feed_id, size, root_at(feed.leaves(size)))


def _alone(signer: Signer, feed: Feed, time_and_visibility: bytes) -> bytes:
    """The proof of a single entry, signed by the feed's key, that no right program writes."""
    entry = feed.feed_id + bytes(8) + time_and_visibility + bytes(32)
    return format_proof(entry, 0, [], sign_checkpoint(signer.key, TENANT, feed.feed_id, 1, leaf_hash(entry)))


def _against(key: str, items: Mapping[str, bytes], code: str) -> Vectors:
    return [{"name": name, "hex": data.hex(), "vkey": key, "code": code} for name, data in items.items()]
