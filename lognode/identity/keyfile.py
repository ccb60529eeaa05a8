"""The text of a key file: a node's seed, in clear or sealed with a passphrase.

Owns the format in both directions. Must not know where the file lies. Invariant: a seed that opens belongs to the
public key that stands in clear beside it, so a damaged file never yields another identity.
Source: docs/protocol.md, Key file.
"""

from collections.abc import Callable
from typing import Final

import msgspec
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from lognode.core.codec import parse_json
from lognode.core.errors import CallerError
from lognode.core.ids import KEY_BYTES, b32decode, b32encode
from lognode.identity.keys import SEED_BYTES, KeyPair

KEY_FILE_BYTES_MAX: Final = 4096
# RFC 9106's choice where memory is scarce: a node may share a small machine, and asks once per start.
OPSLIMIT_PASSES: Final = 3
MEMLIMIT_BYTES: Final = 64 * 1024 * 1024
# What a file may ask for: not so little that guessing is cheap, not so much that opening it is an attack.
OPSLIMIT_PASSES_MIN: Final = argon2id.OPSLIMIT_INTERACTIVE
OPSLIMIT_PASSES_MAX: Final = 16
MEMLIMIT_BYTES_MIN: Final = argon2id.MEMLIMIT_INTERACTIVE
MEMLIMIT_BYTES_MAX: Final = argon2id.MEMLIMIT_MODERATE
_VERSION: Final = 1
_BOX_BYTES: Final = SecretBox.NONCE_SIZE + SEED_BYTES + SecretBox.MACBYTES


class SealedSeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A seed in a secretbox (nonce first) under argon2id of the passphrase."""

    salt: str
    opslimit: int
    memlimit: int
    box: str


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The parts of a key file; bytes stand in base32. One of `seed` and `sealed_seed` is there."""

    lognode_key: int
    public: str
    seed: str | None = None
    sealed_seed: SealedSeed | None = None


def seal_seed(seed: bytes, passphrase: bytes | None, random_bytes: Callable[[int], bytes]) -> bytes:
    """The key file of a seed; without a passphrase the seed stands in clear.

    Raises CallerError("key.passphrase") for an empty passphrase.
    """
    public = b32encode(KeyPair(seed).public)
    if passphrase is None:
        return _format(KeyFile(_VERSION, public, seed=b32encode(seed)))
    if not passphrase:
        raise CallerError("key.passphrase", "the passphrase is empty")
    salt, nonce = random_bytes(argon2id.SALTBYTES), random_bytes(SecretBox.NONCE_SIZE)
    key = argon2id.kdf(SecretBox.KEY_SIZE, passphrase, salt, OPSLIMIT_PASSES, MEMLIMIT_BYTES)
    box = bytes(SecretBox(key).encrypt(seed, nonce))
    sealed = SealedSeed(b32encode(salt), OPSLIMIT_PASSES, MEMLIMIT_BYTES, b32encode(box))
    return _format(KeyFile(_VERSION, public, sealed_seed=sealed))


def open_seed(text: bytes, passphrase: bytes | None) -> bytes:
    """The seed in a key file. A passphrase is not asked for, nor looked at, where the seed stands in clear.

    Raises CallerError("key.malformed"), or "key.passphrase" when it is missing or wrong.
    """
    parsed = _parse(text)
    if parsed.sealed_seed is not None:
        seed = _unseal(parsed.sealed_seed, passphrase)
    else:
        seed = _bytes("seed", parsed.seed or "", SEED_BYTES)
    if KeyPair(seed).public != _bytes("public", parsed.public, KEY_BYTES):
        raise CallerError("key.malformed", "the public key is not the one of the seed")
    return seed


def public_of(text: bytes) -> bytes:
    """The node's public key as the file states it; only opening the seed proves it. Raises as `open_seed` does."""
    return _bytes("public", _parse(text).public, KEY_BYTES)


def _unseal(sealed: SealedSeed, passphrase: bytes | None) -> bytes:
    salt, box = _bytes("salt", sealed.salt, argon2id.SALTBYTES), _bytes("box", sealed.box, _BOX_BYTES)
    if not OPSLIMIT_PASSES_MIN <= sealed.opslimit <= OPSLIMIT_PASSES_MAX:
        raise CallerError("key.malformed", f"opslimit is not {OPSLIMIT_PASSES_MIN} to {OPSLIMIT_PASSES_MAX}")
    if not MEMLIMIT_BYTES_MIN <= sealed.memlimit <= MEMLIMIT_BYTES_MAX:
        raise CallerError("key.malformed", f"memlimit is not {MEMLIMIT_BYTES_MIN} to {MEMLIMIT_BYTES_MAX} bytes")
    if passphrase is None:
        raise CallerError("key.passphrase", "the key file is sealed, and no passphrase was given")
    key = argon2id.kdf(SecretBox.KEY_SIZE, passphrase, salt, sealed.opslimit, sealed.memlimit)
    try:
        return SecretBox(key).decrypt(box)
    except CryptoError as error:
        raise CallerError("key.passphrase", "the passphrase is wrong, or the file was changed") from error


def _format(parts: KeyFile) -> bytes:
    return msgspec.json.format(msgspec.json.encode(parts), indent=2) + b"\n"


def _parse(text: bytes) -> KeyFile:
    if len(text) > KEY_FILE_BYTES_MAX:
        raise CallerError("key.malformed", f"{len(text)} bytes, at most {KEY_FILE_BYTES_MAX}")
    try:
        parts = msgspec.convert(parse_json(text), KeyFile)
    except (CallerError, msgspec.ValidationError):
        # The cause may quote the file, and with it the seed.
        raise CallerError("key.malformed", "it is not the JSON of a key file") from None
    if parts.lognode_key != _VERSION:
        raise CallerError("key.malformed", f"version {parts.lognode_key} is unknown to this lognode")
    if (parts.seed is None) == (parts.sealed_seed is None):
        raise CallerError("key.malformed", "it needs one of seed and sealed_seed")
    return parts


def _bytes(name: str, text: str, size: int) -> bytes:
    try:
        return b32decode(text, size)
    except CallerError:
        # As above: the cause quotes the text.
        raise CallerError("key.malformed", f"{name} is not the base32 of {size} bytes") from None
