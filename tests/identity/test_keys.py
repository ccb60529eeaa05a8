"""Keys: what is derived from a seed, and what a signature check refuses."""

import hmac
from hashlib import sha256

import pytest

from lognode.core.ids import FeedId, LogLineKind, TenantId, logline
from lognode.identity.keys import KeyPair, NodeKeys, verify_signature

SEED = bytes(range(32))
TENANT = TenantId(b"t" * 20)
FEED = FeedId(b"f" * 16)

# RFC 8032, section 7.1, tests 1 to 3: seed, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]


def hkdf(seed: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256 of RFC 5869 with an empty salt and one block of output, as written there."""
    extracted = hmac.digest(bytes(32), seed, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_signatures_match_the_vectors_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    pair = KeyPair(bytes.fromhex(seed))
    assert pair.public.hex() == public
    assert pair.sign(bytes.fromhex(message)).hex() == signature
    assert verify_signature(pair.public, bytes.fromhex(message), bytes.fromhex(signature))


def test_every_key_is_hkdf_of_the_seed_under_its_own_name() -> None:
    keys = NodeKeys.from_seed(SEED)
    assert keys.public == KeyPair(SEED).public
    assert keys.logline == logline(LogLineKind.NODE, keys.public)
    assert keys.tls_seed() == hkdf(SEED, b"lognode tls v1")
    assert keys.witness_key(TENANT).public == KeyPair(hkdf(SEED, b"lognode witness v1" + TENANT)).public
    assert keys.log_key(FEED).public == KeyPair(hkdf(SEED, b"lognode log v1" + FEED)).public


def test_feeds_and_tenants_never_share_a_key() -> None:
    keys = NodeKeys.from_seed(SEED)
    other_feed, other_tenant = FeedId(b"g" * 16), TenantId(b"u" * 20)
    publics = {
        keys.public,
        KeyPair(keys.tls_seed()).public,
        keys.log_key(FEED).public,
        keys.log_key(other_feed).public,
        keys.witness_key(TENANT).public,
        keys.witness_key(other_tenant).public,
    }
    assert len(publics) == 6


def test_the_node_key_signs_bindings() -> None:
    keys = NodeKeys.from_seed(SEED)
    assert verify_signature(keys.public, b"binding", keys.sign_binding(b"binding"))


def test_a_key_never_shows_its_secret_half() -> None:
    keys = NodeKeys.from_seed(SEED)
    for shown in (repr(keys), str(keys), repr(keys.log_key(FEED)), repr(KeyPair(SEED))):
        assert SEED.hex() not in shown
        assert repr(SEED) not in shown
        assert "public" in shown


def test_a_signature_of_anything_else_is_refused() -> None:
    pair = KeyPair(SEED)
    message = b"what was done"
    signature = pair.sign(message)
    assert not verify_signature(pair.public, message + b".", signature)
    assert not verify_signature(KeyPair(sha256(SEED).digest()).public, message, signature)
    for bit in range(len(signature) * 8):
        changed = (int.from_bytes(signature) ^ 1 << bit).to_bytes(64)
        assert not verify_signature(pair.public, message, changed)


def test_wrong_lengths_are_refused_and_raise_nothing() -> None:
    pair = KeyPair(SEED)
    signature = pair.sign(b"")
    assert not verify_signature(pair.public[:-1], b"", signature)
    assert not verify_signature(pair.public + b"\x00", b"", signature)
    assert not verify_signature(pair.public, b"", signature[:-1])
    assert not verify_signature(pair.public, b"", signature + b"\x00")
    assert not verify_signature(b"", b"", b"")


def test_keys_and_signatures_that_only_lax_verifiers_take_are_refused() -> None:
    pair = KeyPair(SEED)
    signature = pair.sign(b"span")
    order = 2**252 + 27742317777372353535851937790883648493
    raised = int.from_bytes(signature[32:], "little") + order
    assert not verify_signature(pair.public, b"span", signature[:32] + raised.to_bytes(32, "little"))
    # The neutral element as key and as R "signs" every message with S = 0.
    neutral = b"\x01" + bytes(31)
    assert not verify_signature(neutral, b"span", neutral + bytes(32))
