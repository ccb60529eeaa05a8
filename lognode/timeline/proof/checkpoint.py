"""Checkpoints: signed tree heads as C2SP notes, and the verifier keys that go with them.

Owns signed-note and tlog-checkpoint text in both directions. Must not know how a tree is built or where a
checkpoint is kept. Invariant: one checkpoint has one text, so a note that parses prints as the same bytes; what
could be written in another way is refused.
Source: C2SP signed-note and tlog-checkpoint; docs/protocol.md, Checkpoints.
"""

import re
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Final, NamedTuple

from lognode.core.errors import CallerError
from lognode.core.ids import KEY_BYTES, FeedId, TenantId, b32encode, parse_feed_id, parse_tenant_id
from lognode.core.limits import NOTE_BYTES_MAX, SIZE_MAX
from lognode.identity.keys import KeyPair, verify_signature
from lognode.timeline.proof.tree import HASH_BYTES

_ORIGIN_PREFIX: Final = "lognode.v1"
ED25519: Final = b"\x01"
COSIGNER: Final = b"\x04"  # the kind of an Ed25519 key that cosigns
_KEY_ID_BYTES: Final = 4
_SIGNATURE_LINE: Final = re.compile(r"— (\S+) ([A-Za-z0-9+/=]+)")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL_CHARACTER: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


class Signature(NamedTuple):
    """One signature line of a note: name and id tell the key, whose kind tells what `signature` is."""

    name: str
    key_id: bytes
    signature: bytes


class Note(NamedTuple):
    """A signed text; to be ignored until a known key's signature was verified."""

    text: str
    signatures: tuple[Signature, ...]


class Checkpoint(NamedTuple):
    """A tree head as its log signed it."""

    origin: str
    size: int
    root: bytes
    signatures: tuple[Signature, ...]


def origin(tenant: TenantId, feed: FeedId) -> str:
    """The name of a feed's log: first line of its checkpoints, and name of its key."""
    return f"{_ORIGIN_PREFIX}/{b32encode(tenant)}/{b32encode(feed)}"


def parse_origin(text: str) -> tuple[TenantId, FeedId]:
    """The tenant and feed that an origin names. Raises CallerError("checkpoint.invalid")."""
    parts = text.split("/")
    try:
        if len(parts) == 3 and parts[0] == _ORIGIN_PREFIX:
            return parse_tenant_id(parts[1]), parse_feed_id(parts[2])
    except CallerError as error:
        raise CallerError("checkpoint.invalid", f"origin: {error.detail}") from error
    raise CallerError("checkpoint.invalid", f"the origin is not {_ORIGIN_PREFIX}/<tenant>/<feed>")


def vkey(name: str, public: bytes) -> str:
    """The verifier key of an Ed25519 key, in the text that every signed-note program takes."""
    return typed_vkey(name, ED25519, public)


def typed_vkey(name: str, kind: bytes, public: bytes) -> str:
    """The verifier key of a key of any kind, which is one byte."""
    return f"{name}+{key_id(name, kind, public).hex()}+{encode_base64(kind + public)}"


