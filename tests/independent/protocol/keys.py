"""The keys that follow from a node's seed. From docs/protocol.md, Keys."""

import hmac

from nacl.signing import SigningKey

from tests.independent.protocol.fields import CERTIFICATE, base32


def derive(secret: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256 with an empty salt, 32 bytes."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def public_key(seed: bytes) -> bytes:
    return bytes(SigningKey(seed).verify_key)


def tls_seed(seed: bytes) -> bytes:
    return derive(seed, b"lognode tls v1")


def witness_seed(seed: bytes, tenant: bytes) -> bytes:
    return derive(seed, b"lognode witness v1" + tenant)


def log_seed(seed: bytes, feed: bytes) -> bytes:
    return derive(seed, b"lognode log v1" + feed)


def certificate_of(key_seed: bytes) -> bytes:
    """The one certificate of a TLS key."""
    key = public_key(key_seed)
    form = bytes.fromhex(CERTIFICATE.format(name=base32(key).encode().hex(), key=key.hex()))
    return form + SigningKey(key_seed).sign(form[4:-10]).signature
