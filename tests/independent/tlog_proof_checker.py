"""Checks one lognode tlog-proof file offline. Shares no code with lognode, and must never import it.

Written from the C2SP texts tlog-proof, tlog-checkpoint and signed-note, and from RFC 9162 section
2.1.3.2 (whose trees are those of RFC 6962 section 2). The file is text, every line ended by LF:

    c2sp.org/tlog-proof@v1
    extra <base64 of the 65 entry bytes>
    index <position of the entry in the log, decimal>
    <base64 of a 32-byte hash: the leaf's sibling first, the root's child last>   (0 to 64 lines)

    lognode.v1/<tenant, 32 characters>/<feed id, 26 characters>
    <tree size, decimal>
    <base64 of the 32-byte root>

    \u2014 <the same origin> <base64 of key id (4) and Ed25519 signature (64)>

The origin line up to and including the root's LF is what is signed. The entry is feed_id(16) ||
seq(8) || hlc(8) || visibility(1) || SHA-256(header)(32), integers big-endian; its leaf hash is
SHA-256(0x00 || entry). Tenant (20 bytes) and feed id (16 bytes) are lower-case Crockford base32, bits
left-aligned, zero pad bits at the end. The entry's feed id is the origin's; its seq is the index.

Invariant: what is accepted has one spelling. No byte of a valid file can be changed, removed or added
so that it is still accepted. Therefore this is stricter than C2SP, which allows extension lines in a
checkpoint, key names other than the origin, and signatures by unknown keys (to be ignored): here there
is exactly one signature line, by the given key. Cosignatures come later.

Not judged: what the entry means. An entry whose hlc or visibility is out of range may be void in
lognode, yet it is in the log, and only that is proven here.

    python tlog_proof_checker.py FILE VKEY      exit status: 0 accepted, 1 rejected, 2 usage
"""

import base64
import binascii
import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

PROOF_BYTES_MAX = 8_192  # 64 path lines of 45 bytes and everything else fit in half of it
VKEY_CHARS_MAX = 512
ENTRY_BYTES = 65
HASH_BYTES = 32
KEY_ID_BYTES = 4
SIGNATURE_BYTES = 64
TENANT_BYTES = 20
FEED_ID_BYTES = 16
UINT64_MAX = 2**64 - 1
ED25519 = b"\x01"  # signature type in signed-note
LF = 0x0A
FIRST_PRINTABLE = 0x20
MAGIC = b"c2sp.org/tlog-proof@v1"
EM_DASH = "\u2014".encode()
CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
DECIMAL = re.compile(rb"0|[1-9][0-9]{0,19}")
ORIGIN = re.compile(rf"lognode\.v1/([{CROCKFORD}]{{32}})/([{CROCKFORD}]{{26}})")
VKEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)")


