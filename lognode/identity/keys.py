"""The keys of a node: one seed, and every other key derived from it.

Owns derivation and signatures. Must not know where the seed is kept. Invariant: a key has one purpose: the
node key signs key bindings alone, so nothing that a peer can provoke is ever signed by it.
Source: docs/protocol.md, Keys.
"""

from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from lognode.core.ids import KEY_BYTES, FeedId, LogLine, LogLineKind, TenantId, logline
from lognode.core.span import SIGNATURE_BYTES

SEED_BYTES: Final = 32


class KeyPair:
    """An Ed25519 key that signs; it shows its public half alone."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.public = bytes(self._key.verify_key)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`."""
        return self._key.sign(message).signature

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public.hex()})"


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """The keys of one node."""

    public: bytes
    logline: LogLine
    _pair: KeyPair = field(repr=False)
    _seed: bytes = field(repr=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """The keys that follow from a 32-byte seed."""
        pair = KeyPair(seed)
        return cls(pair.public, logline(LogLineKind.NODE, pair.public), pair, seed)

    def sign_binding(self, message: bytes) -> bytes:
        """The node key's signature, for bindings of keys alone: `message` begins with the name of its purpose."""
        return self._pair.sign(message)

    def tls_seed(self) -> bytes:
        """The Ed25519 seed of the TLS key."""
        return self._derive(b"lognode tls v1")

    def witness_key(self, tenant: TenantId) -> KeyPair:
        """The key that cosigns other nodes' checkpoints in a tenant."""
        return KeyPair(self._derive(b"lognode witness v1" + tenant))

    def log_key(self, feed: FeedId) -> KeyPair:
        """The key that signs the checkpoints of one of the node's feeds."""
        return KeyPair(self._derive(b"lognode log v1" + feed))

    def _derive(self, info: bytes) -> bytes:
        return HKDF(algorithm=SHA256(), length=SEED_BYTES, salt=None, info=info).derive(self._seed)


def verify_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is the key's Ed25519 signature of `message`; wrong lengths are never right."""
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        VerifyKey(public).verify(message, signature)
    except BadSignatureError:
        return False
    return True