def parse_vkey(text: str, kind: bytes = ED25519) -> tuple[str, bytes]:
    """The name and public key of an Ed25519 verifier key. Raises CallerError("vkey.malformed")."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise CallerError("vkey.malformed", "it has not the form <name>+<key id>+<key>")
    name, _, material = parts
    if name.split() != [name] or _CONTROL_CHARACTER.search(name):  # empty, or with a space of any sort
        raise CallerError("vkey.malformed", "the name is empty or holds a space")
    key = decode_base64(material)
    if key is None or len(key) != 1 + KEY_BYTES or key[:1] != kind:
        raise CallerError("vkey.malformed", f"the key is not the base64 of an Ed25519 key of kind {kind.hex()}")
    if text != typed_vkey(name, kind, key[1:]):
        raise CallerError("vkey.malformed", "the key id is not the one of this name and key")
    return name, key[1:]


def sign_checkpoint(log_key: KeyPair, tenant: TenantId, feed: FeedId, size: int, root: bytes) -> bytes:
    """The checkpoint of a feed's tree, signed by the feed's log key."""
    name = origin(tenant, feed)
    return sign_note(log_key, name, head_text(name, size, root))


def head_text(name: str, size: int, root: bytes) -> str:
    """The text of a checkpoint, which its log and its witnesses sign."""
    return f"{name}\n{size}\n{encode_base64(root)}\n"


def sign_note(key: KeyPair, name: str, text: str) -> bytes:
    """The signed note of `text`, which ends in a line feed, with the one signature of the key called `name`."""
    signature = key_id(name, ED25519, key.public) + key.sign(text.encode())
    return f"{text}\n— {name} {encode_base64(signature)}\n".encode()


def parse_note(note: bytes) -> Note:
    """The text and signatures of a signed note, none of them verified. Raises CallerError("checkpoint.invalid")."""
    if len(note) > NOTE_BYTES_MAX:
        raise CallerError("checkpoint.invalid", f"{len(note)} bytes, at most {NOTE_BYTES_MAX}")
    try:
        content = note.decode()
    except UnicodeDecodeError as error:
        raise CallerError("checkpoint.invalid", "not UTF-8") from error
    if _CONTROL_CHARACTER.search(content):
        raise CallerError("checkpoint.invalid", "it holds a control character")
    # The text may hold empty lines of its own; the last one divides.
    text, divider, lines = content.rpartition("\n\n")
    if not divider or not lines.endswith("\n"):
        raise CallerError("checkpoint.invalid", "no signature lines after an empty line")
    return Note(text + "\n", tuple(_parse_signature(line) for line in lines[:-1].split("\n")))


def _parse_signature(line: str) -> Signature:
    match = _SIGNATURE_LINE.fullmatch(line)
    signature = decode_base64(match[2]) if match else None
    if match is None or signature is None or len(signature) <= _KEY_ID_BYTES or "+" in match[1]:
        raise CallerError("checkpoint.invalid", f"{line[:80]!r} is no signature line")
    return Signature(match[1], signature[:_KEY_ID_BYTES], signature[_KEY_ID_BYTES:])


def verify_note(note: bytes, vkey_text: str) -> Note:
    """The note, if the verifier key signed it, once.

    Signatures of other keys are ignored. Raises CallerError("checkpoint.invalid" or "vkey.malformed").
    """
    name, public = parse_vkey(vkey_text)
    parsed = parse_note(note)
    short = key_id(name, ED25519, public)
    ours = [line.signature for line in parsed.signatures if line.name == name and line.key_id == short]
    if not ours:
        origin = parsed.text.partition("\n")[0]
        of_other = "" if origin == name else f"; it is of {origin:.160}"
        raise CallerError("checkpoint.invalid", f"it has no signature by the key {name}+{short.hex()}{of_other}")
    if len(ours) > 1:
        raise CallerError("checkpoint.invalid", f"it has {len(ours)} signatures by {name}+{short.hex()}, not one")
    if not verify_signature(public, parsed.text.encode(), ours[0]):
        raise CallerError("checkpoint.invalid", f"the signature by {name}+{short.hex()} does not match")
    return parsed


def parse_checkpoint(note: bytes) -> Checkpoint:
    """The tree head in a note, no signature verified. Raises CallerError("checkpoint.invalid")."""
    return _read_head(parse_note(note))


def verify_checkpoint(note: bytes, vkey_text: str) -> Checkpoint:
    """The tree head in a note that the log of this verifier key signed.

    Raises CallerError("checkpoint.invalid" or "vkey.malformed").
    """
    checkpoint = _read_head(verify_note(note, vkey_text))
    name, _ = parse_vkey(vkey_text)
    if checkpoint.origin != name:
        raise CallerError("checkpoint.invalid", f"its origin is {checkpoint.origin[:120]!r}, the key is of {name}")
    return checkpoint


def _read_head(note: Note) -> Checkpoint:
    # Extension lines, which C2SP allows and advises against, have no meaning here: nobody would audit them.
    lines = note.text.split("\n")
    if len(lines) != 4:
        raise CallerError("checkpoint.invalid", f"{len(lines) - 1} lines of text, not origin, size and root")
    name, size_text, root_text, _ = lines
    if not name:
        raise CallerError("checkpoint.invalid", "the origin is empty")
    size = parse_number(size_text)
    if size is None:
        raise CallerError("checkpoint.invalid", f"{size_text[:40]!r} is no tree size")
    root = decode_base64(root_text)
    if root is None or len(root) != HASH_BYTES:
        raise CallerError("checkpoint.invalid", f"{root_text[:80]!r} is not the base64 of a root hash")
    return Checkpoint(name, size, root, note.signatures)


def key_id(name: str, kind: bytes, public: bytes) -> bytes:
    """The four bytes by which a signature line names its key."""
    return sha256(name.encode() + b"\n" + kind + public).digest()[:_KEY_ID_BYTES]


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648, section 4)."""
    return b64encode(data).decode()


def decode_base64(text: str) -> bytes | None:
    """The bytes whose one base64 text is `text`; None for any other text."""
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        return None
    return data if encode_base64(data) == text else None


def parse_number(text: str) -> int | None:
    """The tree size or leaf index that is written as `text`, without leading zeros; None for any other text."""
    if not _NUMBER.fullmatch(text) or int(text) > SIZE_MAX:
        return None
    return int(text)
