"""The TLS certificate: one key has one, byte for byte, and any other form is refused."""

import ssl
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from lognode.core.errors import CallerError
from lognode.core.ids import b32encode
from lognode.identity.certificate import certificate_key, tls_certificate
from lognode.identity.keys import KeyPair

SEED = bytes(range(32))


def test_a_certificate_is_the_same_bytes_on_every_machine() -> None:
    assert tls_certificate(SEED) == tls_certificate(SEED)
    assert (
        sha256(tls_certificate(SEED)).hexdigest() == "503e2f32b06312237e6f01a20bc8517f57c645109988a29b80466e0f21900121"
    )
    assert tls_certificate(bytes(32)) != tls_certificate(SEED)


def test_a_certificate_reads_as_the_design_fixes_it() -> None:
    certificate = x509.load_der_x509_certificate(tls_certificate(SEED))
    assert certificate.version is x509.Version.v3
    assert certificate.serial_number == 1
    assert certificate.issuer == certificate.subject
    (name,) = certificate.subject
    assert (name.oid, name.value) == (NameOID.COMMON_NAME, b32encode(KeyPair(SEED).public))
    assert certificate.not_valid_before_utc == datetime(1970, 1, 1, tzinfo=UTC)
    assert certificate.not_valid_after_utc == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    (extension,) = certificate.extensions
    assert extension.critical
    assert extension.value == x509.BasicConstraints(ca=False, path_length=None)
    certificate.verify_directly_issued_by(certificate)


def test_the_key_is_read_back() -> None:
    for seed in (SEED, bytes(32), sha256(SEED).digest()):
        assert certificate_key(tls_certificate(seed)) == KeyPair(seed).public


def test_every_changed_byte_is_refused() -> None:
    good = tls_certificate(SEED)
    for at in range(len(good)):
        for bad in (good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], good[:at], good[:at] + good[at + 1 :]):
            with pytest.raises(CallerError, match="certificate") as caught:
                certificate_key(bad)
            assert caught.value.code == "binding.invalid"
    with pytest.raises(CallerError):
        certificate_key(good + b"\x00")


def test_a_certificate_that_could_mint_others_is_refused() -> None:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, b32encode(KeyPair(SEED).public))])
    authority = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(datetime(1970, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None)
    )
    with pytest.raises(CallerError, match="form"):
        certificate_key(authority.public_bytes(Encoding.DER))


def context(folder: Path, purpose: int, own_seed: bytes, *trusted: bytes) -> ssl.SSLContext:
    """A TLS 1.3 context with the certificate of `own_seed`, demanding one of the trusted certificates."""
    made = ssl.SSLContext(purpose)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    key = Ed25519PrivateKey.from_private_bytes(own_seed)
    chain = folder / "chain.pem"
    chain.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + ssl.DER_cert_to_PEM_cert(tls_certificate(own_seed)).encode()
    )
    made.load_cert_chain(chain)
    for certificate in trusted:
        made.load_verify_locations(cadata=certificate)
    return made


def handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[bytes | None, bytes | None]:
    """The certificates that server and client saw of each other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[1].getpeercert(binary_form=True), ends[0].getpeercert(binary_form=True)


def test_two_nodes_shake_hands_trusting_just_each_others_certificates(tmp_path: Path) -> None:
    ours, theirs = tls_certificate(SEED), tls_certificate(bytes(32))
    client = context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, SEED, theirs)
    server = context(tmp_path, ssl.PROTOCOL_TLS_SERVER, bytes(32), ours)
    assert handshake(client, server) == (ours, theirs)


def test_a_handshake_with_another_key_fails(tmp_path: Path) -> None:
    client = context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, SEED, tls_certificate(bytes(32)))
    stranger = context(tmp_path, ssl.PROTOCOL_TLS_SERVER, sha256(b"").digest(), tls_certificate(SEED))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client, stranger)