class Rejected(Exception):
    """The file proves nothing under this key; `reason` says why in words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Accepted:
    """The owner of the key signed a tree of `size` leaves whose leaf at `index` is `entry`."""

    entry: bytes
    index: int
    size: int
    root: bytes
    origin: str


@dataclass(frozen=True)
class Key:
    """A signed-note verifier key of type Ed25519."""

    name: str
    key_id: bytes
    public: bytes


@dataclass(frozen=True)
class ProofLines:
    """The parts of a proof file, cut at its lines, not yet decoded."""

    entry: bytes
    index: bytes
    path: tuple[bytes, ...]
    origin: bytes
    size: bytes
    root: bytes
    signatures: tuple[bytes, ...]

    @property
    def signed_text(self) -> bytes:
        return b"".join(line + b"\n" for line in (self.origin, self.size, self.root))


def check(proof: bytes, vkey: str) -> Accepted:
    """What the proof proves, if every rule of the module text holds. Raises Rejected."""
    key = parse_vkey(vkey)
    lines = split_proof(proof)
    entry = decode_base64(lines.entry, bytes_count=ENTRY_BYTES, name="entry")
    index = decode_decimal(lines.index, name="index")
    size = decode_decimal(lines.size, name="tree size")
    root = decode_base64(lines.root, bytes_count=HASH_BYTES, name="root")
    path = [decode_base64(line, bytes_count=HASH_BYTES, name="path hash") for line in lines.path]
    if lines.origin != key.name.encode():
        raise Rejected("the origin line is not the key's name")
    check_entry_place(entry, index=index, origin=key.name)
    check_inclusion(leaf_hash(entry), index=index, size=size, path=path, root=root)
    check_signatures(lines.signatures, lines.signed_text, key)
    return Accepted(entry=entry, index=index, size=size, root=root, origin=key.name)


def parse_vkey(vkey: str) -> Key:
    """The key of `<name>+<key id, 8 hex digits>+<base64 of 0x01 and the public key>`."""
    if len(vkey) > VKEY_CHARS_MAX or not vkey.isascii():
        raise Rejected(f"the vkey is longer than {VKEY_CHARS_MAX} characters or not ASCII")
    match = VKEY.fullmatch(vkey)
    if match is None:
        raise Rejected("the vkey does not have the form name+hex+base64")
    name, key_id_hex, encoded = match.groups()
    typed = decode_base64(encoded.encode(), bytes_count=1 + HASH_BYTES, name="vkey")
    if typed[:1] != ED25519:
        raise Rejected("the vkey is not of type Ed25519")
    key_id = hashlib.sha256(name.encode() + b"\n" + typed).digest()[:KEY_ID_BYTES]
    if key_id.hex() != key_id_hex:
        raise Rejected("the vkey's key id is not the hash of its name and key")
    return Key(name=name, key_id=key_id, public=typed[1:])


def split_proof(proof: bytes) -> ProofLines:
    """The proof's lines by their place; knows the frame of the file and nothing of its values."""
    if len(proof) > PROOF_BYTES_MAX:
        raise Rejected(f"the file is longer than {PROOF_BYTES_MAX} bytes")
    if any(byte < FIRST_PRINTABLE and byte != LF for byte in proof):
        raise Rejected("the file holds a control character other than LF")
    if not proof.endswith(b"\n"):
        raise Rejected("the last line does not end in LF")
    lines = proof[:-1].split(b"\n")
    if lines[0] != MAGIC:
        raise Rejected("the first line is not c2sp.org/tlog-proof@v1")
    blanks = [at for at, line in enumerate(lines) if not line]
    if len(blanks) != 2:  # one before the checkpoint, one before its signatures
        raise Rejected("the file does not have exactly two empty lines")
    path_end, text_end = blanks
    if path_end < 3:  # the magic, extra and index lines
        raise Rejected("the extra line or the index line is missing")
    if text_end - path_end != 4:  # origin, size, root, then the empty line
        raise Rejected("the checkpoint's text is not exactly three lines")
    return ProofLines(
        entry=after_prefix(lines[1], b"extra "),
        index=after_prefix(lines[2], b"index "),
        path=tuple(lines[3:path_end]),
        origin=lines[path_end + 1],
        size=lines[path_end + 2],
        root=lines[path_end + 3],
        signatures=tuple(lines[text_end + 1 :]),
    )


def after_prefix(line: bytes, prefix: bytes) -> bytes:
    if not line.startswith(prefix):
        raise Rejected(f"a line does not start with {prefix.decode()!r}, as it should at its place")
    return line[len(prefix) :]


