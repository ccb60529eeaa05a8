"""The TLS certificate of a node: a pure function of its TLS key.

Owns the one form a certificate has: version 3, serial 1, subject and issuer CN = the public key in base32,
CA:FALSE, valid from 1970 to the end of 9999, self-signed with Ed25519. Must not know of connections or
members. Invariant: one key has one certificate, byte for byte, so whoever knows it needs no date, no renewal
and no authority.
Source: docs/protocol.md, Certificates.
"""

from datetime import UTC, datetime
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from lognode.core.errors import CallerError
from lognode.core.ids import KEY_BYTES, b32encode
from lognode.core.span import SIGNATURE_BYTES
from lognode.identity.keys import SEED_BYTES, KeyPair, verify_signature

_NOT_BEFORE: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_AFTER: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def tls_certificate(tls_seed: bytes) -> bytes:
    """The certificate of the TLS key with this seed, in DER."""
    key = Ed25519PrivateKey.from_private_bytes(tls_seed)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, b32encode(key.public_key().public_bytes_raw()))])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, None)
        .public_bytes(Encoding.DER)
    )


def tls_key_text(tls_seed: bytes) -> bytes:
    """The private TLS key in PEM, as TLS libraries take it: a secret."""
    key = Ed25519PrivateKey.from_private_bytes(tls_seed)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate_key(certificate: bytes) -> bytes:
    """The public TLS key in a certificate of the one form. Raises CallerError("binding.invalid") for any other.

    Two certificates differ in the key, its text and the signature alone, each of fixed length: a certificate has
    the form when it equals a known one with its own three put in.
    """
    known, known_key = _known()
    at = known.index(known_key)
    key, signature = certificate[at : at + KEY_BYTES], certificate[-SIGNATURE_BYTES:]
    unsigned = known[:-SIGNATURE_BYTES].replace(known_key, key).replace(_text(known_key), _text(key))
    if certificate != unsigned + signature:
        raise CallerError("binding.invalid", "the TLS certificate has not the one allowed form")
    if not verify_signature(key, x509.load_der_x509_certificate(certificate).tbs_certificate_bytes, signature):
        raise CallerError("binding.invalid", "the TLS certificate is not signed by its key")
    return key


@cache
def _known() -> tuple[bytes, bytes]:
    """A certificate, and the public key in it."""
    seed = bytes(SEED_BYTES)
    return tls_certificate(seed), KeyPair(seed).public


def _text(key: bytes) -> bytes:
    return b32encode(key).encode()
