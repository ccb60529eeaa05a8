"""TLS between nodes: version 1.3 alone, and certificates that are compared, never chained.

Owns every setting of OpenSSL. Must not know members or invites: it is handed certificates. Invariants: a context of
the peer listener asks for a certificate whatever it trusts; no certificate vouches for another; the private key is
in memory alone, readable by this process.
"""

import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from lognode.identity.certificate import tls_certificate, tls_key_text

_HTTP: Final = ("http/1.1",)


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """What a node shows of itself: its certificate in DER, and the key that belongs to it."""

    certificate: bytes
    _key: bytes = field(repr=False)

    @classmethod
    def from_seed(cls, tls_seed: bytes) -> Self:
        """The identity of a TLS key."""
        return cls(tls_certificate(tls_seed), tls_key_text(tls_seed))

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have a context show this certificate.

        OpenSSL takes a key from a file alone. This one has no name, is no part of any file system and is gone at once.
        """
        handle = os.memfd_create("lognode-tls", os.MFD_CLOEXEC)
        try:
            os.fchmod(handle, 0o600)
            os.write(handle, ssl.DER_cert_to_PEM_cert(self.certificate).encode() + self._key)
            context.load_cert_chain(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)


def peer_server_context(identity: TlsIdentity, trusted: Iterable[bytes]) -> ssl.SSLContext:
    """A context that serves whoever shows one of the `trusted` certificates, and nobody where there are none."""
    context = _server_context(identity)
    context.verify_mode = ssl.CERT_REQUIRED
    _trust(context, trusted)
    return context


def join_server_context(identity: TlsIdentity) -> ssl.SSLContext:
    """A context that serves anybody, and asks for no certificate."""
    return _server_context(identity)


def peer_client_context(identity: TlsIdentity, certificate: bytes) -> ssl.SSLContext:
    """A context that shows our certificate to the one node that has `certificate`, and talks to no other."""
    context = _client_context()
    context.verify_mode = ssl.CERT_REQUIRED
    _trust(context, [certificate])
    identity.load_into(context)
    return context


def join_client_context() -> ssl.SSLContext:
    """A context without a certificate of ours that believes any: the caller has to look at the key it was shown."""
    context = _client_context()
    context.verify_mode = ssl.CERT_NONE
    return context


def _server_context(identity: TlsIdentity) -> ssl.SSLContext:
    context = _plain(ssl.PROTOCOL_TLS_SERVER)
    # A ticket would let a session be taken up again without another look at the certificate.
    context.num_tickets = 0
    identity.load_into(context)
    return context


def _client_context() -> ssl.SSLContext:
    context = _plain(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # a node's name is its certificate; it may be at any address
    return context


def _plain(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    context.set_alpn_protocols(_HTTP)
    return context


def _trust(context: ssl.SSLContext, certificates: Iterable[bytes]) -> None:
    """Trust these alone, each for itself: being an anchor, it needs no authority above it."""
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    anchors = b"".join(sorted(set(certificates)))
    if anchors:
        context.load_verify_locations(cadata=anchors)