def decode_base64(text: bytes, *, bytes_count: int, name: str) -> bytes:
    """The bytes of the one canonical spelling (RFC 4648 section 4, padded, zero pad bits)."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Rejected(f"the {name} is not base64") from error
    if base64.b64encode(decoded) != text:
        raise Rejected(f"the {name} is not canonical base64")
    if len(decoded) != bytes_count:
        raise Rejected(f"the {name} is {len(decoded)} bytes, not {bytes_count}")
    return decoded


def decode_decimal(text: bytes, *, name: str) -> int:
    if DECIMAL.fullmatch(text) is None or int(text) > UINT64_MAX:
        raise Rejected(f"the {name} is not a canonical decimal below 2^64")
    return int(text)


def decode_base32(text: str, *, bytes_count: int, name: str) -> bytes:
    """The bytes of lower-case Crockford base32: bits left-aligned, fewer than 5 zero pad bits."""
    bits = 0
    for character in text:
        bits = bits << 5 | CROCKFORD.index(character)
    pad_bits = 5 * len(text) - 8 * bytes_count
    if not 0 <= pad_bits < 5 or bits & ((1 << pad_bits) - 1):
        raise Rejected(f"the origin's {name} is not canonical base32")
    return (bits >> pad_bits).to_bytes(bytes_count, "big")


def check_entry_place(entry: bytes, *, index: int, origin: str) -> None:
    """The entry says itself which feed and which place in it it belongs to."""
    match = ORIGIN.fullmatch(origin)
    if match is None:
        raise Rejected("the origin does not have the form lognode.v1/<tenant>/<feed id>")
    decode_base32(match[1], bytes_count=TENANT_BYTES, name="tenant")
    feed_id = decode_base32(match[2], bytes_count=FEED_ID_BYTES, name="feed id")
    if entry[:FEED_ID_BYTES] != feed_id:
        raise Rejected("the entry's feed id is not the origin's")
    if int.from_bytes(entry[FEED_ID_BYTES : FEED_ID_BYTES + 8], "big") != index:
        raise Rejected("the entry's seq is not the index")


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def check_inclusion(leaf: bytes, *, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Walks from the leaf to the root; `node` and `last` are RFC 9162's fn and sn."""
    if index >= size:
        raise Rejected("the index is not below the tree size")
    node, last = index, size - 1
    current = leaf
    for sibling in path:
        if last == 0:
            raise Rejected("the inclusion path is too long")
        if node & 1 or node == last:
            current = hashlib.sha256(b"\x01" + sibling + current).digest()
            while not node & 1 and node != 0:
                node, last = node >> 1, last >> 1
        else:
            current = hashlib.sha256(b"\x01" + current + sibling).digest()
        node, last = node >> 1, last >> 1
    if last != 0:
        raise Rejected("the inclusion path is too short")
    if current != root:
        raise Rejected("the inclusion path does not lead to the root")


def check_signatures(lines: Sequence[bytes], text: bytes, key: Key) -> None:
    """Every line must be by the key and no key may sign twice: for now, exactly one line."""
    if len(lines) != 1:
        raise Rejected("there is not exactly one signature line")
    for line in lines:
        check_signature(line, text, key)


def check_signature(line: bytes, text: bytes, key: Key) -> None:
    prefix = EM_DASH + b" " + key.name.encode() + b" "
    if not line.startswith(prefix):
        raise Rejected("a signature line does not name the given key")
    count = KEY_ID_BYTES + SIGNATURE_BYTES
    decoded = decode_base64(line[len(prefix) :], bytes_count=count, name="signature")
    if decoded[:KEY_ID_BYTES] != key.key_id:
        raise Rejected("a signature line does not carry the given key's id")
    try:
        VerifyKey(key.public).verify(text, decoded[KEY_ID_BYTES:])
    except CryptoError as error:
        raise Rejected("the checkpoint's signature does not verify") from error


def main(arguments: Sequence[str]) -> int:
    """The exit status; the facts go to standard output, a refusal to standard error."""
    if len(arguments) != 2:  # FILE and VKEY
        sys.stderr.write("usage: tlog_proof_checker.py FILE VKEY\n")
        return 2
    try:
        with Path(arguments[0]).open("rb") as file:
            proof = file.read(PROOF_BYTES_MAX + 1)
    except OSError as error:
        sys.stderr.write(f"cannot read {arguments[0]}: {error.strerror}\n")
        return 2
    try:
        accepted = check(proof, arguments[1])
    except Rejected as rejected:
        sys.stderr.write(f"rejected: {rejected.reason}\n")
        return 1
    sys.stdout.write(
        f"accepted\norigin {accepted.origin}\nindex {accepted.index}\nsize {accepted.size}\n"
        f"root {accepted.root.hex()}\nentry {accepted.entry.hex()}\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
